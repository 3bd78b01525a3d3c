// Snapshot records: the metadata of sealed copies of an add-on's storage. The bytes are files in the add-on's folder.
// Thread: the control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::catalog {

struct SnapshotFile {
  std::string name;  // as the plugin named it: "data.sqlite"
  std::uint64_t bytes = 0;
  std::string sha256;  // hexadecimal
};

struct Snapshot {
  std::string id, addon_id, addon;  // "snap_…"
  std::string kind;                 // manual, safety, final, import
  std::string note;
  std::int64_t created_at = 0;
  std::uint64_t bytes = 0;
  std::string sha256;  // of the one file; of the list of files when there are several
  std::string format;
  std::uint32_t storage_schema = 0;
  std::vector<SnapshotFile> files;
  std::int64_t expires_at = 0;  // 0 = kept until it is deleted
  std::int64_t deleted_at = 0;
  std::string operation;
};

class Snapshots {
 public:
  explicit Snapshots(store::Database& db) : db_(db) {}
  Result<void> insert(const Snapshot& snapshot);
  Result<std::optional<Snapshot>> find(const std::string& id);               // deleted ones as well
  Result<std::vector<Snapshot>> of_addon(const std::string& addon_id);       // not deleted, newest first
  Result<std::vector<Snapshot>> expired(std::int64_t now_ms);
  Result<std::vector<Snapshot>> all();                                       // not deleted
  Result<void> set_deleted(const std::string& id, std::int64_t now_ms);
  Result<void> set_expiry(const std::string& id, std::int64_t expires_at);

 private:
  store::Database& db_;
};

}  // namespace via::catalog
