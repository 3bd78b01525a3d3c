#include "core/releases/records.hpp"

namespace via::releases {
namespace {

App app(const store::Row& r) { return App{r.text(0), r.text(1), r.integer(2), r.text(3), r.integer(4), static_cast<std::uint32_t>(r.integer(5))}; }

}  // namespace

Result<void> Apps::insert(const App& a) {
  return db_.run("INSERT INTO apps (id, name, created_at) VALUES (?1,?2,?3)", a.id, a.name, a.created_at);
}

Result<std::optional<App>> Apps::find(const std::string& name) {
  return db_.one(app,
                 "SELECT id, name, created_at, current_release, profile_version, uid FROM apps WHERE name=?1 AND "
                 "deleted_at=0",
                 name);
}

Result<std::vector<App>> Apps::list() {
  return db_.all(app,
                 "SELECT id, name, created_at, current_release, profile_version, uid FROM apps WHERE deleted_at=0 "
                 "ORDER BY name");
}

Result<void> Apps::remove(const App& a, std::int64_t now_ms) {
  return db_.run("UPDATE apps SET deleted_at=?2, name=?3 WHERE id=?1", a.id, now_ms, a.name + "#deleted#" + a.id);
}

Result<std::int64_t> Apps::count() {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); },
                         "SELECT count(*) FROM apps WHERE deleted_at=0"));
  return n.value_or(0);
}

Result<std::uint32_t> Apps::give_uid(const std::string& id, std::uint32_t first, std::uint32_t last) {
  VIA_TRY_LET(taken, db_.all([](const store::Row& r) { return static_cast<std::uint32_t>(r.integer(0)); },
                             "SELECT uid FROM apps WHERE uid BETWEEN ?1 AND ?2 ORDER BY uid", first, last));
  std::uint32_t next = first;
  for (const std::uint32_t uid : taken)
    if (uid == next) ++next;
  if (next > last) return 0U;
  VIA_TRY(db_.run("UPDATE apps SET uid=?2 WHERE id=?1", id, static_cast<std::int64_t>(next)));
  return next;
}

Result<std::vector<App>> Apps::left_behind() {
  return db_.all(app, "SELECT id, name, created_at, current_release, profile_version, uid FROM apps WHERE deleted_at<>0 AND uid<>0");
}

Result<void> Apps::free_uid(const std::string& id) { return db_.run("UPDATE apps SET uid=0 WHERE id=?1", id); }

}  // namespace via::releases
