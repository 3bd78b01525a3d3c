// Every operation's answer and its refusals, through the C ABI.
#include "unit/sqlite/fixture.hpp"

#include <gtest/gtest.h>

namespace via::sqlite::test {
namespace {

constexpr const char* kTable = "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, data BLOB)";

TEST(Query, GivesColumnsDeclaredTypesAndRows) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t(name,data) VALUES(?,?)", {"å\"\\\n", Json{{"base64", "AAEC/w=="}}}).status, VIA_OK);
  const Answer r = a.query("SELECT id, name, data, 1.5 AS x, NULL AS n FROM t");
  ASSERT_EQ(r.status, VIA_OK) << r.message;
  EXPECT_EQ(r.json(), (Json{{"columns", {"id", "name", "data", "x", "n"}},
                            {"types", {"INTEGER", "TEXT", "BLOB", "REAL", "NULL"}},
                            {"rows", {{1, "å\"\\\n", {{"base64", "AAEC/w=="}}, 1.5, nullptr}}},
                            {"truncated", false}}));
}

TEST(Query, IntegersAreExactTo64Bits) {
  Addon a;
  const std::string body = R"({"sql":"SELECT ?,?,9007199254740993,5","params":[9223372036854775807,-9223372036854775808]})";
  EXPECT_NE(a.call(Operation::query, body).body.find("[9223372036854775807,-9223372036854775808,9007199254740993,5]"), std::string::npos);
  const std::string text = R"({"integers":"string","sql":"SELECT ?,?,9007199254740992","params":[9223372036854775807,-9223372036854775808]})";
  EXPECT_NE(a.call(Operation::query, text).body.find(R"(["9223372036854775807","-9223372036854775808",9007199254740992])"), std::string::npos);
}

TEST(Query, RealsReadBackAsTheSameDouble) {
  Addon a;
  EXPECT_EQ(a.query("SELECT ?, ?, ?", {0.1, 1e300, 5e-324}).rows()[0], (Json{0.1, 1e300, 5e-324}));
  EXPECT_NE(a.query("SELECT 3.0, 9e999, -9e999").body.find("[3.0,9e999,-9e999]"), std::string::npos);
}

TEST(Query, TextThatIsNotUtf8StaysValidJson) {
  Addon a;
  const Answer r = a.query("SELECT CAST(x'61ff62c3' AS TEXT), char(0) || 'b'");
  EXPECT_EQ(r.rows()[0][0], "a\xEF\xBF\xBD" "b\xEF\xBF\xBD");
  EXPECT_EQ(r.rows()[0][1], std::string("\0b", 2));
}

TEST(Query, NamedParametersNeedAllAndOnlyTheirNames) {
  Addon a;
  EXPECT_EQ(a.query("SELECT :a, $b, @c, :a", {{"a", 1}, {"$b", "x"}, {"c", nullptr}}).rows()[0], (Json{1, "x", nullptr, 1}));
  EXPECT_EQ(a.query("SELECT :a", {{"b", 1}}).code(), "sql_error");
  EXPECT_EQ(a.query("SELECT :a", {{"a", 1}, {"b", 1}}).code(), "sql_error");
  EXPECT_EQ(a.query("SELECT ?", {{"a", 1}}).code(), "sql_error");
  EXPECT_EQ(a.query("SELECT ?", Json::array()).code(), "sql_error");
  EXPECT_EQ(a.query("SELECT ?", {1, 2}).code(), "sql_error");
}

TEST(Query, OneReadingStatementAndNothingElse) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  EXPECT_EQ(a.query("SELECT 1; -- done\n ;").status, VIA_OK);
  EXPECT_EQ(a.query("SELECT 1; SELECT 2").code(), "bad_request");
  EXPECT_EQ(a.query("").code(), "bad_request");
  EXPECT_EQ(a.query(";;;;").code(), "bad_request");
  EXPECT_EQ(a.query("/* nothing */ -- here").code(), "bad_request");
  const Answer write = a.query("INSERT INTO t(name) VALUES('x')");
  EXPECT_EQ(write.status, VIA_E_INVALID);
  EXPECT_NE(write.message.find("use execute"), std::string::npos);
  EXPECT_EQ(a.query("EXPLAIN SELECT 1").code(), "sql_denied");
  EXPECT_EQ(a.query("EXPLAIN QUERY PLAN SELECT 1").code(), "sql_denied");
  const Answer missing = a.query("SELECT * FROM nosuch");
  EXPECT_EQ(missing.code(), "sql_error");
  EXPECT_NE(missing.message.find("nosuch"), std::string::npos);
}

