// The files of snapshots: sealing what a plugin left, publishing it under its name, staging a copy for a restore.
//
// A snapshot of one file is <folder>/<id><extension of that file>; one of several is the folder <folder>/<id>/. Nothing
// has its final name before it is whole and synced. Thread: worker; blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/catalog/snapshot.hpp"
#include "core/plugins/addon_host.hpp"

namespace via::lifecycle {

struct Sealed {
  std::vector<catalog::SnapshotFile> files;
  std::uint64_t bytes = 0;
  std::string sha256;
};

// Hashes and syncs (at once, on two threads) every file of `folder` and the folder itself; refuses what is no regular file.
Result<Sealed> seal(const std::filesystem::path& folder, const plugins::Watch& watch);
// Where a snapshot is, once published.
std::filesystem::path published(const std::filesystem::path& folder, const std::string& id,
                                const std::vector<catalog::SnapshotFile>& files);
Result<void> publish(const std::filesystem::path& partial, const Sealed& sealed, const std::filesystem::path& folder,
                     const std::string& id);
// The files of a folder that a plugin left, by name only; publish() takes them as they are.
Result<Sealed> unsealed(const std::filesystem::path& folder);
// Seals what is published already.
Result<Sealed> seal_published(const std::filesystem::path& folder, const std::string& id,
                              const std::vector<catalog::SnapshotFile>& files, const plugins::Watch& watch);
// Copies the snapshot's files under their own names into `staging` (made here, private), syncs them and checks every
// hash; `check`, which reads the copies, runs on this thread meanwhile. `refused` when a byte differs, whatever `check`
// says; on any failure `staging` is gone.
Result<void> stage(const std::filesystem::path& folder, const catalog::Snapshot& snapshot,
                   const std::filesystem::path& staging, const plugins::Watch& watch,
                   const std::function<Result<void>()>& check);
// Whether the files in `staging` are byte for byte those of the snapshot.
bool holds(const std::filesystem::path& staging, const catalog::Snapshot& snapshot);
// The same of one file from outside; what it was is told by the result.
Result<catalog::SnapshotFile> copy_file(const std::filesystem::path& from, const std::filesystem::path& to,
                                        const plugins::Watch& watch, bool replace = false);
Result<void> remove_published(const std::filesystem::path& folder, const catalog::Snapshot& snapshot);

}  // namespace via::lifecycle
