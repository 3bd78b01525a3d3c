// Every case of tests/fixtures/hostile/sql.txt, in order on one file, with the invariants that must hold after each.
#include "unit/sqlite/fixture.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

namespace via::sqlite::test {
namespace {

struct Case {
  std::string id, operation, sql, expected;
};

std::string trimmed(std::string s) {
  s.erase(0, s.find_first_not_of(' '));
  s.erase(s.find_last_not_of(' ') + 1);
  return s;
}

std::string expanded(std::string s) {
  for (size_t open; (open = s.find("{{")) != s.npos;) {
    const size_t star = s.find('*', open), close = s.find("}}", star);
    std::string repeated;
    for (int n = std::stoi(s.substr(open + 2)); n > 0; --n) repeated += s.substr(star + 1, close - star - 1);
    s.replace(open, close + 2 - open, repeated);
  }
  return s;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  std::ifstream in(VIA_HOSTILE_SQL);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> parts(1);
    for (size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') parts.back() += line[++i];
      else if (line[i] == '|') parts.emplace_back();
      else parts.back() += line[i];
    }
    if (parts.size() == 4) out.push_back({trimmed(parts[0]), trimmed(parts[1]), expanded(trimmed(parts[2])), trimmed(parts[3])});
  }
  return out;
}

std::set<std::string> files(const std::string& dir) {
  std::set<std::string> out;
  for (const auto& e : std::filesystem::recursive_directory_iterator(dir)) out.insert(e.path().filename());
  return out;
}

TEST(HostileSql, EachCaseIsAnsweredAsListedAndHarmsNothing) {
  Addon a({.config = R"({"timeout_ms":1000,"max_rows":1000})", .quota = 16 << 20});
  ASSERT_EQ(a.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE secret(k, v);"
                    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 300) SELECT x, 'row'||x FROM c").status, VIA_OK);
  ASSERT_EQ(a.query("SELECT 1").status, VIA_OK);
  const auto before = files(a.folder.path());
  const auto all = cases();
  ASSERT_GT(all.size(), 130u);
  for (const Case& c : all) {
    SCOPED_TRACE(c.id + " " + c.sql.substr(0, 100));
    const Operation op = c.operation == "query" ? Operation::query : c.operation == "execute" ? Operation::execute : Operation::setup;
    const Answer r = a.call(op, c.sql, Json::array());
    if (c.expected == "allow") {
      EXPECT_EQ(r.status, VIA_OK) << r.code() << " " << r.message;
    } else if (c.expected == "deny") {
      EXPECT_EQ(r.status, VIA_E_INVALID);
      EXPECT_EQ(r.code(), "sql_denied") << r.message;
      for (const char* name : {"secret", "evil", "e4_data", "/tmp"}) EXPECT_EQ(r.message.find(name), std::string::npos);
    } else if (c.expected == "error") {
      EXPECT_TRUE(r.status == VIA_E_INVALID || (kSanitized && r.status == VIA_E_DEADLINE)) << r.status << r.body.substr(0, 200);
    } else {
      EXPECT_TRUE(r.status == VIA_OK || r.status == VIA_E_INVALID || r.status == VIA_E_DEADLINE || r.status == VIA_E_EXHAUSTED) << r.status << r.message;
    }
    EXPECT_EQ(r.message.find(a.folder.path()), std::string::npos);
    EXPECT_EQ(a.query("SELECT 1").rows(), (Json{{1}}));
    const Answer write = a.execute("UPDATE t SET b=b WHERE a=2");
    EXPECT_EQ(write.status, VIA_OK) << write.message;
    EXPECT_EQ(files(a.folder.path()), before);
  }
  EXPECT_LT(std::filesystem::file_size(a.folder.path("data.sqlite-wal")), 64u << 20);
  EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{300}}));
  EXPECT_EQ(a.query("PRAGMA user_version").rows(), (Json{{0}}));
  for (const auto& line : a.host.log_lines()) EXPECT_EQ(line.find("SELECT"), std::string::npos);
  a.destroy();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open_v2(a.folder.path("data.sqlite").c_str(), &db, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK);
  std::string verdict;
  sqlite3_exec(db, "PRAGMA integrity_check", [](void* out, int, char** v, char**) { *static_cast<std::string*>(out) = v[0]; return 0; }, &verdict, nullptr);
  sqlite3_close(db);
  EXPECT_EQ(verdict, "ok");
}

TEST(Policy, SettingsOfAConnectionSurviveWhatAnAppTries) {
  Addon a({.open = false});
  ASSERT_EQ(a.provision().status, VIA_OK);
  const Host host(a.host.host());
  std::unique_ptr<Connection> c;
  ASSERT_FALSE(Connection::open(std::filesystem::canonical(a.folder.path("data.sqlite")), Connection::Kind::reader, {}, host, c));
  const char* settings[] = {"PRAGMA query_only", "PRAGMA foreign_keys", "PRAGMA cell_size_check", "PRAGMA trusted_schema", "PRAGMA mmap_size"};
  const int64_t expected[] = {1, 1, 1, 0, 0};
  for (const std::string sql : {"PRAGMA query_only=0", "PRAGMA foreign_keys=0", "PRAGMA trusted_schema=1", "ATTACH 'x' AS y", "BEGIN"}) {
    Statement* s = nullptr;
    EXPECT_TRUE(c->statement(Operation::query, sql, s));
  }
  for (size_t i = 0; i < 5; ++i) {
    if (i == 4) EXPECT_LE(c->host_number(settings[i]), 0);
    else EXPECT_EQ(c->host_number(settings[i]), expected[i]) << settings[i];
  }
  EXPECT_NE(sqlite3_get_autocommit(c->db()), 0);
}

TEST(Policy, HoldsWhenAStatementIsPreparedAgain) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE x(a); CREATE VIEW v AS SELECT a FROM x").status, VIA_OK);
  ASSERT_EQ(a.query("SELECT * FROM v").status, VIA_OK);
  EXPECT_EQ(a.setup("DROP VIEW v; CREATE VIEW v AS SELECT * FROM pragma_database_list").code(), "sql_denied");
  EXPECT_EQ(a.query("SELECT * FROM v").json()["columns"], Json{"a"});
}

}  // namespace
}  // namespace via::sqlite::test