TEST(Query, TruncatesAtItsRowAndByteLimits) {
  Addon a({.config = R"({"max_rows":3,"max_result_bytes":2000})"});
  const char* numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c";
  const Json rows = a.query(numbers).json();
  EXPECT_EQ(rows["rows"].size(), 3u);
  EXPECT_EQ(rows["truncated"], true);
  const Json bytes = a.query("SELECT printf('%.*c',1500,'x') UNION ALL SELECT printf('%.*c',1500,'y') UNION ALL SELECT 'z'").json();
  EXPECT_EQ(bytes["rows"].size(), 2u);
  EXPECT_EQ(bytes["truncated"], true);
}

TEST(Query, StreamsLinesWhenAsked) {
  Addon a;
  FakeCall c;
  const std::string body = R"({"sql":"SELECT 1 AS a UNION ALL SELECT 'x'"})";
  const Addon::Op o(Operation::query, body, false, "application/x-ndjson");
  EXPECT_EQ(a.ops()->try_invoke(a.handle(), &o.args, c.get()), VIA_E_WOULD_BLOCK);
  a.ops()->invoke(a.handle(), &o.args, c.get());
  EXPECT_EQ(c.wait().status(), VIA_OK);
  EXPECT_EQ(c.content_type, "application/x-ndjson");
  EXPECT_EQ(c.body(), "{\"columns\":[\"a\"],\"types\":[\"INTEGER\"]}\n[1]\n[\"x\"]\n{\"row_count\":2,\"truncated\":false}\n");
}

TEST(Query, AFailureInTheMiddleOfALineStreamIsItsLastLine) {
  Addon a;
  const Answer r = a.call(Operation::query, R"j({"sql":"SELECT 1 UNION ALL SELECT abs(-9223372036854775808)"})j", false, "application/x-ndjson");
  EXPECT_EQ(r.status, VIA_OK);
  const auto last = r.body.rfind('\n', r.body.size() - 2);
  EXPECT_EQ(Json::parse(r.body.substr(last + 1))["error"]["code"], "sql_error");
}

TEST(Query, WaitsForASlowReader) {
  Addon a;
  FakeCall c;
  c.high_water = 32 * 1024;
  const std::string body = R"({"sql":"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 50000) SELECT x, 'some text' FROM c"})";
  std::thread worker([&] {
    const Addon::Op o(Operation::query, body);
    a.ops()->invoke(a.handle(), &o.args, c.get());
  });
  c.wait_for_unread(c.high_water);
  EXPECT_FALSE(c.done());
  size_t most = 0;
  while (!c.done()) {
    most = std::max(most, c.drain());
    std::this_thread::yield();
  }
  worker.join();
  EXPECT_EQ(c.status(), VIA_OK);
  EXPECT_LT(most, 80u * 1024);
  EXPECT_EQ(Json::parse(c.body())["rows"].size(), 50000u);
}

TEST(Query, EndsAtItsDeadline) {
  Addon a;
  const std::string endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c";
  const Answer r = a.call(Operation::query, Json{{"sql", endless}, {"timeout_ms", 30}}.dump());
  EXPECT_EQ(r.status, VIA_E_DEADLINE);
  EXPECT_EQ(r.code(), "deadline_exceeded");
  EXPECT_EQ(a.query("SELECT 1").status, VIA_OK);
}

TEST(Query, EndsWhenItIsCancelled) {
  Addon a;
  FakeCall c;
  c.cancel();
  const std::string body = R"({"sql":"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"})";
  const Addon::Op o(Operation::query, body);
  a.ops()->invoke(a.handle(), &o.args, c.get());
  EXPECT_EQ(c.wait().status(), VIA_E_CANCELLED);
}

