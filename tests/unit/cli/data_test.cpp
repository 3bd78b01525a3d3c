// The data commands: each of the 28 as a request, where it goes, and what a person and a program see of the answer.
#include <gtest/gtest.h>

#include "cli/command.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

using nlohmann::json;

struct Row {
  std::vector<std::string> words;
  std::string method, target, body;
};

class DataRequests : public ::testing::TestWithParam<Row> {};

TEST_P(DataRequests, AreTheOnesOfTheDataApi) {
  for (const char* program : {"hoody", "via"}) {
    Shell shell;
    shell.program = program;
    shell.variables["VIA_KIT_URL"] = "http://127.0.0.1:8080/";
    const Ran ran = shell.run(GetParam().words);
    EXPECT_EQ(ran.code, 0) << ran.err;
    ASSERT_EQ(shell.requests.size(), 1U) << ran.err;
    EXPECT_EQ(shell.requests[0].url, "http://127.0.0.1:8080/api/v1/sqlite");
    EXPECT_EQ(shell.requests[0].method, GetParam().method);
    EXPECT_EQ(shell.requests[0].target, GetParam().target);
    EXPECT_EQ(shell.requests[0].body, GetParam().body);
  }
}

const Row kRows[] = {
    {{"db", "create", "--path", "/tmp/a.db", "--init-kv", "--kv-table", "t"}, "POST", "/db/create?path=%2Ftmp%2Fa.db&init_kv=true&kv_table=t", ""},
    {{"sql", "new", "--path", "a"}, "POST", "/db/create?path=a", ""},
    {{"sqlite", "add", "--path", "a"}, "POST", "/db/create?path=a", ""},
    {{"db", "exec-shareable", "--db", "a", "--sql", "SELECT 1"}, "GET", "/query?db=a&sql=SELECT%201", ""},
    {{"db", "exec-transaction", "--db", "a", "--create-db-if-missing", "--result-format", "list", "--transaction", R"([{"query":"SELECT 18446744073709551615"}])"},
     "POST", "/db?db=a&create_db_if_missing=true", R"({"resultFormat":"list","transaction":[{"query":"SELECT 18446744073709551615"}]})"},
    {{"db", "history", "list", "--db", "a", "--limit", "5"}, "GET", "/history?db=a&limit=5", ""},
    {{"db", "history", "stats", "--db", "a"}, "GET", "/history/stats?db=a", ""},
    {{"db", "history", "rm", "3", "--db", "a"}, "DELETE", "/history/3?db=a", ""},
    {{"db", "history", "remove", "3", "--db", "a"}, "DELETE", "/history/3?db=a", ""},
    {{"db", "history", "clear", "--db", "a"}, "DELETE", "/history?db=a", ""},
    {{"kv", "get", "a/b c", "--db", "a", "--table", "t", "--path", "x.y[0]", "--at-timestamp", "10", "--rebuild"}, "GET",
     "/kv/a%2Fb%20c?db=a&table=t&path=x.y%5B0%5D&at_timestamp=10&rebuild=true", ""},
    {{"kv", "exists", "k", "--db", "a"}, "HEAD", "/kv/k?db=a", ""},
    {{"kv", "set", "k", "--db", "a", "--ttl", "60", "--if-match", "{\"v\":1}", "--history", "--create-db-if-missing", "--body", "{\"v\":2}"}, "PUT",
     "/kv/k?db=a&ttl=60&if_match=%7B%22v%22%3A1%7D&history=true&create_db_if_missing=true", "{\"v\":2}"},
    {{"kv", "set", "k", "--db", "a", "--no-history", "--path", "p", "--body", "\"x\""}, "PUT", "/kv/k?db=a&path=p&history=false", "\"x\""},
    {{"kv", "set", "k", "--db", "a", "--history=false", "--body", "1"}, "PUT", "/kv/k?db=a&history=false", "1"},
    {{"kv", "delete", "k", "--db", "a", "--history"}, "DELETE", "/kv/k?db=a&history=true", ""},
    {{"kv", "ls", "--db", "a", "--prefix", "u:", "--limit", "10", "--offset", "5"}, "GET", "/kv?db=a&prefix=u%3A&limit=10&offset=5", ""},
    {{"kv", "list", "--db", "a", "--at-timestamp", "10"}, "GET", "/kv?db=a&at_timestamp=10", ""},
    {{"kv", "incr", "k", "--db", "a", "--delta", "-3", "--path", "n"}, "POST", "/kv/k/incr?db=a&delta=-3&path=n", ""},
    {{"kv", "decr", "k", "--db", "a", "--delta", "3"}, "POST", "/kv/k/decr?db=a&delta=3", ""},
    {{"kv", "arrays", "push", "k", "--db", "a", "--body", "{}"}, "POST", "/kv/k/push?db=a", "{}"},
    {{"kv", "arrays", "pop", "k", "--db", "a", "--path", "p"}, "POST", "/kv/k/pop?db=a&path=p", ""},
    {{"kv", "arrays", "delete", "k", "--db", "a", "--index", "10"}, "POST", "/kv/k/remove?db=a&index=10", ""},
    {{"kv", "batch", "set", "--db", "a", "--body", "{\"items\":[]}"}, "POST", "/kv/batch/set?db=a", "{\"items\":[]}"},
    {{"kv", "batch", "get", "--db", "a", "--body", "{\"keys\":[]}"}, "POST", "/kv/batch/get?db=a", "{\"keys\":[]}"},
    {{"kv", "batch", "delete", "--db", "a", "--body", "{\"keys\":[]}"}, "POST", "/kv/batch/delete?db=a", "{\"keys\":[]}"},
    {{"kv", "history", "k", "--db", "a", "--limit", "50"}, "GET", "/kv/k/history?db=a&limit=50", ""},
    {{"kv", "rollback", "k", "--db", "a", "--steps", "2"}, "POST", "/kv/k/rollback?db=a&steps=2", ""},
    {{"kv", "rollback-table", "--db", "a", "--to-timestamp", "10", "--dry-run"}, "POST", "/kv/rollback?db=a&to_timestamp=10&dry_run=true", "{}"},
    {{"kv", "rollback-table", "--db", "a", "--to-timestamp", "10", "--confirm", "yes", "--body", "{\"keys\":[\"k\"]}"}, "POST",
     "/kv/rollback?db=a&to_timestamp=10&confirm=yes", "{\"keys\":[\"k\"]}"},
    {{"kv", "snapshots", "get-key", "k", "--db", "a", "--op-number", "10"}, "GET", "/kv/k/snapshot?db=a&op_number=10", ""},
    {{"kv", "snapshots", "get-table", "--db", "a", "--timestamp", "1750000000000", "--limit", "100", "--prefix", "p"}, "GET",
     "/kv/snapshot?db=a&timestamp=1750000000000&limit=100&prefix=p", ""},
    {{"kv", "snapshots", "compare-table", "--db", "a", "--from", "10", "--to", "20", "--keys", "a,b"}, "GET", "/kv/diff?db=a&from=10&to=20&keys=a%2Cb", ""},
};
INSTANTIATE_TEST_SUITE_P(All, DataRequests, ::testing::ValuesIn(kRows));

