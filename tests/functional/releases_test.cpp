// Releases keep what they were made with; instances get exactly what was promised.
#include "functional/routes.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <set>
#include <sstream>

namespace via::test {
namespace {

class Releases : public World {
 protected:
  std::string log_of(const json& deploy) {
    const std::string instance = deploy["instances"][0].value("id", "");
    return (host.state_dir() / "logs" / (instance + ".log.1")).string();
  }
  // What the process printed, without times and streams.
  static std::string printed(const std::string& log) {
    std::string out;
    std::istringstream in(text_of(log));
    for (std::string line; std::getline(in, line);)
      if (const auto at = line.find(" F "); at != std::string::npos) out += line.substr(at + 3) + "\n";
    return out;
  }
};

TEST_F(Releases, BindAfterADeployChangesNothingUntilTheNextDeploy) {
  const Runtime first = app_with_database("api");
  admin("addon.create", {{"type", "sqlite"}, {"name", "second"}, {"app", "api"}, {"bind", "SECOND"}});
  expect_error(caller(first).op("query", {{"sql", "SELECT 1"}}, "SECOND"), 403, "unbound");
  EXPECT_EQ(caller(first).resolve().json()["descriptors"].size(), 1U);
  const Runtime same = issue("api");
  expect_error(caller(same).op("query", {{"sql", "SELECT 1"}}, "SECOND"), 403, "unbound");
  admin("deploy.create", {{"app", "api"}});
  expect_error(caller(first).op("query", {{"sql", "SELECT 1"}}, "SECOND"), 403, "unbound");
  const Runtime second = issue("api");
  EXPECT_EQ(caller(second).op("query", {{"sql", "SELECT 1"}}, "SECOND").status, 200);
  EXPECT_EQ(caller(second).resolve().json()["descriptors"].size(), 2U);
}

TEST_F(Releases, UnbindTouchesFutureReleasesOnly) {
  const Runtime first = app_with_database("api");
  ASSERT_EQ(caller(first).setup("CREATE TABLE t(a)").status, 200);
  admin("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  EXPECT_EQ(caller(first).execute("INSERT INTO t VALUES(1)").status, 200);
  EXPECT_EQ(caller(issue("api")).query("SELECT 1").status, 200) << "of the same release";
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(caller(first).query("SELECT 1").status, 200) << "also after a restart";
  admin("deploy.create", {{"app", "api"}});
  expect_error(caller(issue("api")).query("SELECT 1"), 403, "unbound");
}

TEST_F(Releases, RebindUnderTheSameNameKeepsTheRunningReleaseOnItsOwnData) {
  const Runtime first = app_with_database("api");
  ASSERT_EQ(caller(first).setup("CREATE TABLE t(a); INSERT INTO t VALUES('old')").status, 200);
  admin("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  admin("addon.create", {{"type", "sqlite"}, {"name", "fresh"}, {"app", "api"}, {"bind", "DATABASE"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime second = issue("api");
  EXPECT_EQ(caller(second).query("SELECT * FROM t").status, 400) << "no such table in the new database";
  EXPECT_EQ(rows_of(caller(first).query("SELECT a FROM t")), json({{"old"}}));
}

TEST_F(Releases, ConfigValuesAreSnapshotsThatRefreshTells) {
  admin("app.create", {{"name", "api"}});
  admin("config.set", {{"app", "api"}, {"values", {{"GREETING", "hello"}, {"EMPTY", ""}}}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  Caller app = caller(runtime);
  json answer = app.resolve({{"keys", {"GREETING", "EMPTY", "NOPE"}}}).json();
  EXPECT_EQ(answer["values"],
            json::parse(R"([{"key":"GREETING","scope":"config","generation":1,"value":"hello"},
                                             {"key":"EMPTY","scope":"config","generation":1,"value":""}])"));
  EXPECT_EQ(answer["missing"], json({"NOPE"}));
  const std::int64_t version = answer["profile_version"];
  admin("config.set", {{"app", "api"}, {"values", {{"GREETING", "good day"}}}});
  admin("config.unset", {{"app", "api"}, {"key", "EMPTY"}});
  const json keys = app.refresh({{"app", answer["app"]},
                                 {"release", answer["release"]},
                                 {"deploy", answer["deploy"]},
                                 {"profile_version", version},
                                 {"keys",
                                  {{{"key", "GREETING"}, {"scope", "config"}, {"generation", 1}},
                                   {{"key", "EMPTY"}, {"scope", "config"}, {"generation", 1}}}}})
                        .json()["keys"];
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0].value("status", ""), "updated");
  EXPECT_EQ(keys[0].value("value", ""), "good day");
  EXPECT_EQ(keys[0].value("generation", 0), 2);
  EXPECT_EQ(keys[1].value("status", ""), "rejected");
  EXPECT_EQ(keys[1].value("code", ""), "not_found");
}

TEST_F(Releases, ResolveAnswersTheShapeOfTheContract) {
  const Runtime runtime = app_with_database("api");
  const Response answer = caller(runtime).resolve({{"keys", {"DATABASE", "DATABASE_URL"}}});
  EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  const json body = answer.json();
  EXPECT_EQ(body["app"], "api");
  EXPECT_EQ(body["release"], runtime.release);
  EXPECT_EQ(body["deploy"], runtime.deploy);
  const json descriptor = body["descriptors"][0];
  EXPECT_EQ(descriptor["binding"], "DATABASE");
  EXPECT_EQ(descriptor["type"], "sqlite");
  EXPECT_EQ(descriptor["scope"], "addon");
  EXPECT_EQ(descriptor["generation"], 1);
  EXPECT_EQ(descriptor["mode"], "proxy");
  EXPECT_EQ(descriptor["access"], "read_write");
  EXPECT_EQ(descriptor["endpoint"], "/v1/runtime/addons/DATABASE");
  EXPECT_EQ(descriptor["operations"], json({"query", "execute", "setup", "batch"}));
  EXPECT_EQ(body["values"], json::array({json{{"key", "DATABASE_URL"},
                                              {"scope", "addon"},
                                              {"generation", 1},
                                              {"value", host.url() + "/v1/runtime/addons/DATABASE"},
                                              {"secret", true}}}));
}

TEST_F(Releases, MaterialIsPrivateAndHoldsWhatWasPromised) {
  const Runtime runtime = app_with_database("api", true);
  struct stat st {};
  ASSERT_EQ(::stat(runtime.material.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(runtime.material)) {
    names.insert(entry.path().filename());
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600U) << entry.path();
  }
  EXPECT_EQ(names, (std::set<std::string>{"token", "bootstrap.json", "bindings.json"}));
  EXPECT_EQ(json::parse(text_of(runtime.material / "bootstrap.json")), (json{{"config_url", host.url()},
                                                                             {"app", "api"},
                                                                             {"deploy", runtime.deploy},
                                                                             {"release", runtime.release},
                                                                             {"instance", runtime.instance},
                                                                             {"env", "production"}}));
  EXPECT_EQ(json::parse(text_of(runtime.material / "bindings.json")),
            json::array({json{
                {"binding", "DATABASE"}, {"type", "sqlite"}, {"scopes", {"read"}}, {"generation", 1}}}));
  admin("runtime.stop", {{"instance", runtime.instance}});
  EXPECT_FALSE(std::filesystem::exists(runtime.material));
}

TEST_F(Releases, LaunchedProcessGetsExactlyThePromisedEnvironment) {
  host.kill();
  host.environment = {{"SECRET_OF_THE_HOST", "s3cr3t"}, {"AWS_KEY", "k"}, {"LD_LIBRARY_PATH", "/nowhere"}};
  ASSERT_TRUE(host.start());
  app_with_database("api");
  const json deploy = admin(
      "deploy.create",
      {{"app", "api"}, {"command", {"/usr/bin/env"}}, {"cwd", "/tmp"}, {"env", {{"MODE", "test"}}}});
  const std::string log = log_of(deploy);
  ASSERT_TRUE(eventually([&] { return printed(log).find("VIA_BOOTSTRAP") != std::string::npos; }));
  std::map<std::string, std::string> seen;
  std::string text = printed(log);
  for (std::size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const std::string entry = text.substr(at, end - at);
    seen[entry.substr(0, entry.find('='))] = entry.substr(entry.find('=') + 1);
  }
  seen.erase("PATH");
  EXPECT_EQ(seen,
            (std::map<std::string, std::string>{{"HOME", "/tmp"},
                                                {"LANG", "C.UTF-8"},
                                                {"TZ", "UTC"},
                                                {"MODE", "test"},
                                                {"VARY_CONFIG_URL", host.url()},
                                                {"VARY_CONFIG_TOKEN_PATH", "/run/via/token"},
                                                {"VARY_ENVIRONMENT", "production"},
                                                {"VIA_BOOTSTRAP", "/run/via/bootstrap.json"}}));
  EXPECT_EQ(text.find("data.sqlite"), std::string::npos);
  EXPECT_EQ(text.find("addons"), std::string::npos);
}

TEST_F(Releases, LaunchedProcessInheritsNoDescriptorOfTheHost) {
  app_with_database("api");
  const json deploy =
      admin("deploy.create", {{"app", "api"}, {"command", {"/bin/sh", "-c", "ls -l /proc/$$/fd; echo END"}}});
  const std::string log = log_of(deploy);
  ASSERT_TRUE(eventually([&] { return text_of(log).find("END") != std::string::npos; }));
  const std::string text = printed(log);
  EXPECT_EQ(text.find("socket:"), std::string::npos) << text;
  EXPECT_EQ(text.find("sqlite"), std::string::npos) << text;
  EXPECT_EQ(text.find("control-plane"), std::string::npos) << text;
  EXPECT_EQ(text.find(" 3 -> "), std::string::npos) << text;
}

TEST_F(Releases, LaunchedProcessUsesItsBindingAndIsReplacedByTheNextDeploy) {
  app_with_database("api");
  const auto marks = host.state_dir() / "apps" / admin("app.show", {{"name", "api"}})["id"] / "data" / "marks";
  const std::string script = "echo start $$ >> /data/marks; exec sleep 1000";
  const json first = admin("deploy.create", {{"app", "api"}, {"fs", true}, {"command", {"/bin/sh", "-c", script}}});
  const auto count = [&] {
    const std::string text = text_of(marks);
    return std::count(text.begin(), text.end(), '\n');
  };
  const auto state = [&](const std::string& id) {
    for (const json listed = admin("runtime.list", {{"app", "api"}}); const json& item : listed["items"])
      if (item.value("id", "") == id) return item;
    return json::object();
  };
  const std::string id = first["instances"][0].value("id", "");
  ASSERT_TRUE(eventually([&] { return count() == 1 && state(id).value("state", "") == "running"; }));
  const pid_t pid = state(id).value("pid", 0);
  ASSERT_GT(pid, 0);
  const std::string token = text_of(host.state_dir() / "runtimes" / id / "token");
  EXPECT_EQ(Caller(host.port(), token).query("SELECT 1").status, 200);

  host.kill();
  EXPECT_TRUE(eventually([&] { return ::kill(pid, 0) != 0; })) << "an app never outlives its host";
  ASSERT_TRUE(host.start()) << host.log();
  ASSERT_TRUE(eventually([&] { return count() == 2; })) << "it is launched again";
  const std::string fresh = text_of(host.state_dir() / "runtimes" / id / "token");
  EXPECT_EQ(Caller(host.port(), fresh).query("SELECT 1").status, 200);

  const json second = admin("deploy.create", {{"app", "api"}, {"fs", true}, {"command", {"/bin/sh", "-c", script}}});
  ASSERT_TRUE(eventually([&] { return count() == 3; }));
  EXPECT_EQ(state(id).value("state", ""), "stopped");
  expect_error(Caller(host.port(), fresh).query("SELECT 1"), 403, "instance_unknown");
  EXPECT_EQ(host.stop(), 0);
  const std::string second_id = second["instances"][0].value("id", "");
  EXPECT_FALSE(second_id.empty());
}

}  // namespace
}  // namespace via::test
