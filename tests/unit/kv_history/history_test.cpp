// What is recorded, what is marked, and what retention leaves.
#include "tests/unit/kv_history/store.hpp"

namespace via::sqlite::kv::test {
namespace {

TEST(KvHistory, OperationsOfAKeyAreNumberedAndDeletionKeepsCounting) {
  Store s;
  s.set("a", "1");
  s.set("b", "x");
  s.set("a", "2");
  s.del("a");
  s.set("a", "3");
  EXPECT_EQ(s.history("a"), Json::parse(R"([[4,"set",null,"3"],[3,"delete","2",null],[2,"set","1","2"],[1,"set",null,"1"]])"));
  EXPECT_EQ(s.history("b").size(), 1u);
  EXPECT_FALSE(s.has_gaps("a"));
}

TEST(KvHistory, AnUnrecordedChangeIsAGapEvenWhenTheValueComesBack) {
  Store s;
  s.set("k", "A");
  s.set("k", "B", false);
  EXPECT_TRUE(s.has_gaps("k"));
  s.set("k", "A", false);
  EXPECT_TRUE(s.has_gaps("k"));
  s.set("k", "C");
  EXPECT_TRUE(s.has_gaps("k"));
  EXPECT_EQ(s.history("k")[0], Json::parse(R"([2,"set","A","C"])"));
}

TEST(KvHistory, ChangesBySqlShowAsAGapAndTheValueBeforeIsTheRealOne) {
  Store s;
  s.set("k", "A");
  s.sql("UPDATE kv_store SET value=CAST('sql' AS BLOB) WHERE key='k'");
  EXPECT_TRUE(s.has_gaps("k"));
  s.set("k", "B");
  EXPECT_EQ(s.history("k")[0], Json::parse(R"([2,"set","sql","B"])"));
  EXPECT_TRUE(s.has_gaps("k"));
}

TEST(KvHistory, AnExpiredValueWasNotThereBeforeTheNextOperation) {
  Store s;
  s.set("k", "A", true, 100);
  s.now += 100;
  s.set("k", "B");
  EXPECT_EQ(s.history("k")[0], Json::parse(R"([2,"set",null,"B"])"));
  EXPECT_FALSE(s.has_gaps("k"));
}

TEST(KvHistory, EmptyAndBinaryValuesAreKeptApartFromNoValue) {
  Store s;
  s.set("k", "");
  s.set("k", std::string("\0\xff", 2));
  std::string raw;
  std::optional<Travel> travel;
  Store::must(Travel::open(s.connection(), s.table, s.now, travel));
  std::vector<Operation> seen;
  Store::must(travel->operations("k", INT64_MAX, [&](Operation&& o) { return seen.push_back(std::move(o)), true; }));
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].after->value, std::string("\0\xff", 2));
  ASSERT_TRUE(seen[0].before);
  EXPECT_EQ(seen[0].before->value, "");
  EXPECT_FALSE(seen[1].before);
}

TEST(KvHistory, TimesOfAKeyNeverDecreaseWhenTheClockGoesBack) {
  Store s;
  s.set("k", "A");
  s.now -= 5000;
  s.set("k", "B");
  s.now += 6000;
  EXPECT_EQ(s.at("k", 1'000'000'000'000 - 1), "-");
  EXPECT_EQ(s.at("k", 1'000'000'000'000), "B");
}

TEST(KvHistory, KeepsABoundedNumberOfOperationsAndTellsOfTheOthers) {
  Limits limits;
  limits.history_operations = 20;
  Store s(limits);
  for (int i = 1; i <= 500; ++i) {
    s.set("k", std::to_string(i));
    s.now += 10;
  }
  const Json h = s.history("k");
  EXPECT_GE(h.size(), 20u);
  EXPECT_LE(h.size(), 22u);
  EXPECT_EQ(h[0], Json::parse(R"([500,"set","499","500"])"));
  const int oldest = h.back()[0];
  EXPECT_EQ(h.back()[2], std::to_string(oldest - 1));
  EXPECT_TRUE(s.has_gaps("k"));
  const auto time = [](int n) { return 1'000'000'000'000 + (n - 1) * 10; };
  EXPECT_EQ(s.at("k", time(oldest)), std::to_string(oldest));
  EXPECT_EQ(s.at("k", time(oldest - 1)), std::to_string(oldest - 1));
  EXPECT_EQ(s.at("k", time(oldest - 1) - 1), "gap");
  EXPECT_EQ(s.rollback("k", 500).value("refused", 0), 409);
  EXPECT_EQ(s.rollback("k", 19).value("exists", false), true);
  EXPECT_EQ(s.at("k", s.now), "481");
}

