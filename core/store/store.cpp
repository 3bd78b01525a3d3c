#include "core/store/store.hpp"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "core/base/files.hpp"
#include "core/base/ids.hpp"
#include "core/store/schema.hpp"

namespace via::store {
namespace {

constexpr std::string_view kFile = "control-plane.db";
constexpr std::string_view kPartial = ".control-plane.db.partial";
constexpr const char* kUsed[] = {"keys", "addons", "control-plane.db-wal"};  // nothing of these is in a fresh folder

Result<void> remove_partial(const fs::path& folder) {
  for (const char* tail : {"", "-wal", "-shm", "-journal"}) {
    std::error_code ec;
    fs::remove((folder / kPartial).string() + tail, ec);
    if (ec) return system_error("remove a file of an earlier start", ec.value());
  }
  return {};
}

// True when the folder has an entry of that name that is not an empty folder.
bool holds(const fs::path& folder, std::string_view name) {
  std::error_code ec;
  const fs::path path = folder / name;
  const auto status = fs::symlink_status(path, ec);
  if (!fs::exists(status)) return false;
  return !fs::is_directory(status) || !fs::is_empty(path, ec) || ec;
}

Result<void> create(const fs::path& folder, const Clock& clock, Entropy& entropy) {
  // Built beside its place and renamed, so that a crash leaves no half-made database.
  const fs::path partial = folder / kPartial;
  VIA_TRY(remove_partial(folder));
  {
    VIA_TRY_LET(db, Database::open(partial, Database::Mode::create));
    VIA_TRY(migrate(*db, true));
    VIA_TRY_LET(change, Transaction::begin(*db));
    VIA_TRY(db->run("INSERT INTO meta VALUES ('installation', ?1), ('epoch', '1'), ('created_at', ?2)",
                    to_text(new_ulid(clock, entropy)), std::to_string(clock.unix_ms())));
    VIA_TRY(change.commit());
  }
  std::error_code ec;
  if (fs::exists(partial.string() + "-wal", ec))
    return fail(Code::internal, "control-plane database: the new file could not be closed");
  fs::rename(partial, folder / kFile, ec);
  if (ec) return system_error("rename the control-plane database", ec.value());
  VIA_TRY(sync_folder(folder));
  return remove_partial(folder);
}

Result<Meta> read_meta(Database& db) {
  Meta meta;
  auto rows = db.query("SELECT key, value FROM meta");
  while (rows.next()) {
    const std::string key = rows.row().text(0);
    if (key == "installation") meta.installation = rows.row().text(1);
    if (key == "epoch") meta.epoch = std::atoll(rows.row().text(1).c_str());
    if (key == "created_at") meta.created_at = std::atoll(rows.row().text(1).c_str());
  }
  VIA_TRY(rows.end());
  if (meta.installation.empty()) return fail(Code::internal, "control-plane.db has no installation id. Restore a backup.");
  return meta;
}

}  // namespace

bool Store::is_in(const fs::path& folder) {
  std::error_code ec;
  return fs::exists(fs::symlink_status(folder / kFile, ec)) || std::any_of(std::begin(kUsed), std::end(kUsed), [&](const char* used) { return holds(folder, used); });
}

Result<std::unique_ptr<Store>> Store::open(const fs::path& folder, const Clock& clock, Entropy& entropy) {
  const fs::path file = folder / kFile;
  std::error_code ec;
  if (!fs::exists(fs::symlink_status(file, ec))) {
    for (const char* used : kUsed)
      if (holds(folder, used))
        return fail(Code::internal, "control-plane.db is missing from a state folder that was in use (it has '" +
                                        std::string(used) + "'). Put it back, or restore a backup.");
    VIA_TRY(create(folder, clock, entropy));
  } else {
    (void)remove_partial(folder);
  }
  VIA_TRY_LET(db, Database::open(file, Database::Mode::must_exist));
  VIA_TRY(migrate(*db, false));
  VIA_TRY_LET(check, db->one([](const Row& r) { return r.text(0); }, "PRAGMA quick_check(1)"));
  if (check != "ok") return fail(Code::internal, "control-plane.db is damaged. Restore it from a backup.");
  VIA_TRY_LET(meta, read_meta(*db));
  return std::unique_ptr<Store>(new Store(std::move(db), std::move(meta)));
}

Result<void> check_copy(const fs::path& file) {
  VIA_TRY_LET(db, Database::open(file, Database::Mode::must_exist));
  const auto text = [&](std::string_view sql) { return db->one([](const Row& r) { return r.text(0); }, sql); };
  VIA_TRY_LET(application, text("PRAGMA application_id"));
  VIA_TRY_LET(version, text("PRAGMA user_version"));
  if (application != std::to_string(kApplicationId))
    return fail(Code::refused, "The control plane in the archive is not a control-plane database.");
  if (std::atoll(version.value_or("0").c_str()) > kSchemaVersion)
    return fail(Code::refused, "The control plane in the archive was written by a newer Via. Use that version.");
  VIA_TRY_LET(whole, text("PRAGMA integrity_check(1)"));
  if (whole != "ok") return fail(Code::refused, "The control plane in the archive is damaged.");
  VIA_TRY_LET(dangling, text("PRAGMA foreign_key_check"));
  if (dangling) return fail(Code::refused, "The control plane in the archive refers to rows that are missing.");
  VIA_TRY_LET(bad, Audit(*db).verify());
  if (bad != 0) return fail(Code::refused, "The audit record in the archive is broken at entry " + std::to_string(bad) + ".");
  return {};
}

}  // namespace via::store
