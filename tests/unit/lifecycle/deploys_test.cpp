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

json checked(const std::string& check) {
  return {{"app", "api"}, {"command", program()}, {"check", check}};
}

using DeployChecks = DeploysTest;

TEST_F(DeployChecks, PassedCheckMakesTheReleaseCurrent) {
  const json made = w.must("deploy.create", checked("echo fine; test -r \"$VARY_CONFIG_TOKEN_PATH\" -a -r \"$VIA_BOOTSTRAP\""));
  EXPECT_EQ(made["status"], "succeeded");
  EXPECT_EQ(made["check"]["exit_code"], 0);
  EXPECT_EQ(made["check"]["output"], "fine\n");
  EXPECT_EQ(made["release"]["status"], "current");
  EXPECT_EQ(made["instances"].size(), 1U) << "the check's own is no replica";
  EXPECT_EQ(w.authority->current()->size(), 1U) << "and its rights have ended";
  EXPECT_EQ(w.must("deploy.show", {{"deploy", made["id"]}})["check"]["output"], "fine\n");
  const json steps = w.must("op.show", {{"operation", made["operation"]}})["steps"];
  std::string names;
  for (const auto& step : steps) names += step["name"].get<std::string>() + " ";
  EXPECT_EQ(names, "snapshot check launch switch stop_old ");
}

TEST_F(DeployChecks, FailedCheckLeavesTheCurrentReleaseAlone) {
  const json first = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  w.launcher.events.clear();
  const auto failed = w.call("deploy.create", checked("echo no >&2; exit 7"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Code::refused);
  const json details = json::parse("{" + failed.error().details + "}");
  EXPECT_EQ(details["check"]["exit_code"], 7);
  EXPECT_EQ(details["check"]["output"], "no\n");
  EXPECT_TRUE(w.launcher.events.empty());
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], first["release"]["id"]);
  EXPECT_NE(w.grant(first["instances"][0]["id"]), nullptr);
  EXPECT_EQ(w.authority->current()->size(), 1U);
  EXPECT_EQ(w.must("deploy.list", {{"app", "api"}})["items"][0]["status"], "failed");
  EXPECT_EQ(w.must("release.list", {{"app", "api"}})["items"][0]["status"], "failed");
  EXPECT_EQ(w.must("op.list", {{"state", "failed"}})["items"].size(), 1U);
  EXPECT_EQ(w.must("deploy.create", {{"app", "api"}, {"command", program()}})["release"]["number"], 3);
}

TEST_F(DeployChecks, AProgramThatIsNotThereFailsBeforeAnythingIsMade) {
  const json first = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  w.launcher.events.clear();
  w.launcher.missing = true;
  EXPECT_EQ(w.error("deploy.create", checked("true")), "refused");
  EXPECT_EQ(w.error("deploy.create", {{"app", "api"}, {"command", program()}}), "refused");
  EXPECT_TRUE(w.launcher.events.empty());
  EXPECT_EQ(w.must("deploy.list", {{"app", "api"}})["items"].size(), 1U);
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], first["release"]["id"]);
  w.must("deploy.create", {{"app", "api"}});  // runs nothing
}

TEST_F(DeployChecks, CheckThatTakesTooLongIsEnded) {
  json args = checked("sleep 60");
  args["check_timeout_seconds"] = 1;
  const auto failed = w.call("deploy.create", args);
  ASSERT_FALSE(failed);
  EXPECT_EQ(json::parse("{" + failed.error().details + "}")["check"]["exit_code"], 124);
}

TEST_F(DeployChecks, OutputHoldsNeitherTokensNorSecrets) {
  w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "CANARY-secret"}});
  for (const char* text : {"cat \"$VARY_CONFIG_TOKEN_PATH\"; echo; echo CANARY-secret; exit 1",
                           "cat \"$VARY_CONFIG_TOKEN_PATH\"; head -c 4000 /dev/zero | tr '\\0' x; exit 1"}) {
    const auto failed = w.call("deploy.create", checked(text));
    ASSERT_FALSE(failed);
    const std::string output = json::parse("{" + failed.error().details + "}")["check"]["output"];
    EXPECT_NE(output.find("[redacted]"), std::string::npos) << output;
    EXPECT_EQ(output.find("CANARY-secret"), std::string::npos);
    // What is left of a token whose head was cut off.
    EXPECT_EQ(output.find_first_not_of("x\n[redacted]"), std::string::npos) << output;
    EXPECT_EQ(w.must("deploy.show", {{"deploy", w.must("deploy.list", {{"app", "api"}})["items"][0]["id"]}})["check"]["output"],
              output);
  }
}

