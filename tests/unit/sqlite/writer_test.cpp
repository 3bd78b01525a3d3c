// Group commit: who is harmed by whose failure, what is answered when, and what a full database does.
#include "unit/sqlite/fixture.hpp"

#include <gtest/gtest.h>

namespace via::sqlite::test {
namespace {

// Sends all bodies at once while the writer is kept busy, so that they wait together; the answers in order.
std::vector<Answer> together(Addon& a, const std::vector<std::string>& bodies, Operation op = Operation::execute) {
  FakeCall busy;
  const std::string slow = Json{{"sql", "INSERT INTO t(v) SELECT 'slow' WHERE (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 300000) SELECT count(*) FROM c)<0"}}.dump();
  const Addon::Op first(Operation::execute, slow);
  a.ops()->invoke(a.handle(), &first.args, busy.get());
  std::vector<std::unique_ptr<FakeCall>> calls;
  for (const auto& body : bodies) {
    calls.push_back(std::make_unique<FakeCall>());
    const Addon::Op o(op, body);
    if (a.ops()->try_invoke(a.handle(), &o.args, calls.back()->get()) != VIA_OK) a.ops()->invoke(a.handle(), &o.args, calls.back()->get());
  }
  busy.wait();
  std::vector<Answer> out;
  for (auto& c : calls) out.push_back(Addon::answer(*c));
  return out;
}

std::string insert(const std::string& clause, const std::string& v) { return Json{{"sql", "INSERT " + clause + " INTO t(v) VALUES(?)"}, {"params", {v}}}.dump(); }

TEST(GroupCommit, AFailingMemberHarmsNobody) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT UNIQUE)").status, VIA_OK);
  for (const std::string clause : {"", "OR ABORT", "OR FAIL", "OR ROLLBACK"}) {
    ASSERT_EQ(a.execute("DELETE FROM t").status, VIA_OK);
    std::vector<std::string> bodies;
    for (int i = 0; i < 20; ++i) bodies.push_back(insert(clause, "v" + std::to_string(i / 2 * 2)));
    const auto answers = together(a, bodies);
    for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].code(), i % 2 == 0 ? "" : "constraint") << clause << i << answers[i].message;
    EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{10}})) << clause;
  }
}

TEST(GroupCommit, ARollbackRaisedByATriggerIsItsOwnRequestsAlone) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, v);"
                    "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.v='bad' BEGIN SELECT RAISE(ROLLBACK,'no bad ones'); END").status, VIA_OK);
  const auto answers = together(a, {insert("", "a"), insert("", "bad"), insert("", "b"), insert("", "bad"), insert("", "c")});
  EXPECT_EQ(answers[1].code(), "constraint");
  EXPECT_EQ(answers[3].code(), "constraint");
  EXPECT_EQ(a.query("SELECT group_concat(v,'') FROM t").rows(), (Json{{"abc"}}));
  for (const size_t i : {0, 2, 4}) EXPECT_EQ(answers[i].status, VIA_OK);
}

TEST(GroupCommit, DeferredForeignKeysFailTheirOwnRequest) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE t(v REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED); INSERT INTO p VALUES(1)").status, VIA_OK);
  const auto answers = together(a, {insert("", "1"), insert("", "7"), insert("", "1")});
  EXPECT_EQ(answers[0].status, VIA_OK);
  EXPECT_EQ(answers[1].code(), "constraint");
  EXPECT_EQ(answers[2].status, VIA_OK);
  EXPECT_EQ(a.execute("INSERT INTO t VALUES(9)").code(), "constraint");
  EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{2}}));
}

TEST(GroupCommit, AnInterruptedMemberHarmsNobody) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(v)").status, VIA_OK);
  const std::string endless = Json{{"sql", "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c WHERE x<0"}, {"timeout_ms", 2000}}.dump();
  const auto answers = together(a, {insert("", "a"), endless, insert("", "b")});
  EXPECT_EQ(answers[0].status, VIA_OK);
  EXPECT_EQ(answers[1].status, VIA_E_DEADLINE);
  EXPECT_EQ(answers[2].status, VIA_OK);
  EXPECT_EQ(a.query("SELECT group_concat(v,'') FROM t").rows(), (Json{{"ab"}}));
}

TEST(GroupCommit, WritesOfManyThreadsAllArrive) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(v); CREATE TABLE n(x); INSERT INTO n VALUES(0)").status, VIA_OK);
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int k = 0; k < 4; ++k)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) failed += a.execute("UPDATE n SET x=x+1").status != VIA_OK;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(a.query("SELECT x FROM n").rows(), (Json{{200}}));
}

