#include <atomic>
#include <fstream>
#include <thread>

#include <sys/stat.h>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Runtimes : ::testing::Test {
  World w{true};
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.must("deploy.create", {{"app", "api"}});
  }
};

TEST_F(Runtimes, IssueWritesMaterialAndNeverAnswersTheToken) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  const std::filesystem::path folder = made["material"].get<std::string>();
  const std::string token = *read_file(folder / "token");
  EXPECT_EQ(made.dump().find(token), std::string::npos);
  EXPECT_EQ(made["driver"], "external");
  EXPECT_EQ(made["expires_at"], format_time(w.clock.unix_ms() / 1000 * 1000 + 3'600'000));
  struct stat st {};
  ASSERT_EQ(::stat(folder.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
  const json bootstrap = json::parse(*read_file(folder / "bootstrap.json"));
  EXPECT_EQ(bootstrap["instance"], made["id"]);
  EXPECT_EQ(bootstrap["config_url"], "http://127.0.0.1:8181");
}

TEST_F(Runtimes, IssueNeedsARelease) {
  w.must("app.create", {{"name", "web"}});
  EXPECT_EQ(w.error("runtime.issue", {{"app", "web"}}), "precondition_failed");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "runtime"}, {"app", "web"}}), "precondition_failed");
}

TEST_F(Runtimes, OutMustBeAbsoluteWrittenByNobodyElseAndOutsideTheStateFolder) {
  TemporaryFolder other;
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", "relative"}}), "bad_request");
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", w.folder.path() / "x"}}), "bad_request");
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", other.path() / "a" / "b"}}), "not_found");
  for (const unsigned mode : {0775U, 0757U, 0722U}) {
    ::chmod(other.path().c_str(), mode);
    EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", other.path()}}), "not_allowed") << mode;
  }
  ::chmod(other.path().c_str(), 0755);  // as mkdir makes it
  const json open = w.must("runtime.issue", {{"app", "api"}, {"out", other.path()}});
  EXPECT_TRUE(std::filesystem::exists(other.path() / "token"));
  w.must("runtime.stop", {{"instance", open["id"]}});
  const json made = w.must("runtime.issue", {{"app", "api"}, {"out", other.path() / "new"}});
  EXPECT_TRUE(std::filesystem::exists(other.path() / "new" / "token"));
  std::ofstream(other.path() / "new" / "mine") << "x";
  w.must("runtime.stop", {{"instance", made["id"]}});
  EXPECT_FALSE(std::filesystem::exists(other.path() / "new" / "token"));
  EXPECT_TRUE(std::filesystem::exists(other.path() / "new" / "mine"));  // what others put there stays
}

TEST_F(Runtimes, StopEndsRightsAndMaterialBeforeItAnswers) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  ASSERT_NE(w.grant(made["id"]), nullptr);
  EXPECT_EQ(w.must("runtime.stop", {{"instance", made["id"]}})["state"], "stopped");
  EXPECT_EQ(w.grant(made["id"]), nullptr);
  EXPECT_FALSE(std::filesystem::exists(made["material"].get<std::string>()));
  EXPECT_EQ(w.must("runtime.stop", {{"instance", made["id"]}})["state"], "stopped");  // again is fine
  w.restart(true);
  EXPECT_EQ(w.grant(made["id"]), nullptr);
}

// While a process uses its grace (on_stop is called in the middle of it), nobody else waits; its own end is answered
// when it is gone.
struct SlowProcesses : Runtimes {
  std::string instance, material;
  void SetUp() override {
    Runtimes::SetUp();
    instance = w.must("deploy.create", {{"app", "api"}, {"command", {"/bin/slow"}}})["instances"][0]["id"];
    material = w.launcher.running[instance].material;
    w.must("app.create", {{"name", "web"}});
    w.launcher.events.clear();
  }
  int ended = 0;
  void while_it_ends(std::function<void()> also = [] {}) {
    w.launcher.on_stop = [this, also = std::move(also)] {
      if (ended++ > 0) return;
      w.must("addon.list");
      w.must("op.list");
      w.must("config.set", {{"app", "web"}, {"values", {{"COLOUR", "green"}}}});
      w.must("deploy.create", {{"app", "web"}, {"command", {"/bin/other"}}});
      also();
    };
  }
  std::string state() {
    for (const json listed = w.must("runtime.list", {{"app", "api"}}); const json& item : listed["items"])
      if (item["id"] == instance) return item["state"];
    return "";
  }
};

TEST_F(SlowProcesses, StopLetsOthersGoOn) {
  while_it_ends([&] {
    EXPECT_EQ(w.grant(instance), nullptr) << "its rights ended at once";
    EXPECT_EQ(state(), "stopped");
    EXPECT_TRUE(std::filesystem::exists(material)) << "the process still reads it";
    // Nor is another told that it is stopped before it is.
    EXPECT_EQ(w.must("runtime.stop", {{"instance", instance}})["state"], "stopped");
    EXPECT_EQ(w.launcher.events.back(), "stop " + instance);
    EXPECT_FALSE(w.launcher.running.contains(instance));
  });
  EXPECT_EQ(w.must("runtime.stop", {{"instance", instance}})["state"], "stopped");
  EXPECT_EQ(ended, 2);
  EXPECT_FALSE(w.launcher.running.contains(instance));
  EXPECT_FALSE(std::filesystem::exists(material));
}

