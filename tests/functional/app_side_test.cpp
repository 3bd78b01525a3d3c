// The app's side over a real host: tokens that go away or expire, smoke tests over HTTP and TLS-less loopback, repair, the
// manifest, the doctor.
#include <fstream>

#include <sys/stat.h>

#include "support/world.hpp"

namespace via::test {
namespace {

struct AppSide : World {
  std::string problem_of(const json& answer) {
    const json problems = answer.value("problems", json::array());
    return problems.empty() ? "" : problems[0].value("code", "") + " / " + problems[0].value("recommend", "");
  }
  void expect_expired(const std::string& app) {
    const std::string expected = "runtime_identity_expired / vary app repair " + app + " --target {target}";
    for (const char* command : {"app.status", "app.doctor", "app.smoke"})
      EXPECT_EQ(problem_of(admin(command, {{"name", app}})), expected) << command;
  }
};

TEST_F(AppSide, SmokeGoesTheWayOfTheAppAndSeesWhatItSees) {
  const Runtime runtime = app_with_database("api");
  const json good = admin("app.smoke", {{"name", "api"}});
  EXPECT_EQ(good.value("ok", false), true) << good;
  EXPECT_EQ(good.dump().find(runtime.token), std::string::npos);
  bool resolved = false;
  for (const auto& check : good["checks"]) resolved = resolved || check["name"] == "resolve " + runtime.instance;
  EXPECT_TRUE(resolved) << good;
  EXPECT_EQ(host.log().find(runtime.token), std::string::npos);
}

TEST_F(AppSide, DeletedTokenIsReportedAndRepairBringsTheAppBack) {
  const Runtime runtime = app_with_database("api");
  std::filesystem::remove(runtime.material / "token");
  expect_expired("api");
  const json repaired = admin("app.repair", {{"name", "api"}});
  EXPECT_EQ(repaired["repaired"][0]["action"], "token_renewed") << repaired;
  const std::string fresh = text_of(runtime.material / "token");
  EXPECT_NE(fresh, runtime.token);
  EXPECT_EQ(Caller(host.port(), fresh).query("SELECT 1").status, 200);
  EXPECT_EQ(admin("app.status", {{"name", "api"}})["state"], "ok");
  EXPECT_EQ(admin("app.smoke", {{"name", "api"}})["ok"], true);
}

// The seed's own words, through the program that an app developer has.
TEST_F(AppSide, VaryReportsTheExpiredIdentityAndItsRecommendationWorks) {
  const Runtime runtime = app_with_database("api");
  const auto targets = host.folder() / "targets.toml";
  std::ofstream(targets) << "[targets.prod]\nstate_dir = \"" << host.state_dir().string() << "\"\n";
  const std::string program = (std::filesystem::path(VIA_BINARY).parent_path() / "vary").string();
  const auto vary = [&](const std::string& command, bool as_json) {
    std::vector<std::string> line{program, "app", command, "api", "--target", "prod"};
    if (as_json) line.push_back("--json");
    return run_program(line, {{"VARY_TARGETS", targets.string()}});
  };
  std::filesystem::remove(runtime.material / "token");
  for (const char* command : {"status", "doctor", "smoke"}) {
    const Finished told = vary(command, true);
    EXPECT_NE(told.exit_code, 0) << command;
    EXPECT_NE(told.out.find("runtime_identity_expired"), std::string::npos) << command << told.out << told.err;
    EXPECT_NE(told.out.find("vary app repair api --target prod"), std::string::npos) << command << told.out;
  }
  EXPECT_EQ(vary("repair", false).exit_code, 0);
  for (const char* command : {"status", "doctor", "smoke"}) {
    const Finished told = vary(command, true);
    EXPECT_EQ(told.exit_code, 0) << command << told.out << told.err;
    EXPECT_EQ(told.out.find("runtime_identity_expired"), std::string::npos) << command;
  }
}

TEST_F(AppSide, ExpiredInstanceIsIssuedAnewIntoItsOwnFolder) {
  app_with_database("api");
  const json before = admin("runtime.list", {{"app", "api"}});
  for (const json& one : before["items"]) admin("runtime.stop", {{"instance", one["id"]}});
  const std::filesystem::path folder = host.folder() / "material";
  const json made = admin("runtime.issue", {{"app", "api"}, {"out", folder.string()}, {"ttl_seconds", 1}});
  ASSERT_TRUE(eventually([&] {
    const json list = admin("runtime.list", {{"app", "api"}});
    for (const json& one : list["items"])
      if (one["id"] == made["id"]) return one["state"] == "stopped";
    return false;
  }));
  expect_expired("api");
  const json repaired = admin("app.repair", {{"name", "api"}});
  ASSERT_EQ(repaired["repaired"].size(), 1U) << repaired;
  EXPECT_EQ(repaired["repaired"][0]["action"], "issued");
  EXPECT_NE(text_of(folder / "token"), "");
}

TEST_F(AppSide, SupervisedProcessWhoseTokenIsForeignGetsAnother) {
  app_with_database("api");
  const Runtime other = issue("api");
  const json deployed = admin("deploy.create", {{"app", "api"}, {"command", {"sleep", "1000"}}});
  const std::string id = deployed["instances"][0]["id"];
  ASSERT_TRUE(eventually([&] { return admin("app.status", {{"name", "api"}})["state"] == "ok"; }));
  const auto token = host.state_dir() / "runtimes" / id / "token";
  std::ofstream(token, std::ios::trunc) << other.token;
  expect_expired("api");
  admin("app.repair", {{"name", "api"}});
  EXPECT_EQ(Caller(host.port(), text_of(token)).query("SELECT 1").status, 200);
  EXPECT_EQ(admin("app.status", {{"name", "api"}})["state"], "ok");
}

TEST_F(AppSide, ManifestMakesAnAppThatItsOwnSmokeTestAccepts) {
  const std::string text =
      "[app]\nname = \"shop\"\n[[addons]]\ntype = \"sqlite\"\nname = \"shop-db\"\nbind = \"DATABASE\"\n"
      "[config]\nGREETING = \"hello\"\n"
      "[health]\nsmoke = [{binding = \"DATABASE\", operation = \"query\", body = {sql = \"SELECT 1\"}}]\n";
  EXPECT_EQ(admin("app.manifest.apply", {{"manifest", text}})["changes"].size(), 4U);
  EXPECT_EQ(admin("app.manifest.apply", {{"manifest", text}})["changes"], json::array());
  admin("deploy.create", {{"app", "shop"}});
  issue("shop");
  const json smoked = admin("app.manifest.smoke", {{"manifest", text}});
  EXPECT_EQ(smoked["ok"], true) << smoked;
  EXPECT_EQ(smoked["checks"].back()["name"], "health DATABASE query");
}

TEST_F(AppSide, LogsOfAProcessComeWithoutItsToken) {
  app_with_database("api");
  admin("deploy.create", {{"app", "api"}, {"command", {"sh", "-c", "cat \"$VARY_CONFIG_TOKEN_PATH\"; echo; echo ready; exec sleep 1000"}}});
  json logs;
  ASSERT_TRUE(eventually([&] {
    logs = admin("app.logs", {{"name", "api"}})["items"];
    return logs.size() == 2;
  }));
  EXPECT_EQ(logs[0]["text"], "[token]");
  EXPECT_EQ(logs[1]["text"], "ready");
  const std::string bundle = admin("app.debug-bundle", {{"name", "api"}}).dump();
  EXPECT_EQ(bundle.find("eyJ"), std::string::npos);
  EXPECT_EQ(bundle.find(HostProcess::kCanary), std::string::npos);
}

TEST_F(AppSide, DoctorFindsARealHostHealthyAndClosesWhatIsOpen) {
  app_with_database("api");
  const auto bad = [&](const json& answer) {
    std::string names;
    for (const auto& check : answer["checks"])
      if (!check["ok"].get<bool>() && check["name"] != "disk") names += check["name"].get<std::string>() + ": " + check["detail"].get<std::string>() + "\n";
    return names;
  };
  EXPECT_EQ(bad(admin("doctor")), "");
  ::chmod(data_file("api-db", "api").c_str(), 0644);
  EXPECT_NE(bad(admin("doctor")).find("private_files"), std::string::npos);
  EXPECT_EQ(bad(admin("doctor", {{"fix", true}})), "");
  EXPECT_EQ(admin("doctor").dump().find(HostProcess::kCanary), std::string::npos);
}

}  // namespace
}  // namespace via::test
