// No opcode is long: the processor time between two looks at the deadline (engine/look.hpp), for every function and module of this
// build with the worst input in size and shape that the policy lets through. Functions are taken from SQLite's own list, so one
// that a new version adds is measured unasked. It is the one test with a figure: that figure is the promise (docs/security.md).
#include "fixture.hpp"

#include "plugins/sqlite/engine/match.hpp"
#include "plugins/sqlite/storage.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <set>

namespace via::sqlite {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kLimitMs = 1'500;
#elif defined(NDEBUG)
constexpr uint64_t kLimitMs = 50;
#else
constexpr uint64_t kLimitMs = 250;  // our own functions, the allocator among them, are not optimised here
#endif

class OpcodeBound : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(storage::create_file(path()));
    Limits limits;
    limits.quota_bytes = 1ull << 30;
    ASSERT_FALSE(Connection::open(path(), Connection::Kind::writer, limits, host_, connection_));
    for (const char* sql : {
             "CREATE TABLE v(name TEXT PRIMARY KEY, x)",
             "INSERT INTO v VALUES('a', replace(hex(zeroblob(4950000)),'0','a'))",
             "INSERT INTO v VALUES('words', replace(hex(zeroblob(1500000)),'00','a '))",
             "INSERT INTO v VALUES('blob', zeroblob(9900000))",
             "INSERT INTO v VALUES('accents', replace(hex(zeroblob(1600000)),'0','é'))",
             "INSERT INTO v VALUES('pattern', '%' || replace(hex(zeroblob(495)),'0','a') || 'b')",
             "INSERT INTO v VALUES('one', '%' || replace(hex(zeroblob(400)),'0','_') || 'b%')",
             "INSERT INTO v VALUES('glob', '*' || replace(hex(zeroblob(40)),'0','[a-z]') || 'B')",
             "INSERT INTO v VALUES('format', replace(hex(zeroblob(50)),'0','%99999d'))",
             "INSERT INTO v SELECT 'object', json_group_object('k'||value, value) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<100000) SELECT value FROM c)",
             "INSERT INTO v SELECT 'array', json_group_array(value) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<800000) SELECT value FROM c)",
             "INSERT INTO v VALUES('deep', replace(hex(zeroblob(450)),'0','[') || replace(hex(zeroblob(450)),'0',']'))",
             "INSERT INTO v VALUES('escapes', '\"' || replace(hex(zeroblob(750000)),'00','\\u0041') || '\"')",
             "INSERT INTO v VALUES('path', '$.k99999')",
             "INSERT INTO v VALUES('small', 'a')",
             "INSERT INTO v VALUES('number', 123456789012345)",
             "CREATE TABLE many(id INTEGER PRIMARY KEY, t TEXT)",
             "INSERT INTO many SELECT value, printf('%0900d', value*7919 % 10007) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<40000) SELECT value FROM c)",
             "CREATE TABLE tiny(id INTEGER PRIMARY KEY, n INT)",
             "INSERT INTO tiny SELECT value, value*7919 % 1000003 FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<1000000) SELECT value FROM c)",
             "CREATE VIRTUAL TABLE f USING fts5(body)",
             "INSERT INTO f SELECT x FROM v WHERE name='words'",
             "INSERT INTO f SELECT printf('w%d x%d y%d', value, value%97, value%7) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<60000) SELECT value FROM c)",
             "CREATE VIRTUAL TABLE tri USING fts5(body, tokenize='trigram')",
             "CREATE VIRTUAL TABLE por USING fts5(body, tokenize='porter ascii')",
             "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1, y0, y1)",
             "INSERT INTO r SELECT value, value%1000, value%1000+1, value/1000, value/1000+1 FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<60000) SELECT value FROM c)",
         })
      ASSERT_EQ(connection_->host_exec(sql), SQLITE_OK) << sql << ": " << sqlite3_errmsg(connection_->db());
    engine::Gaps::measuring = true;
  }
  void TearDown() override { engine::Gaps::measuring = false; }
  std::string path() const { return folder_.path("bound.sqlite"); }

  // Runs it to its end or for `ms`; the longest time between two looks. Rolls back what it did.
  uint64_t gap_ms(const std::string& sql, uint64_t ms = 1'500) {
    connection_->host_exec("BEGIN");
    (void)engine::Gaps::longest_ns();
    connection_->policy().host_sql = true;
    const uint64_t deadline = host_.now_ns() + ms * 1'000'000;
    connection_->begin_guard(deadline, nullptr, 4'000'000'000);
    sqlite3_stmt* s = nullptr;
    if (sqlite3_prepare_v2(connection_->db(), sql.c_str(), -1, &s, nullptr) == SQLITE_OK) {
      ++ran_;
      while (sqlite3_step(s) == SQLITE_ROW) {
      }
    }
    sqlite3_finalize(s);
    connection_->end_guard();
    // With letting go of a million records, on a machine that has other things to do.
    EXPECT_LE(host_.now_ns(), deadline + (500 + 10 * kLimitMs) * 1'000'000) << sql;
    if (sqlite3_get_autocommit(connection_->db()) == 0) connection_->host_exec("ROLLBACK");
    return engine::Gaps::longest_ns() / 1'000'000;
  }
  void bounded(const std::string& sql) {
    const uint64_t ms = gap_ms(sql);
    EXPECT_LE(ms, kLimitMs) << sql;
    if (ms * 4 > kLimitMs) std::printf("%5lu ms  %s\n", static_cast<unsigned long>(ms), sql.c_str());
  }
  std::vector<std::pair<std::string, std::string>> rows(const char* sql) {
    std::vector<std::pair<std::string, std::string>> out;
    connection_->policy().host_sql = true;
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(connection_->db(), sql, -1, &s, nullptr), SQLITE_OK) << sqlite3_errmsg(connection_->db());
    const auto text = [&](int i) { return std::string(reinterpret_cast<const char*>(sqlite3_column_text(s, i))); };
    while (sqlite3_step(s) == SQLITE_ROW) out.emplace_back(text(0), text(1));
    sqlite3_finalize(s);
    return out;
  }

  test::TempFolder folder_;
  testing::FakeHost fake_{{folder_.path(), 0, 2, false}};
  Host host_{fake_.host()};
  std::unique_ptr<Connection> connection_;
  int ran_ = 0;
};

