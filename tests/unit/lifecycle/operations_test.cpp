// Long commands as operations: followed, waited for, cancelled, and alone with what they work on.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

// Holds a thread at one point until the test lets it go on.
class Stop {
 public:
  void reached() {
    std::unique_lock lock(mutex_);
    here_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return here_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool here_ = false, open_ = false;
};

struct Operations : ::testing::Test {
  World w;
  std::string id;
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    id = w.must("addon.status", {{"name", "db"}})["id"];
  }
  // Starts a command and holds it at a point of a plugin call; runs `meanwhile`, lets it go and answers its end.
  json during(const std::string& command, json args, const std::string& point, const std::function<void(const std::string&)>& meanwhile) {
    Stop stop;
    std::atomic<bool> once{false};
    w.addons.before = [&](const std::string& step) {
      if (step == point && !once.exchange(true)) stop.reached();
    };
    args["wait"] = false;
    const json begun = w.must(command, args);
    EXPECT_EQ(begun["state"], "running");
    const std::string operation = begun["operation"];
    stop.wait();
    meanwhile(operation);
    stop.open();
    json ended = w.must("op.wait", {{"operation", operation}, {"timeout_seconds", 60}});
    w.addons.before = nullptr;
    return ended;
  }
};

TEST_F(Operations, CanBeFollowedByShowListAndWait) {
  const json ended = during("addon.snapshot", {{"name", "db"}}, "before take_snapshot", [&](const std::string& operation) {
    const json shown = w.must("op.show", {{"operation", operation}});
    EXPECT_EQ(shown["kind"], "addon.snapshot");
    EXPECT_EQ(shown["target"], id);
    EXPECT_EQ(shown["actor"], "root");
    EXPECT_EQ(shown["state"], "running");
    EXPECT_EQ(shown["cancellable"], true);
    EXPECT_TRUE(shown["finished_at"].is_null());
    EXPECT_TRUE(shown["result"].is_null());
    ASSERT_EQ(shown["steps"].size(), 1U);
    EXPECT_EQ(shown["steps"][0]["name"], "copy");
    EXPECT_EQ(w.must("op.list", {{"state", "running"}})["items"].size(), 1U);
    EXPECT_EQ(w.error("op.wait", {{"operation", operation}, {"timeout_seconds", 0}}), "deadline_exceeded");
    EXPECT_EQ(w.must("status")["counts"]["addons"], 1) << "reads do not wait for it";
  });
  EXPECT_EQ(ended["state"], "done");
  EXPECT_EQ(ended["outcome"], "ok");
  EXPECT_EQ(ended["cancellable"], false);
  EXPECT_TRUE(ended["result"]["id"].get<std::string>().starts_with("snap_"));
  std::vector<std::string> steps;
  for (const auto& step : ended["steps"]) steps.push_back(step["name"]);
  EXPECT_EQ(steps, (std::vector<std::string>{"copy", "seal", "publish"}));
  EXPECT_EQ(w.must("op.list", {{"state", "running"}})["items"].size(), 0U);
  EXPECT_EQ(w.must("op.list", {{"target", "db"}, {"limit", 1}})["items"][0]["id"], ended["id"]);
  w.restart();
  EXPECT_EQ(w.must("op.show", {{"operation", ended["id"]}})["state"], "done");
}