TEST(Execute, CountsAsJdbcDoes) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  EXPECT_EQ(a.execute("INSERT INTO t(name) VALUES('a'),('b'),('c')").json(), (Json{{"update_count", 3}, {"last_insert_rowid", 3}}));
  EXPECT_EQ(a.execute("UPDATE t SET data=NULL WHERE id<3").json()["update_count"], 2);
  EXPECT_EQ(a.execute("UPDATE t SET data=NULL WHERE id>99").json()["update_count"], 0);
  EXPECT_EQ(a.execute("DELETE FROM t").json()["update_count"], 3);
}

// The writer is shared: what others did before on it is nobody's business.
TEST(Execute, LastInsertRowidIsWhatTheRequestInsertedElseZero) {
  Addon a;
  ASSERT_EQ(a.setup(std::string(kTable) + "; CREATE TABLE log(id INTEGER PRIMARY KEY, x); CREATE TABLE plain(k TEXT PRIMARY KEY) WITHOUT ROWID;"
                    "CREATE VIEW w AS SELECT name FROM t; CREATE TRIGGER wi INSTEAD OF INSERT ON w BEGIN INSERT INTO log(x) VALUES(new.name); END;"
                    "CREATE TRIGGER tu AFTER UPDATE ON t BEGIN INSERT INTO log(x) VALUES(new.id); END").status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t(id, name) VALUES(41, 'a')").json(), (Json{{"update_count", 1}, {"last_insert_rowid", 41}}));
  const auto rowid = [&](const char* sql) {
    const Answer r = a.execute(sql);
    EXPECT_EQ(r.status, VIA_OK) << sql << ": " << r.message;
    return r.json()["last_insert_rowid"];
  };
  for (const char* sql : {"INSERT OR IGNORE INTO t(name) VALUES('a')", "INSERT INTO t(name) SELECT 'x' WHERE 0", "UPDATE t SET data=NULL",
                          "INSERT INTO t(id) VALUES(41) ON CONFLICT DO UPDATE SET data=x'00'", "INSERT INTO plain VALUES('k')",
                          "INSERT INTO w VALUES('by a trigger')", "DELETE FROM log"})
    EXPECT_EQ(rowid(sql), 0) << sql;
  EXPECT_EQ(rowid("INSERT INTO t(id, name) VALUES(50, 'b')"), 50);
  EXPECT_EQ(rowid("REPLACE INTO t(id, name) VALUES(50, 'c')"), 50);
  EXPECT_EQ(a.execute("INSERT OR IGNORE INTO t(name) VALUES('a') RETURNING id").json()["last_insert_rowid"], 0);
  EXPECT_EQ(a.batch({{{"operation", "execute"}, {"sql", "INSERT INTO t(id) VALUES(60)"}}, {{"operation", "execute"}, {"sql", "UPDATE t SET data=NULL"}},
                     {{"operation", "execute"}, {"sql", "INSERT OR IGNORE INTO t(id) VALUES(60)"}},
                     {{"operation", "execute"}, {"sql", "INSERT INTO log(id, x) VALUES(last_insert_rowid(), 'its own')"}}})
                .json()["results"],
            Json::parse(R"([{"update_count":1,"last_insert_rowid":60},{"update_count":3,"last_insert_rowid":0},)"
                        R"({"update_count":0,"last_insert_rowid":0},{"update_count":1,"last_insert_rowid":60}])"));
}

TEST(Execute, TellsNothingOfWhatOthersChangedOnTheWriter) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(a, b, c); INSERT INTO t VALUES(1,1,1),(2,2,2)").status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t VALUES(last_insert_rowid(), changes(), total_changes())").status, VIA_OK);
  EXPECT_EQ(a.query("SELECT * FROM t WHERE a NOT IN (1,2)").rows(), (Json{{0, 0, 0}}));
  const Answer r = a.batch({{{"operation", "query"}, {"sql", "SELECT changes(), total_changes(), last_insert_rowid()"}},
                            {{"operation", "execute"}, {"sql", "UPDATE t SET b=b WHERE a<3"}},
                            {{"operation", "query"}, {"sql", "SELECT changes(), total_changes(), last_insert_rowid()"}}});
  ASSERT_EQ(r.status, VIA_OK) << r.message;
  EXPECT_EQ(r.json()["results"][0]["rows"], (Json{{0, 0, 0}}));
  EXPECT_EQ(r.json()["results"][2]["rows"], (Json{{3, 3, 0}}));
}