// ",x,x,…"
std::string repeated(int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += ",x";
  return out;
}

std::string value(const char* name) { return std::string("(SELECT x FROM v WHERE name='") + name + "')"; }

TEST_F(OpcodeBound, EveryFunctionIsShortBetweenTwoLooks) {
  // The first ones in every run, all of them with VIA_BOUND_ALL=1 (scripts/hostile).
  std::vector<std::vector<const char*>> shapes{
      {"a"}, {"object"}, {"pattern", "a"}, {"a", "small"}, {"object", "path", "a"}, {"format", "number"}, {"accents"},
      {"array"}, {"deep"}, {"escapes"}, {"blob"}, {"small", "a"}, {"one", "a"}, {"glob", "a"}, {"pattern", "accents"}, {"object", "object"},
      {"object", "path"}, {"a", "small", "a"}, {"number", "a"}, {"a", "number"}, {"blob", "number", "number"}, {"array", "path"}};
  if (std::getenv("VIA_BOUND_ALL") == nullptr) shapes.resize(6);
  const std::string query =
      "SELECT DISTINCT name, type || CASE WHEN narg<0 THEN 4 ELSE narg END FROM pragma_function_list "
      "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN ('load_extension','fts5','fts5_source_id')";
  int functions = 0;
  for (const auto& [name, kind] : rows(query.c_str())) {
    const int arguments = std::stoi(kind.substr(1));
    ++functions;
    const bool windowed = kind[0] == 'w';
    std::set<std::string> calls;
    for (const auto& shape : shapes) {
      std::string list;
      for (int i = 0; i < arguments; ++i) {
        const size_t at = std::min(static_cast<size_t>(i), shape.size() - 1);
        list += (list.empty() ? "" : ",") + value(shape[at]);
      }
      calls.insert(list);
      if (arguments == 0) break;
    }
    for (const std::string& list : calls) bounded("SELECT length(" + std::string("\"") + name + "\"(" + list + "))" + (windowed ? " FROM (SELECT 1 UNION SELECT 2)" : ""));
    if (kind[0] != 's' && arguments >= 1 && arguments <= 4) {
      std::string few = "t", windows = "t";
      for (int i = 1; i < arguments; ++i) few += ",id";
      bounded("SELECT \"" + name + "\"(" + few + ") FROM many");
      bounded("SELECT \"" + name + "\"(" + few + ") OVER (ORDER BY id ROWS BETWEEN 1000 PRECEDING AND CURRENT ROW) FROM many");
    }
  }
  EXPECT_GT(functions, 120);
  EXPECT_GT(ran_, 400) << "most of them ran";
}

