#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

json program() { return json::array({"/bin/app", "--serve"}); }

struct DeploysTest : ::testing::Test {
  World w{true};
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  }
};
using Releases = DeploysTest;
using Deploys = DeploysTest;

TEST_F(Releases, LaterBindDoesNotTouchRunningRelease) {
  const std::string first = w.must("deploy.create", {{"app", "api"}})["release"]["id"];
  const std::string instance = w.external();
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
  EXPECT_EQ(w.must("release.show", {{"release", first}})["bindings"].size(), 1U);
  EXPECT_EQ(w.grant(instance)->bindings.size(), 1U);
  w.restart(true);
  EXPECT_EQ(w.grant(instance)->bindings.size(), 1U);
  w.must("deploy.create", {{"app", "api"}});
  EXPECT_EQ(w.grant(w.external())->bindings.size(), 2U);
  EXPECT_EQ(w.grant(instance)->bindings.size(), 1U);
}

TEST_F(Releases, LaterUnbindDoesNotTouchRunningRelease) {
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  w.must("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  ASSERT_NE(w.grant(instance)->find("DATABASE"), nullptr);
  EXPECT_EQ(w.grant(instance)->find("DATABASE")->live_generations, std::vector<std::uint32_t>{1});
  w.restart(true);
  EXPECT_NE(w.grant(instance)->find("DATABASE"), nullptr);
  w.must("deploy.create", {{"app", "api"}});
  EXPECT_EQ(w.grant(w.external())->find("DATABASE"), nullptr);
}

TEST_F(Releases, NumbersCountUpAndOneIsCurrent) {
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(w.must("deploy.create", {{"app", "api"}})["release"]["number"], i);
  const json list = w.must("release.list", {{"app", "api"}})["items"];
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0]["status"], "current");
  EXPECT_EQ(list[1]["status"], "superseded");
  EXPECT_EQ(list[2]["status"], "superseded");
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], list[0]["id"]);
}

TEST_F(Releases, KeepTheConfigurationVersionOfTheirDeploy) {
  w.must("config.set", {{"app", "api"}, {"values", {{"A", "1"}}}});
  EXPECT_EQ(w.must("deploy.create", {{"app", "api"}})["release"]["config_version"], 1);
}

TEST_F(Releases, RotatedGenerationIsLiveForRunningInstancesAndOlderOnesAreNotForNewReleases) {
  w.must("deploy.create", {{"app", "api"}});
  const std::string old = w.external();
  const std::string binding = w.must("app.show", {{"name", "api"}})["bindings"][0]["id"];
  ASSERT_TRUE(bindings::Bindings(w.store->db()).add_generation(binding, 2, "\"mode\":\"new\"", "{}", 1));
  w.restart(true);
  EXPECT_EQ(w.grant(old)->find("DATABASE")->live_generations, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(w.grant(old)->find("DATABASE")->descriptor, "\"mode\":\"new\"");
  w.must("deploy.create", {{"app", "api"}});
  const std::string fresh = w.external();
  EXPECT_EQ(w.grant(fresh)->find("DATABASE")->live_generations, std::vector<std::uint32_t>{2});
  EXPECT_EQ(w.grant(fresh)->find("DATABASE")->snapshot_generation, 2U);
  ASSERT_TRUE(bindings::Bindings(w.store->db()).revoke_generation(binding, 1, 2));
  w.restart(true);
  EXPECT_EQ(w.grant(old)->find("DATABASE")->live_generations, std::vector<std::uint32_t>{2});
  EXPECT_EQ(w.grant(old)->find("DATABASE")->newest_generation, 2U);
}

TEST_F(Deploys, StartNewProcessesBeforeTheOldOnesEnd) {
  const json first = w.must("deploy.create", {{"app", "api"}, {"command", program()}, {"replicas", 2}});
  ASSERT_EQ(first["instances"].size(), 2U);
  w.launcher.events.clear();
  const json second = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  ASSERT_EQ(w.launcher.events.size(), 3U);
  EXPECT_EQ(w.launcher.events[0], "start " + second["instances"][0]["id"].get<std::string>());
  EXPECT_TRUE(w.launcher.events[1].starts_with("stop "));
  EXPECT_EQ(w.launcher.running.size(), 1U);
  for (const auto& instance : first["instances"]) EXPECT_EQ(w.grant(instance["id"]), nullptr);
  EXPECT_NE(w.grant(second["instances"][0]["id"]), nullptr);
}

TEST_F(Deploys, OldProcessesKeepTheirRightsUntilTheyEnded) {
  const std::string old = w.must("deploy.create", {{"app", "api"}, {"command", program()}})["instances"][0]["id"];
  bool had_rights = false;
  w.launcher.on_stop = [&] { had_rights = w.grant(old) != nullptr; };
  w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  EXPECT_TRUE(had_rights);
  EXPECT_EQ(w.grant(old), nullptr);
}

TEST_F(Deploys, ProcessGetsMaterialAndNoAddonPath) {
  const json made = w.must("deploy.create", {{"app", "api"}, {"command", program()}, {"cwd", "/tmp"},
                                             {"env", {{"MODE", "x"}}}});
  const auto& spec = w.launcher.running.at(made["instances"][0]["id"]);
  EXPECT_EQ(spec.command, (std::vector<std::string>{"/bin/app", "--serve"}));
  EXPECT_EQ(spec.working_folder, "/tmp");
  ASSERT_EQ(spec.variables.size(), 1U);
  for (const char* file : {"token", "bootstrap.json", "bindings.json"})
    EXPECT_TRUE(std::filesystem::exists(spec.material / file)) << file;
  const auto claims = json::parse(*read_file(spec.material / "bindings.json"));
  EXPECT_EQ(claims, json::array({{{"binding", "DATABASE"}, {"type", "box"}, {"scopes", {"read", "write"}},
                                  {"generation", 1}}}));
}

TEST_F(Deploys, FailedStartKeepsThePreviousRelease) {
  const json first = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  w.launcher.fail_after = 1;
  EXPECT_NE(w.error("deploy.create", {{"app", "api"}, {"command", program()}, {"replicas", 2}}), "");
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], first["release"]["id"]);
  EXPECT_EQ(w.launcher.running.size(), 1U);
  EXPECT_TRUE(w.launcher.supervises(first["instances"][0]["id"]));
  const json deploys = w.must("deploy.list", {{"app", "api"}})["items"];
  EXPECT_EQ(deploys[0]["status"], "failed");
  EXPECT_EQ(deploys[1]["status"], "succeeded");
  EXPECT_EQ(w.authority->current()->size(), 1U);
}

