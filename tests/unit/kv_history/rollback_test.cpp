// Bringing earlier states back.
#include "tests/unit/kv_history/store.hpp"

namespace via::sqlite::kv::test {
namespace {

TEST(KvRollback, RestoresTheStateBeforeTheLastOperationsAndCanBeUndone) {
  Store s;
  s.set("k", "1");
  s.set("k", "2");
  s.set("k", "3");
  EXPECT_EQ(s.rollback("k", 2), Json::parse(R"({"success":true,"key":"k","steps":2,"restored_op_number":1,"op_number":4,"exists":true})"));
  EXPECT_EQ(s.current("k")->value, "1");
  EXPECT_EQ(s.history("k")[0], Json::parse(R"([4,"rollback","3","1"])"));
  EXPECT_EQ(s.rollback("k")["op_number"], 5);
  EXPECT_EQ(s.current("k")->value, "3");
  EXPECT_EQ(s.rollback("k", 5)["exists"], false);
  EXPECT_FALSE(s.current("k"));
  EXPECT_FALSE(s.has_gaps("k"));
}

TEST(KvRollback, BringsADeletedKeyBackWithItsTypeAndWithoutATimeToLiveThatIsOver) {
  Store s;
  s.set("k", "{}", true, {}, "application/json");
  s.del("k");
  EXPECT_EQ(s.rollback("k")["exists"], true);
  EXPECT_EQ(s.current("k")->content_type, "application/json");
  s.set("t", "1", true, 100);
  s.del("t");
  s.now += 100;
  EXPECT_EQ(s.rollback("t")["exists"], false);
  EXPECT_FALSE(s.current("t"));
}

TEST(KvRollback, KeepsATimeToLiveThatIsNotOver) {
  Store s;
  s.set("k", "1", true, 1000);
  s.set("k", "2");
  s.now += 10;
  s.rollback("k");
  EXPECT_EQ(s.current("k")->expires_ms, s.now - 10 + 1000);
}

TEST(KvRollback, IsRefusedAcrossAGapAndChangesNothing) {
  Store s;
  s.set("k", "1");
  s.set("k", "dark", false);
  EXPECT_EQ(s.rollback("k"), Json::parse(R"({"refused":409,"error":"time-travel chain gap"})"));
  s.set("k", "2");
  EXPECT_EQ(s.rollback("k", 2).value("refused", 0), 409);
  EXPECT_EQ(s.current("k")->value, "2");
  EXPECT_EQ(s.rollback("k", 1)["exists"], true);
  EXPECT_EQ(s.current("k")->value, "dark");
}

TEST(KvRollback, MakesATableThatWasDroppedAgain) {
  Store s;
  s.set("k", "1");
  s.now += 10;
  s.del("k");
  s.sql("DROP TABLE kv_store");
  EXPECT_EQ(s.rollback("k")["exists"], true);
  EXPECT_EQ(s.current("k")->value, "1");
}

TEST(KvRollback, RefusesStepsThatCannotBe) {
  Store s;
  EXPECT_EQ(s.rollback("never").value("refused", 0), 404);
  s.set("k", "1");
  EXPECT_EQ(s.rollback("k", 0).value("refused", 0), 400);
  EXPECT_EQ(s.rollback("k", -1).value("refused", 0), 400);
  EXPECT_EQ(s.rollback("k", 2).value("refused", 0), 400);
  s.set("dark", "1", false);
  EXPECT_EQ(s.rollback("dark").value("refused", 0), 409);
}

TEST(KvTableRollback, RestoresEveryKeyAndRecordsIt) {
  Store s;
  const int64_t t = s.now;
  s.set("a", "1");
  s.set("b", "1");
  s.set("same", "1");
  s.now = t + 10;
  s.set("a", "2");
  s.del("b");
  s.set("c", "new");
  s.now = t + 20;
  const Json dry = s.rollback_to(t, {}, true);
  EXPECT_EQ(dry["stats"], Json::parse(R"({"created":1,"modified":1,"deleted":1})"));
  EXPECT_EQ(dry["dry_run"], true);
  EXPECT_EQ(s.current("a")->value, "2");
  const Json done = s.rollback_to(t);
  EXPECT_EQ(done["stats"], dry["stats"]);
  EXPECT_EQ(s.current("a")->value, "1");
  EXPECT_EQ(s.current("b")->value, "1");
  EXPECT_FALSE(s.current("c"));
  EXPECT_EQ(s.history("same").size(), 1u);
  EXPECT_EQ(s.history("c").size(), 2u);
  s.now = t + 30;
  s.rollback_to(t + 19);  // undone by another one
  EXPECT_EQ(s.current("a")->value, "2");
  EXPECT_FALSE(s.current("b"));
  EXPECT_EQ(s.current("c")->value, "new");
}

TEST(KvTableRollback, TakesOnlyTheKeysThatAreSelected) {
  Store s;
  const int64_t t = s.now;
  for (const char* key : {"a", "b", "c"}) s.set(key, "1");
  s.now = t + 10;
  for (const char* key : {"a", "b", "c"}) s.set(key, "2");
  Selection only;
  only.keys = {"a", "a", "unknown"};
  EXPECT_EQ(s.rollback_to(t, only)["changes"].size(), 1u);
  Selection but;
  but.exclude = {"c"};
  s.rollback_to(t, but);
  EXPECT_EQ(s.current("a")->value, "1");
  EXPECT_EQ(s.current("b")->value, "1");
  EXPECT_EQ(s.current("c")->value, "2");
  Selection none;
  none.keys.emplace();
  EXPECT_EQ(s.rollback_to(t, none)["changes"].size(), 0u);
}

TEST(KvTableRollback, IsAllOrNothingAcrossAGap) {
  Store s;
  const int64_t t = s.now;
  s.set("a", "1");
  s.set("z", "1");
  s.set("z", "dark", false);
  s.now = t + 10;
  s.set("a", "2");
  EXPECT_EQ(s.rollback_to(t).value("refused", 0), 409);
  EXPECT_EQ(s.current("a")->value, "2");
  const Json dry = s.rollback_to(t, {}, true);
  EXPECT_EQ(dry["gap_keys"], Json::array({"z"}));
  EXPECT_EQ(dry["has_gaps"], true);
  Selection but;
  but.exclude = {"z"};
  EXPECT_EQ(s.rollback_to(t, but)["stats"]["modified"], 1);
  EXPECT_EQ(s.current("z")->value, "dark");
}

TEST(KvSelection, ReadsTheBodyStrictly) {
  const auto status = [](std::string_view body) {
    Selection s;
    return Selection::parse(body, s).http_status;
  };
  EXPECT_EQ(status("{}"), 0);
  EXPECT_EQ(status(R"({"keys":["a"],"exclude_keys":["b"]})"), 0);
  EXPECT_EQ(status(R"({"keys":null})"), 0);
  for (const char* body : {"[]", "{", "\"x\"", R"({"keys":"a"})", R"({"keys":[1]})", R"({"key":["a"]})"}) EXPECT_EQ(status(body), 400) << body;
  std::string many = R"({"exclude_keys":["")";
  for (int i = 0; i < 9'999; ++i) many += R"(,"")";
  EXPECT_EQ(status(many + "]}"), 0);
  EXPECT_EQ(status(many + R"(,""]})"), 413);
}

}  // namespace
}  // namespace via::sqlite::kv::test
