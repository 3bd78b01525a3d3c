// Credential generations: rotate adds one beside those that live, revoke ends exactly one.
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Rotation : ::testing::Test {
  World w;
  std::string instance, binding;
  const json which = {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}};
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    binding = w.must("app.show", {{"name", "api"}})["bindings"][0]["id"];
    w.must("deploy.create", {{"app", "api"}});
    instance = w.external();
  }
  json with(const json& more) const {
    json out = which;
    out.update(more);
    return out;
  }
  std::vector<std::uint32_t> live() {
    const auto* grant = w.grant(instance);
    if (grant == nullptr) return {};
    const auto* found = grant->find("DATABASE");
    return found == nullptr ? std::vector<std::uint32_t>{} : found->live_generations;
  }
  // What the request path does when an instance presents a generation.
  void use(std::uint32_t generation) {
    const auto* found = w.grant(instance)->find("DATABASE");
    ASSERT_NE(found, nullptr);
    w.index->find(instance)->note_use(found, generation, w.clock.unix_ms() / 1000);
  }
};

TEST_F(Rotation, AnswersAppBindingGenerationStatusAndOperationAndNoMaterial) {
  const json made = w.must("addon.rotate-credentials", which);
  EXPECT_EQ(made["app"], "api");
  EXPECT_EQ(made["addon"], "db");
  EXPECT_EQ(made["binding"], "DATABASE");
  EXPECT_EQ(made["generation"], 2);
  EXPECT_EQ(made["status"], "live");
  EXPECT_TRUE(made["operation"].get<std::string>().starts_with("op_"));
  EXPECT_EQ(made.size(), 6U);
  EXPECT_EQ(made.dump().find("CANARY"), std::string::npos);
  EXPECT_EQ(w.must("op.show", {{"operation", made["operation"]}}).dump().find("CANARY"), std::string::npos);
}

