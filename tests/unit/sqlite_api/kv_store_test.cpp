// The key-value store over HTTP: values, documents, counters, arrays, batches.
#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <thread>

namespace via::sqlite::test {
namespace {

TEST(KvStore, KeepsBytesAndType) {
  DataApi a;
  EXPECT_EQ(a.call("GET", "/kv/k").error(), "Key not found");
  EXPECT_EQ(a.call("PUT", "/kv/k", "a\xff", "image/png").status, 200);
  HttpAnswer r = a.call("GET", "/kv/k");
  EXPECT_EQ(r.body, "a\xff");
  EXPECT_EQ(r.content_type, "image/png");
  EXPECT_EQ(a.call("PUT", "/kv/k", R"({"a":1})").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/k").content_type, "application/json");
  EXPECT_EQ(a.call("DELETE", "/kv/k").body, R"({"success":true,"deleted":true})");
  EXPECT_EQ(a.call("DELETE", "/kv/k").status, 404);
}

// Generated clients send it whatever the value is.
TEST(KvStore, BytesThatAreNoJsonAreNotServedAsJsonWhateverTheirSenderSaid) {
  struct Case {
    const char *sent, *value, *type;
  };
  const Case cases[] = {
      {"application/json", "hello", "text/plain"},
      {"application/json; charset=utf-8", "hello", "text/plain"},
      {"Application/JSON", "{", "text/plain"},
      {"text/json", "nope", "text/plain"},
      {"application/problem+json", "", "text/plain"},
      {"application/json", "a\xff", "text/plain"},
      {"application/json", "\"a\xff\"", "text/plain"},
      {"application/json", "\xEF\xBB\xBF{}", "text/plain"},
      {"application/json", "{}{}", "text/plain"},
      {"application/json", " [1, 1e999] ", "application/json"},
      {"application/json; charset=utf-8", "\"hello\"", "application/json; charset=utf-8"},
      {"application/problem+json", "{}", "application/problem+json"},
      {"text/plain", "{}", "text/plain"},
      {"text/html", "<p>", "text/html"},
      {"Application/Octet-Stream", "x", "application/octet-stream"},
      {"", "x", "text/plain"},
      {"", "7", "application/json"},
  };
  DataApi a;
  for (const Case& c : cases) {
    SCOPED_TRACE(std::string(c.sent) + " " + c.value);
    ASSERT_EQ(a.call("PUT", "/kv/k", c.value, c.sent).status, 200);
    const HttpAnswer r = a.call("GET", "/kv/k");
    EXPECT_EQ(r.body, c.value);
    EXPECT_EQ(r.content_type, c.type);
    EXPECT_EQ(a.call("GET", "/kv").json()["items"][0]["content_type"], c.type);
  }
  EXPECT_EQ(a.call("POST", "/kv/batch/set", R"({"items":[{"key":"b","value":"hello","content_type":"application/json"}]})").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/b").content_type, "text/plain");
}

// What is there from before, and what SQL writes.
TEST(KvStore, ATypeThatIsNotTrueIsNotToldAnywhere) {
  DataApi a;
  ASSERT_EQ(a.call("PUT", "/kv/k", "hello").status, 200);
  ASSERT_EQ(a.call("POST", "/db", R"j({"transaction":[{"statement":"UPDATE kv_store SET content_type='application/json'"}]})j").status, 200);
  ASSERT_EQ(a.call("POST", "/kv/k/rollback?steps=1").status, 409) << "a gap: it has to stay one";
  EXPECT_EQ(a.call("GET", "/kv/k").content_type, "text/plain");
  EXPECT_EQ(a.call("GET", "/kv").json()["items"][0]["content_type"], "text/plain");
  EXPECT_EQ(a.call("POST", "/kv/batch/get", R"({"keys":["k"]})").json()["k"]["content_type"], "text/plain");
}

TEST(KvStore, APathChangesOnlyItsLeaf) {
  DataApi a;
  a.call("PUT", "/kv/p", R"({ "n": 1.50, "a": {"b":[1,{"c":"x"}]} })");
  EXPECT_EQ(a.call("GET", "/kv/p?path=a.b[1].c").body, "\"x\"");
  EXPECT_EQ(a.call("PUT", "/kv/p?path=a.b[1].c", "\"y\"").status, 200);
  EXPECT_EQ(a.call("PUT", "/kv/p?path=d.e", "2").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/p").body, R"({ "n": 1.50, "a": {"b":[1,{"c":"y"}]} ,"d":{"e":2}})");
  EXPECT_EQ(a.call("GET", "/kv/p?path=a.z").status, 404);
  EXPECT_EQ(a.call("GET", "/kv/p?path=a..z").status, 400);
}

TEST(KvStore, ComparesTheLiteralValue) {
  DataApi a;
  EXPECT_EQ(a.call("PUT", "/kv/c?if_match=1", "2").error(), "Key does not exist for CAS");
  a.call("PUT", "/kv/c", "1");
  const HttpAnswer r = a.call("PUT", "/kv/c?if_match=3", "2");
  EXPECT_EQ(r.status, 412);
  EXPECT_EQ(r.error(), "Value mismatch for CAS");
  EXPECT_EQ(a.call("PUT", "/kv/c?if_match=1", "2").status, 200);
}

TEST(KvStore, CountsWithinSixtyFourBits) {
  DataApi a;
  EXPECT_EQ(a.call("POST", "/kv/n/incr?delta=9223372036854775807").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/n/incr").status, 400);
  EXPECT_EQ(a.call("POST", "/kv/n/incr?delta=x").error(), "delta must be an integer");
  EXPECT_EQ(a.call("POST", "/kv/n/decr?delta=7").status, 200);
  const HttpAnswer r = a.call("GET", "/kv/n");
  EXPECT_EQ(r.body, "9223372036854775800");
  EXPECT_EQ(r.content_type, "text/plain");
}

TEST(KvStore, ChangesArrays) {
  DataApi a;
  for (const char* v : {"1", "\"two\"", "3"}) EXPECT_EQ(a.call("POST", "/kv/l/push", v).status, 200);
  EXPECT_EQ(a.call("POST", "/kv/l/remove", "\"two\"").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/l").body, "[1,3]");
  EXPECT_EQ(a.call("POST", "/kv/l/remove?index=0").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/l/pop").json()["value"], 3);
  EXPECT_EQ(a.call("POST", "/kv/l/pop").status, 400);
}

TEST(KvStore, BatchesAreOneTransaction) {
  DataApi a;
  EXPECT_EQ(a.call("POST", "/kv/batch/set", R"({"items":[{"key":"a","value":{"x":1}}]})").error(), "Invalid JSON body");
  EXPECT_EQ(a.call("POST", "/kv/batch/set", R"({"items":[{"key":"u/a","value":"1"},{"key":"u/b","value":"2","ttl":9}]})").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/batch/get", R"({"keys":["u/a","z"]})").json(),
            Json::parse(R"({"u/a":{"value":"1","content_type":"application/json"},"z":null})"));
  const Json list = a.call("GET", "/kv?prefix=u/&offset=1").json();
  EXPECT_EQ(list["items"].size(), 1u);
  EXPECT_EQ(list["items"][0]["key"], "u/b");
  EXPECT_EQ(a.call("POST", "/kv/batch/delete", R"({"keys":["u/a","z"]})").body, R"({"deleted":1,"success":true})");
}

TEST(KvStore, SendsNoTypeThatBreaksOutOfItsField) {
  DataApi a;
  EXPECT_EQ(a.call("POST", "/kv/batch/set", R"({"items":[{"key":"a","value":"1","content_type":"a/b\r\nX: y"}]})").status, 400);
  EXPECT_EQ(a.call("PUT", "/kv/a", "1").status, 200);
  const HttpAnswer r = a.call("POST", "/db", R"j({"transaction":[{"statement":"UPDATE kv_store SET content_type='a'||char(13,10)||'X: y'"}]})j");
  ASSERT_EQ(r.json()["results"][0]["rowsUpdated"], 1) << r.body;
  EXPECT_EQ(a.call("GET", "/kv/a").content_type, "application/octet-stream");
}

TEST(KvStore, AnExpiredKeyIsGoneBeforeAnySweep) {
  DataApi a;
  EXPECT_EQ(a.call("PUT", "/kv/t?ttl=0", "1").status, 400);
  EXPECT_EQ(a.call("PUT", "/kv/t?ttl=60", "1").status, 200);
  EXPECT_EQ(a.call("HEAD", "/kv/t").status, 200);
  a.call("POST", "/db", R"j({"transaction":[{"statement":"UPDATE kv_store SET expires_at=1"}]})j");
  EXPECT_EQ(a.call("GET", "/kv/t").status, 404);
  EXPECT_EQ(a.call("HEAD", "/kv/t").status, 404);
  EXPECT_EQ(a.call("GET", "/kv").json()["count"], 0);
  EXPECT_EQ(a.call("PUT", "/kv/t?if_match=1", "2").error(), "Key does not exist for CAS");
  EXPECT_EQ(a.call("DELETE", "/kv/t").status, 404);
}

TEST(KvStore, ExpiredRowsAreSweptByLaterChanges) {
  DataApi a;
  const auto rows = [&](const std::string& table) {
    return a.call("GET", "/query?sql=" + encode("SELECT count(*) AS n FROM " + table)).json()["resultSet"][0]["n"];
  };
  for (int i = 0; i < 20; ++i) ASSERT_EQ(a.call("PUT", "/kv/old-" + std::to_string(i) + "?ttl=60", "1").status, 200);
  ASSERT_EQ(a.call("PUT", "/kv/stays?ttl=600", "1").status, 200);
  a.call("POST", "/db", R"j({"transaction":[{"statement":"UPDATE kv_store SET expires_at=1 WHERE key LIKE 'old%'"}]})j");
  EXPECT_EQ(rows("kv_store"), 21);
  for (int i = 0; i < 8; ++i) ASSERT_EQ(a.call("POST", "/kv/n/incr").status, 200);
  EXPECT_EQ(rows("kv_store"), 2);
  EXPECT_EQ(a.call("GET", "/kv/stays").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/old-3").status, 404);
  // Without the index each change would read the whole table: it is not swept, and works.
  a.call("POST", "/db", R"j({"transaction":[{"statement":"DROP INDEX kv_store_expires"},{"statement":"UPDATE kv_store SET expires_at=1"}]})j");
  for (const char* key : {"other", "another"}) ASSERT_EQ(a.call("PUT", std::string("/kv/") + key, "1").status, 200);
  EXPECT_EQ(rows("kv_store"), 4);
  EXPECT_EQ(a.call("GET", "/kv/stays").status, 404);
}

TEST(KvStore, RefusesATableThatIsNotItsOwn) {
  DataApi a;
  a.call("POST", "/db", R"j({"transaction":[{"statement":"CREATE TABLE mine(x)"}]})j");
  EXPECT_EQ(a.call("PUT", "/kv/k?table=mine", "1").status, 400);
  EXPECT_EQ(a.call("GET", "/kv/k?table=_via_kv_history").error(), "invalid table name");
}

TEST(KvStore, LosesNoIncrementUnderLoad) {
  DataApi a;
  std::vector<std::thread> threads;
  for (int t = 0; t < 64; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) EXPECT_EQ(a.call("POST", "/kv/n/incr").status, 200);
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(a.call("GET", "/kv/n").body, "320");
}

TEST(Expiry, RowsOfATableThatNobodyChangesGoWithTime) {
  DataApi api;
  for (int i = 0; i < 200; ++i) ASSERT_EQ(api.call("PUT", "/kv/k" + std::to_string(i) + "?table=sessions&ttl=60", "1").status, 200);
  ASSERT_EQ(api.call("PUT", "/kv/stays?table=sessions", "1").status, 200);
  ASSERT_EQ(api.call("PUT", "/kv/stays?ttl=86400", "1").status, 200);
  const auto rows = [&] {
    return api.call("POST", "/db", R"s({"transaction":[{"query":"SELECT (SELECT count(*) FROM sessions)+(SELECT count(*) FROM kv_store) AS n"}]})s",
                    "application/json").json()["results"][0]["resultSet"][0]["n"].get<int>();
  };
  const auto tick = [&] {
    api.host.executor().make_due();
    api.host.executor().wait_idle();
  };
  tick();
  EXPECT_EQ(rows(), 202) << "their time has not come";
  api.host.advance(std::chrono::seconds(61));
  tick();
  EXPECT_EQ(rows(), 2);
  for (int i = 0; i < 3; ++i) tick();
  EXPECT_FALSE(std::filesystem::exists(api.path("data.sqlite-wal"))) << "with nothing left to do it closes";
  EXPECT_EQ(api.call("GET", "/kv/stays").body, "1");
}

}  // namespace
}  // namespace via::sqlite::test
