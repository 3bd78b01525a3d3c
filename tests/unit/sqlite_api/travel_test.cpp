// History and time travel over HTTP: parameters, statuses and the fields of answers. What the states are is tested in
// tests/unit/kv_history.
#include "tests/unit/sqlite_api/api_fixture.hpp"

namespace via::sqlite::test {
namespace {

// Later than everything that has happened by the millisecond; SQLite's clock and the host's are the same.
std::string time_of(DataApi& a, const std::string& key, size_t newest_first = 0) {
  const Json history = a.call("GET", "/kv/" + key + "/history").json();
  return std::to_string(history["operations"][newest_first]["timestamp"].get<int64_t>());
}

TEST(TravelApi, HistoryIsNewestFirstWithRawAndParsedValues) {
  DataApi a;
  EXPECT_EQ(a.call("PUT", "/kv/doc", R"({"n":1})", "application/json").status, 200);
  EXPECT_EQ(a.call("PUT", "/kv/doc", R"({"n":2})", "application/json").status, 200);
  EXPECT_EQ(a.call("DELETE", "/kv/doc").status, 200);
  const HttpAnswer r = a.call("GET", "/kv/doc/history?limit=2");
  ASSERT_EQ(r.status, 200);
  EXPECT_EQ(r.content_type, "application/json");
  Json j = r.json();
  EXPECT_EQ(j["key"], "doc");
  EXPECT_EQ(j["count"], 2);
  EXPECT_EQ(j["has_gaps"], false);
  Json newest = j["operations"][0], older = j["operations"][1];
  EXPECT_EQ(newest["op_number"], 3);
  EXPECT_EQ(newest["raw_old_value"], "eyJuIjoyfQ==");
  EXPECT_EQ(newest["raw_new_value"], nullptr);
  EXPECT_EQ(newest["operation"]["op"], "delete");
  EXPECT_FALSE(newest["operation"].contains("new_value"));
  EXPECT_GT(newest["timestamp"].get<int64_t>(), 1'000'000'000'000);
  EXPECT_EQ(older["operation"], Json::parse(R"({"op":"set","raw_old_value":"eyJuIjoxfQ==","raw_new_value":"eyJuIjoyfQ==",
                                               "old_value":{"n":1},"new_value":{"n":2}})"));
  EXPECT_EQ(a.call("GET", "/kv/none/history").json(), Json::parse(R"({"key":"none","operations":[],"count":0,"has_gaps":false,"has_more":false,"next_cursor":null})"));
}

TEST(TravelApi, TheLimitOfAHistoryIsFiftyAndAtMostAThousand) {
  DataApi a;
  for (int i = 0; i < 60; ++i) a.call("POST", "/kv/n/incr");
  EXPECT_EQ(a.call("GET", "/kv/n/history").json()["count"], 50);
  EXPECT_EQ(a.call("GET", "/kv/n/history?limit=0").json()["count"], 50);
  EXPECT_EQ(a.call("GET", "/kv/n/history?limit=3").json()["count"], 3);
  EXPECT_EQ(a.call("GET", "/kv/n/history?limit=5000").json()["count"], 60);
  EXPECT_EQ(a.call("GET", "/kv/n/history?limit=x").error(), "limit must be an integer");
}

TEST(TravelApi, AKeyIsShownAsItWasAfterAnOperation) {
  DataApi a;
  a.call("PUT", "/kv/a%2Fb", "one", "text/plain");
  a.call("DELETE", "/kv/a%2Fb");
  Json first = a.call("GET", "/kv/a%2Fb/snapshot?op_number=1").json();
  EXPECT_EQ(first["key"], "a/b");
  EXPECT_EQ(first["value"], "one");
  EXPECT_EQ(first["raw_value"], "b25l");
  EXPECT_EQ(first["exists"], true);
  EXPECT_EQ(a.call("GET", "/kv/a%2Fb/snapshot?op_number=2").json()["exists"], false);
  EXPECT_EQ(a.call("GET", "/kv/a%2Fb/snapshot?op_number=3").status, 404);
  EXPECT_EQ(a.call("GET", "/kv/a%2Fb/snapshot?op_number=0").status, 404);
  EXPECT_EQ(a.call("GET", "/kv/a%2Fb/snapshot").error(), "op_number is required");
}

TEST(TravelApi, ReadsAndListsAtATimeAndRefusesInsideAGap) {
  DataApi a;
  a.call("PUT", "/kv/k", "one", "text/plain");
  const std::string first = time_of(a, "k");
  const HttpAnswer then = a.call("GET", "/kv/k?at_timestamp=" + first);
  EXPECT_EQ(then.status, 200);
  EXPECT_EQ(then.body, "one");
  EXPECT_EQ(a.call("GET", "/kv/k?at_timestamp=1000").status, 404);
  Json list = a.call("GET", "/kv?at_timestamp=" + first + "&offset=5").json();
  EXPECT_EQ(list["count"], 1);
  EXPECT_EQ(list["entries"][0]["value"], "one");
  EXPECT_EQ(list["has_gaps"], false);
  EXPECT_EQ(list["candidate_truncated"], false);
  EXPECT_EQ(a.call("GET", "/kv/snapshot?timestamp=" + first).json(), list);
  EXPECT_EQ(a.call("GET", "/kv/snapshot").error(), "timestamp is required");
  a.call("PUT", "/kv/k?history=false", "two", "text/plain");
  const HttpAnswer gap = a.call("GET", "/kv/k?at_timestamp=9999999999");
  EXPECT_EQ(gap.status, 409);
  EXPECT_EQ(gap.body, R"({"error":"time-travel chain gap"})");
  EXPECT_EQ(a.call("GET", "/kv/snapshot?timestamp=9999999999").json()["gap_keys"], Json::array({"k"}));
  EXPECT_EQ(a.call("GET", "/kv/k/history").json()["has_gaps"], true);
}

TEST(TravelApi, RollsAKeyBackAndForth) {
  DataApi a;
  for (const char* v : {"1", "2", "3"}) a.call("PUT", "/kv/k", v, "text/plain");
  Json r = a.call("POST", "/kv/k/rollback?steps=2").json();
  EXPECT_EQ(r["success"], true);
  EXPECT_EQ(r["op_number"], 4);
  EXPECT_EQ(a.call("GET", "/kv/k").body, "1");
  a.call("POST", "/kv/k/rollback");
  EXPECT_EQ(a.call("GET", "/kv/k").body, "3");
  EXPECT_EQ(a.call("POST", "/kv/none/rollback").error(), "Key not found");
  EXPECT_EQ(a.call("POST", "/kv/k/rollback?steps=0").status, 400);
  DataApi::Caller reader;
  reader.read_only = true;
  EXPECT_EQ(a.call(reader, "POST", "/kv/k/rollback").status, 403);
}

TEST(TravelApi, ATableRollbackNeedsATimeAConfirmationAndABody) {
  DataApi a;
  a.call("PUT", "/kv/k", "1", "text/plain");
  EXPECT_EQ(a.call("POST", "/kv/rollback?confirm=yes", "{}").error(), "to_timestamp is required");
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000", "{}").status, 400);
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000&confirm=true", "{}").status, 400);
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000&confirm=yes").status, 400);
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000&confirm=yes", "[").error(), "Invalid JSON body");
  EXPECT_EQ(a.call("GET", "/kv/k").body, "1");
  Json dry = a.call("POST", "/kv/rollback?to_timestamp=1000&dry_run=true", "{}").json();
  EXPECT_EQ(dry["stats"], Json::parse(R"({"created":0,"modified":0,"deleted":1})"));
  EXPECT_EQ(dry["dry_run"], true);
  EXPECT_EQ(a.call("GET", "/kv/k").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000&confirm=yes", R"({"exclude_keys":["k"]})").json()["stats"]["deleted"], 0);
  EXPECT_EQ(a.call("POST", "/kv/rollback?to_timestamp=1000&confirm=yes", "{}").json()["stats"]["deleted"], 1);
  EXPECT_EQ(a.call("GET", "/kv/k").status, 404);
}

TEST(TravelApi, ADiffTakesTwoTimesAndKeys) {
  DataApi a;
  a.call("PUT", "/kv/k", "1", "text/plain");
  a.call("PUT", "/kv/l", "1", "text/plain");
  Json d = a.call("GET", "/kv/diff?from=1000&to=9999999999").json();
  EXPECT_EQ(d["stats"]["created"], 2);
  EXPECT_EQ(d["from"], 1'000'000);
  EXPECT_EQ(d["has_gaps"], false);
  EXPECT_EQ(a.call("GET", "/kv/diff?from=1000&to=9999999999&keys=l,m").json()["changes"].size(), 1u);
  EXPECT_EQ(a.call("GET", "/kv/diff?from=2000&to=1000").status, 400);
  EXPECT_EQ(a.call("GET", "/kv/diff?to=1000").error(), "from is required");
}

TEST(TravelApi, ATableOfItsOwnHasItsOwnHistory) {
  DataApi a;
  a.call("PUT", "/kv/k?table=other", "1", "text/plain");
  a.call("PUT", "/kv/k", "x", "text/plain");
  EXPECT_EQ(a.call("GET", "/kv/k/history?table=other").json()["operations"][0]["raw_new_value"], "MQ==");
  EXPECT_EQ(a.call("GET", "/kv/k/history").json()["count"], 1);
  EXPECT_EQ(a.call("GET", "/kv/k/history?table=sqlite_master").status, 400);
}

TEST(TravelApi, TheHistoryOutlivesAReopen) {
  DataApi a;
  a.call("PUT", "/kv/k", "1", "text/plain");
  a.reopen();
  a.call("PUT", "/kv/k", "2", "text/plain");
  Json h = a.call("GET", "/kv/k/history").json();
  EXPECT_EQ(h["count"], 2);
  EXPECT_EQ(h["has_gaps"], false);
}

TEST(TravelApi, TheConfigurationBoundsTheHistory) {
  ApiSetUp setup;
  setup.config = R"({"history_operations":8})";
  DataApi a(setup);
  for (int i = 0; i < 30; ++i) a.call("POST", "/kv/n/incr");
  Json h = a.call("GET", "/kv/n/history").json();
  EXPECT_EQ(h["count"], 8);
  EXPECT_EQ(h["operations"][0]["op_number"], 30);
  EXPECT_EQ(h["has_gaps"], true);
  EXPECT_EQ(a.call("GET", "/kv/n/snapshot?op_number=3").error(), "time-travel chain gap");
}

}  // namespace
}  // namespace via::sqlite::test