TEST_F(Rotation, OldGenerationWorksUntilRevoked) {
  w.must("addon.rotate-credentials", which);
  EXPECT_EQ(live(), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_TRUE(w.addons.bound.contains(binding + "/1"));
  EXPECT_TRUE(w.addons.bound.contains(binding + "/2"));
  const json revoked = w.must("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_EQ(revoked["generation"], 1);
  EXPECT_EQ(revoked["status"], "revoked");
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
  EXPECT_FALSE(w.addons.bound.contains(binding + "/1"));
  EXPECT_TRUE(w.addons.bound.contains(binding + "/2"));
  w.restart();
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
}

TEST_F(Rotation, RevokeReturnsWhenThePluginEndedTheGeneration) {
  bool visible_before_plugin = true;
  w.must("addon.rotate-credentials", which);
  w.addons.before = [&](const std::string& step) {
    if (step == "before revoke") visible_before_plugin = live() == std::vector<std::uint32_t>{1, 2};
  };
  w.must("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_FALSE(visible_before_plugin) << "rights end before the plugin is told";
}

TEST_F(Rotation, RevokeCommitsTwiceAndItsJournalRowWithTheGeneration) {
  w.must("addon.rotate-credentials", which);
  int commits = 0, alone = 0;
  bool inside = false, with_the_row = false, row = false;
  w.store->db().set_before_statement([&](std::string_view sql) {
    if (sql.starts_with("BEGIN")) inside = true, row = false;
    row = row || sql.starts_with("INSERT INTO operations");
    with_the_row = with_the_row || (row && sql.starts_with("UPDATE generations"));
    alone += !inside && (sql.starts_with("INSERT") || sql.starts_with("UPDATE")) ? 1 : 0;
    if (sql.starts_with("COMMIT")) inside = false, ++commits;
  });
  const json done = w.must("addon.revoke-credentials", with({{"generation", 1}}));
  w.store->db().set_before_statement({});
  EXPECT_EQ(commits, 2);
  EXPECT_EQ(alone, 0);
  EXPECT_TRUE(with_the_row);
  EXPECT_EQ(w.must("op.show", {{"operation", done["operation"]}})["steps"][0]["name"], "revoke");
}

TEST_F(Rotation, RevokeWhoseGrantsCannotBeBuiltIsNotCommitted) {
  w.must("addon.rotate-credentials", which);
  const auto operations = w.store->journal().list(1000)->size();
  bool changed = false, struck = false;
  w.store->db().set_before_statement([&](std::string_view sql) {
    changed = changed || sql.starts_with("UPDATE generations");
    if (!changed || !sql.starts_with("SELECT g.binding_id")) return;
    struck = true;
    throw Killed();
  });
  EXPECT_THROW((void)w.call("addon.revoke-credentials", with({{"generation", 1}})), Killed);
  w.store->db().set_before_statement({});
  EXPECT_TRUE(struck);
  EXPECT_EQ(live(), (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["bindings"][0]["generations"][0]["status"], "live");
  EXPECT_EQ(w.store->journal().list(1000)->size(), operations);
  w.must("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
}

TEST_F(Rotation, TheSameIdempotencyKeyRotatesOnce) {
  const json first = w.must("addon.rotate-credentials", with({{"idempotency_key", "k1"}}));
  EXPECT_EQ(w.must("addon.rotate-credentials", with({{"idempotency_key", "k1"}})), first);
  w.restart();
  EXPECT_EQ(w.must("addon.rotate-credentials", with({{"idempotency_key", "k1"}})), first);
  EXPECT_EQ(w.must("addon.rotate-credentials", with({{"idempotency_key", "k2"}}))["generation"], 3);
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
  EXPECT_EQ(w.error("addon.rotate-credentials", with({{"binding", "SECOND"}, {"idempotency_key", "k1"}})), "conflict");
  EXPECT_EQ(w.error("addon.rotate-credentials", with({{"idempotency_key", std::string(201, 'k')}})), "bad_request");
}

TEST_F(Rotation, AFailedOneLeavesTheGenerationsAsTheyWere) {
  for (const char* step : {"bind", "describe"}) {
    w.addons.failing = {step};
    EXPECT_EQ(w.error("addon.rotate-credentials", which), "internal") << step;
    w.addons.failing.clear();
    EXPECT_EQ(live(), std::vector<std::uint32_t>{1});
  }
  EXPECT_EQ(w.must("addon.rotate-credentials", which)["generation"], 2);
}

TEST_F(Rotation, RevokeOfAGenerationInUseIsRefusedWithTheInstances) {
  w.must("addon.rotate-credentials", which);
  use(1);
  const auto refused = w.call("addon.revoke-credentials", with({{"generation", 1}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().wire_name(), "refused");
  EXPECT_NE(refused.error().message.find(instance), std::string::npos);
  EXPECT_NE(refused.error().message.find("--yes"), std::string::npos);
  EXPECT_NE(refused.error().message.find("--when-unused"), std::string::npos);
  const json details = json::parse("{" + refused.error().details + "}");
  ASSERT_EQ(details["in_use"].size(), 1U);
  EXPECT_EQ(details["in_use"][0]["instance"], instance);
  EXPECT_EQ(details["in_use"][0]["generation"], 1);
  EXPECT_EQ(live(), (std::vector<std::uint32_t>{1, 2}));
  use(2);  // it has moved on
  w.must("addon.revoke-credentials", with({{"generation", 1}}));
}

TEST_F(Rotation, YesRevokesWhatIsInUse) {
  use(1);
  w.must("addon.revoke-credentials", with({{"generation", 1}, {"yes", true}}));
  EXPECT_TRUE(live().empty());
}

TEST_F(Rotation, WhenUnusedGivesUpWithoutRevoking) {
  w.must("addon.rotate-credentials", which);
  use(1);
  EXPECT_EQ(w.error("addon.revoke-credentials", with({{"generation", 1}, {"when_unused_seconds", 0}})), "deadline_exceeded");
  EXPECT_EQ(live(), (std::vector<std::uint32_t>{1, 2}));
  use(2);
  w.must("addon.revoke-credentials", with({{"generation", 1}, {"when_unused_seconds", 0}}));
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
}

TEST_F(Rotation, WhenUnusedWaitsForTheInstanceToMoveOn) {
  w.must("addon.rotate-credentials", which);
  use(1);
  const std::string operation =
      w.must("addon.revoke-credentials", with({{"generation", 1}, {"when_unused_seconds", 60}, {"wait", false}}))["operation"];
  EXPECT_EQ(w.error("op.wait", {{"operation", operation}, {"timeout_seconds", 0}}), "deadline_exceeded");
  EXPECT_EQ(live(), (std::vector<std::uint32_t>{1, 2}));
  use(2);
  EXPECT_EQ(w.must("op.wait", {{"operation", operation}, {"timeout_seconds", 60}})["state"], "done");
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
}

TEST_F(Rotation, TheOnlyGenerationCanBeRevokedAndTheNextRotationGivesAccessBack) {
  const json plan = w.must("addon.revoke-credentials", with({{"generation", 1}, {"plan", true}}));
  EXPECT_NE(plan["plan"]["warnings"].dump().find("only generation"), std::string::npos);
  w.must("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_TRUE(live().empty());
  EXPECT_EQ(w.must("addon.rotate-credentials", which)["generation"], 2) << "a number is never used twice";
  EXPECT_EQ(live(), std::vector<std::uint32_t>{2});
}

TEST_F(Rotation, RevokingTwiceIsFine) {
  w.must("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_EQ(w.must("addon.revoke-credentials", with({{"generation", 1}}))["status"], "revoked");
}

TEST_F(Rotation, WhatDoesNotExistIsNotFound) {
  EXPECT_EQ(w.error("addon.revoke-credentials", with({{"generation", 9}})), "not_found");
  EXPECT_EQ(w.error("addon.revoke-credentials", with({{"generation", 0}})), "bad_request");
  EXPECT_EQ(w.error("addon.revoke-credentials", which), "bad_request");
  EXPECT_EQ(w.error("addon.rotate-credentials", with({{"binding", "OTHER"}})), "not_found");
  EXPECT_EQ(w.error("addon.rotate-credentials", with({{"app", "other"}})), "not_found");
  w.addon("cache");
  EXPECT_EQ(w.error("addon.rotate-credentials", with({{"name", "cache"}})), "not_found") << "another add-on's binding";
}

TEST_F(Rotation, ARunningReleaseMayUseTheNewGenerationOfItsBinding) {
  const std::string other = w.external();
  w.must("addon.rotate-credentials", which);
  EXPECT_EQ(w.grant(other)->find("DATABASE")->live_generations, (std::vector<std::uint32_t>{1, 2}));
  w.must("deploy.create", {{"app", "api"}});
  EXPECT_EQ(w.must("release.list", {{"app", "api"}})["items"].size(), 2U);
}

}  // namespace
}  // namespace via::test