TEST_F(OpcodeBound, EveryModuleIsShortBetweenTwoLooks) {
  const std::set<std::string> known{"fts5", "fts5vocab", "rtree", "rtree_i32", "json_each", "json_tree", "geopoly", "generate_series", "dbstat", "sqlite_stmt"};
  for (const auto& [name, unused] : rows("SELECT name, '' FROM pragma_module_list"))
    EXPECT_TRUE(known.contains(name) || name.starts_with("pragma_")) << "a module that no line below measures: " << name;
  for (const char* sql : {
           "SELECT count(*) FROM f WHERE f MATCH 'a'", "SELECT highlight(f,0,'<b>','</b>') FROM f WHERE f MATCH 'a'",
           "SELECT snippet(f,0,'<b>','</b>','…',64) FROM f WHERE f MATCH 'a'", "SELECT snippet(f,0,'<','>','',64) FROM f WHERE f MATCH 'a OR w1 OR x1 OR \"a a\"'",
           "SELECT bm25(f) FROM f WHERE f MATCH 'a OR x1 OR y1'", "SELECT rowid FROM f WHERE f MATCH 'w*' ORDER BY rank", "SELECT count(*) FROM f WHERE f MATCH 'NEAR(a a a, 1000)'",
           "SELECT count(*) FROM f WHERE f MATCH '\"a a a a a a a a\"'", "INSERT INTO f(f) VALUES('rebuild')", "INSERT INTO f(f) VALUES('optimize')",
           "INSERT INTO f(f) VALUES('integrity-check')", "INSERT INTO f(f) VALUES('delete-all')", "INSERT INTO f SELECT x FROM v WHERE name='words'",
           "INSERT INTO f SELECT x FROM v WHERE name='accents'", "INSERT INTO f SELECT x FROM v WHERE name='a'", "INSERT INTO tri SELECT x FROM v WHERE name='words'",
           "INSERT INTO por SELECT x FROM v WHERE name='words'", "UPDATE f SET body=body||'b' WHERE rowid=1", "DELETE FROM f WHERE rowid=1", "DROP TABLE f",
           "SELECT count(*) FROM json_each((SELECT x FROM v WHERE name='array'))", "SELECT count(*) FROM json_tree((SELECT x FROM v WHERE name='object'))",
           "SELECT max(length(fullkey)) FROM json_tree((SELECT x FROM v WHERE name='deep'))", "SELECT count(*) FROM json_each((SELECT x FROM v WHERE name='a'))",
           "SELECT count(*) FROM r WHERE x0>=0 AND x1<=2000", "SELECT count(*) FROM r WHERE x0>5000", "INSERT INTO r SELECT id+1000000,x0,x1,y0,y1 FROM r", "DELETE FROM r", "DROP TABLE r",
       })
    bounded(sql);
}

