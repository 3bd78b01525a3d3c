#include <fstream>

#include <sys/stat.h>

#include "core/lifecycle/app_health.hpp"
#include "prober.hpp"
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

const json* named(const json& list, const std::string& name) {
  for (const auto& one : list)
    if (one.value("name", "") == name) return &one;
  return nullptr;
}

struct AppHealth : ::testing::Test {
  World w{true};
  FakeProber prober;
  void SetUp() override {
    w.plane->set_prober(&prober);
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.must("deploy.create", {{"app", "api"}});
  }
  json status() { return w.must("app.status", {{"name", "api"}}); }
  json repair() { return w.must("app.repair", {{"name", "api"}}); }
  json smoke() { return w.must("app.smoke", {{"name", "api"}}); }
  json launched() { return w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}})["instances"][0]; }
  // Every one of status, doctor and smoke names the problem and what to do about it.
  void expect_expired() {
    const json now_is = status();
    EXPECT_EQ(now_is["state"], "degraded");
    for (const json& answer : {now_is, w.must("app.doctor", {{"name", "api"}}), smoke()}) {
      ASSERT_EQ(answer["problems"].size(), 1U) << answer;
      EXPECT_EQ(answer["problems"][0]["code"], "runtime_identity_expired");
      EXPECT_EQ(answer["problems"][0]["recommend"], "vary app repair api --target {target}");
    }
    EXPECT_EQ(w.must("app.doctor", {{"name", "api"}})["ok"], false);
    EXPECT_EQ(smoke()["ok"], false);
  }
  void expect_well() {
    const json now_is = status();
    EXPECT_EQ(now_is["state"], "ok") << now_is;
    EXPECT_EQ(now_is["problems"], json::array());
  }
};

TEST_F(AppHealth, NeverDeployedAppIsNotDeployed) {
  w.must("app.create", {{"name", "web"}});
  const json now_is = w.must("app.status", {{"name", "web"}});
  EXPECT_EQ(now_is["state"], "not_deployed");
  EXPECT_EQ(now_is["problems"][0]["recommend"], "via deploy create web");
  EXPECT_EQ(w.error("app.status", {{"name", "none"}}), "not_found");
}

TEST_F(AppHealth, GoodTokenIsOkAndNotShown) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  const json now_is = status();
  EXPECT_EQ(now_is["state"], "ok");
  EXPECT_EQ(now_is["identity"][0]["instance"], made["id"]);
  EXPECT_EQ(now_is["identity"][0]["state"], "ok");
  const std::string token = *read_file(fs::path(made["material"].get<std::string>()) / "token");
  EXPECT_EQ(now_is.dump().find(token), std::string::npos);
}

TEST_F(AppHealth, MissingTokenIsReportedAndRepairedInTheSameFolder) {
  TemporaryFolder other;
  const json made = w.must("runtime.issue", {{"app", "api"}, {"out", other.path() / "m"}});
  fs::remove(other.path() / "m" / "token");
  EXPECT_EQ(status()["identity"][0]["state"], "missing");
  expect_expired();
  const json done = repair();
  EXPECT_EQ(done["repaired"], json::array({{{"instance", made["id"]}, {"action", "token_renewed"}}}));
  EXPECT_TRUE(fs::exists(other.path() / "m" / "token"));
  expect_well();
}

TEST_F(AppHealth, DamagedForeignAndOpenTokensCannotBeUsed) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  const json second = w.must("runtime.issue", {{"app", "api"}});
  const fs::path token = fs::path(made["material"].get<std::string>()) / "token";
  ::chmod(token.c_str(), 0644);
  EXPECT_EQ(status()["identity"][0]["state"], "invalid");
  ASSERT_TRUE(write_file_atomic(token, "eyJhbGciOiJub25lIn0.e30."));
  EXPECT_EQ(status()["identity"][0]["state"], "invalid");
  // The token of another instance says another instance.
  ASSERT_TRUE(write_file_atomic(token, *read_file(fs::path(second["material"].get<std::string>()) / "token")));
  EXPECT_EQ(status()["identity"][0]["state"], "invalid");
  expect_expired();
  repair();
  expect_well();
}

