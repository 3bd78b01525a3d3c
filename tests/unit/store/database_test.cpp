#include "core/store/database.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/fakes.hpp"

namespace via::store {
namespace {

struct DatabaseTest : ::testing::Test {
  test::TemporaryFolder folder;
  std::unique_ptr<Database> db = *Database::open(folder.path() / "x.db", Database::Mode::create);
  std::int64_t count() {
    return **db->one([](const Row& r) { return r.integer(0); }, "SELECT count(*) FROM t");
  }
  void SetUp() override { ASSERT_TRUE(db->script("CREATE TABLE t (a INTEGER, b TEXT)")); }
};

TEST_F(DatabaseTest, ValuesComeBackAsTheyWereBound) {
  const std::string nul("a\0b", 3);
  ASSERT_TRUE(db->run("INSERT INTO t VALUES (?1, ?2)", std::int64_t{1} << 62, nul));
  ASSERT_TRUE(db->run("INSERT INTO t VALUES (?1, ?2)", -1, nullptr));
  ASSERT_TRUE(db->run("INSERT INTO t VALUES (?1, ?2)", 5, std::string_view()));
  const auto rows = *db->all([](const Row& r) { return std::tuple(r.integer(0), r.text(1), r.is_null(1)); },
                             "SELECT a, b FROM t ORDER BY rowid");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0], std::tuple(std::int64_t{1} << 62, nul, false));
  EXPECT_EQ(rows[1], std::tuple(std::int64_t{-1}, std::string(), true));
  EXPECT_EQ(rows[2], std::tuple(std::int64_t{5}, std::string(), false));
}

TEST_F(DatabaseTest, TransactionWithoutCommitLeavesNothing) {
  {
    auto change = Transaction::begin(*db);
    ASSERT_TRUE(change);
    ASSERT_TRUE(db->run("INSERT INTO t VALUES (1, 'x')"));
  }
  EXPECT_EQ(count(), 0);
  auto change = Transaction::begin(*db);
  ASSERT_TRUE(change);
  ASSERT_TRUE(db->run("INSERT INTO t VALUES (1, 'x')"));
  ASSERT_TRUE(change->commit());
  EXPECT_EQ(count(), 1);
}

TEST_F(DatabaseTest, TheSameStatementMayRunInsideItself) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(db->run("INSERT INTO t VALUES (?1, 'x')", i));
  int pairs = 0;
  auto outer = db->query("SELECT a FROM t");
  while (outer.next()) {
    auto inner = db->query("SELECT a FROM t");
    while (inner.next()) ++pairs;
    ASSERT_TRUE(inner.end());
  }
  ASSERT_TRUE(outer.end());
  EXPECT_EQ(pairs, 9);
}

TEST_F(DatabaseTest, WrongSqlIsAnErrorAndNotAnException) {
  EXPECT_FALSE(db->run("SELECT * FROM no_such_table"));
  EXPECT_FALSE(db->run("INSERT INTO t VALUES (?1, ?2, ?3)", 1, 2, 3));
  EXPECT_EQ(db->run("nonsense").error().code, Code::internal);
}

TEST_F(DatabaseTest, FilesAreReadableByTheOwnerOnly) {
  ASSERT_TRUE(db->run("INSERT INTO t VALUES (1, 'x')"));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    struct stat st {};
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600U) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 2);  // the database and its log
}

TEST_F(DatabaseTest, OpenFileOfOthersIsRefused) {
  db.reset();
  ::chmod((folder.path() / "x.db").c_str(), 0640);
  EXPECT_EQ(Database::open(folder.path() / "x.db", Database::Mode::must_exist).error().code, Code::not_allowed);
}

TEST_F(DatabaseTest, SymbolicLinkIsRefused) {
  std::filesystem::create_symlink(folder.path() / "x.db", folder.path() / "y.db");
  EXPECT_EQ(Database::open(folder.path() / "y.db", Database::Mode::must_exist).error().code, Code::not_allowed);
}

TEST_F(DatabaseTest, CommitsAreDurableAndForeignKeysHold) {
  const auto number = [](const Row& r) { return r.integer(0); };
  EXPECT_EQ(**db->one(number, "PRAGMA synchronous"), 2);
  EXPECT_EQ(**db->one(number, "PRAGMA foreign_keys"), 1);
}

}  // namespace
}  // namespace via::store