TEST(Writer, FullQuotaIsTheRequestsFailureAndLeavesRoomToDelete) {
  Addon a({.quota = 1 << 20});
  ASSERT_EQ(a.setup("CREATE TABLE t(v)").status, VIA_OK);
  const Answer full = a.execute("INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT zeroblob(10000) FROM c");
  EXPECT_EQ(full.status, VIA_E_EXHAUSTED);
  EXPECT_EQ(full.code(), "quota_exceeded");
  EXPECT_EQ(a.execute("INSERT INTO t VALUES('small')").status, VIA_OK);
  EXPECT_EQ(a.execute("DELETE FROM t").status, VIA_OK);
}

TEST(Writer, RefusesWhenTheExecutorDoes) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(v)").status, VIA_OK);
  a.host.executor().wait_idle();  // the group of the setup has ended: the next write posts
  a.host.executor().refuse_posts = true;
  EXPECT_EQ(a.execute("INSERT INTO t VALUES(1)").status, VIA_E_UNAVAILABLE);
  a.host.executor().refuse_posts = false;
  EXPECT_EQ(a.execute("INSERT INTO t VALUES(1)").status, VIA_OK);
}

TEST(Writer, AWriteThatWaitedPastItsDeadlineIsNotRun) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(v)").status, VIA_OK);
  FakeCall c;
  c.set_deadline(1);
  const std::string body = insert("", "late");
  const Addon::Op o(Operation::execute, body);
  a.ops()->invoke(a.handle(), &o.args, c.get());
  EXPECT_EQ(c.wait().status(), VIA_E_DEADLINE);
  EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{0}}));
}

void fill_rows(Addon& a) {
  a.must(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE w(id INTEGER PRIMARY KEY, v);"
                 "INSERT INTO t(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) SELECT hex(zeroblob(50)) FROM c"));
}

uint64_t wal_bytes(Addon& a) {
  std::error_code ec;
  const auto size = std::filesystem::file_size(a.folder.path("data.sqlite-wal"), ec);
  return ec ? 0 : size;
}

TEST(Wal, DoesNotGrowPastItsBoundForAReaderThatTakesNothing) {
  Addon a;
  fill_rows(a);
  FakeCall slow;
  slow.high_water = 20'000;
  const std::string stream = R"({"sql":"SELECT id, v FROM t"})";
  const Addon::Op op(Operation::query, stream, false, "application/x-ndjson");
  std::thread reader([&] { a.ops()->invoke(a.handle(), &op.args, slow.get()); });
  slow.wait_for_unread(20'000);
  uint64_t longest = 0;
  for (int i = 0; i < 300; ++i) {  // 150 MB
    ASSERT_EQ(a.execute("INSERT OR REPLACE INTO w VALUES(?, zeroblob(500000))", {i % 100}).status, VIA_OK);
    longest = std::max(longest, wal_bytes(a));
  }
  EXPECT_LT(longest, 67u << 20);
  EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{20'000}})) << "others go on";
  while (!slow.wait_for(std::chrono::milliseconds(1))) slow.drain();
  reader.join();
  EXPECT_EQ(slow.status(), VIA_OK);
  const std::string body = slow.body();
  size_t lines = 0, at = 0;
  std::string last;
  for (size_t end; (end = body.find('\n', at)) != body.npos; at = end + 1, ++lines) {
    last = body.substr(at, end - at);
    EXPECT_TRUE(Json::accept(last)) << "every line is whole";
  }
  EXPECT_EQ(at, body.size());
  EXPECT_LT(lines, 20'000u);
  EXPECT_EQ(Json::parse(last)["error"]["code"], "reader_too_old") << last;
}

TEST(Wal, AReaderThatTakesItsTimeGetsItsWholeResultWhileLittleIsWritten) {
  Addon a;
  fill_rows(a);
  FakeCall slow;
  slow.high_water = 20'000;
  const std::string stream = R"({"sql":"SELECT id, v FROM t"})";
  const Addon::Op op(Operation::query, stream, false, "application/x-ndjson");
  std::thread reader([&] { a.ops()->invoke(a.handle(), &op.args, slow.get()); });
  slow.wait_for_unread(20'000);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(a.execute("INSERT OR REPLACE INTO w VALUES(?, zeroblob(500000))", {i}).status, VIA_OK);
  while (!slow.wait_for(std::chrono::milliseconds(1))) slow.drain();
  reader.join();
  EXPECT_NE(slow.body().find(R"({"row_count":20000,"truncated":false})"), std::string::npos);
}

}  // namespace
}  // namespace via::sqlite::test
