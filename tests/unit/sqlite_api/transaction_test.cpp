// POST /db: items, values, results, what fails and what is undone.
#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <algorithm>
#include <fstream>
#include <thread>

namespace via::sqlite::test {
namespace {

Json items(std::initializer_list<Json> list) { return Json{{"transaction", Json(list)}}; }
Json statement(const std::string& sql) { return Json{{"statement", sql}}; }
Json query(const std::string& sql) { return Json{{"query", sql}}; }

class Transactions : public ::testing::Test {
 public:
  explicit Transactions(ApiSetUp setup = {}) : a(std::move(setup)) {}

 protected:
  HttpAnswer run(const Json& body) { return a.call("POST", "/db", body.dump(), "application/json"); }
  Json results(const Json& body) {
    const HttpAnswer r = run(body);
    EXPECT_EQ(r.status, 200) << r.body;
    return r.json().value("results", Json(r.body));
  }
  Json rows(const std::string& sql) { return results(items({query(sql)}))[0].value("resultSet", Json()); }
  void table() { results(items({statement("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")})); }
  DataApi a;
};

TEST_F(Transactions, RunItemsInOrderAndAnswerEach) {
  const HttpAnswer r = run(items({statement("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)"),
                                  Json{{"statement", "INSERT INTO t(name) VALUES(?)"}, {"values", {"Ada"}}},
                                  Json{{"sql", "INSERT INTO t(name) VALUES(:n)"}, {"values", {{"n", "Bob"}}}},
                                  query("SELECT id, name FROM t ORDER BY id")}));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.content_type, "application/json");
  EXPECT_EQ(r.body, R"({"results":[{"success":true,"rowsUpdated":0},{"success":true,"rowsUpdated":1},{"success":true,"rowsUpdated":1},)"
                    R"({"success":true,"resultHeaders":["id","name"],"resultSet":[{"id":1,"name":"Ada"},{"id":2,"name":"Bob"}],"truncated":false}]})");
}

TEST_F(Transactions, RunABatchOfRowsThroughOneStatement) {
  table();
  EXPECT_EQ(results(items({Json{{"statement", "INSERT INTO t(name) VALUES(?)"}, {"valuesBatch", {{"a"}, {"b"}, {"c"}}}},
                           Json{{"statement", "DELETE FROM t WHERE id >= ?"}, {"valuesBatch", Json::parse("[[2],[1],[1]]")}}})),
            Json::parse(R"([{"success":true,"rowsUpdatedBatch":[1,1,1]},{"success":true,"rowsUpdatedBatch":[2,1,0]}])"));
  EXPECT_EQ(results(items({Json{{"statement", "INSERT INTO t(name) VALUES($n)"}, {"valuesBatch", Json::parse(R"([{"n":"x"},{"n":"y"}])")}},
                           Json{{"statement", "DELETE FROM t"}, {"valuesBatch", Json::array()}}})),
            Json::parse(R"([{"success":true,"rowsUpdatedBatch":[1,1]},{"success":true,"rowsUpdatedBatch":[]}])"));
}

TEST_F(Transactions, AnswerASelectUnderStatementWithNoRows) {
  table();
  EXPECT_EQ(results(items({statement("INSERT INTO t(name) VALUES('a'),('b')"), statement("SELECT * FROM t"),
                           statement("WITH x AS (SELECT 1) SELECT * FROM x")})),
            Json::parse(R"([{"success":true,"rowsUpdated":2},{"success":true,"rowsUpdated":0},{"success":true,"rowsUpdated":0}])"));
}

TEST_F(Transactions, GiveTheRowsOfAReturningQuery) {
  table();
  EXPECT_EQ(results(items({query("INSERT INTO t(name) VALUES('a'),('b') RETURNING id"),
                           query("WITH n AS (SELECT 'c' AS x) INSERT INTO t(name) SELECT x FROM n RETURNING id")})),
            Json::parse(R"([{"success":true,"resultHeaders":["id"],"resultSet":[{"id":1},{"id":2}],"truncated":false},
                            {"success":true,"resultHeaders":["id"],"resultSet":[{"id":3}],"truncated":false}])"));
  EXPECT_EQ(rows("SELECT count(*) AS n FROM t"), Json::parse(R"([{"n":3}])"));
}

TEST_F(Transactions, UndoEverythingWhenAnItemFails) {
  table();
  const HttpAnswer r = run(items({statement("INSERT INTO t VALUES(1,'a')"), statement("INSERT INTO t VALUES(1,'b')"), statement("INSERT INTO t VALUES(2,'c')")}));
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.json(), Json::parse(R"({"reqIdx":1,"error":"UNIQUE constraint failed: t.id","message":"UNIQUE constraint failed: t.id"})"));
  EXPECT_EQ(rows("SELECT * FROM t"), Json::array());
}

