// Hostile SQL over the wire: the lines of tests/fixtures/hostile/sql.txt through a real host.
#include <set>

#include "functional/routes.hpp"
#include "functional/table.hpp"

namespace via::test {
namespace {

class HostileSql : public World {
 protected:
  std::set<std::string> files() const {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(host.state_dir() / "addons"))
      out.insert(entry.path().string());
    return out;
  }
};

std::string trimmed(std::string s) {
  s.erase(0, s.find_first_not_of(' '));
  s.erase(s.find_last_not_of(' ') + 1);
  return s;
}

TEST_F(HostileSql, EveryLineOfTheListIsAnsweredAsListedAndHarmsNothing) {
  const Runtime api = app_with_database("api", false, {{"timeout_ms", 25'000}, {"quota_bytes", 16 << 20}});
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE secret(k, v);"
                      "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 300) "
                      "SELECT x, 'row'||x FROM c")
                .status,
            200);
  ASSERT_EQ(app.query("SELECT 1").status, 200);
  const auto before = files();
  int lines = 0;
  std::ifstream in(VIA_FIXTURES "/hostile/sql.txt");
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> columns(1);
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|')
        columns.back() += line[++i];
      else if (line[i] == '|')
        columns.emplace_back();
      else
        columns.back() += line[i];
    }
    ASSERT_EQ(columns.size(), 4U) << line;
    const std::string id = trimmed(columns[0]), operation = trimmed(columns[1]),
                      expected = trimmed(columns[3]);
    const std::string sql = expanded(trimmed(columns[2]));
    SCOPED_TRACE(id + " " + operation + " " + sql.substr(0, 100));
    ++lines;
    json body{{"sql", sql}};
    if (expected == "stop") body["timeout_ms"] = 500;
    const Response answer = app.op(operation, body);
    ASSERT_NE(answer.status, 0);
    if (expected == "allow") {
      EXPECT_EQ(answer.status, 200) << answer.body.substr(0, 300);
    } else if (expected == "deny") {
      expect_error(answer, 400, "sql_denied");
      for (const char* name : {"secret", "evil", "e4_data", "/tmp"})
        EXPECT_EQ(answer.body.find(name), std::string::npos);
    } else if (expected == "error") {
      EXPECT_EQ(answer.status, 400) << answer.body.substr(0, 300);
    } else {
      EXPECT_TRUE(answer.status == 200 || answer.status == 400 || answer.status == 429 ||
                  answer.status == 504)
          << answer.status << answer.body;
    }
    EXPECT_EQ(answer.body.find(HostProcess::kCanary), std::string::npos);
    EXPECT_EQ(rows_of(app.query("SELECT 1")), json({{1}}));
    const Response write = app.execute("UPDATE t SET b=b WHERE a=2");
    EXPECT_EQ(write.status, 200) << write.body;
  }
  EXPECT_GT(lines, 130);
  EXPECT_EQ(files(), before) << "no file came or went";
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{300}}));
  EXPECT_TRUE(host.running());
  const std::string log = host.log();
  for (const char* text : {"SELECT", "INSERT", "PRAGMA", "ATTACH", "sqlite_schema"})
    EXPECT_EQ(log.find(text), std::string::npos) << text;
}

TEST_F(HostileSql, ParametersThatNoValueCanBeAre400) {  // T09, L19
  const Runtime api = app_with_database("api");
  Caller app = caller(api);
  const auto path = operation_path("query");
  for (const std::string params :
       {"[1e400]", "[-1e400]", "[NaN]", "[Infinity]", "[\"\xff\"]", "[\"\\ud800\"]", "[99999999999999999999]",
        "[[1]]", "[{\"x\":1}]", "{\"a\":1}", "7", "\"x\""}) {
    SCOPED_TRACE(params);
    EXPECT_EQ(app.post(path, R"({"sql":"SELECT ?","params":)" + params + "}").status, 400);
  }
  EXPECT_EQ(app.post(path, "{\"sql\":\"SELECT '\xff'\"}").status, 400);
  EXPECT_EQ(app.post(path, "{\"sql\":\"\xef\xbb\xbfSELECT 1\"}").status, 400);
  const Response exact = app.query("SELECT ?, ?, ?, ?",
                                   {9007199254740993, std::string("a\0b", 3), {{"base64", "AP8="}}, nullptr});
  EXPECT_EQ(rows_of(exact), json::parse(R"([[9007199254740993,"a\u0000b",{"base64":"AP8="},null]])"))
      << exact.body;
  const Response text = app.op("query", {{"sql", "SELECT 9007199254740993, 1"}, {"integers", "string"}});
  EXPECT_EQ(rows_of(text), json::parse(R"([["9007199254740993",1]])"));
}

TEST_F(HostileSql, TransactionInsideOfABatchIsRefusedAndNothingStays) {  // T01, T03
  const Runtime api = app_with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a UNIQUE)").status, 200);
  for (const char* sql : {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "RELEASE one", "ROLLBACK TO one"}) {
    SCOPED_TRACE(sql);
    const Response answer =
        app.op("batch", {{"operations",
                          {{{"operation", "execute"}, {"sql", "INSERT INTO t VALUES('in')"}},
                           {{"operation", "execute"}, {"sql", sql}}}}});
    EXPECT_EQ(answer.status, 400) << answer.body;
    EXPECT_EQ(answer.json()["error"].value("statement_index", -1), 1);
    EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{0}}));
  }
}

TEST_F(HostileSql, AppsDoNotReachEachOthersData) {
  const Runtime one = app_with_database("one"), two = app_with_database("two");
  ASSERT_EQ(caller(one).setup("CREATE TABLE mine(a); INSERT INTO mine VALUES('private')").status, 200);
  const auto file = data_file("one-db", "one");
  Caller app = caller(two);
  EXPECT_EQ(app.query("SELECT * FROM mine").status, 400);
  expect_error(app.execute("ATTACH '" + file.string() + "' AS other"), 400, "sql_denied");
  expect_error(app.setup("VACUUM INTO '/tmp/stolen.db'"), 400, "sql_denied");
  EXPECT_EQ(app.query("SELECT 1 FROM pragma_database_list").status, 400);
  EXPECT_EQ(rows_of(caller(one).query("SELECT a FROM mine")), json({{"private"}}));
}

}  // namespace
}  // namespace via::test