TEST(KvHistory, ForgetsWhatIsTooOldButNeverAnswersWrongly) {
  Limits limits;
  limits.history_age_ms = 1000;
  Store s(limits);
  const int64_t begin = s.now;
  s.set("gone", "1");
  s.set("kept", "1");
  s.now += 10;
  s.del("gone");
  s.set("kept", "2");
  s.now += 5000;
  s.set("kept", "3");
  ForgetCursor cursor;
  bool done = false;
  while (!done) Store::must(forget(s.connection(), s.now, 1, cursor, done));
  EXPECT_EQ(s.at("kept", s.now - 1), "2");
  EXPECT_EQ(s.at("kept", begin), "gap");
  EXPECT_EQ(s.at("gone", begin), "gap");
  EXPECT_EQ(s.at("gone", s.now - 1000), "-");
  EXPECT_TRUE(s.table_at(begin)["has_gaps"]);
  EXPECT_FALSE(s.table_at(s.now - 1)["has_gaps"]);
  EXPECT_EQ(s.table_at(s.now - 1)["entries"].size(), 1u);
  EXPECT_EQ(s.connection().host_number("SELECT count(*) FROM _via_kv_history WHERE key='gone'"), 0);
  s.set("gone", "again");
  EXPECT_EQ(s.at("gone", begin), "gap");
  EXPECT_EQ(s.at("gone", s.now), "again");
}

TEST(KvHistory, WritingForgetsOtherKeysThatAreLongGone) {
  Limits limits;
  limits.history_age_ms = 1000;
  Store s(limits);
  for (int i = 0; i < 20; ++i) {
    s.set("session/" + std::to_string(i), "1");
    s.del("session/" + std::to_string(i));
  }
  s.now += 5000;
  for (int i = 0; i < 30; ++i) s.set("busy", std::to_string(i));
  EXPECT_EQ(s.connection().host_number("SELECT count(*) FROM _via_kv_history WHERE key LIKE 'session/%'"), 0);
  EXPECT_EQ(s.at("busy", s.now), "29");
  EXPECT_EQ(s.at("session/3", s.now), "-");
  EXPECT_EQ(s.at("session/3", s.now - 5000), "gap");
}

TEST(KvHistory, RefusesATableOfThatNameThatIsNotOurs) {
  Store s;
  s.sql("CREATE TABLE _via_kv_history(x)");
  Entry after{"v", "text/plain", s.now, s.now, {}};
  EXPECT_EQ(record(s.connection(), s.table, "k", "set", nullptr, &after, s.now).status, VIA_E_PRECONDITION);
  std::optional<Travel> travel;
  EXPECT_EQ(Travel::open(s.connection(), s.table, s.now, travel).status, VIA_E_PRECONDITION);
}

TEST(KvHistory, ATriggerOnItIsNotOurs) {
  Store s;
  s.set("k", "1");
  s.sql("CREATE TRIGGER t AFTER INSERT ON _via_kv_history BEGIN DELETE FROM kv_store; END");
  std::optional<Travel> travel;
  EXPECT_EQ(Travel::open(s.connection(), s.table, s.now, travel).status, VIA_E_PRECONDITION);
  s.open();
  EXPECT_EQ(record(s.connection(), s.table, "k", "delete", nullptr, nullptr, s.now).status, VIA_E_PRECONDITION);
  EXPECT_EQ(skip(s.connection(), s.table, "k", s.now).status, VIA_E_PRECONDITION);
}

TEST(KvHistory, ATableOfAnotherShapeIsNoKeyValueTable) {
  Store s;
  s.set("k", "1");
  s.sql("ALTER TABLE kv_store ADD COLUMN mine");
  std::optional<Travel> travel;
  EXPECT_EQ(Travel::open(s.connection(), s.table, s.now, travel).http_status, 400);
}

}  // namespace
}  // namespace via::sqlite::kv::test