TEST(Execute, ReturningGivesRows) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  const Json j = a.execute("INSERT INTO t(name) VALUES('a'),('b') RETURNING id, name").json();
  EXPECT_EQ(j["update_count"], 2);
  EXPECT_EQ(j["columns"], (Json{"id", "name"}));
  EXPECT_EQ(j["rows"], (Json{{1, "a"}, {2, "b"}}));
  EXPECT_EQ(a.execute("DELETE FROM t WHERE id>99 RETURNING id").json()["rows"], Json::array());
}

TEST(Execute, RefusesReadsSchemaAndConstraintViolations) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  EXPECT_NE(a.execute("SELECT 1").message.find("use query"), std::string::npos);
  EXPECT_EQ(a.execute("DROP TABLE t").code(), "sql_denied");
  EXPECT_EQ(a.execute("INSERT INTO t(name) VALUES('a')").status, VIA_OK);
  const Answer twice = a.execute("INSERT INTO t(name) VALUES('a')");
  EXPECT_EQ(twice.status, VIA_E_INVALID);
  EXPECT_EQ(twice.code(), "constraint");
  EXPECT_EQ(Json::parse(twice.details)["sqlite_code"], SQLITE_CONSTRAINT_UNIQUE);
}

TEST(Setup, RunsSeveralStatementsOrNone) {
  Addon a;
  EXPECT_EQ(a.setup("CREATE TABLE a(x); CREATE TABLE b(y); INSERT INTO a VALUES(1),(2); PRAGMA user_version=7;").json(), (Json{{"update_count", 2}}));
  EXPECT_EQ(a.query("PRAGMA user_version").rows(), (Json{{7}}));
  EXPECT_EQ(a.setup("CREATE TABLE c(x); CREATE TABLE a(x)").code(), "sql_error");
  EXPECT_EQ(a.query("SELECT * FROM c").code(), "sql_error");
}

TEST(Setup, ReadersSeeAChangedSchema) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE a(x INTEGER); INSERT INTO a VALUES(1)").status, VIA_OK);
  EXPECT_EQ(a.query("SELECT * FROM a").json()["columns"], Json{"x"});
  ASSERT_EQ(a.setup("ALTER TABLE a ADD COLUMN y TEXT DEFAULT 'd'; ALTER TABLE a RENAME COLUMN x TO z").status, VIA_OK);
  const Json j = a.query("SELECT * FROM a").json();
  EXPECT_EQ(j["columns"], (Json{"z", "y"}));
  EXPECT_EQ(j["types"], (Json{"INTEGER", "TEXT"}));
  EXPECT_EQ(j["rows"], (Json{{1, "d"}}));
}

