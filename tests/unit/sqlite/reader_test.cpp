// Inline reads: what is answered on the I/O thread, what is not, and that it never sees an old state.
#include "plugins/sqlite/inline_proof.hpp"
#include "unit/sqlite/fixture.hpp"

#include <gtest/gtest.h>

namespace via::sqlite::test {
namespace {

const std::string kPoint = R"({"sql":"SELECT v FROM t WHERE id=?","params":[1]})";

void fill(Addon& a) { a.must(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,0)")); }

TEST(TryInvoke, LeavesAClosedDatabaseToAWorker) {
  Addon a;
  FakeCall c;
  EXPECT_EQ(a.try_query(c, kPoint), VIA_E_WOULD_BLOCK);
  EXPECT_EQ(c.completions(), 0);
}

TEST(TryInvoke, AnswersWhatAWorkerProved) {
  Addon a;
  fill(a);
  FakeCall c;
  EXPECT_EQ(a.try_query(c, kPoint), VIA_E_WOULD_BLOCK);
  ASSERT_TRUE(a.learn(kPoint));
  ASSERT_EQ(a.try_query(c, kPoint), VIA_OK);
  EXPECT_EQ(c.completions(), 1);
  EXPECT_EQ(Json::parse(c.body())["rows"], (Json{{0}}));
}

bool inlined(Addon& a, const std::string& sql, const Json& params = Json::array()) {
  return a.learn(Json{{"sql", sql}, {"params", params}}.dump());
}

TEST(TryInvoke, AnswersAPointQueryFromItsThirdRunOn) {
  Addon a;
  fill(a);
  int on_workers = 0;
  for (;; ++on_workers) {
    FakeCall c;
    if (a.try_query(c, kPoint) == VIA_OK) break;
    ASSERT_LT(on_workers, 3);
    ASSERT_EQ(a.call(Operation::query, kPoint).status, VIA_OK);
  }
  EXPECT_LE(on_workers, 2);
}

TEST(TryInvoke, TakesWhatIsProvenToBeBounded) {
  Addon a;
  fill(a);
  a.must(a.setup("CREATE TABLE u(id INTEGER PRIMARY KEY, k TEXT UNIQUE, t REFERENCES t(id)); INSERT INTO u VALUES(1,'a',1),(2,'b',1);"
                 "CREATE VIEW w AS SELECT upper(k) AS k, id FROM u"));
  EXPECT_TRUE(inlined(a, "SELECT abs(v), coalesce(v, 7), upper(substr('abc', 2)) FROM t WHERE id=?", {1}));
  EXPECT_TRUE(inlined(a, "SELECT * FROM u JOIN t ON t.id=u.t WHERE k=?", {"a"}));
  EXPECT_TRUE(inlined(a, "SELECT * FROM u WHERE id IN (?, ?)", {1, 2}));
  EXPECT_TRUE(inlined(a, "SELECT * FROM u WHERE id>? ORDER BY id LIMIT 10", {0}));
  EXPECT_TRUE(inlined(a, "SELECT * FROM w WHERE id=?", {2}));
  EXPECT_TRUE(inlined(a, "SELECT EXISTS(SELECT 1 FROM u WHERE k=?)", {"b"}));
  EXPECT_TRUE(inlined(a, "SELECT datetime(?, '+1 day')", {"2026-01-01"}));
}

TEST(TryInvoke, NeverTakesWhatCannotBeProven) {
  Addon a;
  fill(a);
  a.must(a.setup("CREATE TABLE g(id INTEGER PRIMARY KEY, v TEXT, w AS (v LIKE 'a%')); INSERT INTO g(v) VALUES('abc');"
                 "CREATE VIEW likes AS SELECT v GLOB '*b*' AS yes, id FROM g; CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('a b')"));
  const std::pair<const char*, Json> cases[] = {
      {"SELECT v LIKE ? FROM t WHERE id=1", {"a"}},
      {"SELECT v GLOB ? FROM t WHERE id=1", {"a"}},
      {"SELECT w FROM g WHERE id=?", {1}},
      {"SELECT yes FROM likes WHERE id=?", {1}},
      {"SELECT json_extract(?, '$.a')", {"{}"}},
      {"SELECT ? -> '$.a'", {"{}"}},
      {"SELECT value FROM json_each(?)", {"[1]"}},
      {"SELECT count(*) FROM t", Json::array()},
      {"SELECT max(id) FROM t", Json::array()},
      {"SELECT sum(v) OVER () FROM t", Json::array()},
      {"SELECT v FROM t ORDER BY v", Json::array()},
      {"SELECT DISTINCT v FROM t", Json::array()},
      {"SELECT * FROM f WHERE f MATCH ?", {"a"}},
      {"SELECT highlight(f,0,'<','>') FROM f WHERE f MATCH ?", {"a"}},
      {"SELECT printf('%s', ?)", {"a"}},
      {"SELECT zeroblob(?)", {1}},
      {"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT ?) SELECT x FROM c", {3}},
      {"SELECT name FROM pragma_table_info('t')", Json::array()},
  };
  for (const auto& [sql, params] : cases) {
    const std::string body = Json{{"sql", sql}, {"params", params}}.dump();
    for (int i = 0; i < 8; ++i) {
      FakeCall c;
      EXPECT_EQ(a.try_query(c, body), VIA_E_WOULD_BLOCK) << sql;
      EXPECT_EQ(c.completions(), 0);
      const Answer answered = a.call(Operation::query, body);
      EXPECT_EQ(answered.status, VIA_OK) << sql << ": " << answered.message;
    }
  }
}

// The attack: taught with short values, then sent with ones that take seconds.
TEST(TryInvoke, CannotBeTaughtWithShortValues) {
  Addon a;
  a.must(a.setup("CREATE TABLE big(id INTEGER PRIMARY KEY, a TEXT, b TEXT); INSERT INTO big VALUES(1,'short','x')"));
  a.must(a.execute("INSERT INTO big VALUES(2, ?, 'y')", Json::array({std::string(7'000'000, 'a')})));  // what a body may hold
  const auto body = [](const char* sql, const Json& params) { return Json{{"sql", sql}, {"params", params}}.dump(); };
  const auto runs = [&](const std::string& one) {
    FakeCall c;
    return a.try_query(c, one);
  };
  const char* like = "SELECT a LIKE ? FROM big WHERE id=?";
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(runs(body(like, {"%s%", 1})), VIA_E_WOULD_BLOCK);
    EXPECT_EQ(a.query(like, {"%s%", 1}).rows(), (Json{{1}}));
  }
  EXPECT_EQ(runs(body(like, {"%b", 2})), VIA_E_WOULD_BLOCK);

  const char* functions = "SELECT length(upper(a)), b FROM big WHERE id=?";
  ASSERT_TRUE(a.learn(body(functions, {1})));
  EXPECT_EQ(runs(body(functions, {2})), VIA_E_WOULD_BLOCK);
  EXPECT_EQ(a.query(functions, {2}).rows(), (Json{{7'000'000, "y"}}));
  EXPECT_EQ(runs(body(functions, {1})), VIA_E_WOULD_BLOCK) << "it overran, and is left to workers for a while";

  const char* behind = "SELECT b FROM big WHERE id=?";
  ASSERT_TRUE(a.learn(body(behind, {1})));
  EXPECT_EQ(runs(body(behind, {2})), VIA_E_WOULD_BLOCK) << "a long chain of pages lies before the value";
  EXPECT_EQ(a.query(behind, {2}).rows(), (Json{{"y"}}));
}

TEST(TryInvoke, LeavesALongWalkToAWorkerAndDoesNotTryAgainSoon) {
  Addon a;
  fill(a);
  a.must(a.setup("INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 2 UNION ALL SELECT x+1 FROM c LIMIT 5000) SELECT x, x FROM c"));
  const auto walk = [](int v) { return Json{{"sql", "SELECT id FROM t WHERE v<0 AND id<?"}, {"params", {v}}}.dump(); };
  ASSERT_TRUE(a.learn(walk(3)));
  FakeCall c;
  EXPECT_EQ(a.try_query(c, walk(1'000'000)), VIA_E_WOULD_BLOCK);
  EXPECT_EQ(c.completions(), 0);
  EXPECT_TRUE(c.body().empty());
  EXPECT_EQ(a.call(Operation::query, walk(3)).status, VIA_OK);
  EXPECT_EQ(a.try_query(c, walk(3)), VIA_E_WOULD_BLOCK);
}

TEST(TryInvoke, ProvesAgainAfterTheSchemaChanged) {
  Addon a;
  fill(a);
  a.must(a.setup("CREATE VIEW w AS SELECT v, id FROM t"));
  const std::string body = R"({"sql":"SELECT v FROM w WHERE id=?","params":[1]})";
  ASSERT_TRUE(a.learn(body));
  a.must(a.setup("DROP VIEW w; CREATE VIEW w AS SELECT v LIKE '%a%' AS v, id FROM t"));
  EXPECT_FALSE(a.learn(body));
  a.must(a.setup("DROP VIEW w; CREATE VIEW w AS SELECT v+1 AS v, id FROM t"));
  ASSERT_TRUE(a.learn(body));
  FakeCall c;
  ASSERT_EQ(a.try_query(c, body), VIA_OK);
  EXPECT_EQ(Json::parse(c.body())["rows"], (Json{{1}}));
}

TEST(Schema, StaysTheSameForWhatDoesNotChangeIt) {
  Addon a;
  fill(a);
  ASSERT_TRUE(a.learn(kPoint));
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(a.execute("UPDATE t SET v=? WHERE id=1", {i}).status, VIA_OK);
    FakeCall c;
    ASSERT_EQ(a.try_query(c, kPoint), VIA_OK);
    EXPECT_EQ(Json::parse(c.body())["rows"], (Json{{i}}));
  }
}

TEST(InlineHabits, NeverForgetWhatWasLongAndTakeNoNewOnesWhenFull) {
  auto habits = std::make_unique<InlineHabits>();
  const uint64_t one = InlineHabits::hash("SELECT 1");
  EXPECT_FALSE(habits->refused(one, 0));
  habits->was_long(one, false);
  EXPECT_EQ(habits->record(one), InlineHabits::Record::suspect);
  EXPECT_FALSE(habits->refused(one, 0));
  habits->was_long(one, true);
  EXPECT_EQ(habits->record(one), InlineHabits::Record::never);
  for (int i = 0; i < 2000; ++i) habits->was_long(InlineHabits::hash("SELECT " + std::to_string(i + 2)), true);
  EXPECT_EQ(habits->record(one), InlineHabits::Record::never);
  EXPECT_TRUE(habits->refused(InlineHabits::hash("SELECT 'new'"), 0));
}

TEST(InlineHabits, RefuseForAWhileOnly) {
  auto habits = std::make_unique<InlineHabits>();
  const uint64_t one = InlineHabits::hash("SELECT 1");
  const uint64_t minute = 60'000'000'000, now = 7 * minute;
  habits->overran(one, now);
  EXPECT_TRUE(habits->refused(one, now + minute));
  EXPECT_FALSE(habits->refused(InlineHabits::hash("SELECT 2"), now));
  EXPECT_FALSE(habits->refused(one, now + 3 * minute));
}

TEST(TryInvoke, RefusesNothingByItself) {
  Addon a;
  fill(a);
  ASSERT_TRUE(a.learn(kPoint));
  for (const std::string body : {"{", "{\"sql\":\"SELECT nosuch\"}", "{\"sql\":\"SELECT v FROM t WHERE id=?\",\"params\":[]}", "{\"sql\":\"SELECT 1\",\"generation\":99}"}) {
    FakeCall c;
    EXPECT_EQ(a.try_query(c, body), VIA_E_WOULD_BLOCK);
    EXPECT_EQ(c.completions(), 0);
  }
}

void reads_follow_writes(bool turns) {
  Addon a({.turns = turns});
  fill(a);
  ASSERT_TRUE(a.learn(kPoint));
  std::atomic<int> written{0};
  std::atomic<bool> stop{false};
  std::atomic<int> stale{0}, inlined{0};
  std::vector<std::thread> readers;
  for (int k = 0; k < 2; ++k)
    readers.emplace_back([&] {
      while (!stop) {
        std::unique_ptr<Turn> turn;
        if (turns) turn = std::make_unique<Turn>();
        for (int i = 0; i < 20; ++i) {
          const int least = written.load();
          FakeCall c;
          int seen = 0;
          if (a.try_query(c, kPoint) == VIA_OK) {
            seen = Json::parse(c.wait().body())["rows"][0][0];
            ++inlined;
          } else {
            seen = a.call(Operation::query, kPoint).rows()[0][0];
          }
          stale += seen < least;
        }
      }
    });
  for (int i = 1; i <= 200; ++i) {
    ASSERT_EQ(a.execute("UPDATE t SET v=? WHERE id=1", {i}).status, VIA_OK);
    written = i;
  }
  stop = true;
  for (auto& t : readers) t.join();
  EXPECT_EQ(stale, 0);
  EXPECT_GT(inlined, 0);
}

TEST(TryInvoke, ReadsOfOtherThreadsSeeEveryAnsweredWrite) { reads_follow_writes(false); }
TEST(Turn, ReadsOfOtherThreadsSeeEveryAnsweredWrite) { reads_follow_writes(true); }

TEST(Turn, HoldsNoSnapshotAfterItsEnd) {
  Addon a({.turns = true});
  fill(a);
  ASSERT_TRUE(a.learn(kPoint));
  {
    Turn turn;
    FakeCall c, d;
    ASSERT_EQ(a.try_query(c, kPoint), VIA_OK);
    ASSERT_EQ(a.execute("UPDATE t SET v=5").status, VIA_OK);
    ASSERT_EQ(a.try_query(d, kPoint), VIA_OK);
    EXPECT_EQ(Json::parse(d.body())["rows"], (Json{{5}}));
  }
  EXPECT_EQ(a.close().status, VIA_OK);
  EXPECT_FALSE(std::filesystem::exists(a.folder.path("data.sqlite-wal")));
}

TEST(TryInvoke, WritesAreTakenOverWithoutAWorker) {
  Addon a;
  fill(a);
  FakeCall c;
  const std::string body = R"j({"sql":"INSERT INTO t(v) VALUES(8)"})j";
  const Addon::Op o(Operation::execute, body);
  ASSERT_EQ(a.ops()->try_invoke(a.handle(), &o.args, c.get()), VIA_OK);
  EXPECT_EQ(c.wait().status(), VIA_OK);
  EXPECT_EQ(Json::parse(c.body())["update_count"], 1);
}

}  // namespace
}  // namespace via::sqlite::test
