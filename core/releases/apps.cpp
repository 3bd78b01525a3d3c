#include <nlohmann/json.hpp>

#include "core/releases/records.hpp"

namespace via::releases {

Box parse_box(std::string_view text) {
  Box out;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return out;
  out.fs = json.value("fs", false);
  out.network = json.value("network", "");
  out.memory_bytes = json.value("memory_bytes", std::int64_t{0});
  out.cpu_percent = json.value("cpu_percent", std::int64_t{0});
  out.pids = json.value("pids", std::int64_t{0});
  out.files = json.value("files", std::int64_t{0});
  out.read = json.value("read", std::vector<std::string>{});
  return out;
}

std::string text_of(const Box& b) {
  return nlohmann::json{{"fs", b.fs}, {"network", b.network}, {"memory_bytes", b.memory_bytes}, {"cpu_percent", b.cpu_percent},
                        {"pids", b.pids}, {"files", b.files}, {"read", b.read}}.dump();
}

namespace {

App app(const store::Row& r) { return App{r.text(0), r.text(1), r.integer(2), r.text(3), r.integer(4), static_cast<std::uint32_t>(r.integer(5)), parse_box(r.text(6))}; }

}  // namespace

Result<void> Apps::insert(const App& a) {
  return db_.run("INSERT INTO apps (id, name, created_at) VALUES (?1,?2,?3)", a.id, a.name, a.created_at);
}

Result<std::optional<App>> Apps::find(const std::string& name) {
  return db_.one(app,
                 "SELECT id, name, created_at, current_release, profile_version, uid, sandbox FROM apps WHERE name=?1 AND "
                 "deleted_at=0",
                 name);
}

Result<std::vector<App>> Apps::list() {
  return db_.all(app,
                 "SELECT id, name, created_at, current_release, profile_version, uid, sandbox FROM apps WHERE deleted_at=0 "
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
  return db_.all(app, "SELECT id, name, created_at, current_release, profile_version, uid, sandbox FROM apps WHERE deleted_at<>0 AND uid<>0");
}

Result<void> Apps::set_box(const std::string& id, const Box& box) { return db_.run("UPDATE apps SET sandbox=?2 WHERE id=?1", id, text_of(box)); }

Result<void> Apps::free_uid(const std::string& id) { return db_.run("UPDATE apps SET uid=0 WHERE id=?1", id); }

}  // namespace via::releases