TEST_F(Transactions, UndoOnlyTheItemThatMayFail) {
  table();
  const Json r = results(items({statement("INSERT INTO t VALUES(1,'a')"),
                                Json{{"statement", "INSERT INTO t VALUES(?,'b')"}, {"valuesBatch", Json::parse("[[2],[1]]")}, {"noFail", true}},
                                Json{{"query", "SELECT * FROM nowhere"}, {"noFail", true}}, statement("INSERT INTO t VALUES(3,'c')")}));
  EXPECT_EQ(r[1], Json::parse(R"j({"success":false,"error":"UNIQUE constraint failed: t.id (row 1 of valuesBatch)"})j"));
  EXPECT_EQ(r[2], Json::parse(R"({"success":false,"error":"no such table: nowhere"})"));
  EXPECT_EQ(rows("SELECT id FROM t"), Json::parse(R"([{"id":1},{"id":3}])"));
}

TEST_F(Transactions, FailWholeWhenAStatementEndsTheTransaction) {
  table();
  results(items({statement("INSERT INTO t VALUES(1,'a')")}));
  const HttpAnswer r = run(items({statement("INSERT INTO t VALUES(2,'b')"),
                                  Json{{"statement", "INSERT OR ROLLBACK INTO t VALUES(1,'c')"}, {"noFail", true}}, statement("INSERT INTO t VALUES(3,'d')")}));
  EXPECT_EQ(r.json()["reqIdx"], 1) << r.body;
  EXPECT_EQ(rows("SELECT id FROM t"), Json::parse(R"([{"id":1}])"));
}

TEST_F(Transactions, SeeDeferredForeignKeysBeforeTheCommit) {
  results(items({statement("CREATE TABLE p(id INTEGER PRIMARY KEY)"),
                 statement("CREATE TABLE c(p INTEGER REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)")}));
  const HttpAnswer r = run(items({statement("INSERT INTO c VALUES(7)"), query("SELECT 1 AS one")}));
  EXPECT_EQ(r.json()["reqIdx"], 1);
  EXPECT_EQ(r.error(), "FOREIGN KEY constraint failed");
  EXPECT_EQ(rows("SELECT * FROM c"), Json::array());
  EXPECT_EQ(results(items({statement("INSERT INTO c VALUES(7)"), statement("INSERT INTO p VALUES(7)")})).size(), 2u);
}

TEST_F(Transactions, KeepColumnsInOrderAndApart) {
  const HttpAnswer map = run(items({query("SELECT 1 AS b, 2 AS a, 3 AS b, 4 AS b")}));
  EXPECT_NE(map.body.find(R"("resultHeaders":["b","a","b:1","b:2"],"resultSet":[{"b":1,"a":2,"b:1":3,"b:2":4}])"), std::string::npos) << map.body;
  Json list = items({query("SELECT 1 AS b, 2 AS a, 3 AS b")});
  list["resultFormat"] = "list";
  EXPECT_NE(run(list).body.find(R"("resultHeaders":["b","a","b"],"resultSet":[[1,2,3]])"), std::string::npos);
}

