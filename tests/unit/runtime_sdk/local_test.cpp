// A SQLite file of the app's own means the same as a binding. Each case runs in memory and on disk.
#include <gtest/gtest.h>

#include "fake_server.hpp"
#include "via/sql.hpp"

namespace via::sql::testing {
namespace {

class Local : public ::testing::TestWithParam<bool> {
 protected:
  Connection open() { return connect(GetParam() ? ":memory:" : (folder_.path / "app.db").string()); }
  Folder folder_;
};

INSTANTIATE_TEST_SUITE_P(MemoryAndDisk, Local, ::testing::Bool());

template <class F>
std::string code_of(F work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  return "";
}

TEST_P(Local, KeepsWhatWasWritten) {
  auto db = open();
  EXPECT_EQ(db.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t(b) VALUES('x'),('y')"), 2);
  const Written written = db.execute("INSERT INTO t(b) VALUES(?)", "z");
  EXPECT_EQ(written.update_count, 1);
  EXPECT_EQ(written.last_insert_rowid, 3);
  EXPECT_EQ(db.query("SELECT count(*) FROM t").scalar<int>(), 3);
  EXPECT_EQ(db.query("SELECT b FROM t WHERE a = :a", named({{"a", 2}})).scalar<std::string>(), "y");
  const Rows rows = db.query("SELECT a, b, a * 1.5 AS c FROM t ORDER BY a");
  EXPECT_EQ(rows.columns, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(rows.types, (std::vector<std::string>{"INTEGER", "TEXT", "REAL"}));
}

TEST_P(Local, LastInsertRowidIsWhatTheStatementInsertedElseZero) {
  auto db = open();
  db.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b UNIQUE); INSERT INTO t VALUES(1, 'x')");
  EXPECT_EQ(db.execute("INSERT OR IGNORE INTO t(b) VALUES('x')").last_insert_rowid, 0);
  EXPECT_EQ(db.execute("INSERT INTO t VALUES(7, 'y')").last_insert_rowid, 7);
  EXPECT_EQ(db.execute("UPDATE t SET b=a").last_insert_rowid, 0);
  const auto results = db.batch({execute("INSERT INTO t VALUES(9, 'z')"), execute("INSERT OR IGNORE INTO t VALUES(9, 'z')"),
                                 execute("UPDATE t SET b=a"), execute("INSERT INTO t VALUES(last_insert_rowid()+1, 'w')")});
  EXPECT_EQ(results.at(0).last_insert_rowid, 9);
  EXPECT_EQ(results.at(1).last_insert_rowid, 0);
  EXPECT_EQ(results.at(2).last_insert_rowid, 0);
  EXPECT_EQ(results.at(3).last_insert_rowid, 10);
}

TEST_P(Local, ReturningGivesRowsAndDdlCountsNothing) {
  auto db = open();
  db.setup("CREATE TABLE t(a)");
  const Written written = db.execute("INSERT INTO t VALUES(1),(2) RETURNING a");
  EXPECT_EQ(written.update_count, 2);
  EXPECT_EQ(written.rows.size(), 2U);
  EXPECT_EQ(db.execute("CREATE INDEX i ON t(a)").update_count, 0);
}

TEST_P(Local, ABatchIsAllOrNothing) {
  auto db = open();
  db.setup("CREATE TABLE t(a PRIMARY KEY)");
  try {
    db.batch({execute("INSERT INTO t VALUES(1)"), execute("INSERT INTO t VALUES(1)")});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "constraint");
    EXPECT_EQ(error.statement_index(), 1U);
  }
  EXPECT_EQ(db.query("SELECT count(*) FROM t").scalar<int>(), 0);
  const auto results = db.batch({execute("INSERT INTO t VALUES(?)", 5), query("SELECT a FROM t")});
  EXPECT_EQ(results.at(1).rows.scalar<int>(), 5);
}

TEST_P(Local, RefusesWhatABindingRefuses) {
  auto db = open();
  db.setup("CREATE TABLE t(a)");
  EXPECT_EQ(code_of([&] { db.query("INSERT INTO t VALUES(1)"); }), "sql_denied");
  EXPECT_EQ(code_of([&] { db.query("SELECT 1; SELECT 2"); }), "bad_request");
  EXPECT_EQ(code_of([&] { db.execute(""); }), "bad_request");
  EXPECT_EQ(code_of([&] { db.execute("BEGIN"); }), "sql_denied");
  EXPECT_EQ(code_of([&] { db.setup("SAVEPOINT x"); }), "sql_denied");
  EXPECT_EQ(code_of([&] { db.query("SELECT * FROM missing"); }), "sql_error");
  EXPECT_EQ(code_of([&] { db.query("SELECT ?"); }), "sql_error");
  EXPECT_EQ(code_of([&] { db.query("SELECT 1", 2); }), "sql_error");
  EXPECT_EQ(code_of([&] { db.query("SELECT :a", named({{"b", 1}})); }), "sql_error");
  EXPECT_EQ(db.query("SELECT 1 ; -- the end\n ").scalar<int>(), 1);
}

TEST_P(Local, AScriptThatIsWrappedInOnePairRunsAsADumpIs) {
  auto db = open();
  EXPECT_EQ(db.setup("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE c(p REFERENCES q(a)); INSERT INTO c VALUES(1);"
                     "CREATE TABLE q(a PRIMARY KEY); INSERT INTO q VALUES(1);\nCOMMIT;\n"), 2);
  EXPECT_EQ(code_of([&] { db.setup("PRAGMA foreign_keys=OFF; BEGIN; INSERT INTO c VALUES(9); COMMIT"); }), "constraint");
  EXPECT_EQ(code_of([&] { db.execute("INSERT INTO c VALUES(9)"); }), "constraint");
  for (const char* sql : {"BEGIN; CREATE TABLE x(a)", "CREATE TABLE x(a); COMMIT", "BEGIN; COMMIT; CREATE TABLE x(a)", "BEGIN; ROLLBACK", "BEGIN; SAVEPOINT s; COMMIT"})
    EXPECT_EQ(code_of([&] { db.setup(sql); }), "sql_denied") << sql;
  EXPECT_EQ(db.query("SELECT count(*) FROM sqlite_schema WHERE name='x'").scalar<int>(), 0);
}

TEST_P(Local, EndsAtTheDeadline) {
  auto db = open();
  Statement endless =
      query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n");
  endless.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(code_of([&] { db.query(endless); }), "deadline_exceeded");
  EXPECT_EQ(db.query("SELECT 1").scalar<int>(), 1);
}

TEST_P(Local, ValuesComeBackAsTheyWent) {
  auto db = open();
  const Blob blob{std::byte{0}, std::byte{255}};
  const Rows rows = db.query("SELECT ?, ?, ?, ?, ?, ?", std::int64_t{-9223372036854775807 - 1}, 0.1,
                             "a\xC3\xA9", blob, nullptr, Blob{});
  EXPECT_EQ(rows.cells.at(0), (std::vector<Value>{std::int64_t{-9223372036854775807 - 1}, 0.1, "a\xC3\xA9",
                                                  blob, nullptr, Blob{}}));
}

TEST(LocalFile, IsThereForTheNextConnection) {
  Folder folder;
  const std::string file = (folder.path / "x.sqlite").string();
  {
    auto db = connect(file);
    db.setup("CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  }
  EXPECT_EQ(connect(file).query("SELECT a FROM t").scalar<int>(), 1);
  EXPECT_EQ(code_of([&] { connect((folder.path / "none" / "x.db").string()); }), "not_configured");
}

}  // namespace
}  // namespace via::sql::testing
