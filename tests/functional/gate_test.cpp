// What the gate promises when a right ends while it is being used.
#include "functional/routes.hpp"

#include <poll.h>

#include <atomic>
#include <thread>

namespace via::test {
namespace {

class Gate : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  }
  Runtime api;
};

TEST_F(Gate, NoOperationIsAuthorisedAfterStopReturned) {
  constexpr int kRounds = 12, kThreads = 6;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    const Runtime doomed = issue("api");
    std::atomic<bool> returned{false};
    std::atomic<int> served{0}, refused{0}, wrong{0}, missing{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        Caller app = caller(doomed);
        for (int sent = 0; sent < 100'000; ++sent) {
          const bool late = returned.load();
          Response answer;
          switch ((i + sent) % 4) {
            case 0:
              answer = app.query("SELECT count(*) FROM t");
              break;
            case 1:
              answer = app.execute("INSERT INTO t(b) VALUES('r')");
              break;
            case 2:
              answer = app.resolve();
              break;
            default:
              answer = app.op(
                  "batch",
                  {{"operations", {{{"operation", "execute"}, {"sql", "INSERT INTO t(b) VALUES('r')"}}}}});
          }
          if (answer.status == 0) ++missing;
          if (answer.status == 200) {
            ++served;
            if (late) ++wrong;
          } else if (answer.status == 403) {
            ++refused;
          }
          if (late && answer.status == 403) return;
          if (late && sent > 99'000) ++wrong;
        }
      });
    EXPECT_TRUE(eventually([&] { return served > 20 * (round + 1); }));
    admin("runtime.stop", {{"instance", doomed.instance}});
    const json at_return = rows_of(caller(api).query("SELECT count(*) FROM t"));
    returned = true;
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << "an operation was authorised after the stop had returned";
    EXPECT_EQ(missing, 0) << "every request is answered";
    EXPECT_GE(refused, kThreads);
    EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), at_return)
        << "nothing was written afterwards";
  }
}

TEST_F(Gate, EveryPipelinedRequestBehindTheStopIsRefused) {
  const Runtime doomed = issue("api");
  Http http(host.port());
  const std::string request =
      Http::format("POST", operation_path("execute"), R"j({"sql":"INSERT INTO t(b) VALUES('r')"})j",
                   {{"Authorization", "Bearer " + doomed.token}});
  ASSERT_TRUE(http.send(request));
  ASSERT_EQ(http.read().value_or(Response{}).status, 200);
  admin("runtime.stop", {{"instance", doomed.instance}});
  std::string burst;
  for (int i = 0; i < 100; ++i) burst += request;
  ASSERT_TRUE(http.send(burst));
  for (int i = 0; i < 100; ++i) {
    const auto answer = http.read();
    ASSERT_TRUE(answer);
    expect_error(*answer, 403, "instance_unknown");
  }
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), json({{1}}));
}

TEST_F(Gate, StreamUnderWayEndsWithTheStop) {
  // No limit of a slow reader may be what ends it.
  ASSERT_EQ(host.stop(), 0);
  host.configure("[limits]\nwrite_timeout_ms = 3600000\n");
  ASSERT_TRUE(host.start());
  const Runtime doomed = issue("api");
  Http http(host.port());
  const json body{{"sql",
                   "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 90000) SELECT x, "
                   "printf('%.*c', 150, 'r') FROM c"}};
  ASSERT_TRUE(http.send(
      Http::format("POST", operation_path("query"), body.dump(),
                   {{"Authorization", "Bearer " + doomed.token}, {"Accept", "application/x-ndjson"}})));
  pollfd readable{http.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&readable, 1, 30'000), 1) << "the stream has begun";
  // The reader takes nothing: the stop must not wait for it.
  admin("runtime.stop", {{"instance", doomed.instance}});
  const auto answer = http.read(60'000);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->cut) << "a stream that lost its right is cut, not ended as if it were whole";
  expect_error(caller(doomed).query("SELECT 1"), 403, "instance_unknown");
}

TEST_F(Gate, StopEndsARunningStatement) {
  const Runtime doomed = issue("api");
  for (const char* operation : {"query", "execute"}) {
    SCOPED_TRACE(operation);
    const Runtime runtime = issue("api");
    const std::string count =
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c";
    Http http(host.port());
    const json body{{"sql", std::string(operation) == "query" ? count : "INSERT INTO t(b) " + count},
                    {"timeout_ms", 25'000}};
    const std::string before = metrics();
    ASSERT_TRUE(http.send(Http::format("POST", operation_path(operation), body.dump(),
                                       {{"Authorization", "Bearer " + runtime.token}})));
    const auto working = [](const std::string& text) {
      const std::string name = "via_operations_total{where=\"worker\"} ";
      return std::stoll(text.substr(text.find(name) + name.size()));
    };
    ASSERT_TRUE(eventually([&] { return working(metrics()) > working(before); }));
    admin("runtime.stop", {{"instance", runtime.instance}});
    const auto answer = http.read(5'000);
    ASSERT_TRUE(answer) << "the operation had ended before the stop returned";
    EXPECT_GE(answer->status, 500);
    EXPECT_NE(answer->status, 504) << "it did not wait for its own deadline";
  }
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), json({{0}}));
}

TEST_F(Gate, DestroyOfABusyAddonEndsInRefusalsOnly) {
  std::atomic<bool> destroyed{false};
  std::atomic<int> served{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Caller app = caller(api);
      for (bool late = false; !late;) {
        late = destroyed.load();
        const Response answer = app.execute("INSERT INTO t(b) VALUES('d')");
        if (answer.status == 200) {
          ++served;
          if (late) ++wrong;
        } else if (answer.status != 403 && answer.status != 503) {
          ++wrong;
          ADD_FAILURE() << answer.status << answer.body;
        }
      }
    });
  EXPECT_TRUE(eventually([&] { return served > 50; }));
  const std::string id = admin("addon.status", {{"name", "api-db"}, {"app", "api"}}).value("id", "");
  admin("addon.destroy", {{"name", "api-db"}, {"app", "api"}, {"force", true}});
  destroyed = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const Response answer = caller(api).query("SELECT 1");
  EXPECT_EQ(answer.status, 403) << answer.body;
  EXPECT_EQ(admin("addon.status", {{"name", id}}).value("state", ""), "destroyed")
      << "it stays inspectable by its id";
}

}  // namespace
}  // namespace via::test