TEST_F(AppHealth, TokenOfARevokedKeyIsReported) {
  w.must("runtime.issue", {{"app", "api"}});
  const std::string kid = w.keys->list().front().kid;
  ASSERT_TRUE(w.keys->rotate());
  EXPECT_EQ(status()["identity"][0]["state"], "ok");
  ASSERT_TRUE(w.keys->revoke(kid));
  expect_expired();
  repair();
  expect_well();
}

TEST_F(AppHealth, ExpiredInstanceThatEndedIsIssuedAnewIntoItsFolder) {
  TemporaryFolder other;
  const std::string folder = (other.path() / "m").string();
  const std::string old = w.must("runtime.issue", {{"app", "api"}, {"out", folder}, {"ttl_seconds", 60}})["id"];
  w.clock.advance_ms(61'000);
  EXPECT_EQ(status()["identity"][0]["state"], "expired");  // before the host noticed
  w.plane->refresh_tokens();
  ASSERT_EQ(w.grant(old), nullptr);
  expect_expired();
  const json done = repair();
  ASSERT_EQ(done["repaired"].size(), 1U) << done;
  EXPECT_EQ(done["repaired"][0]["action"], "issued");
  EXPECT_EQ(done["repaired"][0]["replaces"], old);
  const std::string fresh = done["repaired"][0]["instance"];
  EXPECT_NE(w.grant(fresh), nullptr);
  EXPECT_EQ(json::parse(*read_file(fs::path(folder) / "bootstrap.json"))["instance"], fresh);
  expect_well();
  EXPECT_EQ(repair()["repaired"], json::array());  // nothing is left to do
}

TEST_F(AppHealth, FolderThatWasTakenOverOutlivesARestart) {
  const json made = w.must("runtime.issue", {{"app", "api"}, {"ttl_seconds", 60}});
  w.clock.advance_ms(61'000);
  w.plane->refresh_tokens();
  repair();
  w.restart(true);
  EXPECT_TRUE(fs::exists(fs::path(made["material"].get<std::string>()) / "token"));
  expect_well();
}

TEST_F(AppHealth, InstanceThatAnOperatorStoppedIsNoProblem) {
  w.must("runtime.stop", {{"instance", w.external()}});
  w.clock.advance_ms(7'200'000);
  expect_well();
  EXPECT_EQ(repair()["repaired"], json::array());
}

TEST_F(AppHealth, ProcessWhoseTokenExpiredIsRestarted) {
  const std::string id = launched()["id"];
  w.launcher.events.clear();
  w.clock.advance_ms(3'700'000);  // no refresh came in time
  expect_expired();
  EXPECT_EQ(repair()["repaired"], json::array({{{"instance", id}, {"action", "restarted"}}}));
  EXPECT_EQ(w.launcher.events, (std::vector<std::string>{"stop " + id, "start " + id}));
  expect_well();
}

TEST_F(AppHealth, ProcessWhoseTokenIsGoneReadsTheNewOneItself) {
  const std::string id = launched()["id"];
  fs::remove(w.launcher.running.at(id).material / "token");
  w.launcher.events.clear();
  EXPECT_EQ(repair()["repaired"][0]["action"], "token_renewed");
  EXPECT_TRUE(w.launcher.events.empty());
  expect_well();
}

TEST_F(AppHealth, FailingProcessIsNamedAndRestarted) {
  const std::string id = launched()["id"];
  w.plane->on_process_state(id, releases::ProcessState::failed, 0, 1);
  const json now_is = status();
  EXPECT_EQ(now_is["problems"][0]["code"], "instance_failing");
  EXPECT_EQ(now_is["problems"][0]["recommend"], "vary app logs api --target {target}");
  EXPECT_EQ(repair()["repaired"][0]["action"], "restarted");
}

TEST_F(AppHealth, RepairThatCannotWriteSaysSo) {
  TemporaryFolder other;
  w.must("runtime.issue", {{"app", "api"}, {"out", other.path() / "m"}});
  fs::remove_all(other.path() / "m");
  std::ofstream(other.path() / "m") << "in the way";
  EXPECT_EQ(w.error("app.repair", {{"name", "api"}}), "not_allowed");
  EXPECT_EQ(w.must("op.list", {{"target", "api"}})["items"][0]["state"], "failed");
}

TEST_F(AppHealth, AddonTroubleOfTheReleaseIsAProblem) {
  w.must("addon.drain", {{"name", "db"}});
  EXPECT_EQ(status()["problems"][0]["code"], "addon_drained");
  w.must("addon.resume", {{"name", "db"}});
  w.addons.healthy = false;
  EXPECT_EQ(status()["problems"][0]["code"], "addon_unhealthy");
  w.addons.healthy = true;
  expect_well();
}

TEST_F(AppHealth, SmokeUsesTheInstancesOwnTokenAndShowsNothingItGot) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  const json out = smoke();
  EXPECT_EQ(out["ok"], true) << out;
  EXPECT_FALSE(out["operation"].get<std::string>().empty());
  ASSERT_EQ(prober.calls.size(), 2U);
  EXPECT_EQ(prober.calls[0].path, "/v1/runtime/config/resolve");
  EXPECT_EQ(prober.calls[0].token, *read_file(fs::path(made["material"].get<std::string>()) / "token"));
  EXPECT_EQ(json::parse(prober.calls[1].body)["keys"][0]["generation"], 1);
  EXPECT_EQ(out.dump().find("CANARY"), std::string::npos);
  EXPECT_EQ(out.dump().find(prober.calls[0].token), std::string::npos);
}

TEST_F(AppHealth, SmokeSeesAMissingDescriptorARejectedClaimAndARefusal) {
  w.must("runtime.issue", {{"app", "api"}});
  prober.refresh = {{"keys", {{{"key", "DATABASE"}, {"status", "rejected"}, {"code", "generation_revoked"}}}}};
  EXPECT_EQ(smoke()["problems"][0]["code"], "claims_rejected");
  prober.resolve["descriptors"] = json::array();
  EXPECT_EQ(smoke()["problems"][0]["code"], "binding_missing");
  prober.status = 403;
  const json out = smoke();
  EXPECT_EQ(out["ok"], false);
  EXPECT_NE(out["problems"][0]["message"].get<std::string>().find("instance_unknown"), std::string::npos);
}

TEST_F(AppHealth, SmokeWithoutAServerSaysThatTheHostIsNotRunning) {
  w.must("runtime.issue", {{"app", "api"}});
  w.plane->set_prober(nullptr);
  const json out = smoke();
  EXPECT_EQ(out["ok"], false);
  ASSERT_NE(named(out["checks"], "config_server"), nullptr);
  EXPECT_EQ((*named(out["checks"], "config_server"))["detail"], "the host is not running");
}

TEST_F(AppHealth, LogsAreTheLastLinesWithoutTokens) {
  const std::string id = launched()["id"];
  fs::create_directories(w.folder.path() / "logs");
  std::ofstream(w.folder.path() / "logs" / (id + ".log"))
      << "one\ntwo \x1b[31m\nthree eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ2aWEifQ.c2lnbmF0dXJl end\nBearer abcdefghijkl\n"
         "GET /c/cap_KvEfvInlsMAuKWd9oQZQ8ND9CkaIz0cinYfrvLEbSJI/api\n";
  const auto texts = [](const json& answer) {
    std::string out;
    for (const json& one : answer["items"]) out += one["text"].get<std::string>() + "\n";
    return out;
  };
  EXPECT_EQ(texts(w.must("app.logs", {{"name", "api"}, {"lines", 1}})), "GET /c/[token]\n");
  const json all = w.must("app.logs", {{"name", "api"}, {"instance", id}});
  EXPECT_EQ(texts(all), "one\ntwo \\x1b[31m\nthree [token] end\nBearer [token]\nGET /c/[token]\n");
  EXPECT_EQ(all["items"][0]["instance"], id);
  EXPECT_EQ(all["items"][0]["stream"], "stdout");
  EXPECT_EQ(all["more"], false);
  std::ofstream(w.folder.path() / "logs" / (id + ".log.1")) << "2027-01-15T08:00:00.250Z stderr P next\n";
  const json next = w.must("app.logs", {{"name", "api"}, {"cursor", all["cursor"]}});
  ASSERT_EQ(next["items"].size(), 1U) << next;
  EXPECT_EQ(next["items"][0], (json{{"instance", id}, {"time", "2027-01-15T08:00:00.250Z"}, {"stream", "stderr"}, {"text", "next"}, {"cut", true}}));
  EXPECT_EQ(texts(w.must("app.logs", {{"name", "api"}, {"since", "2027-01-15T08:00:00.250Z"}})), "next\n");
  EXPECT_EQ(texts(w.must("app.logs", {{"name", "api"}, {"since", "2027-01-15T08:00:00.251Z"}})), "");
}

TEST_F(AppHealth, LogsOfWhatIsNotThereNameWhatIs) {
  const std::string id = launched()["id"];
  for (const json& more : {json{{"lines", -1}}, json{{"lines", 10'001}}, json{{"wait_seconds", 31}}, json{{"cursor", "x"}}, json{{"cursor", "1:1"}, {"lines", 1}}}) {
    json arguments = {{"name", "api"}};
    arguments.update(more);
    EXPECT_EQ(w.error("app.logs", arguments), "bad_request") << more;
  }
  EXPECT_EQ(w.error("app.logs", {{"name", "apo"}}), "not_found");
  EXPECT_NE(w.error_text("app.logs", {{"name", "apo"}}).find("There are: api"), std::string::npos) << w.error_text("app.logs", {{"name", "apo"}});
  EXPECT_EQ(w.error("app.logs", {{"name", "api"}, {"instance", "ins_other"}}), "not_found");
  EXPECT_NE(w.error_text("app.logs", {{"name", "api"}, {"instance", "ins_other"}}).find(id), std::string::npos);
}

TEST_F(AppHealth, LogsGoWithTheAppAndLogsOfNobodyAreTrimmed) {
  const std::string id = launched()["id"];
  const fs::path logs = w.folder.path() / "logs";
  fs::create_directories(logs);
  const auto put = [&](const std::string& name) { std::ofstream(logs / name) << "2027-01-15T08:00:00.250Z stdout F x\n"; };
  put(id + ".log.1");
  put("ins_gone.log.3");
  w.plane->trim_logs();
  EXPECT_TRUE(fs::exists(logs / (id + ".log.1")));
  EXPECT_FALSE(fs::exists(logs / "ins_gone.log.3"));
  w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}});
  w.plane->trim_logs();
  EXPECT_TRUE(fs::exists(logs / (id + ".log.1"))) << "its instance ended, its release is there";
  w.must("app.create", {{"name", "shop"}});
  const std::string other = w.must("deploy.create", {{"app", "shop"}, {"command", json::array({"x"})}})["instances"][0]["id"];
  put(other + ".log.1");
  w.must("app.delete", {{"name", "shop"}});
  EXPECT_FALSE(fs::exists(logs / (other + ".log.1")));
  put(other + ".log.2");  // its last words came after that
  w.plane->trim_logs();
  EXPECT_FALSE(fs::exists(logs / (other + ".log.2")));
}

TEST_F(AppHealth, InspectNamesKeysAndShowsNoValue) {
  w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "CANARY-plain"}}}});
  const json out = w.must("app.inspect", {{"name", "api"}});
  EXPECT_EQ(out["configuration"][0]["key"], "GREETING");
  EXPECT_EQ(out["bindings"][0]["binding"], "DATABASE");
  EXPECT_EQ(out.dump().find("CANARY"), std::string::npos);
}