TEST_F(SlowProcesses, DeleteOfAnAppLetsOthersGoOn) {
  w.must("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  w.must("addon.destroy", {{"name", "db"}, {"force", true}, {"confirm", "db"}});
  while_it_ends([&] { EXPECT_EQ(w.error("app.show", {{"name", "api"}}), "not_found"); });
  w.must("app.delete", {{"name", "api"}});
  EXPECT_EQ(ended, 1);
  EXPECT_FALSE(w.launcher.running.contains(instance));
  EXPECT_FALSE(std::filesystem::exists(material));
}

TEST_F(SlowProcesses, ADeployThatFailsLetsOthersGoOn) {
  w.launcher.fail_after = 1;
  while_it_ends();
  w.launcher.on_stop = [this, was = w.launcher.on_stop] {
    w.launcher.fail_after = -1;
    was();
  };
  EXPECT_EQ(w.error("deploy.create", {{"app", "api"}, {"command", {"/bin/new"}}, {"replicas", 2}}), "not_found");
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(w.launcher.running.contains(instance));
  EXPECT_EQ(w.launcher.running.size(), 2U) << "it and that of the other app";
}

TEST_F(SlowProcesses, ARestartLetsOthersGoOnAndIsNoEndOfTheInstance) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  while_it_ends([&] {
    w.plane->on_process_state(instance, releases::ProcessState::exited, 0, 0);
    EXPECT_EQ(w.error("deploy.create", {{"app", "api"}}), "conflict") << "this app is worked on";
  });
  const json done = w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(ended, 1);
  EXPECT_TRUE(w.launcher.running.contains(instance));
  EXPECT_NE(w.grant(instance), nullptr);
  EXPECT_EQ(state(), "starting");
}

TEST_F(SlowProcesses, AnInstanceThatIsEndedDuringItsRestartStaysEnded) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  while_it_ends([&] { w.must("runtime.stop", {{"instance", instance}}); });
  w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_FALSE(w.launcher.running.contains(instance));
  EXPECT_EQ(w.grant(instance), nullptr);
  EXPECT_EQ(state(), "stopped");
}

TEST_F(SlowProcesses, AHostThatStopsWaitsForThem) {
  while_it_ends();
  std::thread stopping;
  std::atomic<bool> stopped{false};
  w.launcher.on_stop = [&, was = w.launcher.on_stop] {
    was();
    stopping = std::thread([&] {
      w.plane->stop();
      stopped = true;
    });
    while (w.error("addon.snapshot", {{"name", "db"}}) != "unavailable") std::this_thread::yield();
    EXPECT_FALSE(stopped) << "it has the launcher until the process is gone";
  };
  w.must("runtime.stop", {{"instance", instance}});
  stopping.join();
  EXPECT_FALSE(w.launcher.running.contains(instance));
}

TEST_F(Runtimes, ExpiredExternalInstanceIsStopped) {
  const std::string id = w.must("runtime.issue", {{"app", "api"}, {"ttl_seconds", 60}})["id"];
  w.clock.advance_ms(30'000);
  w.plane->refresh_tokens();
  EXPECT_NE(w.grant(id), nullptr);
  w.clock.advance_ms(31'000);
  w.plane->refresh_tokens();
  EXPECT_EQ(w.grant(id), nullptr);
  EXPECT_EQ(w.must("runtime.list")["items"][0]["state"], "stopped");
}

TEST_F(Runtimes, TokenOfASupervisedInstanceIsReplacedAfterTwoThirdsOfItsLife) {
  const std::string id =
      w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}})["instances"][0]["id"];
  const auto token = [&] { return *read_file(w.launcher.running.at(id).material / "token"); };
  const std::string first = token();
  w.clock.advance_ms(2'390'000);
  w.plane->refresh_tokens();
  EXPECT_EQ(token(), first);
  w.clock.advance_ms(11'000);
  w.plane->refresh_tokens();
  const std::string second = token();
  EXPECT_NE(second, first);
  w.plane->refresh_tokens();
  EXPECT_EQ(token(), second);
}

TEST_F(Runtimes, LifeOfATokenHasLimits) {
  for (const json& ttl : {json(0), json(-5), json(86401)})
    EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"ttl_seconds", ttl}}), "bad_request") << ttl;
}

TEST_F(Runtimes, MaterialThatCannotBeWrittenLeavesNoInstance) {
  std::filesystem::remove_all(w.folder.path() / "runtimes");
  std::ofstream(w.folder.path() / "runtimes") << "in the way";
  EXPECT_NE(w.error("runtime.issue", {{"app", "api"}}), "");
  EXPECT_EQ(w.authority->current()->size(), 0U);
}

TEST_F(Runtimes, RuntimeTokenIsAnInstanceOfTheCurrentRelease) {
  const json issued = w.must("identity.issue", {{"kind", "runtime"}, {"app", "api"}});
  const identity::TokenVerifier verifier(*w.keys, "via:test", w.clock);
  const auto claims = verifier.verify(issued["token"].get<std::string>());
  ASSERT_TRUE(claims) << claims.error().message;
  EXPECT_EQ(claims->app, "api");
  ASSERT_NE(w.grant(claims->instance), nullptr);
  EXPECT_EQ(w.grant(claims->instance)->release, claims->release);
}

TEST_F(Runtimes, BuildAndSessionTokensGiveNoInstance) {
  const identity::TokenVerifier verifier(*w.keys, "via:test", w.clock);
  const json build = w.must("identity.issue", {{"kind", "build"}, {"app", "api"}});
  EXPECT_EQ(verifier.verify(build["token"].get<std::string>()).error().code, Code::build_token);
  const json session = w.must("identity.issue", {{"kind", "session"}, {"subject", "ann"}});
  EXPECT_EQ(verifier.verify(session["token"].get<std::string>()).error().code, Code::session_token);
  EXPECT_EQ(w.must("runtime.list")["items"].size(), 0U);
}

}  // namespace
}  // namespace via::test
