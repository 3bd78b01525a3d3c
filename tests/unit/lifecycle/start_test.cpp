#include <chrono>
#include <thread>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

// `apps` apps with 10 add-ons each, 10 bindings of each, one release and one running instance.
void fill(World& w, int apps) {
  store::Database& db = w.store->db();
  auto change = store::Transaction::begin(db);
  const auto must = [](const Result<void>& r) { ASSERT_TRUE(r) << r.error().message; };
  for (int a = 0; a < apps; ++a) {
    const std::string n = std::to_string(a);
    must(db.run("INSERT INTO apps (id, name, created_at, current_release, profile_version) VALUES (?1, ?2, 1, ?3, 1)",
                "app_" + n, "app-" + n, "rel_" + n));
    must(db.run("INSERT INTO config_values (app_id, key, value, generation, updated_at) VALUES (?1, 'KEY', 'value', 1, 1)", "app_" + n));
    must(db.run("INSERT INTO deploys (id, app_id, status, created_at, command, cwd, replicas, env, release_id) "
                "VALUES (?1, ?2, 'succeeded', 1, '[]', '/', 0, '{}', ?3)",
                "dep_" + n, "app_" + n, "rel_" + n));
    must(db.run("INSERT INTO releases (id, app_id, number, deploy_id, status, created_at, config_version) "
                "VALUES (?1, ?2, 1, ?3, 'current', 1, 1)",
                "rel_" + n, "app_" + n, "dep_" + n));
    must(db.run("INSERT INTO instances (id, app_id, deploy_id, release_id, driver, state, wanted, created_at, "
                "expires_at) VALUES (?1, ?2, ?3, ?4, 'external', 'running', 1, 1, 9000000000000)",
                "ins_" + n, "app_" + n, "dep_" + n, "rel_" + n));
    for (int d = 0; d < 10; ++d) {
      const std::string addon = n + "_" + std::to_string(d);
      must(db.run("INSERT INTO addons (id, name, app_id, type, state, config, problem, created_at, updated_at) "
                  "VALUES (?1, ?2, ?3, 'box', 'active', '{}', '', 1, 1)",
                  "addon_" + addon, "a" + n + "-" + std::to_string(d), "app_" + n));
      for (int b = 0; b < 10; ++b) {
        const std::string binding = "bind_" + addon + "_" + std::to_string(b);
        const std::string name = "B" + std::to_string(d) + "_" + std::to_string(b);
        must(db.run("INSERT INTO bindings VALUES (?1, ?2, ?3, ?4, 0, 1, 0)", binding, "app_" + n, "addon_" + addon,
                    name));
        must(db.run("INSERT INTO generations VALUES (?1, 1, 'live', '\"mode\":\"proxy\"', '{\"_URL\":\"x\"}', 1, 0)",
                    binding));
        must(db.run("INSERT INTO release_bindings VALUES (?1, ?2, ?3, ?4, 'box', 0, 1)", "rel_" + n, name, binding,
                    "addon_" + addon));
      }
    }
  }
  ASSERT_TRUE(change->commit());
}

TEST(Start, TenThousandAddonsCostNoMoreStatementsThanTen) {
  std::uint64_t statements[2];
  int at = 0;
  for (const int apps : {1, 1000}) {
    World w;
    fill(w, apps);
    w.restart();
    const auto before = w.store->db().statements_run();
    w.addons.calls.clear();
    const auto started = std::chrono::steady_clock::now();
    ASSERT_TRUE(w.plane->start());
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - started);
    statements[at++] = w.store->db().statements_run() - before;
    RecordProperty("start_ms_" + std::to_string(apps * 10), static_cast<int>(ms.count()));
    EXPECT_EQ(w.authority->current()->size(), static_cast<std::size_t>(apps));
    ASSERT_NE(w.grant("ins_0"), nullptr);
    EXPECT_EQ(w.grant("ins_0")->bindings.size(), 100U);
    EXPECT_EQ(w.plane->values().find("app-0")->values.size(), 1U);
    for (const char* call : {"provision", "bind", "describe", "deprovision", "revoke"})
      EXPECT_EQ(w.addons.calls[call], 0) << call;
  }
  EXPECT_EQ(statements[0], statements[1]);
  EXPECT_LT(statements[1], 40U);
}

TEST(Start, TypeThatIsNotEnabledCostsItsBindingsAndNothingElse) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  w.addons.enabled = false;
  w.restart();
  ASSERT_NE(w.grant(instance), nullptr);
  EXPECT_TRUE(w.grant(instance)->bindings.empty());
  w.addons.enabled = true;
  w.restart();
  EXPECT_EQ(w.grant(instance)->bindings.size(), 1U);
}

TEST(Start, ChangesRunOneAtATimeAndWaitingHasALimit) {
  World w;
  w.addon("db");
  std::string other;
  w.addons.before = [&](const std::string& step) {
    if (step == "before bind") std::thread([&] { other = w.error("app.create", {{"name", "web"}}); }).join();
  };
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}});
  EXPECT_EQ(other, "unavailable");
  EXPECT_EQ(w.error("app.create", {{"name", "web"}}), "");
}

}  // namespace
}  // namespace via::test