TEST(Setup, ScriptWrappedInOnePairRunsAsADumpIs) {
  Addon a;
  const Answer r = a.setup(
      "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE c(p REFERENCES q(a));\nINSERT INTO c VALUES(1);\n"
      "CREATE TABLE q(a INTEGER PRIMARY KEY AUTOINCREMENT, b);\nINSERT INTO q VALUES(1,'x');\n"
      "DELETE FROM sqlite_sequence;\nINSERT INTO sqlite_sequence VALUES('q',70);\n"
      "CREATE TRIGGER t AFTER INSERT ON q BEGIN SELECT 1; END;\nCOMMIT;\n");
  ASSERT_EQ(r.status, VIA_OK) << r.message;
  EXPECT_EQ(a.execute("INSERT INTO q(b) VALUES('y')").json()["last_insert_rowid"], 71);
  EXPECT_EQ(a.execute("INSERT INTO c VALUES(9)").code(), "constraint") << "keys are looked at as before";
  EXPECT_EQ(a.setup("PRAGMA foreign_keys=OFF; BEGIN; INSERT INTO c VALUES(9); COMMIT").code(), "constraint") << "and at the end of the script";
  for (const char* sql : {"BEGIN; CREATE TABLE x(a); END", "begin immediate transaction /* ; */ ; CREATE TABLE x(a); -- done\n commit transaction ;"}) {
    EXPECT_EQ(a.setup(sql).status, VIA_OK) << sql;
    EXPECT_EQ(a.setup("DROP TABLE x").status, VIA_OK) << sql;
  }
  for (const char* sql : {"BEGIN; CREATE TABLE x(a)", "BEGIN", "COMMIT", "CREATE TABLE x(a); COMMIT", "CREATE TABLE x(a); BEGIN; COMMIT", "BEGIN; CREATE TABLE x(a); COMMIT; CREATE TABLE y(a)",
                          "BEGIN; COMMIT; BEGIN; COMMIT", "BEGIN; BEGIN; COMMIT", "BEGIN; CREATE TABLE x(a); ROLLBACK", "BEGIN; SAVEPOINT s; RELEASE s; COMMIT", "BEGIN CONCURRENT; COMMIT"}) {
    const Answer refused = a.setup(sql);
    EXPECT_TRUE(refused.code() == "sql_denied" || refused.code() == "sql_error") << sql << " " << refused.code();
    EXPECT_EQ(refused.status, VIA_E_INVALID) << sql;
  }
  EXPECT_EQ(a.query("SELECT count(*) FROM sqlite_schema WHERE name IN ('x','y')").rows(), (Json{{0}}));
}

TEST(Refusals, NameTheKindOfTheStatementAndWhatToDoInstead) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(a); CREATE VIRTUAL TABLE f USING fts5(x)").status, VIA_OK);
  struct Case {
    Operation operation;
    const char *sql, *kind, *instead;
  };
  const Case all[] = {
      {Operation::execute, "BEGIN", "BEGIN is not allowed", "one batch or one setup"},
      {Operation::execute, "COMMIT", "COMMIT is not allowed", "one batch or one setup"},
      {Operation::execute, "ROLLBACK", "ROLLBACK is not allowed", "one batch or one setup"},
      {Operation::execute, "SAVEPOINT s", "SAVEPOINT is not allowed", "one batch or one setup"},
      {Operation::setup, "SAVEPOINT s", "BEGIN and COMMIT are not allowed", "One pair around the whole script may stay"},
      {Operation::setup, "BEGIN; CREATE TABLE x(a)", "does not end it", "add COMMIT"},
      {Operation::setup, "ATTACH '/tmp/x' AS y", "ATTACH is not allowed", "bind another add-on"},
      {Operation::execute, "DETACH y", "DETACH is not allowed", "bind another add-on"},
      {Operation::query, "PRAGMA journal_mode", "PRAGMA journal_mode is not allowed", "table_info"},
      {Operation::setup, "PRAGMA writable_schema=ON", "PRAGMA writable_schema is not allowed", "table_info"},
      {Operation::query, "SELECT * FROM pragma_database_list", "PRAGMA database_list is not allowed", "table_info"},
      {Operation::execute, "PRAGMA user_version=3", "PRAGMA user_version", "setup"},
      {Operation::query, "SELECT sqlite_version()", "the function sqlite_version() is not allowed", "tells about the host"},
      {Operation::query, "SELECT fts5_source_id()", "the function fts5_source_id()", "beyond the database"},
      {Operation::setup, "CREATE TEMP TABLE x(a)", "temporary tables", "use WITH"},
      {Operation::setup, "VACUUM", "VACUUM is not allowed", "vacuum_into"},
      {Operation::setup, "REINDEX", "REINDEX is not allowed", "DROP INDEX"},
      {Operation::setup, "ANALYZE", "ANALYZE is not allowed", "CROSS JOIN"},
      {Operation::query, "EXPLAIN SELECT 1", "EXPLAIN is not allowed", "via addon export"},
      {Operation::execute, "DROP TABLE t", "DROP TABLE is not allowed here", "setup"},
      {Operation::execute, "CREATE INDEX i ON t(a)", "CREATE INDEX is not allowed here", "setup"},
      {Operation::execute, "ALTER TABLE t ADD COLUMN b", "ALTER TABLE is not allowed here", "setup"},
      {Operation::setup, "CREATE TABLE _via_x(a)", "names that begin with sqlite_ or _via_", "another name"},
      {Operation::setup, "CREATE VIRTUAL TABLE x USING dbstat", "a virtual table of this kind", "fts5"},
      {Operation::query, "SELECT * FROM f_data", "the tables that a virtual table keeps itself in", "use the virtual table"},
      {Operation::query, "DELETE FROM t", "only reads", "use execute"},
      {Operation::execute, "SELECT 1", "writes", "use query"},
  };
  for (const Case& c : all) {
    const Answer r = a.call(c.operation, c.sql, Json::array());
    EXPECT_EQ(r.code(), "sql_denied") << c.sql << ": " << r.message;
    EXPECT_NE(r.message.find(c.kind), std::string::npos) << c.sql << ": " << r.message;
    EXPECT_NE(r.message.find(c.instead), std::string::npos) << c.sql << ": " << r.message;
  }
  // A table that is not to be seen is told as any other that is not there, or by its kind.
  for (const char* sql : {"SELECT * FROM _via_kv_history", "DELETE FROM _via_kv_history", "SELECT * FROM _via_nothing"})
    EXPECT_EQ(a.query(sql).message.find("kv_history") != std::string::npos && a.query(sql).code() == "sql_denied", false) << a.query(sql).message;
}

