// Restore under operations that do not end, and revocation of what is in use, against a real host.
#include <chrono>
#include <future>

#include "functional/routes.hpp"

namespace via::test {
namespace {

constexpr const char* kEndless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n";

class RestoreFlow : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    ASSERT_EQ(caller(api).setup("CREATE TABLE t(a); INSERT INTO t VALUES('old')").status, 200);
    snapshot = admin("addon.snapshot", {{"name", "api-db"}}).value("id", "");
    ASSERT_EQ(caller(api).execute("UPDATE t SET a='new'").status, 200);
  }
  // An operation that runs until it is cancelled; returns when the host has it.
  std::future<Response> endless() {
    auto running = std::async(std::launch::async, [this] { return caller(api).query(kEndless); });
    EXPECT_EQ(running.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
    return running;
  }
  Runtime api;
  std::string snapshot;
};

TEST_F(RestoreFlow, DrainThatRunsOutOfTimeLeavesDataAndOperationsAlone) {
  auto running = endless();
  EXPECT_EQ(admin_error("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true},
                                          {"drain_timeout_seconds", 0}}),
            "deadline_exceeded");
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{"new"}})) << "it serves";
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}});
  EXPECT_NE(running.get().status, 200) << "force cancels what still runs";
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{"old"}}));
}

TEST_F(RestoreFlow, RevokeCancelsWhatRunsUnderTheGeneration) {
  auto running = endless();
  admin("addon.revoke-credentials",
        {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}, {"yes", true}});
  EXPECT_NE(running.get().status, 200);
  EXPECT_NE(caller(api).query("SELECT 1").status, 200);
}

TEST_F(RestoreFlow, RevokeOfAGenerationInUseIsRefused) {
  admin("addon.rotate-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}});
  const json revoke = {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}};
  const auto under = [&](const char* generation) {
    return caller(api).post("/v1/runtime/addons/DATABASE/query", R"({"sql":"SELECT 1"})", {{"Via-Generation", generation}}).status;
  };
  EXPECT_EQ(under("1"), 200);
  EXPECT_EQ(admin_error("addon.revoke-credentials", revoke), "refused");
  EXPECT_EQ(under("2"), 200);
  admin("addon.revoke-credentials", revoke);
  EXPECT_EQ(under("1"), 403);
  EXPECT_EQ(under("2"), 200);
}

}  // namespace
}  // namespace via::test