TEST_F(AppHealth, DebugBundleHoldsNoSecretOfAnyKind) {
  const json deployed = w.must("deploy.create", {{"app", "api"},
                                                 {"command", json::array({"x"})},
                                                 {"env", {{"HIDDEN", "CANARY-env"}}}});
  const std::string id = deployed["instances"][0]["id"];
  w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "CANARY-plain"}}}});
  w.must("secret.set", {{"app", "api"}, {"key", "KEY"}, {"value", "CANARY-secret"}});
  const std::string token = *read_file(w.launcher.running.at(id).material / "token");
  fs::create_directories(w.folder.path() / "logs");
  std::ofstream(w.folder.path() / "logs" / (id + ".log"))
      << "env CANARY-env plain CANARY-plain secret CANARY-secret token " << token << " in "
      << (w.folder.path() / "addons" / "x").string() << "\nplain line\n";
  const json out = w.must("app.debug-bundle", {{"name", "api"}});
  const std::string text = out.dump();
  EXPECT_EQ(text.find("CANARY"), std::string::npos) << text;
  EXPECT_EQ(text.find(token), std::string::npos);
  EXPECT_EQ(text.find(w.folder.path().string()), std::string::npos) << text;
  EXPECT_EQ(out["logs"][1]["text"], "plain line");
  for (const char* part : {"status", "doctor", "inspect", "operations", "audit", "plugins"}) EXPECT_FALSE(out[part].empty()) << part;
}

}  // namespace
}  // namespace via::test