// A set tells what is taken: with a search, one small query would hold its thread for seconds that no deadline ends.
TEST_F(Transactions, TellTheWidestResultsColumnsApart) {
  std::string sql = "SELECT 0 AS 'a:1500', 0 AS b";
  for (int i = 2; i < 2'000; ++i) sql += ", " + std::to_string(i) + " AS a";
  const Json row = results(items({query(sql)}))[0]["resultSet"][0];
  EXPECT_EQ(row.size(), 2'000u);
  EXPECT_EQ(row["a"], 2);
  EXPECT_EQ(row["a:1"], 3);
  EXPECT_EQ(row["a:1500"], 0);
  EXPECT_EQ(row["a:1501"], 1'502);
  EXPECT_EQ(row["a:1998"], 1'999);
}

TEST_F(Transactions, CarryValuesExactly) {
  results(items({statement("CREATE TABLE v(x)")}));
  const std::string body = R"j({"transaction":[{"statement":"INSERT INTO v VALUES(?)","valuesBatch":[[9007199254740993],[-9223372036854775808],[0.1],[null],[true],["tü\u0000x"],[{"base64":"AP8="}]]},
                              {"query":"SELECT x, typeof(x) AS t FROM v"}]})j";
  const HttpAnswer r = a.call("POST", "/db", body);
  EXPECT_NE(r.body.find(R"([{"x":9007199254740993,"t":"integer"},{"x":-9223372036854775808,"t":"integer"},{"x":0.1,"t":"real"},{"x":null,"t":"null"},)"
                        R"({"x":1,"t":"integer"},{"x":"tü\u0000x","t":"text"},{"x":"AP8=","t":"blob"}])"),
            std::string::npos)
      << r.body;
}

// The writer's connection is shared with everybody who writes.
TEST_F(Transactions, TellNothingOfWhatOthersInserted) {
  results(items({statement("CREATE TABLE n(x)"), statement("INSERT INTO n VALUES(1),(2),(3)")}));
  const Json r = results(items({statement("DELETE FROM n WHERE x>9"), query("SELECT last_insert_rowid() AS i, changes() AS c, total_changes() AS t"),
                                statement("INSERT INTO n VALUES(4)"), query("SELECT last_insert_rowid() AS i, changes() AS c")}));
  EXPECT_EQ(r[1]["resultSet"], Json::array({Json({{"i", 0}, {"c", 0}, {"t", 0}})}));
  EXPECT_EQ(r[3]["resultSet"], Json::array({Json({{"i", 4}, {"c", 1}})}));
}

// Each value is looked up, not searched for: with a search, these would be hours on the writer that no deadline ends.
TEST_F(Transactions, BindTheWidestStatementsByName) {
  constexpr int kNames = 8'000, kRows = 20;
  results(items({statement("CREATE TABLE v(x)")}));
  std::string sql = "INSERT INTO v SELECT sum(column1) FROM (VALUES(:n0)";
  Json row{{":n0", 0}};
  for (int i = 1; i < kNames; ++i) sql += ",($n" + std::to_string(i) + ")";
  for (int i = kNames; --i > 0;) row[(i % 2 ? "n" : "$n") + std::to_string(i)] = i;
  Json batch = Json::array();
  for (int i = 0; i < kRows; ++i) batch.push_back(row);
  const Json done = results(items({Json{{"statement", sql + ")"}, {"valuesBatch", batch}}}));
  EXPECT_EQ(done[0]["rowsUpdatedBatch"].size(), static_cast<size_t>(kRows));
  EXPECT_EQ(rows("SELECT DISTINCT x FROM v"), Json::array({Json{{"x", int64_t{kNames} * (kNames - 1) / 2}}}));
  const auto refusal = [&](const Json& values) { return run(items({Json{{"statement", sql + ")"}, {"values", values}}})).error(); };
  Json twice = row, missing = row, more = row;
  twice["$n7"] = 7;
  EXPECT_EQ(refusal(twice), "a value is given twice for the parameter $n7");
  missing.erase("n9");
  EXPECT_EQ(refusal(missing), "no value is given for the parameter $n9");
  more["m"] = 1;
  EXPECT_EQ(refusal(more), "a value is given for a parameter that the statement does not have");
}

TEST_F(Transactions, RefuseWhatIsNoTransaction) {
  EXPECT_EQ(run(Json::array()).error(), "Invalid JSON body");
  EXPECT_EQ(a.call("POST", "/db", "{").error(), "Invalid JSON body");
  EXPECT_EQ(a.call("POST", "/db", "").status, 400);
  EXPECT_EQ(run(Json::object()).error(), "transaction is required: an array of items");
  const auto wrong = [&](const std::string& item, const std::string& text) {
    const HttpAnswer r = a.call("POST", "/db", R"({"transaction":[{"query":"SELECT 1"},)" + item + "]}");
    EXPECT_EQ(r.status, 400) << item;
    EXPECT_EQ(r.error(), text) << item;
    EXPECT_EQ(r.json().value("reqIdx", -1), 1) << item;
  };
  wrong("{}", "an item has exactly one of query and statement");
  wrong(R"({"query":"SELECT 1","statement":"SELECT 1"})", "an item has exactly one of query and statement");
  wrong(R"({"sql":"SELECT 1","statement":"SELECT 1"})", "statement and sql are the same; give one of them");
  wrong(R"({"query":"SELECT ?","valuesBatch":[[1]]})", "a query takes no valuesBatch");
  wrong(R"({"statement":"SELECT ?","values":[1],"valuesBatch":[[1]]})", "values and valuesBatch are mutually exclusive");
  wrong(R"({"statement":"SELECT ?","valuesBatch":[1]})", "valuesBatch is an array of arrays or objects");
  wrong(R"({"statement":"SELECT ?","values":[[1]]})", "a value is null, a boolean, a number, a string or {\"base64\":\"…\"}");
  wrong(R"({"statement":"SELECT ?","values":[{"base64":"!"}]})", "a blob value is not base64");
  wrong(R"({"statement":"SELECT ?","values":[18446744073709551615]})", "an integer does not fit into 64 bits");
  wrong(R"({"statement":7})", "a field has the wrong type");
  EXPECT_EQ(a.call("POST", "/db", R"({"resultFormat":"csv","transaction":[]})").error(), "resultFormat must be map or list");
  EXPECT_EQ(a.call("POST", "/db", R"({"transaction":[]})").body, R"({"results":[]})");
}

TEST_F(Transactions, RefuseStatementsThatAreNotTheirBusiness) {
  table();
  for (const std::string sql : {"BEGIN", "COMMIT", "/* x */ ROLLBACK", "SAVEPOINT a", "RELEASE a", "END", "ATTACH 'x' AS y", "DETACH main", "VACUUM",
                                "VACUUM INTO '/tmp/x'", "REINDEX", "ANALYZE", "PRAGMA user_version=3", "PRAGMA journal_mode=DELETE",
                                "INSERT INTO t VALUES(1,'a'); DELETE FROM t", "SELECT 1; SELECT 2", "EXPLAIN SELECT 1", "CREATE TABLE _via_x(a)",
                                "ALTER TABLE t RENAME TO _via_kv_history", "CREATE TEMP TABLE x(a)", "SELECT load_extension('x')", "", "-- nothing",
                                "DELETE FROM sqlite_master"}) {
    const HttpAnswer r = run(items({statement(sql)}));
    EXPECT_EQ(r.status, 200) << sql;
    EXPECT_EQ(r.json().value("reqIdx", -1), 0) << sql << " " << r.body;
  }
  EXPECT_EQ(rows("SELECT count(*) AS n FROM t"), Json::parse(R"([{"n":0}])"));
  EXPECT_EQ(results(items({query("PRAGMA table_info(t)")}))[0]["resultSet"].size(), 2u);
}

TEST_F(Transactions, TruncateLongResultsAndSayIt) {
  const Json r = results(items({query("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x < 10001) SELECT x FROM n"),
                                query("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x < 10000) SELECT x FROM n")}));
  EXPECT_EQ(r[0]["resultSet"].size(), 10'000u);
  EXPECT_EQ(r[0]["truncated"], true);
  EXPECT_EQ(r[1]["resultSet"].size(), 10'000u);
  EXPECT_EQ(r[1]["truncated"], false);
}

TEST_F(Transactions, HoldToTheirLimits) {
  std::string body = R"({"transaction":[)";
  for (int i = 0; i < 10'000; ++i) body += i ? R"(,{"query":"SELECT 1"})" : R"({"query":"SELECT 1"})";
  EXPECT_EQ(a.call("POST", "/db", body + "]}").json()["results"].size(), 10'000u);
  EXPECT_EQ(a.call("POST", "/db", body + R"(,{"query":"SELECT 1"}]})").error(), "a transaction takes at most 10000 items");
  std::string batch = R"({"transaction":[{"statement":"DELETE FROM sqlite_schema WHERE ?","valuesBatch":[)";
  for (int i = 0; i < 100'001; ++i) batch += i ? ",[1]" : "[1]";
  EXPECT_EQ(a.call("POST", "/db", batch + "]}]}").error(), "valuesBatch takes at most 100000 rows");
}

TEST_F(Transactions, OfAReadOnlyCallerOnlyRead) {
  table();
  DataApi::Caller reader;
  reader.read_only = true;
  const auto as_reader = [&](const Json& body) { return a.call(reader, "POST", "/db", body.dump()); };
  EXPECT_EQ(as_reader(items({query("SELECT 1 AS a"), query("SELECT count(*) AS n FROM t")})).status, 200);
  for (const Json& item : {statement("INSERT INTO t VALUES(1,'a')"), query("INSERT INTO t VALUES(1,'a') RETURNING id"), statement("CREATE TABLE x(a)"),
                           query("WITH n AS (SELECT 1) INSERT INTO t SELECT 5,'x' FROM n RETURNING id"), statement("SELECT 1")})
    EXPECT_EQ(as_reader(items({item})).status, 403) << item.dump();
  EXPECT_EQ(rows("SELECT * FROM t"), Json::array());
}

TEST_F(Transactions, LoseNothingWhenManyWriteAtOnce) {
  results(items({statement("CREATE TABLE n(x INTEGER)"), statement("INSERT INTO n VALUES(0)")}));
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        const bool fails = (t + i) % 5 == 0;
        Json body = items({statement("UPDATE n SET x = x + 1")});
        if (fails) body["transaction"].push_back(statement(i % 2 ? "SELECT * FROM nowhere" : "INSERT OR ROLLBACK INTO n VALUES(abs(-9223372036854775808))"));
        const HttpAnswer r = a.call("POST", "/db", body.dump());
        EXPECT_EQ(r.json().contains("results"), !fails) << r.body;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(rows("SELECT x FROM n"), Json::parse(R"([{"x":160}])"));
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

std::string trimmed(std::string s) {
  s.erase(0, s.find_first_not_of(' '));
  s.erase(s.find_last_not_of(' ') + 1);
  return s;
}

// The cases of the four operations through this door: what `query` refuses GET /query refuses, what `setup` refuses an item
// refuses. Items may do what `execute` leaves to `setup`, so of `execute` only the harm counts.
class HostileTransactions : public Transactions {
 protected:
  HostileTransactions() : Transactions({.config = R"({"timeout_ms":1000})"}) {}
};

TEST_F(HostileTransactions, AreRefused) {
  results(items({statement("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), statement("CREATE TABLE secret(k, v)")}));
  const auto names = [&] {
    std::vector<std::string> out;
    for (const auto& e : std::filesystem::directory_iterator(a.folder()))
      if (const std::string name = e.path().filename().string(); !name.starts_with(".data.sqlite.history")) out.push_back(name);
    std::sort(out.begin(), out.end());
    return out;
  };
  const auto before = names();
  std::ifstream in(VIA_HOSTILE_SQL);
  ASSERT_TRUE(in);
  int refused = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#' || line.find("\\|") != line.npos) continue;
    std::vector<std::string> parts(1);
    for (const char c : line) {
      if (c == '|') parts.emplace_back();
      else parts.back() += c;
    }
    if (parts.size() != 4 || trimmed(parts[3]) == "stop") continue;
    const std::string operation = trimmed(parts[1]), sql = expanded(trimmed(parts[2]));
    SCOPED_TRACE(line.substr(0, 120));
    if (trimmed(parts[3]) == "allow") {  // what later cases are about
      run(items({statement(sql)}));
      continue;
    }
    if (operation == "query") {
      const HttpAnswer r = a.call("GET", "/query?sql=" + encode(sql));
      const bool no = r.status == 400 || (kSanitized && r.status == 504);
      EXPECT_TRUE(no) << r.status << r.body;
      refused += no;
    } else {
      const HttpAnswer r = run(items({statement(sql)}));
      EXPECT_LT(r.status, 500) << r.body;
      const bool no = r.status != 200 || r.json().contains("reqIdx");
      if (operation == "setup") {
        EXPECT_TRUE(no) << r.body;
      }
      refused += no;
    }
  }
  EXPECT_GT(refused, 80);
  EXPECT_EQ(names(), before);
  EXPECT_EQ(rows("SELECT name FROM sqlite_schema WHERE substr(name,1,5) = '_via_'"), Json::array());
  EXPECT_EQ(rows("SELECT count(*) AS n FROM secret"), Json::parse(R"([{"n":0}])"));
}

class Shareable : public Transactions {
 protected:
  HttpAnswer get(const std::string& sql) { return a.call("GET", "/query?sql=" + encode(sql)); }
};

TEST_F(Shareable, AnswersRawAndBase64Sql) {
  const std::string expected = R"({"columns":["b","a"],"resultSet":[{"b":1,"a":"x"}],"rowCount":1,"truncated":false})";
  EXPECT_EQ(get("SELECT 1 AS b, 'x' AS a").body, expected);
  EXPECT_EQ(get(" -- why\n with q as (select 1 as b, 'x' as a) select * from q ; ").body, expected);
  EXPECT_EQ(get("U0VMRUNUIDEgQVMgYiwgJ3gnIEFTIGE=").body, expected);
  EXPECT_EQ(get("U0VMRUNUIDEgQVMgYiwgJ3gnIEFTIGE").body, expected);
  // Characters that differ between the alphabets: SELECT 1 AS b, 'x' AS a --?>~
  EXPECT_EQ(get("U0VMRUNUIDEgQVMgYiwgJ3gnIEFTIGEgLS0_Pn4").body, expected);
  EXPECT_EQ(a.call("GET", "/query?sql=U0VMRUNUIDEgQVMgYiwgJ3gnIEFTIGEgLS0/Pn4=").body, expected);
}

TEST_F(Shareable, TakesOnlyOneStatementThatReads) {
  table();
  const std::string only = "GET /query only accepts read-only SELECT/WITH queries; use POST /db for mutating SQL";
  for (const std::string sql : {"INSERT INTO t VALUES(1,'a')", "INSERT INTO t VALUES(1,'a') RETURNING id", "DELETE FROM t", "PRAGMA user_version",
                                "PRAGMA user_version=4", "VACUUM", "ATTACH 'x' AS y", "SELECT 1; SELECT 2", "SELECT 1; DELETE FROM t", "EXPLAIN SELECT 1",
                                "WITH x AS (SELECT 1) DELETE FROM t", "nonsense", "VALUES(1)", "SELECTED", "REVMRVRFIEZST00gdA"}) {
    const HttpAnswer r = get(sql);
    EXPECT_EQ(r.status, 400) << sql;
    EXPECT_EQ(r.error(), only) << sql;
  }
  EXPECT_EQ(get("SELECT * FROM nowhere").error(), "no such table: nowhere");
  EXPECT_EQ(a.call("GET", "/query").error(), "sql is required");
  EXPECT_EQ(get("SELECT readfile('/etc/passwd')").status, 400);
  EXPECT_EQ(a.call("POST", "/query?sql=SELECT+1").status, 405);
}

TEST_F(Shareable, IsTheOnlyThingThatAQueryUrlReaches) {
  table();
  DataApi::Caller url;
  url.limits = {{"only", "query"}};
  EXPECT_EQ(a.call(url, "GET", "/query?sql=SELECT+1").status, 200);
  EXPECT_EQ(a.call(url, "POST", "/db", R"({"transaction":[]})").status, 403);
  EXPECT_EQ(a.call(url, "POST", "/db/create?path=x").status, 403);
}

TEST_F(Shareable, TruncatesAtTenThousandRows) {
  const Json j = get("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x < 20000) SELECT x FROM n").json();
  EXPECT_EQ(j["rowCount"], 10'000);
  EXPECT_EQ(j["truncated"], true);
}

}  // namespace
}  // namespace via::sqlite::test
