// Rights that end while they are used: after the command that ends them has answered, no request sent from then on
// succeeds, and nothing that began before still changes the data. VIA_RACE_ROUNDS rounds of each kind (default 12; 1,000 of
// the revocation are what CI's nightly run asks for).
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "functional/routes.hpp"

namespace via::test {
namespace {

int race_rounds(int everyday) {
  const char* set = std::getenv("VIA_RACE_ROUNDS");
  return set == nullptr ? everyday : std::max(1, std::atoi(set));
}

class Races : public World {
 protected:
  static constexpr int kThreads = 8;

  // What the clients do in a round: with this token, under this generation (0 = none given).
  struct Target {
    int round = 0;
    std::string token;
    int generation = 0;
  };
  struct Seen {
    std::atomic<int> succeeded{0};  // the newest round in which this client had a success
    std::atomic<int> refused{0};    // … and one in which it was refused after the end
  };

  void SetUp() override {
    World::SetUp();
    admin("app.create", {{"name", "api"}});
    admin("addon.create", {{"type", "sqlite"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    admin("deploy.create", {{"app", "api"}});
  }
  void TearDown() override { end_clients(); }

  void begin_clients() {
    for (int i = 0; i < kThreads; ++i) clients_.emplace_back([this, i] { hammer(i); });
  }
  void end_clients() {
    done_ = true;
    for (auto& client : clients_) client.join();
    clients_.clear();
  }

  // One round: every client has had a success under `target`; `end` takes its rights away; every client has been refused
  // after that. `count` says how many rows the round has written; it must not change any more once `end` returned.
  void round(Target target, const std::function<void()>& end, const std::function<std::int64_t()>& count = {}) {
    const int number = target.round;
    {
      const std::lock_guard lock(mutex_);
      target_ = std::move(target);
    }
    round_ = number;
    ASSERT_TRUE(eventually([&] { return all([&](const Seen& s) { return s.succeeded == number; }); })) << first_unexpected();
    end();
    ended_ = number;
    const std::int64_t written = count ? count() : 0;
    ASSERT_TRUE(eventually([&] { return all([&](const Seen& s) { return s.refused == number; }); })) << first_unexpected();
    if (count) {
      EXPECT_GT(written, 0);
      EXPECT_EQ(count(), written) << "a write landed after the answer, round " << number;
    }
    ASSERT_EQ(after_the_end_, 0) << "a request that was sent after the answer succeeded, round " << number;
    ASSERT_EQ(first_unexpected(), "");
  }

  std::atomic<int> after_the_end_{0};
  std::atomic<std::int64_t> successes_{0};

 private:
  bool all(const std::function<bool(const Seen&)>& holds) const {
    for (const auto& one : seen_)
      if (!holds(one)) return false;
    return true;
  }
  std::string first_unexpected() {
    const std::lock_guard lock(mutex_);
    return unexpected_;
  }

  void hammer(int client) {
    std::unique_ptr<Caller> caller;
    Target mine;
    Seen& seen = seen_[static_cast<std::size_t>(client)];
    for (int turn = 0; !done_; ++turn) {
      if (round_ != mine.round) {
        const std::lock_guard lock(mutex_);
        if (!caller || target_.token != mine.token) caller = std::make_unique<Caller>(host.port(), target_.token);
        mine = target_;
      }
      if (mine.round == 0 || seen.refused == mine.round) {
        std::this_thread::yield();
        continue;
      }
      const bool over = ended_ == mine.round;  // before the request is sent
      std::vector<std::pair<std::string, std::string>> headers;
      if (mine.generation != 0) headers.emplace_back("Via-Generation", std::to_string(mine.generation));
      const bool writes = (turn + client) % 2 == 0;
      const Response answer =
          writes ? caller->post("/v1/runtime/addons/DATABASE/execute",
                                json{{"sql", "INSERT INTO t(round) VALUES(?)"}, {"params", {mine.round}}}.dump(), headers)
                 : caller->post("/v1/runtime/addons/DATABASE/query", json{{"sql", "SELECT count(*) FROM t"}}.dump(), headers);
      if (answer.status == 200) {
        ++successes_;
        if (over) ++after_the_end_;
        if (writes) seen.succeeded = mine.round;
      } else if (over && answer.status != 0) {
        seen.refused = mine.round;
      }
      // Refusals, and answers to what was cut short, are fine at any time; a broken host is not.
      if (answer.status == 500 && answer.code() != "outcome_unknown") {
        const std::lock_guard lock(mutex_);
        if (unexpected_.empty()) unexpected_ = answer.head + answer.body;
      }
    }
  }

  std::mutex mutex_;
  Target target_;           // guarded by mutex_
  std::string unexpected_;  // guarded by mutex_
  std::atomic<int> round_{0}, ended_{0};
  std::atomic<bool> done_{false};
  std::array<Seen, kThreads> seen_;
  std::vector<std::thread> clients_;
};

TEST_F(Races, NothingSucceedsUnderAGenerationAfterItsRevocationAnswered) {
  const Runtime api = issue("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(round INTEGER)").status, 200);
  begin_clients();
  const int rounds = race_rounds(25);
  const std::uint64_t begun = now_ms();
  for (int i = 1; i <= rounds; ++i) {
    const int old = i, fresh = i + 1;
    round({i, api.token, old},
          [&] {
            ASSERT_EQ(admin("addon.rotate-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}}).value("generation", 0),
                      fresh);
            ASSERT_EQ(admin("addon.revoke-credentials",
                            {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", old}, {"yes", true}})
                          .value("status", ""),
                      "revoked");
          },
          [&] {
            Caller reader = caller(api);
            const Response answer = reader.post("/v1/runtime/addons/DATABASE/query",
                                                json{{"sql", "SELECT count(*) FROM t WHERE round=?"}, {"params", {i}}}.dump(),
                                                {{"Via-Generation", std::to_string(fresh)}});
            const json rows = rows_of(answer);
            return rows.is_array() && !rows.empty() ? rows[0][0].get<std::int64_t>() : -1;
          });
    if (HasFatalFailure()) return;
  }
  std::cout << rounds << " rounds of rotate and revoke, " << successes_ << " successes between them, " << now_ms() - begun << " ms\n";
}

TEST_F(Races, NothingSucceedsForAnInstanceAfterItsStopAnswered) {
  const Runtime steady = issue("api");
  ASSERT_EQ(caller(steady).setup("CREATE TABLE t(round INTEGER)").status, 200);
  begin_clients();
  for (int i = 1; i <= race_rounds(12); ++i) {
    const Runtime stopped = issue("api");
    round({i, stopped.token, 0}, [&] { admin("runtime.stop", {{"instance", stopped.instance}}); },
          [&] {
            const json rows = rows_of(caller(steady).query("SELECT count(*) FROM t WHERE round=?", {i}));
            return rows.is_array() && !rows.empty() ? rows[0][0].get<std::int64_t>() : -1;
          });
    if (HasFatalFailure()) return;
  }
}

TEST_F(Races, NothingSucceedsForTheOldProcessAfterUnbindAndDeployAnswered) {
  ASSERT_EQ(caller(issue("api")).setup("CREATE TABLE t(round INTEGER)").status, 200);
  const json with_process = {{"app", "api"}, {"command", {"/bin/sleep", "1000"}}};
  begin_clients();
  for (int i = 1; i <= race_rounds(12); ++i) {
    const json deployed = admin("deploy.create", with_process);
    const std::string instance = deployed["instances"][0].value("id", "");
    const std::string token = text_of(host.state_dir() / "runtimes" / instance / "token");
    ASSERT_FALSE(token.empty());
    round({i, token, 0}, [&] {
      admin("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
      admin("deploy.create", {{"app", "api"}});
    });
    if (HasFatalFailure()) return;
    admin("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}});
  }
}

TEST_F(Races, NothingSucceedsAfterTheDestroyAnswered) {
  begin_clients();
  for (int i = 1; i <= race_rounds(8); ++i) {
    const Runtime api = issue("api");
    ASSERT_EQ(caller(api).setup("CREATE TABLE t(round INTEGER)").status, 200);
    round({i, api.token, 0}, [&] { admin("addon.destroy", {{"name", "db"}, {"force", true}}); });
    if (HasFatalFailure()) return;
    admin("addon.create", {{"type", "sqlite"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    admin("deploy.create", {{"app", "api"}});
  }
}

// The same while its data is replaced: who is admitted sees the old data or the new, and no write is lost to a swap that
// began after it was acknowledged.
TEST_F(Races, WritesAcknowledgedBeforeARestoreAreInItsSafetySnapshot) {
  const Runtime api = issue("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(round INTEGER)").status, 200);
  const std::string empty = admin("addon.snapshot", {{"name", "db"}}).value("id", "");
  for (int i = 0; i < 5; ++i) ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES(1)").status, 200);
  const json restored = admin("addon.restore", {{"name", "db"}, {"snapshot", empty}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), json({{0}}));
  admin("addon.restore", {{"name", "db"}, {"snapshot", restored.value("safety_snapshot", "")}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), json({{5}}));
}

}  // namespace
}  // namespace via::test
