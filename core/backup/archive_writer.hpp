// Writes a backup archive (docs/formats.md, "Backup archive") from files that nobody changes any more: copies that the
// plugins made, the copy of the control plane, sealed snapshots.
//
// The manifest comes first in the archive, so every file is read twice: once for its hash, once to write it. A file that
// is not the same the second time fails the backup. The archive has its name only when it is whole and synced; until then
// it is ".<name>.partial" beside it, and on any failure it is removed.
// Thread: worker; blocks for as long as the bytes take. `watch` is called on that thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/backup/envelope.hpp"
#include "core/backup/manifest.hpp"

namespace via::backup {

struct SourceFile {
  std::string name;            // in the archive: is_file_name()
  std::filesystem::path path;  // a regular file
};

struct WriterOptions {
  Secret passphrase;                                // empty = not encrypted
  Secret master_key;                                // empty = no authentication code
  std::uint64_t part_bytes = std::uint64_t{4} << 30;  // larger files are split
  int level = 1;                                    // zstd's; 0 = not compressed
  unsigned cost = kDefaultCost;                     // log2 of scrypt's N
  bool replace = false;                             // an archive of that name
};

struct Written {
  Manifest manifest;
  std::uint64_t bytes = 0;  // of the archive
  std::string sha256;       // of the archive
};

// `facts` is the manifest without members, total and code. `conflict` when the target is there already or is being
// written, `refused` when a file changed or is no regular file, `cancelled` when the watch says so.
Result<Written> write_archive(const std::filesystem::path& target, Manifest facts, const std::vector<SourceFile>& files,
                              const WriterOptions& options, Entropy& entropy, const plugins::Watch& watch);

}  // namespace via::backup