TEST_F(OpcodeBound, SortsDeletionsComparisonsAndSchemasAreShortBetweenTwoLooks) {
  std::string paths, members;
  for (int i = 0; i < 400; ++i) paths += ",'$.n" + std::to_string(i) + "',1";
  for (int i = 0; i < 400; ++i) members += ",'$.k" + std::to_string(99'000 + i) + "'";
  for (const std::string& sql : std::vector<std::string>{
           "SELECT n FROM tiny ORDER BY n", "SELECT n, id FROM tiny ORDER BY n%7, -id", "SELECT t FROM many ORDER BY t", "SELECT t FROM many ORDER BY substr(t,300) COLLATE NOCASE DESC, id",
           "SELECT count(*) FROM tiny", "SELECT count(DISTINCT n) FROM tiny", "SELECT DISTINCT t FROM many", "CREATE INDEX tiny_n ON tiny(n)", "CREATE INDEX many_t ON many(t)",
           "DELETE FROM tiny", "DROP TABLE tiny", "DELETE FROM many WHERE id>5", "UPDATE many SET t=t||'x'", "SELECT group_concat(t) FROM many", "SELECT string_agg(t, 'long') FROM many",
           "SELECT x FROM v ORDER BY x", "SELECT a.x=b.x FROM v a, v b", "SELECT a.x LIKE b.x FROM v a, v b WHERE length(b.x)<1000", "SELECT max(x), min(x) FROM v", "SELECT x||x FROM v", "SELECT CAST(x AS REAL), CAST(x AS INT), x+0 FROM v",
           "SELECT sum(n) OVER (ORDER BY n ROWS BETWEEN 100000 PRECEDING AND CURRENT ROW) FROM tiny", "SELECT ntile(7) OVER (ORDER BY n), lag(n,1000) OVER (ORDER BY id) FROM tiny",
           "WITH RECURSIVE c(n) AS (SELECT 1 UNION SELECT n+1 FROM c WHERE n<3000000) SELECT count(*) FROM c",
           "SELECT json_set(x" + paths + ") FROM v WHERE name='object'", "SELECT json_remove(x" + members + ") FROM v WHERE name='object'",
           "SELECT json_extract(x" + members + ") FROM v WHERE name='object'", "SELECT json_patch(x,x) FROM v WHERE name='object'",
           "SELECT json_patch(x,(SELECT json_group_object('z'||id, id) FROM tiny WHERE id<100000)) FROM v WHERE name='object'",
           "SELECT json_array(x" + repeated(100) + ") FROM v WHERE name='a'", "SELECT jsonb_object(x,x" + repeated(100) + ") FROM v WHERE name='escapes'",
           "SELECT concat(x" + repeated(100) + ") FROM v WHERE name='blob'", "SELECT concat_ws(x" + repeated(100) + ") FROM v WHERE name='a'",
           "SELECT max(x" + repeated(100) + ") FROM v WHERE name='a'", "SELECT printf('%s%s%s',x,x,x), printf('%.*c%q', 100000, 'x', x), printf('%!20s', x) FROM v WHERE name='accents'",
           "SELECT jsonb(x) FROM v WHERE name IN ('object','array','deep','escapes')", "SELECT json_pretty(x) FROM v WHERE name IN ('object','array','deep')",
           "SELECT t FROM many WHERE t IN (SELECT t FROM many)", "SELECT count(*) FROM many a JOIN many b ON a.t=b.t", "PRAGMA foreign_key_check", "VACUUM",
       })
    bounded(sql);
}

TEST_F(OpcodeBound, AStatementEndsAtItsDeadlineWhateverItsValuesAre) {
  for (const char* sql : {"SELECT x LIKE (SELECT x FROM v WHERE name='pattern') FROM v WHERE name='a'",
                          "SELECT x GLOB '*' || replace(hex(zeroblob(90)),'0','[a-z]') || 'B' FROM v WHERE name='a'",
                          "SELECT snippet(f,0,'<b>','</b>','…',64) FROM f WHERE f MATCH 'a'", "SELECT highlight(f,0,'<b>','</b>') FROM f WHERE f MATCH 'a'",
                          "SELECT json_patch(x,(SELECT json_group_object('z'||id, id) FROM tiny WHERE id<100000)) FROM v WHERE name='object'",
                          "SELECT n FROM tiny, (SELECT 1 UNION SELECT 2 UNION SELECT 3) ORDER BY n*7919 % 1000003"}) {
    timespec before{}, after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    (void)gap_ms(sql, 100);
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    const int64_t ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1'000'000;
    EXPECT_LE(ms, static_cast<int64_t>(100 + 2 * kLimitMs)) << sql;
  }
}

// ---- LIKE and GLOB -----------------------------------------------------------------------------------------------

TEST(Match, EqualsSqlitesOwnOnRandomPatternsAndTexts) {
  std::mt19937 random(11);
  const char* texts[] = {"a", "b", "A", "é", "É", "日", "𝄞", "-", "%", "_", "*", "]", "^", "z"};
  const char* likes[] = {"a", "b", "A", "é", "%", "_", "%", "\\%", "\\_", "\\\\", "日", "%_", "z"};
  const char* globs[] = {"a", "b", "A", "é", "*", "?", "*", "[a-c]", "[^b]", "[]a]", "[a-]", "[é-日]", "[", "[^]]", "-", "[a", "]"};
  const auto make = [&](const auto& alphabet, size_t most, size_t kinds) {
    std::string s;
    for (size_t n = random() % (most + 1); n > 0; --n) s += alphabet[random() % std::min(kinds, std::size(alphabet))];
    return s;
  };
  const unsigned char like_info[4] = {'%', '_', 0, 1}, glob_info[4] = {'*', '?', '[', 0};
  const auto bytes = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.c_str()); };
  for (int round = 0; round < 200'000; ++round) {
    const size_t kinds = 2 + random() % 13;
    const bool glob = round % 2 == 0;
    const std::string text = make(texts, round % 7 == 0 ? 60 : 12, kinds), pattern = glob ? make(globs, 9, std::size(globs)) : make(likes, 9, std::size(likes));
    const int theirs = glob ? sqlite3_strglob(pattern.c_str(), text.c_str()) : sqlite3_strlike(pattern.c_str(), text.c_str(), '\\');
    const int ours = engine::match(bytes(pattern), bytes(text), glob ? glob_info : like_info, glob ? '[' : '\\');
    ASSERT_EQ(ours == 0, theirs == 0) << (glob ? "GLOB [" : "LIKE [") << pattern << "] [" << text << "]";
  }
}