TEST_F(DeployChecks, CrashWhileOneRunsLeavesNoIdentityBehind) {
  const json first = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
  w.store->db().set_before_statement([](std::string_view sql) {
    if (sql.find("SET check_result") != std::string_view::npos) throw Killed();
  });
  EXPECT_THROW((void)w.call("deploy.create", checked("true")), Killed);
  EXPECT_EQ(w.authority->current()->size(), 2U) << "the check had rights";
  w.restart(true);
  EXPECT_EQ(w.authority->current()->size(), 1U);
  EXPECT_EQ(w.launcher.running.size(), 1U);
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], first["release"]["id"]);
  EXPECT_EQ(w.must("release.list", {{"app", "api"}})["items"][0]["status"], "failed");
  EXPECT_EQ(w.must("op.list", {{"state", "failed"}})["items"].size(), 1U);
}

TEST_F(DeployChecks, CancelledDeployEndsItsCheckAndLeavesTheCurrentRelease) {
  const json first = w.must("deploy.create", {{"app", "api"}});
  json args = checked("sleep 60");
  args["wait"] = false;
  const std::string operation = w.must("deploy.create", args)["operation"];
  EXPECT_EQ(w.error("deploy.create", {{"app", "api"}}), "conflict") << "the app is claimed meanwhile";
  w.must("op.cancel", {{"operation", operation}});
  EXPECT_EQ(w.must("op.wait", {{"operation", operation}})["state"], "cancelled");
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], first["release"]["id"]);
  EXPECT_NE(w.must("release.list", {{"app", "api"}})["items"][0]["status"], "pending");
}

TEST_F(DeployChecks, NeedARunningHost) {
  w.restart(false);
  EXPECT_EQ(w.error("deploy.create", checked("true")), "precondition_failed");
  EXPECT_TRUE(w.must("deploy.list", {{"app", "api"}})["items"].empty());
}

struct RollbackTest : DeploysTest {
  json first, second;
  std::string binding;
  void SetUp() override {
    DeploysTest::SetUp();
    first = w.must("deploy.create", {{"app", "api"}, {"command", {"/bin/old"}}, {"replicas", 2}, {"env", {{"A", "1"}}}});
    w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
    second = w.must("deploy.create", {{"app", "api"}, {"command", program()}});
    binding = w.must("release.show", {{"release", first["release"]["id"]}})["bindings"][0]["binding_id"];
  }
  void revoke(int generation) {
    w.must("addon.revoke-credentials",
           {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}, {"generation", generation}, {"yes", true}});
  }
  json rollback(json more = json::object()) {
    more.update({{"app", "api"}, {"to", "1"}});
    return w.must("deploy.rollback", more);
  }
};
using Rollback = RollbackTest;

TEST_F(Rollback, MakesANewReleaseWithTheOldBindingsAndCommand) {
  const json made = rollback();
  EXPECT_EQ(made["release"]["number"], 3);
  EXPECT_EQ(made["release"]["status"], "current");
  EXPECT_EQ(made["release"]["rollback_of"], first["release"]["id"]);
  EXPECT_EQ(made["command"], json({"/bin/old"}));
  EXPECT_EQ(made["reissued"], json::array());
  ASSERT_EQ(made["instances"].size(), 2U);
  EXPECT_EQ(w.launcher.running.size(), 2U) << "the process of the second release has ended";
  EXPECT_EQ(w.launcher.running.begin()->second.variables.size(), 1U);
  EXPECT_EQ(w.grant(made["instances"][0]["id"])->bindings.size(), 1U);
  EXPECT_EQ(w.error("deploy.rollback", {{"app", "api"}, {"to", "3"}}), "conflict");
  EXPECT_EQ(w.error("deploy.rollback", {{"app", "api"}, {"to", "9"}}), "not_found");
}

TEST_F(Rollback, SaysWhichGenerationsAreRevokedAndReissuesThem) {
  revoke(1);
  const auto refused = w.call("deploy.rollback", {{"app", "api"}, {"to", first["release"]["id"]}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::refused);
  EXPECT_EQ(json::parse("{" + refused.error().details + "}")["revoked"],
            json::array({{{"binding", "DATABASE"}, {"generation", 1}}}));
  EXPECT_NE(refused.error().message.find("--reissue"), std::string::npos);
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], second["release"]["id"]);

  const json made = rollback({{"reissue", true}});
  EXPECT_EQ(made["reissued"], json::array({{{"binding", "DATABASE"}, {"generation", 2}}}));
  EXPECT_TRUE(w.addons.bound.contains(binding + "/2"));
  const auto* grant = w.grant(made["instances"][0]["id"])->find("DATABASE");
  ASSERT_NE(grant, nullptr);
  EXPECT_EQ(grant->live_generations, std::vector<std::uint32_t>{2});
}

