// Earlier states of keys and tables.
#include "tests/unit/kv_history/store.hpp"

namespace via::sqlite::kv::test {
namespace {

TEST(KvTravel, AKeyAtATimeIsWhatItsLastOperationUpToThenLeft) {
  Store s;
  const int64_t t = s.now;
  s.set("k", "1");
  s.now = t + 10;
  s.set("k", "2");
  s.set("k", "3");  // the same millisecond: the later one counts
  s.now = t + 20;
  s.del("k");
  s.now = t + 30;
  EXPECT_EQ(s.at("k", t - 1), "-");
  EXPECT_EQ(s.at("k", t), "1");
  EXPECT_EQ(s.at("k", t + 9), "1");
  EXPECT_EQ(s.at("k", t + 10), "3");
  EXPECT_EQ(s.at("k", t + 19), "3");
  EXPECT_EQ(s.at("k", t + 20), "-");
  EXPECT_EQ(s.at("k", t + 99'999), "-");
  EXPECT_EQ(s.at("never", t), "-");
}

TEST(KvTravel, AnUnrecordedWindowIsAGapAndTheTimesAroundItAreNot) {
  Store s;
  const int64_t t = s.now;
  s.set("k", "1");
  s.now = t + 10;
  s.set("k", "2", false);
  s.now = t + 20;
  EXPECT_EQ(s.at("k", t + 9), "1");
  EXPECT_EQ(s.at("k", t + 10), "gap");
  EXPECT_EQ(s.at("k", t + 20), "gap");
  s.set("k", "3");
  s.now = t + 30;
  EXPECT_EQ(s.at("k", t + 9), "1");
  EXPECT_EQ(s.at("k", t + 15), "gap");
  EXPECT_EQ(s.at("k", t + 20), "3");
}

TEST(KvTravel, AKeyMadeWithoutARecordWasNotThereBefore) {
  Store s;
  const int64_t t = s.now;
  s.set("k", "1", false);
  s.now = t + 10;
  EXPECT_EQ(s.at("k", t - 1), "-");
  EXPECT_EQ(s.at("k", t), "gap");
  s.set("k", "2");
  EXPECT_EQ(s.at("k", t - 1), "-");
  EXPECT_EQ(s.at("k", t + 9), "gap");
  EXPECT_EQ(s.at("k", t + 10), "2");
}

TEST(KvTravel, ChangesBySqlAreAGapFromTheLastOperationOn) {
  Store s;
  const int64_t t = s.now;
  s.set("k", "1");
  s.now = t + 10;
  s.set("k", "2");
  s.sql("UPDATE kv_store SET value='by sql'");
  s.sql("INSERT INTO kv_store(key, value, content_type, created_at, updated_at) VALUES('new', 'x', 'text/plain', 1, 1)");
  s.now = t + 20;
  EXPECT_EQ(s.at("k", t), "1");
  EXPECT_EQ(s.at("k", t + 10), "gap");
  EXPECT_EQ(s.at("new", t), "gap");
  const Json all = s.table_at(t);
  EXPECT_EQ(all["gap_keys"], Json::array({"new"}));
  EXPECT_EQ(s.table_at(t + 20)["gap_keys"], Json::array({"k", "new"}));
}

TEST(KvTravel, ATimeToLiveEndsAKeyWithoutAnOperation) {
  Store s;
  const int64_t t = s.now;
  s.set("k", "1", true, 50);
  s.now = t + 200;
  EXPECT_EQ(s.at("k", t + 49), "1");
  EXPECT_EQ(s.at("k", t + 50), "-");
  EXPECT_EQ(s.diff(t - 1, t + 49)["stats"]["created"], 1);
  EXPECT_EQ(s.diff(t + 49, t + 50)["stats"]["deleted"], 1);
  s.sql("DELETE FROM kv_store");  // swept
  EXPECT_EQ(s.at("k", t + 49), "1");
}

TEST(KvTravel, ATableSnapshotIsInKeyOrderAndBounded) {
  Store s;
  for (const char* key : {"b/2", "a", "b/1", "b/10", "c"}) s.set(key, key);
  s.now += 10;
  s.del("a");
  s.set("b/1", "later");
  Json all = s.table_at(s.now - 10);
  EXPECT_EQ(all["count"], 5);
  EXPECT_EQ(all["candidate_truncated"], false);
  EXPECT_EQ(all["has_gaps"], false);
  Json some = s.table_at(s.now - 10, "b/", 2);
  EXPECT_EQ(some["count"], 2);
  EXPECT_EQ(some["entries"][0]["key"], "b/1");
  EXPECT_EQ(some["entries"][0]["value"], "b/1");
  EXPECT_EQ(some["entries"][0]["content_type"], "text/plain");
  EXPECT_EQ(some["entries"][0]["updated_at"], s.now - 10);
  EXPECT_EQ(some["entries"][0]["expires_at"], nullptr);
  EXPECT_EQ(some["entries"][1]["key"], "b/10");
  EXPECT_EQ(some["candidate_truncated"], true);
  EXPECT_EQ(s.table_at(s.now, "b/", 3)["candidate_truncated"], false);
  EXPECT_EQ(s.table_at(s.now)["count"], 4);
}

TEST(KvTravel, ADiffTellsWhatWasCreatedModifiedAndDeleted) {
  Store s;
  const int64_t t = s.now;
  s.set("gone", "1");
  s.set("same", "1");
  s.set("doc", R"({"n":12345678901234567890})", true, {}, "application/json");
  s.now = t + 10;
  s.del("gone");
  s.set("same", "2");
  s.set("same", "1");
  s.set("doc", R"({"n":1})", true, {}, "application/json");
  s.set("new", "x");
  s.set("dark", "x", false);
  const Json d = s.diff(t, t + 10);
  EXPECT_EQ(d["stats"], Json::parse(R"({"created":1,"modified":1,"deleted":1})"));
  EXPECT_EQ(d["changes"].size(), 3u);
  EXPECT_EQ(d["changes"][0]["key"], "doc");
  EXPECT_EQ(d["changes"][0]["type"], "modified");
  EXPECT_EQ(d["changes"][0]["old_value"]["n"], 12345678901234567890u);
  EXPECT_EQ(d["changes"][1], Json::parse(R"({"key":"gone","type":"deleted","raw_old_value":"MQ==","raw_new_value":null})"));
  EXPECT_EQ(d["gap_keys"], Json::array({"dark"}));
  EXPECT_EQ(d["has_gaps"], true);
  EXPECT_EQ(s.diff(t, t + 10, {{"new", "same"}})["changes"].size(), 1u);
  EXPECT_EQ(s.diff(t, t)["changes"].size(), 0u);
}

TEST(KvTravel, ADroppedTableIsAGapAndNotAnEmptyOne) {
  Store s;
  s.set("k", "1");
  s.sql("DROP TABLE kv_store");
  EXPECT_EQ(s.at("k", s.now), "gap");
  EXPECT_EQ(s.rollback("k").value("refused", 0), 409);
}

TEST(KvTravel, PiecesOfAnswersAreBase64AndValidJson) {
  std::string out;
  append_base64(out, "a");
  append_base64(out, "ab");
  append_base64(out, std::string("\xff\xfe\xfd\x00", 4));
  append_base64(out, "");
  EXPECT_EQ(out, "\"YQ==\"\"YWI=\"\"//79AA==\"\"\"");
  out.clear();
  append_text(out, "a\"\n\xff");
  EXPECT_EQ(Json::parse(out), "a\"\n\xEF\xBF\xBD");
  Entry broken{"{", "application/json", 0, 0, {}};
  EXPECT_FALSE(append_document(out, "value", broken));
}

}  // namespace
}  // namespace via::sqlite::kv::test
