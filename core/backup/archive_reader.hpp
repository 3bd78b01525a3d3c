// Reads a backup archive (docs/formats.md, "Backup archive") that may come from anybody.
//
// Nothing in it is interpreted: the manifest is parsed strictly, and from there on every header must be the one that its
// name and size make, every member must have the manifest's hash, and the archive must end where the manifest ends. It is
// taken whole or not at all: any failure leaves nothing behind. Bytes are counted against the manifest before they are
// written, so no compressed bomb writes more than the manifest says, and errors name a member's number and the rule, never
// a text of the archive.
//
// Errors: not_allowed (wrong passphrase, or damage at the very beginning: the two are not told apart), bad_request (a
// passphrase is missing or too much), refused (everything that is wrong with the archive), conflict (the staging folder is
// there), cancelled. Thread: worker, one at a time; blocks. `watch` is called on that thread.
#pragma once

#include <filesystem>
#include <memory>

#include "core/backup/manifest.hpp"
#include "core/base/files.hpp"

namespace via::backup {

enum class Origin {
  ours,     // the code is that of this master key
  foreign,  // another installation made it, or somebody changed the manifest
  absent,   // it has no code
};

class ArchiveReader {
 public:
  // Reads and checks the manifest. The file stays open: what is verified later is what was opened now.
  static Result<ArchiveReader> open(const std::filesystem::path& path, const Secret& passphrase);
  static Result<ArchiveReader> open(FileHandle file, const Secret& passphrase);
  ArchiveReader(ArchiveReader&&) noexcept;
  ArchiveReader& operator=(ArchiveReader&&) noexcept;
  ~ArchiveReader();

  const Manifest& manifest() const;
  bool encrypted() const;
  Result<Origin> check_mac(const Secret& master_key) const;

  // Reads and hashes everything, writes nothing.
  Result<void> verify(const plugins::Watch& watch);
  // Makes `staging` (0700; it must not be there) and fills it with the files under their names, 0600 and synced. Removed
  // again on any failure.
  Result<void> extract_all(const std::filesystem::path& staging, const plugins::Watch& watch);

 private:
  struct Impl;
  explicit ArchiveReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::backup
