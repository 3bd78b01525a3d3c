// Signing keys and the record of what is handed out, through the whole control plane.
#include <thread>

#include "core/identity/key_set.hpp"
#include "core/lifecycle/access_audit.hpp"
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct SigningKeysTest : ::testing::Test {
  World w{true};
  std::string first, instance;
  void SetUp() override {
    w.must("app.create", {{"name", "api"}});
    instance = w.must("deploy.create", {{"app", "api"}, {"command", {"x"}}})["instances"][0]["id"];
    first = w.must("identity.keys.list")["items"][0]["kid"];
  }
  Result<identity::Claims> verify(const std::string& token) {
    return identity::TokenVerifier(*w.keys, "via:test", w.clock).verify(token);
  }
  std::string token() { return *read_file(w.folder.path() / "runtimes" / instance / "token"); }
};
using SigningKeys = SigningKeysTest;

TEST_F(SigningKeys, RotateKeepsTokensGood) {
  const std::string old = token();
  w.clock.advance_ms(5000);
  const json key = w.must("identity.keys.rotate");
  EXPECT_EQ(key["state"], "active");
  EXPECT_NE(key["kid"], first);
  EXPECT_TRUE(verify(old));
  EXPECT_EQ(w.must("audit.list")["items"].back()["action"], "identity.keys.rotate");
}

TEST_F(SigningKeys, RevokeEndsTheTokensOfAKeyAndSupervisedInstancesHaveNewOnes) {
  const std::string old = token();
  const std::string external = w.external();
  w.clock.advance_ms(5000);
  EXPECT_EQ(w.error("identity.keys.revoke", {{"kid", first}}), "refused") << "the only one that signs";
  w.must("identity.keys.rotate");
  const json plan = w.must("identity.keys.revoke", {{"kid", first}, {"plan", true}})["plan"];
  EXPECT_EQ(plan["touches"]["instances"], json({instance, external}));
  EXPECT_EQ(plan["ends"], json({external}));
  EXPECT_TRUE(verify(old)) << "a plan changes nothing";
  const identity::KeySet* before = w.keys->peek();
  EXPECT_EQ(w.must("identity.keys.revoke", {{"kid", first}})["state"], "revoked");
  EXPECT_NE(w.keys->peek(), before) << "so that no cache answers for it";
  EXPECT_FALSE(verify(old));
  EXPECT_NE(token(), old);
  EXPECT_TRUE(verify(token()));
  EXPECT_EQ(w.must("identity.keys.revoke", {{"kid", first}})["state"], "revoked") << "again is no error";
  EXPECT_EQ(w.error("identity.keys.revoke", {{"kid", "key_nope"}}), "not_found");
}

TEST_F(SigningKeys, ChangeThatACrashInterruptedIsToldAsItIs) {
  w.clock.advance_ms(5000);
  w.must("identity.keys.rotate");
  for (const bool after : {false, true}) {
    store::Operation row;
    row.id = after ? "op_b" : "op_a";
    row.kind = "identity.keys.revoke";
    row.target = first;
    row.actor = "root";
    row.state = "running";
    row.steps = json{{"kid", first}}.dump();
    ASSERT_TRUE(w.store->journal().add(row));
    if (after) {
      ASSERT_TRUE(w.keys->revoke(first));
    }
    w.restart(true);
    EXPECT_EQ((*w.store->journal().find(row.id))->state, after ? "done" : "undone");
  }
}

struct AccessAuditTest : ::testing::Test {
  World w;
  std::vector<std::function<void()>> work;
  int transactions = 0;
  std::unique_ptr<lifecycle::AccessWriter> writer = *lifecycle::AccessWriter::open(*w.store, w.clock, w.log);
  lifecycle::AccessAudit audit{[this](const auto& accesses) {
                                 ++transactions;
                                 return writer->write(accesses);
                               },
                               [this](auto run) { work.push_back(std::move(run)); }, w.clock};
  void SetUp() override { w.must("app.create", {{"name", "api"}}); }
  void run() {
    auto todo = std::move(work);
    work.clear();
    for (auto& one : todo) one();
  }
  static lifecycle::Access access(const std::string& outcome = "ok") {
    return {"config.resolve", "ins_1", "api", outcome, R"({"keys":[]})"};
  }
  std::vector<json> entries() {
    std::vector<json> out;
    for (const json all = w.must("audit.list", {{"limit", 1000}}); const auto& entry : all["items"])
      if (entry["action"] == "config.resolve") out.push_back(entry);
    return out;
  }
};
using AccessAudit = AccessAuditTest;

TEST_F(AccessAudit, RequestsThatWaitTogetherShareATransactionAndAreToldWhenItIsDurable) {
  int told = 0;
  for (int i = 0; i < 20; ++i)
    audit.record(access(), [&](const Result<void>& written) {
      EXPECT_TRUE(written);
      EXPECT_EQ(entries().size(), 20U);
      ++told;
    });
  EXPECT_EQ(told, 0);
  run();
  EXPECT_EQ(told, 20);
  EXPECT_EQ(transactions, 1);
  EXPECT_EQ(*w.store->audit().verify(), 0);
  EXPECT_EQ(entries().front()["actor"], "ins_1");
  EXPECT_EQ(entries().front()["target"], w.must("app.show", {{"name", "api"}})["id"]);
}

TEST_F(AccessAudit, WhatCannotBeRecordedIsNotHandedOut) {
  writer->database().set_before_statement([](std::string_view sql) {
    if (sql.find("INSERT INTO audit") != std::string_view::npos) throw Killed();
  });
  Code code = Code::internal;
  audit.record(access(), [&](const Result<void>& written) { code = written.error().code; });
  run();
  EXPECT_EQ(code, Code::unavailable);
  writer->database().set_before_statement({});
  EXPECT_TRUE(entries().empty());
}

TEST_F(AccessAudit, ChangesAndAccessesFromTwoThreadsMakeOneChain) {
  std::thread changes([&] {
    for (int i = 0; i < 50; ++i) w.must("app.create", {{"name", "app-" + std::to_string(i)}});
  });
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(writer->write({access(), access()}));
  changes.join();
  EXPECT_EQ(entries().size(), 100U);
  EXPECT_EQ(*w.store->audit().verify(), 0);
}

TEST_F(AccessAudit, RefusalsAreNotedAtABoundedRate) {
  for (int i = 0; i < 1000; ++i) audit.refused(access("instance_unknown"));
  run();
  EXPECT_EQ(entries().size(), 10U);
  w.clock.advance_ms(1000);
  audit.refused(access("instance_unknown"));
  run();
  ASSERT_EQ(entries().size(), 11U);
  EXPECT_EQ(entries().back()["details"]["left_out"], 990);
}

}  // namespace
}  // namespace via::test