class Data : public ::testing::Test {
 protected:
  Data() { shell.variables["VIA_KIT_URL"] = "http://127.0.0.1:8080"; }
  Ran answered(int status, const std::string& body, std::vector<std::string> words, const std::string& type = "application/json") {
    shell.http_answer = {status, body, type};
    return shell.run(std::move(words));
  }
  Shell shell;
};

TEST_F(Data, TheAddressIsSaidByOptionContainerOrVariableInThisOrder) {
  std::string folder = (std::filesystem::temp_directory_path() / "via-data-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  shell.program = "hoody";
  shell.variables["VARY_TARGETS"] = folder + "/targets.toml";
  std::ofstream(folder + "/targets.toml") << "[containers.dev]\nurl = \"https://db.example/c/capability\"\n[targets.x]\nstate_dir = \"/srv\"\n";
  shell.run({"--container", "dev", "kv", "get", "k", "--db", "a"});
  shell.run({"kv", "get", "k", "--db", "a", "--container", "dev", "--url", "http://[::1]:1/api/v1/sqlite/"});
  ASSERT_EQ(shell.requests.size(), 2U);
  EXPECT_EQ(shell.requests[0].url, "https://db.example/c/capability/api/v1/sqlite");
  EXPECT_EQ(shell.requests[1].url, "http://[::1]:1/api/v1/sqlite");
  const Ran unknown = shell.run({"--container", "nope", "kv", "get", "k", "--db", "a"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_NE(unknown.err.find("Known: dev."), std::string::npos) << unknown.err;
  shell.variables.erase("VIA_KIT_URL");
  const Ran nowhere = shell.run({"kv", "get", "k", "--db", "a"});
  EXPECT_EQ(nowhere.code, 2);
  EXPECT_NE(nowhere.err.find("via kit sqlite"), std::string::npos) << nowhere.err;
  std::filesystem::remove_all(folder);
}

TEST_F(Data, AnErrorIsTheServersOwnTextWithItsExitCode) {
  const struct {
    int status, code;
  } rows[] = {{400, 2}, {401, 5}, {403, 5}, {404, 3}, {409, 4}, {412, 4}, {413, 2}, {504, 6}, {500, 1}};
  for (const auto& row : rows) {
    const Ran ran = answered(row.status, R"({"error":"Value mismatch for CAS"})", {"kv", "set", "k", "--db", "a", "--body", "1"});
    EXPECT_EQ(ran.code, row.code) << row.status;
    EXPECT_EQ(ran.err, "via: Value mismatch for CAS\n");
    EXPECT_TRUE(ran.out.empty());
  }
  EXPECT_EQ(answered(403, R"({"error":{"code":"draining","message":"The add-on is drained."}})", {"kv", "get", "k", "--db", "a"}).err,
            "via: The add-on is drained.\n");
}

TEST_F(Data, AValueIsPrintedAsItIsStoredAndForProgramsAlwaysAsJson) {
  const std::vector<std::string> get{"kv", "get", "k", "--db", "a"};
  EXPECT_EQ(answered(200, "8", get, "text/plain").out, "8");
  EXPECT_EQ(answered(200, R"({"big":18446744073709551616})", [&] { auto w = get; w.insert(w.end(), {"-o", "json"}); return w; }()).out,
            "{\"big\":18446744073709551616}\n");
  EXPECT_EQ(answered(200, "plain", [&] { auto w = get; w.emplace_back("--json"); return w; }(), "text/plain").out, "\"plain\"\n");
}

TEST_F(Data, InfinityAndOtherNumbersBeyondTheDoublesAreShownAsTheyCame) {
  const std::string answer = R"({"results":[{"success":true,"resultHeaders":["a","b"],"resultSet":[{"a":-9e999,"b":"9e999"}],"truncated":false}]})";
  const std::vector<std::string> words{"db", "exec-transaction", "--db", "a", "--transaction", R"([{"query":"SELECT ?","values":[9e999]}])"};
  const Ran shown = answered(200, answer, words);
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("-9e999"), std::string::npos) << shown.out;
  EXPECT_EQ(shell.requests.back().body, R"({"transaction":[{"query":"SELECT ?","values":[9e999]}]})");
  auto as_json = words;
  as_json.emplace_back("--json");
  EXPECT_EQ(answered(200, answer, as_json).out, answer + "\n");
  EXPECT_EQ(answered(200, R"({"a":1e400,"b":"\" 1e400"})", {"kv", "get", "k", "--db", "a", "--json"}).out, R"({"a":1e400,"b":"\" 1e400"})" "\n");
}

TEST_F(Data, ARolledBackTransactionFailsAndSaysWhichItem) {
  const std::vector<std::string> words{"db", "exec-transaction", "--db", "a", "--transaction", "[{\"statement\":\"x\"}]"};
  const Ran ran = answered(200, R"({"reqIdx":0,"error":"near \"x\": syntax error","message":"near \"x\": syntax error"})", words);
  EXPECT_EQ(ran.code, 1);
  EXPECT_NE(ran.err.find("Item 0: near \"x\": syntax error"), std::string::npos) << ran.err;
  auto as_json = words;
  as_json.emplace_back("--json");
  EXPECT_EQ(shell.run(as_json).code, 1);
}

TEST_F(Data, RowsAreATableInTheOrderOfTheirColumns) {
  const Ran ran = answered(200, R"({"results":[{"success":true,"resultHeaders":["zebra","ant"],"resultSet":[{"zebra":1,"ant":null}],"truncated":true}]})",
                           {"db", "exec-transaction", "--db", "a", "--transaction", "[]"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_LT(ran.out.find("zebra"), ran.out.find("ant"));
  EXPECT_NE(ran.out.find("NULL"), std::string::npos);
  EXPECT_NE(ran.err.find("LIMIT"), std::string::npos);
}

TEST_F(Data, TransactionThatIsNoArrayIsRefusedBeforeItIsSent) {
  EXPECT_EQ(shell.run({"db", "exec-transaction", "--db", "a", "--transaction", "{"}).code, 2);
  EXPECT_TRUE(shell.requests.empty());
}

TEST_F(Data, BodyMayComeFromAFileOrStandardInput) {
  shell.input = "from stdin";
  EXPECT_EQ(shell.run({"kv", "set", "k", "--db", "a", "--body-file", "-", "--content-type", "text/plain"}).code, 0);
  EXPECT_EQ(shell.run({"kv", "set", "k", "--db", "a", "--body-file", shell.private_file("from file")}).code, 0);
  ASSERT_EQ(shell.requests.size(), 2U);
  EXPECT_EQ(shell.requests[0].body, "from stdin");
  EXPECT_EQ(shell.requests[0].content_type, "text/plain");
  EXPECT_EQ(shell.requests[1].body, "from file");
  EXPECT_EQ(shell.requests[1].content_type, "");
}

TEST_F(Data, ExistsAnswersByItsExitCode) {
  EXPECT_EQ(answered(200, "", {"kv", "exists", "k", "--db", "a"}).code, 0);
  EXPECT_EQ(answered(404, "", {"kv", "exists", "k", "--db", "a"}).code, 3);
}

TEST_F(Data, HistoryShowsValuesAndSaysWhenSomeAreMissing) {
  const Ran ran = answered(200, R"({"key":"k","operations":[{"op_number":2,"timestamp":1750000000,"raw_old_value":"MQ==","raw_new_value":"Mg==",
      "operation":{"op":"set"}}],"count":1,"has_gaps":true})", {"kv", "history", "k", "--db", "a"});
  EXPECT_NE(ran.out.find("set"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("2025-06-15T15:06:40Z"), std::string::npos) << ran.out;
  EXPECT_NE(ran.err.find("not recorded"), std::string::npos);
}

TEST_F(Data, OpenPrintsOrOpensTheAddress) {
  for (const char* group : {"db", "kv"}) {
    EXPECT_EQ(shell.run({group, "open", "--url"}).out, "http://127.0.0.1:8080/api/v1/sqlite/openapi.json\n");
    EXPECT_TRUE(shell.opened_urls.empty());
    EXPECT_EQ(shell.run({group, "open", "1"}).out, "");
    EXPECT_EQ(std::exchange(shell.opened_urls, {}).size(), 1U);
    EXPECT_EQ(shell.run({group, "open", "2"}).code, 3);
  }
}

}  // namespace
}  // namespace via::cli::testing