TEST_F(Rollback, ReissueUsesAGenerationThatLivesBeforeItMakesOne) {
  w.must("addon.rotate-credentials", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}});
  revoke(1);
  EXPECT_EQ(rollback({{"reissue", true}})["reissued"], json::array({{{"binding", "DATABASE"}, {"generation", 2}}}));
  EXPECT_FALSE(w.addons.bound.contains(binding + "/3"));
}

TEST_F(Rollback, PlanShowsItAllAndChangesNothing) {
  revoke(1);
  const json shown = w.must("deploy.rollback", {{"app", "api"}, {"to", "1"}, {"reissue", true}, {"plan", true}});
  EXPECT_EQ(shown["plan"]["revoked"], json::array({{{"binding", "DATABASE"}, {"generation", 1}}}));
  EXPECT_EQ(shown["plan"]["reissues"][0]["generation"], 2);
  EXPECT_EQ(shown["plan"]["ends"], json({second["instances"][0]["id"]}));
  EXPECT_EQ(w.must("release.list", {{"app", "api"}})["items"].size(), 2U);
  w.must("deploy.rollback", {{"app", "api"}, {"to", "1"}, {"reissue", true}, {"if_plan", shown["hash"]}});
  EXPECT_EQ(w.error("deploy.rollback", {{"app", "api"}, {"to", "2"}, {"if_plan", shown["hash"]}}), "precondition_failed");
}

TEST_F(Rollback, ToAReleaseWhoseAddonIsGoneIsRefused) {
  w.must("addon.destroy", {{"name", "db"}, {"force", true}});
  const std::string text = w.error_text("deploy.rollback", {{"app", "api"}, {"to", "1"}, {"reissue", true}});
  EXPECT_NE(text.find("DATABASE"), std::string::npos) << text;
  EXPECT_EQ(w.error("deploy.rollback", {{"app", "api"}, {"to", "1"}}), "refused");
}

TEST_F(Rollback, ToAReleaseThatNeverBecameCurrentIsRefused) {
  EXPECT_EQ(w.error("deploy.create", checked("false")), "refused");
  EXPECT_EQ(w.error("deploy.rollback", {{"app", "api"}, {"to", "3"}}), "refused");
}

TEST_F(Rollback, FailedRollbackLeavesTheCurrentReleaseAlone) {
  w.launcher.fail_after = 1;
  EXPECT_NE(w.error("deploy.rollback", {{"app", "api"}, {"to", "1"}}), "");
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["current_release"], second["release"]["id"]);
  EXPECT_EQ(w.launcher.running.size(), 1U);
  EXPECT_TRUE(w.launcher.supervises(second["instances"][0]["id"]));
}

TEST_F(Rollback, TheGenerationOfAFailedOneEnds) {
  revoke(1);
  w.launcher.fail_after = 1;
  EXPECT_NE(w.error("deploy.rollback", {{"app", "api"}, {"to", "1"}, {"reissue", true}}), "");
  w.launcher.fail_after = -1;
  for (const json shown = w.must("app.show", {{"name", "api"}}); const auto& bound : shown["bindings"])
    for (const auto& generation : bound["generations"])
      if (bound["id"] == binding) {
        EXPECT_EQ(generation["status"], "revoked") << generation;
      }
  EXPECT_FALSE(w.addons.bound.contains(binding + "/2"));
  const auto* grant = w.grant(second["instances"][0]["id"])->find("DATABASE");
  ASSERT_NE(grant, nullptr);
  EXPECT_TRUE(grant->live_generations.empty());
  EXPECT_EQ(rollback({{"reissue", true}})["reissued"], json::array({{{"binding", "DATABASE"}, {"generation", 3}}}))
      << "its number is never used again";
}

TEST_F(Rollback, DiffNamesWhatChanged) {
  const json diff = w.must("release.diff", {{"from", first["release"]["id"]}, {"to", second["release"]["id"]}});
  ASSERT_EQ(diff["bindings"].size(), 1U);
  EXPECT_EQ(diff["bindings"][0]["binding"], "SECOND");
  EXPECT_EQ(diff["bindings"][0]["change"], "added");
  EXPECT_EQ(diff["bindings"][0]["from"], nullptr);
  EXPECT_EQ(diff["command"], (json{{"from", {"/bin/old"}}, {"to", program()}}));
  const json back = w.must("release.diff", {{"from", second["release"]["id"]}, {"to", first["release"]["id"]}});
  EXPECT_EQ(back["bindings"][0]["change"], "removed");
  EXPECT_TRUE(w.must("release.diff", {{"from", first["release"]["id"]}, {"to", first["release"]["id"]}})["bindings"].empty());
  EXPECT_EQ(w.error("release.diff", {{"from", "rel_x"}, {"to", first["release"]["id"]}}), "not_found");
}

}  // namespace
}  // namespace via::test
