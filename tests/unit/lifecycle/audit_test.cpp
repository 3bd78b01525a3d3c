#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

TEST(AuditTrail, EveryChangeIsThereAndNoSecretIs) {
  World w(true);
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
  w.must("config.set", {{"app", "api"}, {"values", {{"PASSWORD", "CANARY-value"}}}});
  w.must("config.unset", {{"app", "api"}, {"key", "PASSWORD"}});
  const json deploy = w.must("deploy.create", {{"app", "api"}, {"command", json::array({"run", "CANARY-argument"})},
                                               {"env", {{"KEY", "CANARY-environment"}}}});
  const json issued = w.must("identity.issue", {{"kind", "runtime"}, {"app", "api"}});
  const json runtime = w.must("runtime.issue", {{"app", "api"}});
  const std::string token = *read_file(std::filesystem::path(runtime["material"].get<std::string>()) / "token");
  w.must("runtime.stop", {{"instance", runtime["id"]}});
  w.must("addon.unbind", {{"app", "api"}, {"target", "db"}});
  w.must("addon.destroy", {{"name", "db"}, {"force", true}});
  w.must("plugin.trust", {{"file", "/opt/CANARY-path/x.so"}});
  w.must("plugin.untrust", {{"plugin", "box"}});
  w.addons.failing = {"provision"};
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "bad"}, {"app", "api"}}), "internal");

  std::string everything;
  std::set<std::string> actions;
  const auto entries = w.store->audit().list(0, 1000);
  for (const auto& entry : *entries) {
    actions.insert(entry.action);
    everything += entry.details + entry.outcome + entry.target + entry.actor;
  }
  const auto operations = w.store->journal().list(1000);
  for (const auto& operation : *operations) everything += operation.steps + operation.outcome;
  for (const auto& line : *w.lines)
    if (line.find("_failed") == std::string::npos) everything += line;
  everything += w.must("addon.status", {{"name", "bad"}}).dump() + w.must("status").value("checks", json()).dump();
  for (const std::string& secret : {std::string("CANARY"), token, issued["token"].get<std::string>(),
                                    w.folder.path().string()})
    EXPECT_EQ(everything.find(secret), std::string::npos) << secret;
  EXPECT_EQ(deploy.dump().find("CANARY-environment"), std::string::npos);
  for (const char* action : {"app.create", "addon.create", "addon.bind", "config.set", "config.unset", "deploy.create",
                             "identity.issue", "runtime.issue", "runtime.stop", "addon.unbind", "addon.destroy",
                             "plugin.trust", "plugin.untrust"})
    EXPECT_TRUE(actions.contains(action)) << action;
  EXPECT_EQ(*w.store->audit().verify(), 0);
}

TEST(AuditTrail, EveryOperationHasAnEnd) {
  World w;
  w.addon("db");
  w.addons.failing = {"bind"};
  EXPECT_NE(w.error("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}}), "");
  EXPECT_TRUE(w.store->journal().unfinished()->empty());
}

}  // namespace
}  // namespace via::test
