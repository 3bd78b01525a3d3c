// What is handed out to apps, by a real host: secrets, checks with an identity of their own, keys that end, and the record
// of it all.
#include "functional/routes.hpp"

#include <atomic>
#include <fstream>
#include <thread>

namespace via::test {
namespace {

class HandingOut : public World {
 protected:
  std::vector<json> audit(const std::string& action) {
    std::vector<json> out;
    for (const json all = admin("audit.list", {{"limit", 1000}}); const auto& entry : all["items"])
      if (entry["action"] == action) out.push_back(entry);
    return out;
  }
};

TEST_F(HandingOut, SecretReachesTheAppAndNothingElse) {
  const Runtime runtime = app_with_database("api");
  admin("secret.set", {{"app", "api"}, {"key", "API_TOKEN"}, {"value", "CANARY-secret-value"}});
  const json answer = caller(runtime).resolve({{"keys", {"API_TOKEN"}}}).json();
  EXPECT_EQ(answer["values"], json::array({json{{"key", "API_TOKEN"}, {"scope", "config"}, {"generation", 1},
                                                {"value", "CANARY-secret-value"}, {"secret", true}}}));
  EXPECT_EQ(admin("audit.list", {{"limit", 1000}}).dump().find("CANARY-secret-value"), std::string::npos);
  EXPECT_EQ(admin("secret.list", {{"app", "api"}}).dump().find("CANARY-secret-value"), std::string::npos);
  EXPECT_EQ(host.log().find("CANARY-secret-value"), std::string::npos);
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(caller(runtime).resolve({{"keys", {"API_TOKEN"}}}).json()["values"][0]["value"], "CANARY-secret-value");
}

TEST_F(HandingOut, EachResolveAndRefreshIsInTheAuditRecordBeforeItsAnswer) {
  const Runtime runtime = app_with_database("api");
  const json answer = caller(runtime).resolve({{"keys", {"DATABASE", "NOPE"}}}).json();
  auto entries = audit("config.resolve");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0]["actor"], runtime.instance);
  EXPECT_EQ(entries[0]["outcome"], "ok");
  EXPECT_EQ(entries[0]["target"], admin("app.show", {{"name", "api"}})["id"]);
  EXPECT_EQ(entries[0]["details"], (json{{"release", runtime.release},
                                         {"keys", json::array({json{{"key", "DATABASE"}, {"generation", 1}}})},
                                         {"rejected", json::array()},
                                         {"missing", 1}}));
  caller(runtime).refresh({{"app", "api"},
                           {"release", runtime.release},
                           {"deploy", runtime.deploy},
                           {"profile_version", answer["profile_version"]},
                           {"keys", json::array({json{{"key", "DATABASE"}, {"scope", "addon"}, {"generation", 9}}})}});
  entries = audit("config.refresh");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0]["details"]["rejected"][0]["code"], "generation_unknown");
  admin("runtime.stop", {{"instance", runtime.instance}});
  expect_error(caller(runtime).resolve(), 403, "instance_unknown");
  ASSERT_TRUE(eventually([&] { return audit("config.resolve").size() == 2; }));
  EXPECT_EQ(audit("config.resolve")[1]["outcome"], "instance_unknown");
  EXPECT_EQ(admin("audit.verify")["ok"], true);
}

TEST_F(HandingOut, ResolveDoesNotWaitForAChangeThatWaitsForAProcess) {
  const Runtime other = app_with_database("api");
  admin("app.create", {{"name", "stubborn"}});
  const std::filesystem::path folder = host.state_dir() / "apps" / admin("app.show", {{"name", "stubborn"}})["id"] / "data";
  const json made = admin("deploy.create", {{"app", "stubborn"},
                                            {"fs", true},
                                            {"command", {"sh", "-c", "trap '' TERM; cp \"$VARY_CONFIG_TOKEN_PATH\" /data/part && mv /data/part /data/token; "
                                                                     "while [ ! -e /data/go ]; do sleep 0.05; done"}}});
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder / "token"); }));
  std::atomic<bool> stopped{false};
  std::thread stop([&] {
    admin("runtime.stop", {{"instance", made["instances"][0]["id"]}});
    stopped = true;
  });
  Runtime ending = other;
  ending.token = text_of(folder / "token");
  ASSERT_TRUE(eventually([&] { return caller(ending).query("SELECT 1").status == 403; })) << "its rights end before it does";
  EXPECT_EQ(caller(other).resolve().status, 200);
  EXPECT_FALSE(stopped) << "the resolve was answered while the process was still waited for";
  std::ofstream(folder / "go") << "go";
  stop.join();
}

TEST_F(HandingOut, CheckOfADeployHasAnIdentityUnderThePendingRelease) {
  const Runtime running = app_with_database("api");
  const std::filesystem::path folder = host.folder();
  const json begun = admin("deploy.create",
                           {{"app", "api"},
                            {"check", "cp \"$VARY_CONFIG_TOKEN_PATH\" " + (folder / "part").string() + " && mv " +
                                          (folder / "part").string() + " " + (folder / "copied").string() + "; while [ ! -e " +
                                          (folder / "go").string() + " ]; do sleep 0.05; done"},
                            {"wait", false}});
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(folder / "copied"); }));
  Runtime checker = running;
  checker.token = text_of(folder / "copied");
  const Response resolved = caller(checker).resolve();
  EXPECT_EQ(resolved.status, 200);
  const std::string pending = resolved.json()["release"];
  EXPECT_NE(pending, running.release);
  EXPECT_EQ(admin("release.show", {{"release", pending}})["status"], "pending");
  EXPECT_EQ(caller(checker).query("SELECT 1").status, 200);
  EXPECT_EQ(admin("app.show", {{"name", "api"}})["current_release"], running.release) << "not before it passed";
  std::ofstream(folder / "go") << "go";
  const json ended = admin("op.wait", {{"operation", begun["operation"]}});
  EXPECT_EQ(ended["state"], "done");
  EXPECT_EQ(ended["result"]["check"]["exit_code"], 0);
  EXPECT_EQ(admin("app.show", {{"name", "api"}})["current_release"], pending);
  expect_error(caller(checker).resolve(), 403, "instance_unknown");
  EXPECT_EQ(caller(running).query("SELECT 1").status, 200) << "what runs keeps its rights";
}

TEST_F(HandingOut, TokensOfARevokedKeyFailAtOnceAlsoThoseInACache) {
  const Runtime old = app_with_database("api");
  Caller app = caller(old);
  ASSERT_EQ(app.query("SELECT 1").status, 200);
  const std::string kid = admin("identity.keys.list")["items"][0]["kid"];
  admin("identity.keys.rotate");
  ASSERT_EQ(app.query("SELECT 1").status, 200) << "a retiring key still vouches";
  const Runtime fresh = issue("api");
  admin("identity.keys.revoke", {{"kid", kid}});
  expect_error(app.query("SELECT 1"), 401, "token_signature");
  EXPECT_EQ(caller(fresh).query("SELECT 1").status, 200);
}

}  // namespace
}  // namespace via::test