TEST_F(Deploys, WithoutServerInstancesWaitForTheNextServe) {
  w.restart(false);
  const json made = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  EXPECT_EQ(made["instances"][0]["state"], "starting");
  EXPECT_TRUE(w.launcher.running.empty());
  w.restart(true);
  EXPECT_TRUE(w.launcher.supervises(made["instances"][0]["id"]));
}

TEST_F(Deploys, ReportedStatesAreStored) {
  const std::string id = w.must("deploy.create", {{"app", "api"}, {"command", program()}})["instances"][0]["id"];
  const auto state = [&] { return w.must("runtime.list", {{"app", "api"}})["items"][0]; };
  w.plane->on_process_state(id, releases::ProcessState::running, 4711, 0);
  EXPECT_EQ(state()["state"], "running");
  EXPECT_EQ(state()["pid"], 4711);
  w.plane->on_process_state(id, releases::ProcessState::failed, 4711, 1);
  EXPECT_EQ(state()["state"], "failed");
  EXPECT_NE(w.grant(id), nullptr);  // the runner starts it again
  w.plane->on_process_state(id, releases::ProcessState::exited, 0, 0);
  EXPECT_EQ(state()["state"], "stopped");
  EXPECT_EQ(w.grant(id), nullptr);
  w.restart(true);
  EXPECT_TRUE(w.launcher.running.empty());  // it was done
}

TEST_F(Deploys, ProcessesThatEndWithTheHostRunAgainAfterIt) {
  const std::string id = w.must("deploy.create", {{"app", "api"}, {"command", program()}})["instances"][0]["id"];
  w.plane->stop();
  w.plane->on_process_state(id, releases::ProcessState::exited, 0, 0);
  w.plane->refresh_tokens();
  w.restart(true);
  EXPECT_TRUE(w.launcher.supervises(id));
}

TEST_F(Deploys, ArgumentsThatMakeNoSenseAreRefused) {
  for (const json& wrong : {json{{"replicas", 0}}, json{{"replicas", 1000000000000}}, json{{"cwd", "relative"}},
                            json{{"env", {{"VIA_X", "1"}}}}, json{{"env", {{"A=B", "1"}}}},
                            json{{"command", json::array({""})}}}) {
    json args = {{"app", "api"}, {"command", program()}};
    args.update(wrong);
    EXPECT_EQ(w.error("deploy.create", args), "bad_request") << args;
  }
  EXPECT_EQ(w.must("deploy.list", {{"app", "api"}})["items"].size(), 0U);
}

}  // namespace
}  // namespace via::test