TEST(Setup, NamesOfTheHostAreReserved) {
  Addon a;
  EXPECT_EQ(a.setup("CREATE TABLE _via_x(a)").code(), "sql_denied");
  EXPECT_EQ(a.setup("CREATE TABLE x(a); ALTER TABLE x RENAME TO _VIA_x").code(), "sql_denied");
  EXPECT_EQ(a.query("SELECT count(*) FROM sqlite_schema").rows(), (Json{{0}}));
}

TEST(Batch, AppliesAllAndGivesEachResult) {
  Addon a;
  const Answer r = a.batch({{{"operation", "setup"}, {"sql", kTable}},
                            {{"op", "execute"}, {"sql", "INSERT INTO t(name) VALUES(?)"}, {"params", {"a"}}},
                            {{"operation", "query"}, {"sql", "SELECT name FROM t"}}});
  ASSERT_EQ(r.status, VIA_OK) << r.message;
  EXPECT_EQ(r.json()["results"][0]["update_count"], 0);
  EXPECT_EQ(r.json()["results"][1], (Json{{"update_count", 1}, {"last_insert_rowid", 1}}));
  EXPECT_EQ(r.json()["results"][2]["rows"], (Json{{"a"}}));
}

TEST(Batch, AppliesNothingWhenOneFails) {
  Addon a;
  ASSERT_EQ(a.setup(kTable).status, VIA_OK);
  const Answer r = a.batch({{{"operation", "execute"}, {"sql", "INSERT INTO t(id) VALUES(1)"}},
                            {{"operation", "execute"}, {"sql", "INSERT INTO t(id) VALUES(1)"}}});
  EXPECT_EQ(r.code(), "constraint");
  EXPECT_EQ(Json::parse(r.details)["statement_index"], 1);
  EXPECT_EQ(a.query("SELECT count(*) FROM t").rows(), (Json{{0}}));
  EXPECT_EQ(a.batch({{{"operation", "query"}, {"sql", "INSERT INTO t(id) VALUES(1)"}}}).code(), "sql_denied");
}

