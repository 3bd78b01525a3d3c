#include <nlohmann/json.hpp>

#include "core/releases/records.hpp"

namespace via::releases {
namespace {

// The columns of select_deploy(), in its order: from deploys d joined with apps p.
Deploy deploy(const store::Row& r) {
  Deploy d;
  d.id = r.text(0);
  d.app_id = r.text(1);
  d.app = r.text(2);
  d.status = r.text(3);
  d.created_at = r.integer(4);
  const auto command = nlohmann::json::parse(r.text(5), nullptr, false);
  if (command.is_array())
    for (const auto& word : command)
      if (word.is_string()) d.command.push_back(word.get<std::string>());
  d.cwd = r.text(6);
  d.replicas = static_cast<int>(r.integer(7));
  const auto env = nlohmann::json::parse(r.text(8), nullptr, false);
  if (env.is_object())
    for (const auto& item : env.items())
      if (item.value().is_string()) d.env.emplace(item.key(), item.value().get<std::string>());
  d.release_id = r.text(9);
  d.check_command = r.text(10);
  d.check_result = r.text(11);
  d.box = parse_box(r.text(12));
  d.uid = static_cast<std::uint32_t>(r.integer(13));
  return d;
}

std::string select_deploy(std::string_view rest) {
  std::string sql =
      "SELECT d.id, d.app_id, p.name, d.status, d.created_at, d.command, d.cwd, d.replicas, d.env, "
      "d.release_id, d.check_command, d.check_result, d.sandbox, p.uid FROM deploys d JOIN apps p ON p.id=d.app_id ";
  return sql.append(rest);
}

// The columns of select_release(), in its order: from releases r joined with apps p.
Release release(const store::Row& r) {
  Release out;
  out.id = r.text(0);
  out.app_id = r.text(1);
  out.app = r.text(2);
  out.deploy_id = r.text(3);
  out.status = r.text(4);
  out.number = r.integer(5);
  out.created_at = r.integer(6);
  out.config_version = r.integer(7);
  out.rollback_of = r.text(8);
  return out;
}

std::string select_release(std::string_view rest) {
  std::string sql =
      "SELECT r.id, r.app_id, p.name, r.deploy_id, r.status, r.number, r.created_at, r.config_version, "
      "r.rollback_of FROM releases r JOIN apps p ON p.id=r.app_id ";
  return sql.append(rest);
}

}  // namespace

Result<void> Releases::insert_deploy(const Deploy& d) {
  return db_.run(
      "INSERT INTO deploys (id, app_id, status, created_at, command, cwd, replicas, env, release_id, check_command, sandbox) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
      d.id, d.app_id, d.status, d.created_at, nlohmann::json(d.command).dump(), d.cwd, d.replicas,
      nlohmann::json(d.env).dump(), d.release_id, d.check_command, text_of(d.box));
}

Result<void> Releases::set_deploy_status(const std::string& id, std::string_view status) {
  return db_.run("UPDATE deploys SET status=?2 WHERE id=?1", id, status);
}

Result<void> Releases::make_current(const std::string& app_id, const std::string& release_id) {
  VIA_TRY(db_.run("UPDATE releases SET status='superseded' WHERE app_id=?1 AND status='current'", app_id));
  VIA_TRY(db_.run("UPDATE releases SET status='current' WHERE id=?1", release_id));
  return db_.run("UPDATE apps SET current_release=?2 WHERE id=?1", app_id, release_id);
}

Result<void> Releases::set_check_result(const std::string& deploy_id, const std::string& result) {
  return db_.run("UPDATE deploys SET check_result=?2 WHERE id=?1", deploy_id, result);
}

Result<void> Releases::fail_pending(const std::string& release_id) {
  return db_.run("UPDATE releases SET status='failed' WHERE id=?1 AND status='pending'", release_id);
}

Result<void> Releases::insert_pending(const App& app, const std::string& release_id, const std::string& deploy_id,
                                      const std::string& rollback_of, std::int64_t now_ms) {
  return db_.run(
      "INSERT INTO releases (id, app_id, number, deploy_id, status, created_at, config_version, rollback_of) "
      "SELECT ?1, p.id, 1 + coalesce((SELECT max(number) FROM releases WHERE app_id=p.id), 0), ?3, 'pending', ?4, "
      "p.profile_version, ?5 FROM apps p WHERE p.id=?2",
      release_id, app.id, deploy_id, now_ms, rollback_of);
}

Result<Release> Releases::copy(const App& app, const std::string& release_id, const std::string& deploy_id,
                               const std::string& rollback_of, const std::vector<ReleaseBinding>& bindings,
                               std::int64_t now_ms) {
  VIA_TRY(insert_pending(app, release_id, deploy_id, rollback_of, now_ms));
  for (const auto& b : bindings)
    VIA_TRY(db_.run(
        "INSERT INTO release_bindings (release_id, binding, binding_id, addon_id, type, read_only, generation) "
        "VALUES (?1,?2,?3,?4,?5,?6,?7)",
        release_id, b.binding, b.binding_id, b.addon_id, b.type, b.read_only, b.generation));
  VIA_TRY_LET(made, find_release(release_id));
  if (!made) return fail(Code::internal, "the release is missing after it was made");
  return *made;
}

Result<Release> Releases::snapshot(const App& app, const std::string& release_id, const std::string& deploy_id,
                                   std::int64_t now_ms) {
  VIA_TRY(insert_pending(app, release_id, deploy_id, {}, now_ms));
  // A binding whose credentials were all revoked is kept out: the new release could not use it.
  VIA_TRY(db_.run(
      "INSERT INTO release_bindings (release_id, binding, binding_id, addon_id, type, read_only, generation) "
      "SELECT ?1, b.name, b.id, b.addon_id, a.type, b.read_only, max(g.generation) FROM bindings b "
      "JOIN addons a ON a.id=b.addon_id AND a.state='active' "
      "JOIN generations g ON g.binding_id=b.id AND g.status='live' "
      "WHERE b.app_id=?2 AND b.removed_at=0 GROUP BY b.id",
      release_id, app.id));
  VIA_TRY_LET(made, find_release(release_id));
  if (!made) return fail(Code::internal, "the release is missing after it was made");
  return *made;
}

Result<std::optional<Deploy>> Releases::find_deploy(const std::string& id) {
  return db_.one(deploy, select_deploy("WHERE d.id=?1"), id);
}

Result<std::vector<Deploy>> Releases::list_deploys(const std::string& app_id) {
  return db_.all(deploy, select_deploy("WHERE d.app_id=?1 ORDER BY d.created_at DESC, d.rowid DESC"), app_id);
}

Result<std::optional<Release>> Releases::find_release(const std::string& id) {
  return db_.one(release, select_release("WHERE r.id=?1"), id);
}

Result<std::optional<Release>> Releases::find_release(const std::string& app_id, std::int64_t number) {
  return db_.one(release, select_release("WHERE r.app_id=?1 AND r.number=?2"), app_id, number);
}

Result<std::vector<Release>> Releases::list_releases(std::string_view app_id) {
  if (app_id.empty())
    return db_.all(release, select_release("ORDER BY p.name, r.number DESC"));
  return db_.all(release, select_release("WHERE r.app_id=?1 ORDER BY r.number DESC"), app_id);
}

Result<std::vector<ReleaseBinding>> Releases::bindings_of(const std::string& release_id) {
  return db_.all(
      [](const store::Row& r) {
        return ReleaseBinding{r.text(0), r.text(1), r.text(2), r.text(3),
                              r.text(4), r.integer(5) != 0, static_cast<std::uint32_t>(r.integer(6))};
      },
      "SELECT rb.binding, rb.binding_id, a.name, rb.addon_id, rb.type, rb.read_only, rb.generation "
      "FROM release_bindings rb JOIN addons a ON a.id=rb.addon_id WHERE rb.release_id=?1 ORDER BY rb.binding",
      release_id);
}

Result<std::int64_t> Releases::count() {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); }, "SELECT count(*) FROM releases"));
  return n.value_or(0);
}

Result<std::vector<std::string>> Releases::apps_with_current(const std::string& addon_id) {
  return db_.all([](const store::Row& r) { return r.text(0); },
                 "SELECT DISTINCT p.name FROM release_bindings rb JOIN releases r ON r.id=rb.release_id "
                 "AND r.status='current' JOIN apps p ON p.id=r.app_id AND p.deleted_at=0 WHERE rb.addon_id=?1 "
                 "ORDER BY p.name",
                 addon_id);
}

}  // namespace via::releases
