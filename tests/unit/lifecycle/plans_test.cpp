// Plans of destructive commands: they show what would be touched, change nothing, and hold only while they are true.
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Plans : ::testing::Test {
  World w;
  std::string snapshot;
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.must("deploy.create", {{"app", "api"}});
    snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  }
  std::vector<std::pair<std::string, json>> destructive() const {
    return {{"addon.destroy", {{"name", "db"}, {"force", true}}},
            {"addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}},
            {"addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}}},
            {"addon.revoke-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}}},
            {"addon.import", {{"name", "db"}, {"file", "/nowhere"}, {"force_after_timeout", 0}}}};
  }
  static json plus(json args, const json& more) {
    args.update(more);
    return args;
  }
};

TEST_F(Plans, ChangeNothing) {
  const auto before = w.store->journal().list(1000)->size();
  const auto entries = w.store->audit().head()->sequence;
  const auto calls = w.addons.calls;
  for (const auto& [command, args] : destructive()) {
    const json shown = w.must(command, plus(args, {{"plan", true}}));
    EXPECT_EQ(shown["plan"]["action"], command);
    EXPECT_EQ(shown["hash"].get<std::string>().size(), 64U) << command;
    EXPECT_EQ(w.must(command, plus(args, {{"plan", true}})), shown) << "the same world has the same plan";
  }
  EXPECT_EQ(w.store->journal().list(1000)->size(), before);
  EXPECT_EQ(w.store->audit().head()->sequence, entries);
  for (const char* call : {"drain", "suspend", "revoke", "take_snapshot", "deprovision"}) {
    const auto known = calls.find(call);
    EXPECT_EQ(w.addons.calls[call], known == calls.end() ? 0 : known->second) << call;
  }
}

TEST_F(Plans, NameEverythingThatWouldBeTouched) {
  const std::string instance = w.external();
  const std::string release = w.must("app.show", {{"name", "api"}})["current_release"];
  const json plan = w.must("addon.destroy", {{"name", "db"}, {"plan", true}})["plan"];
  const json touches = plan["touches"];
  EXPECT_EQ(plan["target"]["addon"], "db");
  EXPECT_EQ(touches["apps"], json::array({"api"}));
  EXPECT_EQ(touches["releases"], json::array({release}));
  EXPECT_EQ(touches["instances"], json::array({instance}));
  EXPECT_EQ(touches["snapshots"], json::array({snapshot}));
  ASSERT_EQ(touches["bindings"].size(), 1U);
  EXPECT_EQ(touches["bindings"][0]["binding"], "DATABASE");
  EXPECT_EQ(touches["bindings"][0]["generations"], json::array({1}));
  EXPECT_GT(touches["bytes"].get<int>(), 0);
}

TEST_F(Plans, ThePlanThatIsStillTrueIsApplied) {
  const std::string hash = w.must("addon.destroy", {{"name", "db"}, {"force", true}, {"plan", true}})["hash"];
  EXPECT_EQ(w.must("addon.destroy", {{"name", "db"}, {"force", true}, {"if_plan", hash}})["state"], "destroyed");
}

TEST_F(Plans, APlanThatIsNotTrueAnyMoreIsRefused) {
  std::map<std::string, std::string> hashes;
  for (const auto& [command, args] : destructive()) {
    if (command == "addon.snapshot.delete" || command == "addon.revoke-credentials") continue;
    hashes[command] = w.must(command, plus(args, {{"plan", true}}))["hash"];
  }
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
  for (const auto& [command, args] : destructive()) {
    if (!hashes.contains(command)) continue;
    EXPECT_EQ(w.error(command, plus(args, {{"if_plan", hashes[command]}})), "precondition_failed") << command;
  }
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "active");
  for (const auto& [command, args] : destructive())
    EXPECT_EQ(w.error(command, plus(args, {{"if_plan", std::string(64, '0')}})), "precondition_failed") << command;
}

TEST_F(Plans, WhoMakesAPlanForOneThingCannotUseItForAnother) {
  const std::string hash = w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"plan", true}})["hash"];
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}, {"force", true}, {"if_plan", hash}}), "precondition_failed");
  const std::string other = w.must("addon.snapshot", {{"name", "db"}})["id"];
  EXPECT_EQ(w.error("addon.restore", {{"name", "db"}, {"snapshot", other}, {"force_after_timeout", 0}, {"if_plan", hash}}),
            "precondition_failed");
}