TEST(Request, RefusesWhatIsNotExactlyARequest) {
  Addon a;
  const auto code = [&](const std::string& body) { return a.call(Operation::query, body).code(); };
  for (const std::string body : {"", "{", "nonsense", "{\"sql\":\"SELECT 1\"} x", "\xEF\xBB\xBF{\"sql\":\"SELECT 1\"}",
                                 "{\"sql\":\"\xff\"}", "{\"sql\":\"SELECT ?\",\"params\":[NaN]}", "{\"sql\":\"\\ud800\"}"})
    EXPECT_EQ(code(body), "invalid_json") << body;
  for (const std::string body :
       {"[]", "1", "null", "\"x\"", "{}", "{\"sql\":1}", "{\"sql\":\"SELECT 1\",\"sql\":\"SELECT 2\"}", "{\"sql\":\"SELECT 1\\u0000\"}",
        "{\"sql\":\"\\ufeffSELECT 1\"}", "{\"sql\":\"SELECT ?\",\"params\":[1e400]}", "{\"sql\":\"SELECT ?\",\"params\":[18446744073709551615]}",
        "{\"sql\":\"SELECT ?\",\"params\":[99999999999999999999]}", "{\"sql\":\"SELECT ?\",\"params\":[[1]]}",
        "{\"sql\":\"SELECT ?\",\"params\":[{\"x\":1}]}", "{\"sql\":\"SELECT ?\",\"params\":[{\"base64\":\"A\"}]}",
        "{\"sql\":\"SELECT ?\",\"params\":[{\"base64\":1}]}", "{\"sql\":\"SELECT ?\",\"params\":[{}]}", "{\"sql\":\"SELECT ?\",\"params\":1}",
        "{\"sql\":\"SELECT 1\",\"integers\":\"float\"}", "{\"sql\":\"SELECT 1\",\"timeout_ms\":0}", "{\"sql\":\"SELECT 1\",\"generation\":\"2\"}",
        "{\"sql\":\"SELECT :a\",\"params\":{\"a\":1,\"a\":2}}"})
    EXPECT_EQ(code(body), "bad_request") << body;
  EXPECT_EQ(a.call(Operation::query, R"({"sql":"SELECT ?","params":[true],"extra":{"a":[1,{"b":"\u00e9"}]},"sqlx":null})").rows(), (Json{{1}}));
  EXPECT_EQ(a.call(Operation::batch, R"({"operations":[]})").code(), "bad_request");
  EXPECT_EQ(a.call(Operation::batch, R"({"operations":[1]})").code(), "bad_request");
  EXPECT_EQ(a.call(Operation::batch, R"({"operations":[{"operation":"drop","sql":"x"}]})").code(), "bad_request");
}

TEST(Request, KeepsNulInTextParameters) {
  Addon a;
  EXPECT_EQ(a.call(Operation::query, R"({"sql":"SELECT ?","params":["a\u0000b"]})").rows()[0][0], std::string("a\0b", 3));
}

TEST(Request, ALongBodyComesInPieces) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(x)").status, VIA_OK);
  const std::string whole = Json{{"sql", "INSERT INTO t VALUES(?)"}, {"params", {std::string(300'000, 'x')}}}.dump();
  FakeCall c;
  const std::string first = whole.substr(0, 1000);
  c.more_body = whole.substr(1000);
  const Addon::Op o(Operation::execute, first);
  EXPECT_EQ(a.ops()->try_invoke(a.handle(), &o.args, c.get()), VIA_E_WOULD_BLOCK);
  a.ops()->invoke(a.handle(), &o.args, c.get());
  EXPECT_EQ(c.wait().status(), VIA_OK);
  EXPECT_EQ(a.query("SELECT length(x) FROM t").rows(), (Json{{300'000}}));
}

TEST(Caller, GenerationsAndScopesAreCheckedAgain) {
  Addon a;
  const auto code = [&](int generation) {
    return a.call(Operation::query, Json{{"sql", "SELECT 1"}, {"generation", generation}}.dump());
  };
  EXPECT_EQ(code(2).status, VIA_OK);
  EXPECT_EQ(code(3).status, VIA_OK);
  EXPECT_EQ(code(1).code(), "generation_revoked");
  EXPECT_EQ(code(4).code(), "generation_unknown");
  const Answer r = a.call(Operation::execute, R"({"sql":"SELECT 1"})", true);
  EXPECT_EQ(r.status, VIA_E_DENIED);
  EXPECT_EQ(r.code(), "scope_denied");
}

}  // namespace
}  // namespace via::sqlite::test