TEST(Match, EqualsSqlitesOwnWhereItChangesToBits) {
  std::mt19937 random(12);
  const unsigned char like_info[4] = {'%', '_', 0, 1}, glob_info[4] = {'*', '?', '[', 0};
  const auto bytes = [](const std::string& s) { return reinterpret_cast<const unsigned char*>(s.c_str()); };
  for (int round = 0; round < 300; ++round) {
    const size_t n = 1 + random() % 200;
    std::string text, part;
    for (size_t i = 0; i < 20'000; ++i) text += random() % 40 == 0 ? "é" : random() % 200 == 0 ? "b" : "a";
    const size_t at = random() % 15'000;
    if (round % 2 == 0) {
      part = std::string(n, 'a') + (round % 4 == 0 ? "b" : "_") + std::string(n / 2, 'a') + "c";
      if (round % 3 == 0) text.replace(at, 0, std::string(n, 'A') + "b" + std::string(n / 2, 'a') + "C");
    } else {
      for (size_t i = 0; i < n; ++i) part += i % 3 == 0 ? "[a-z]" : "a";
      part += "c";
      if (round % 3 == 0) text.replace(at, 0, std::string(n, 'a') + "c");
    }
    const bool glob = round % 2 == 1;
    const std::string pattern = (glob ? "*" : "%") + part + (glob ? "*" : "%");
    const int theirs = glob ? sqlite3_strglob(pattern.c_str(), text.c_str()) : sqlite3_strlike(pattern.c_str(), text.c_str(), 0);
    ASSERT_EQ(engine::match(bytes(pattern), bytes(text), glob ? glob_info : like_info, glob ? '[' : 0) == 0, theirs == 0) << pattern;
  }
}

TEST_F(OpcodeBound, LikeStillUsesAnIndex) {
  ASSERT_EQ(connection_->host_exec("CREATE TABLE words(w TEXT COLLATE NOCASE PRIMARY KEY)"), SQLITE_OK);
  const auto plan = rows("EXPLAIN QUERY PLAN SELECT w FROM words WHERE w LIKE 'abc%'");
  (void)plan;
  connection_->policy().host_sql = true;
  sqlite3_stmt* s = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(connection_->db(), "EXPLAIN QUERY PLAN SELECT w FROM words WHERE w LIKE 'abc%'", -1, &s, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_step(s), SQLITE_ROW);
  EXPECT_NE(std::string(reinterpret_cast<const char*>(sqlite3_column_text(s, 3))).find("SEARCH"), std::string::npos);
  sqlite3_finalize(s);
}

}  // namespace
}  // namespace via::sqlite
