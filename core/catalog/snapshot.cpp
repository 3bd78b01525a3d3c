#include "core/catalog/snapshot.hpp"

#include <nlohmann/json.hpp>

namespace via::catalog {
namespace {

// The columns of select(), in its order: from snapshots s joined with addons a.
Snapshot snapshot(const store::Row& r) {
  Snapshot s;
  s.id = r.text(0);
  s.addon_id = r.text(1);
  s.addon = r.text(2);
  s.kind = r.text(3);
  s.note = r.text(4);
  s.created_at = r.integer(5);
  s.bytes = static_cast<std::uint64_t>(r.integer(6));
  s.sha256 = r.text(7);
  s.format = r.text(8);
  s.storage_schema = static_cast<std::uint32_t>(r.integer(9));
  const auto files = nlohmann::json::parse(r.text(10), nullptr, false);
  if (files.is_array())
    for (const auto& file : files)
      s.files.push_back({file.value("name", ""), file.value("bytes", std::uint64_t{0}), file.value("sha256", "")});
  s.expires_at = r.integer(11);
  s.deleted_at = r.integer(12);
  s.operation = r.text(13);
  return s;
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT s.id, s.addon_id, a.name, s.kind, s.note, s.created_at, s.bytes, s.sha256, s.format, "
      "s.storage_schema, s.files, s.expires_at, s.deleted_at, s.operation FROM snapshots s "
      "JOIN addons a ON a.id=s.addon_id ";
  return sql.append(rest);
}

}  // namespace

Result<void> Snapshots::insert(const Snapshot& s) {
  auto files = nlohmann::json::array();
  for (const auto& file : s.files) files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return db_.run(
      "INSERT INTO snapshots (id, addon_id, kind, note, created_at, bytes, sha256, format, storage_schema, files, "
      "expires_at, operation) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
      s.id, s.addon_id, s.kind, s.note, s.created_at, s.bytes, s.sha256, s.format, s.storage_schema, files.dump(),
      s.expires_at, s.operation);
}

Result<std::optional<Snapshot>> Snapshots::find(const std::string& id) {
  return db_.one(snapshot, select("WHERE s.id=?1"), id);
}

Result<std::vector<Snapshot>> Snapshots::of_addon(const std::string& addon_id) {
  return db_.all(snapshot,
                 select("WHERE s.addon_id=?1 AND s.deleted_at=0 ORDER BY s.created_at DESC, s.id DESC"), addon_id);
}

Result<std::vector<Snapshot>> Snapshots::expired(std::int64_t now_ms) {
  return db_.all(snapshot, select("WHERE s.deleted_at=0 AND s.expires_at>0 AND s.expires_at<=?1"), now_ms);
}

Result<std::vector<Snapshot>> Snapshots::all() {
  return db_.all(snapshot, select("WHERE s.deleted_at=0 ORDER BY s.addon_id, s.id"));
}

Result<void> Snapshots::set_deleted(const std::string& id, std::int64_t now_ms) {
  return db_.run("UPDATE snapshots SET deleted_at=?2 WHERE id=?1", id, now_ms);
}

Result<void> Snapshots::set_expiry(const std::string& id, std::int64_t expires_at) {
  return db_.run("UPDATE snapshots SET expires_at=?2 WHERE id=?1", id, expires_at);
}

}  // namespace via::catalog
