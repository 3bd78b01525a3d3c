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

}  // namespace
}  // namespace via::test