TEST_F(Operations, OtherChangesOfTheSameAddonAreRefusedMeanwhileAndNameIt) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  w.addon("other");
  during("addon.snapshot", {{"name", "db"}}, "before take_snapshot", [&](const std::string& operation) {
    const std::vector<std::pair<std::string, json>> changes = {
        {"addon.snapshot", {{"name", "db"}}},
        {"addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}}},
        {"addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}},
        {"addon.drain", {{"name", "db"}}},
        {"addon.resume", {{"name", "db"}}},
        {"addon.export", {{"name", "db"}, {"file", (w.folder.path() / "x").string()}}},
        {"addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}}},
        {"addon.unbind", {{"app", "api"}, {"target", "DATABASE"}}},
        {"addon.rotate-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}}},
        {"addon.revoke-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}}},
        {"addon.destroy", {{"name", "db"}, {"force", true}}},
        {"addon.repair", {{"name", "db"}}}};
    for (const auto& [command, args] : changes) {
      EXPECT_EQ(w.error(command, args), "conflict") << command;
      EXPECT_NE(w.error_text(command, args).find(operation), std::string::npos) << command;
    }
    w.must("addon.bind", {{"app", "api"}, {"name", "other"}, {"binding", "OTHER"}});
  });
  w.must("addon.rotate-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}});
}

TEST_F(Operations, DeploysAreRefusedWhileTheirAppIsRestarted) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  w.must("deploy.create", {{"app", "api"}});
  w.external();
  during("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}}, "before suspend",
         [&](const std::string&) { EXPECT_EQ(w.error("deploy.create", {{"app", "api"}}), "conflict"); });
  TemporaryFolder out;
  ASSERT_TRUE(write_file_atomic(out.path() / "in", "imported"));
  during("addon.import",
         {{"name", "db"}, {"file", (out.path() / "in").string()}, {"drain", true}, {"restart_bound_apps", true}}, "before suspend",
         [&](const std::string&) { EXPECT_EQ(w.error("deploy.create", {{"app", "api"}}), "conflict"); });
  w.must("deploy.create", {{"app", "api"}});
}

TEST_F(Operations, CancelBeforeThePointOfNoReturnLeavesNothing) {
  const json ended = during("addon.snapshot", {{"name", "db"}}, "after take_snapshot", [&](const std::string& operation) {
    EXPECT_EQ(w.must("op.cancel", {{"operation", operation}})["cancellable"], false);
  });
  EXPECT_EQ(ended["state"], "cancelled");
  EXPECT_EQ(ended["error"]["code"], "cancelled");
  EXPECT_EQ(w.must("addon.snapshots", {{"name", "db"}})["items"].size(), 0U);
  EXPECT_TRUE(fs::is_empty(w.addons.folder(id) / "snapshots"));
  EXPECT_EQ(w.error("op.cancel", {{"operation", ended["id"]}}), "conflict");
  w.must("addon.snapshot", {{"name", "db"}});
}

TEST_F(Operations, ARestoreCancelledBeforeItsSwapLeavesTheOldDataServing) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  (void)write_file_atomic(w.addons.folder(id) / "data", "newer");
  for (const char* point : {"after verify_snapshot", "before drain"}) {
    SCOPED_TRACE(point);
    const json ended = during("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}, point,
                              [&](const std::string& operation) { w.must("op.cancel", {{"operation", operation}}); });
    EXPECT_EQ(ended["state"], "cancelled");
    EXPECT_EQ(w.addons.data(id), "newer");
    EXPECT_TRUE(w.addons.drained.empty());
  }
}

TEST_F(Operations, CannotBeCancelledPastThePointOfNoReturn) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  const json ended = during("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}, "before suspend",
                            [&](const std::string& operation) {
                              EXPECT_EQ(w.must("op.show", {{"operation", operation}})["cancellable"], false);
                              EXPECT_EQ(w.error("op.cancel", {{"operation", operation}}), "refused");
                            });
  EXPECT_EQ(ended["state"], "done");
}

TEST_F(Operations, AFailureIsToldByBothWays) {
  w.addons.quiet = false;
  EXPECT_EQ(w.error("addon.drain", {{"name", "db"}, {"timeout_seconds", 0}}), "deadline_exceeded");
  const std::string operation = w.must("addon.drain", {{"name", "db"}, {"timeout_seconds", 0}, {"wait", false}})["operation"];
  const json ended = w.must("op.wait", {{"operation", operation}, {"timeout_seconds", 60}});
  EXPECT_EQ(ended["state"], "failed");
  EXPECT_EQ(ended["error"]["code"], "deadline_exceeded");
  EXPECT_FALSE(ended["error"]["message"].get<std::string>().empty());
}

TEST_F(Operations, UnknownOnesAreNotFoundAndLimitsAreChecked) {
  for (const char* command : {"op.show", "op.wait", "op.cancel"})
    EXPECT_EQ(w.error(command, {{"operation", "op_unknown"}}), "not_found") << command;
  EXPECT_EQ(w.error("op.wait", {{"operation", "op_unknown"}, {"timeout_seconds", 61}}), "bad_request");
  EXPECT_EQ(w.error("op.list", {{"limit", 0}}), "bad_request");
  EXPECT_EQ(w.error("audit.list", {{"limit", 10'001}}), "bad_request");
}

TEST_F(Operations, TheAuditIsListedFromAMomentOn) {
  w.clock.advance_ms(10'000);
  const std::string moment = format_time(w.clock.unix_ms());
  w.must("addon.snapshot", {{"name", "db"}});
  w.clock.advance_ms(5'000);
  const json late = w.must("audit.list", {{"since", moment}})["items"];
  ASSERT_EQ(late.size(), 1U);
  EXPECT_EQ(late[0]["action"], "addon.snapshot");
  EXPECT_EQ(w.must("audit.list", {{"since", 5}})["items"], late);
  EXPECT_EQ(w.must("audit.list", {{"since", 4}})["items"].size(), 0U);
  EXPECT_GT(w.must("audit.list", {{"since", "1970-01-01T00:00:00Z"}})["items"].size(), 1U);
  for (const json& bad : {json(-1), json("1h"), json("2026-11-21")}) EXPECT_EQ(w.error("audit.list", {{"since", bad}}), "bad_request");
}

TEST_F(Operations, ListIsNewestFirstAndFilters) {
  for (int i = 0; i < 5; ++i) {
    w.clock.advance_ms(1);
    w.must("addon.snapshot", {{"name", "db"}});
  }
  const json newest = w.must("op.list", {{"limit", 2}})["items"];
  ASSERT_EQ(newest.size(), 2U);
  EXPECT_GT(newest[0]["id"], newest[1]["id"]);
  w.addons.failing = {"take_snapshot"};
  EXPECT_NE(w.error("addon.snapshot", {{"name", "db"}}), "");
  EXPECT_EQ(w.must("op.list", {{"state", "failed"}})["items"].size(), 1U);
  EXPECT_EQ(w.must("op.list", {{"target", "nobody"}})["items"].size(), 0U);
}

TEST_F(Operations, AStopOfTheHostCancelsAndWaits) {
  Stop stop;
  w.addons.before = [&](const std::string& step) {
    if (step == "after take_snapshot") stop.reached();
  };
  const std::string operation = w.must("addon.snapshot", {{"name", "db"}, {"wait", false}})["operation"];
  stop.wait();
  std::thread stopping([&] { w.plane->stop(); });
  // It was asked to end before it may go on: whoever asks sees that.
  while (w.must("op.show", {{"operation", operation}})["cancellable"] == true) std::this_thread::yield();
  stop.open();
  stopping.join();
  w.restart();
  EXPECT_EQ(w.must("op.show", {{"operation", operation}})["state"], "cancelled");
  EXPECT_EQ(w.must("addon.snapshots", {{"name", "db"}})["items"].size(), 0U);
}

TEST_F(Operations, EveryLongCommandIsInTheAuditChainAndNoSecretIs) {
  w.must("deploy.create", {{"app", "api"}});
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}, {"note", "CANARY-note"}})["id"];
  w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}});
  w.must("addon.rotate-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}});
  w.must("addon.revoke-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}});
  w.must("addon.drain", {{"name", "db"}});
  w.must("addon.resume", {{"name", "db"}});
  w.must("addon.repair", {{"name", "db"}});
  TemporaryFolder out;
  const std::string file = (out.path() / "CANARY-file").string();
  w.must("addon.export", {{"name", "db"}, {"file", file}});
  w.must("addon.import", {{"name", "db"}, {"file", file}, {"force_after_timeout", 0}});
  w.must("addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}});
  w.must("addon.destroy", {{"name", "db"}, {"force", true}});
  w.must("addon.undelete", {{"id", id}});
  for (const char* failing : {"take_snapshot", "verify_snapshot", "restore_snapshot"}) {
    w.addons.failing = {failing};
    EXPECT_NE(w.error("addon.import", {{"name", "db"}, {"file", file}, {"force_after_timeout", 0}}), "");
  }
  w.addons.failing.clear();
  std::set<std::string> actions;
  std::string everything;
  const auto entries = w.store->audit().list(0, 1000);
  for (const auto& entry : *entries) {
    actions.insert(entry.action);
    everything += entry.details + entry.outcome + entry.target + entry.actor;
  }
  for (const char* action : {"addon.snapshot", "addon.restore", "addon.rotate-credentials", "addon.revoke-credentials", "addon.drain",
                             "addon.resume", "addon.repair", "addon.export", "addon.import", "addon.snapshot.delete",
                             "addon.destroy", "addon.undelete"})
    EXPECT_TRUE(actions.contains(action)) << action;
  EXPECT_EQ(everything.find("CANARY"), std::string::npos);
  EXPECT_EQ(everything.find(w.folder.path().string()), std::string::npos);
  for (const auto& line : *w.lines)
    if (line.find("operation.failed") == std::string::npos) {
      EXPECT_EQ(line.find("CANARY"), std::string::npos) << line;
    }
  const json verified = w.must("audit.verify");
  EXPECT_EQ(verified["ok"], true);
  EXPECT_EQ(verified["entries"], entries->size());
  EXPECT_TRUE(w.store->journal().unfinished()->empty());
}

}  // namespace
}  // namespace via::test
