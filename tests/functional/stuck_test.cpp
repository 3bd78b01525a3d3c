// Operations that do not end although they were told to: what their clients get, who waits for them (nobody), and how the host
// comes down with them. The plugin is one that ignores its cancellation until a file is there.
#include "functional/routes.hpp"

#include <fstream>
#include <future>
#include <thread>

namespace via::test {
namespace {

namespace fs = std::filesystem;

class StuckOperations : public World {
 protected:
  void SetUp() override {
    host.configure("[limits]\noperation_timeout_ms = 200\ndrain_timeout_ms = 1000\n");
    World::SetUp();
    admin("plugin.trust", {{"file", (fs::path(VIA_TEST_PLUGINS) / "faulty").string()}});
    admin("app.create", {{"name", "bad"}});
    admin("addon.create", {{"type", "faulty"}, {"name", "sore"}, {"app", "bad"}, {"bind", "SORE"}});
    admin("deploy.create", {{"app", "bad"}});
    runtime = issue("bad");
  }
  Response stall(const Runtime& who) { return caller(who).op("stall", json::object(), "SORE"); }
  // One call that is in the plugin now, and the thread that waits for its answer.
  std::future<Response> stalled(const Runtime& who) {
    const std::int64_t before = in_plugin();
    auto out = std::async(std::launch::async, [this, who] { return stall(who); });
    EXPECT_TRUE(eventually([&] { return in_plugin() > before; }));
    return out;
  }
  // Every stall writes nothing and looks at one file, so they are counted by the operations that went to a worker.
  std::int64_t in_plugin() {
    const std::string text = metrics(), name = "via_operations_total{where=\"worker\"} ";
    const auto at = text.find(name);
    return at == text.npos ? 0 : std::stoll(text.substr(at + name.size()));
  }
  void let_go() {
    for (const auto& entry : fs::directory_iterator(host.state_dir() / "addons" / "faulty"))
      std::ofstream(entry.path() / "go") << "go";
  }
  std::string storage_layer() {
    const json status = admin("addon.status", {{"name", "sore"}});
    for (const auto& layer : status["layers"])
      if (layer["name"] == "storage") return layer["detail"];
    return "";
  }
  bool check(const char* command, const char* name) {
    const json answer = admin(command);
    for (const auto& one : answer["checks"])
      if (one["name"] == name) return one["ok"];
    return true;
  }
  Runtime runtime;
};

TEST_F(StuckOperations, AreAnswered504AndTheAddOnSaysThatItIsDegraded) {
  expect_error(stall(runtime), 504, "deadline_exceeded");
  EXPECT_NE(storage_layer().find("degraded: 1 operation(s) were given up"), std::string::npos) << storage_layer();
  EXPECT_NE(storage_layer().find("still run"), std::string::npos);
  EXPECT_FALSE(check("status", "stuck_operations"));
  EXPECT_FALSE(check("doctor", "stuck_operations"));
  EXPECT_NE(host.log().find("operation_abandoned"), std::string::npos);
  EXPECT_NE(metrics().find("via_operations_abandoned_total 1"), std::string::npos);
  EXPECT_EQ(caller(runtime).op("echo", {{"a", 1}}, "SORE").status, 200) << "the rest of the add-on goes on";
  let_go();
  EXPECT_TRUE(eventually([&] { return host.log().find("operation_came_back") != std::string::npos; })) << host.log();
  EXPECT_EQ(storage_layer().find("still run"), std::string::npos);
}

TEST_F(StuckOperations, ThreeInAMinuteCloseTheAddOnToWhoMakesThemAndToNobodyElse) {
  const Runtime other = issue("bad");
  for (int i = 0; i < 3; ++i) expect_error(stall(runtime), 504, "deadline_exceeded");
  const Response refused = caller(runtime).op("echo", {{"a", 1}}, "SORE");
  expect_error(refused, 429, "closed_for_a_while");
  EXPECT_GT(std::stoi(refused.header("retry-after")), 1);
  EXPECT_EQ(caller(other).op("echo", {{"a", 1}}, "SORE").status, 200);
}

TEST_F(StuckOperations, DoNotHoldUpWhoEndsTheirRightsNorAnybodyElse) {
  auto running = stalled(runtime);
  auto revoking = std::async(std::launch::async, [this] {
    return admin("addon.revoke-credentials",
                 {{"name", "sore"}, {"app", "bad"}, {"binding", "SORE"}, {"generation", 1}, {"yes", true}});
  });
  // The control plane is not held meanwhile: whatever the order, both end, though the operation never does.
  admin("app.create", {{"name", "good"}});
  EXPECT_EQ(revoking.get()["status"], "revoked");
  const Response answer = running.get();
  EXPECT_GE(answer.status, 503);
  EXPECT_EQ(caller(runtime).op("echo", {{"a", 1}}, "SORE").status, 403);

  admin("addon.rotate-credentials", {{"name", "sore"}, {"app", "bad"}, {"binding", "SORE"}});
  admin("deploy.create", {{"app", "bad"}});
  const Runtime next = issue("bad");
  auto again = stalled(next);
  EXPECT_EQ(admin("runtime.stop", {{"instance", next.instance}})["state"], "stopped");
  EXPECT_GE(again.get().status, 503);
}

TEST_F(StuckOperations, KeepStorageOpenAndTheErrorSaysWhatEndsThem) {
  auto running = stalled(runtime);
  EXPECT_EQ(admin_error("addon.drain", {{"name", "sore"}, {"timeout_seconds", 0}}), "deadline_exceeded");
  EXPECT_EQ(admin_error("addon.destroy", {{"name", "sore"}, {"force", true}, {"confirm", "sore"}}), "unavailable");
  EXPECT_EQ(admin_error("addon.destroy", {{"name", "sore"}, {"forget", true}, {"confirm", "sore"}}), "unavailable") << "its data are here: nothing is left behind";
  EXPECT_GE(running.get().status, 503);
  EXPECT_EQ(admin("addon.list")["items"][0]["state"], "destroying") << "its rights have ended";
  EXPECT_EQ(caller(runtime).op("echo", {{"a", 1}}, "SORE").status, 403);
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_TRUE(admin("addon.list")["items"].empty()) << "the start finished it";
}

TEST_F(StuckOperations, DoNotKeepTheProcessWhenTheHostStops) {
  auto one = stalled(runtime), two = stalled(runtime);
  EXPECT_EQ(host.stop(), 0);
  EXPECT_GE(one.get().status, 0);  // an answer or a cut connection
  EXPECT_GE(two.get().status, 0);
  ASSERT_TRUE(host.start()) << "and the next start is clean: " << host.log();
  EXPECT_EQ(caller(issue("bad")).op("echo", {{"a", 1}}, "SORE").status, 200);
  EXPECT_TRUE(check("status", "operations"));
}

}  // namespace
}  // namespace via::test