TEST_F(Plans, HoldWhileTheDataGrows) {
  const std::string id = w.must("addon.status", {{"name", "db"}})["id"];
  const std::string hash = w.must("addon.destroy", {{"name", "db"}, {"force", true}, {"plan", true}})["hash"];
  (void)write_file_atomic(w.addons.folder(id) / "data", std::string(10'000, 'x'));
  w.must("addon.destroy", {{"name", "db"}, {"force", true}, {"if_plan", hash}});
}

struct AppPlans : ::testing::Test {
  World w;
  std::string instance;
  void SetUp() override {
    w.must("app.create", {{"name", "api"}});
    w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "hello"}}}});
    w.must("secret.set", {{"app", "api"}, {"key", "TOKEN"}, {"value", "CANARY"}});
    w.must("deploy.create", {{"app", "api"}});
    instance = w.external();
  }
  std::vector<std::pair<std::string, json>> destructive() const {
    return {{"config.unset", {{"app", "api"}, {"key", "GREETING"}}},
            {"secret.unset", {{"app", "api"}, {"key", "TOKEN"}}},
            {"runtime.stop", {{"instance", instance}}},
            {"app.delete", {{"name", "api"}}}};
  }
  json plan(const std::string& command, json args) {
    args["plan"] = true;
    return w.must(command, args);
  }
};

TEST_F(AppPlans, ChangeNothingAndNameWhatIsTouched) {
  const auto entries = w.store->audit().head()->sequence;
  for (const auto& [command, args] : destructive()) {
    const json shown = plan(command, args);
    EXPECT_EQ(shown["plan"]["action"], command);
    EXPECT_EQ(shown["plan"]["touches"]["apps"], json::array({"api"})) << command;
    EXPECT_EQ(shown["plan"]["touches"]["instances"], json::array({instance})) << command;
    EXPECT_EQ(shown.dump().find("CANARY"), std::string::npos);
    EXPECT_EQ(plan(command, args), shown) << "the same world has the same plan";
  }
  EXPECT_EQ(w.store->audit().head()->sequence, entries);
  const json touches = plan("app.delete", {{"name", "api"}})["plan"]["touches"];
  EXPECT_EQ(touches["config"], json::array({"GREETING"}));
  EXPECT_EQ(touches["secrets"], json::array({"TOKEN"}));
  EXPECT_EQ(plan("runtime.stop", {{"instance", instance}})["plan"]["warnings"].size(), 1U) << "it is the last";
}

TEST_F(AppPlans, AreAppliedWhileTheyAreTrueAndNoLonger) {
  std::map<std::string, std::string> old;
  for (const auto& [command, args] : destructive()) old[command] = plan(command, args)["hash"];
  w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "hello again"}, {"NEW", "1"}}}});
  w.must("secret.rotate", {{"app", "api"}, {"key", "TOKEN"}, {"value", "another"}});
  const std::string second = w.external();
  for (auto [command, args] : destructive()) {
    args["if_plan"] = old[command];
    EXPECT_EQ(w.error(command, args), "precondition_failed") << command;
  }
  for (auto [command, args] : destructive()) {
    args["if_plan"] = plan(command, args)["hash"];
    w.must(command, args);
  }
  EXPECT_EQ(w.error("app.show", {{"name", "api"}}), "not_found");
}

TEST_F(AppPlans, OfWhatIsNotThereIsAnError) {
  for (const char* command : {"config.unset", "secret.unset"})
    EXPECT_EQ(w.error(command, {{"app", "api"}, {"key", "NOTHING"}, {"plan", true}}), "not_found");
  EXPECT_EQ(w.error("runtime.stop", {{"instance", "ins_x"}, {"plan", true}}), "not_found");
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}});
  EXPECT_EQ(plan("app.delete", {{"name", "api"}})["plan"]["warnings"].size(), 1U) << "it owns an add-on";
  EXPECT_EQ(w.error("app.delete", {{"name", "api"}}), "refused");
}

}  // namespace
}  // namespace via::test
