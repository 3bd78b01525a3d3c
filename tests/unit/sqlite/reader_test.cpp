// Inline reads: what is answered on the I/O thread, what is not, and that it never sees an old state.
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

TEST(TryInvoke, AnswersWhatAWorkerFoundCheap) {
  Addon a;
  fill(a);
  FakeCall c;
  EXPECT_EQ(a.try_query(c, kPoint), VIA_E_WOULD_BLOCK);
  ASSERT_TRUE(a.learn(kPoint));
  ASSERT_EQ(a.try_query(c, kPoint), VIA_OK);
  EXPECT_EQ(c.completions(), 1);
  EXPECT_EQ(Json::parse(c.body())["rows"], (Json{{0}}));
}

TEST(TryInvoke, NeverTakesWhatIsDearAndForgetsWhatBecameSo) {
  Addon a;
  fill(a);
  const std::string dear = R"({"sql":"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 2000) SELECT count(*) FROM c"})";
  EXPECT_FALSE(a.learn(dear));
  const auto range = [](int n) { return Json{{"sql", "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT ?) SELECT count(*) FROM c"}, {"params", {n}}}.dump(); };
  ASSERT_TRUE(a.learn(range(3)));
  FakeCall c;
  EXPECT_EQ(a.try_query(c, range(1'000'000)), VIA_E_WOULD_BLOCK);
  EXPECT_EQ(c.completions(), 0);
  EXPECT_TRUE(c.body().empty());
  EXPECT_EQ(a.try_query(c, range(3)), VIA_E_WOULD_BLOCK);
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
