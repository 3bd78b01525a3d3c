// The query history, maintenance and health, through the plugin boundary.
#include "unit/sqlite_api/api_fixture.hpp"

#include "plugins/sqlite/api/query_log.hpp"

#include <sys/stat.h>

#include <cctype>
#include <fstream>
#include <map>
#include <set>
#include <thread>

namespace via::sqlite::test {
namespace {

namespace fs = std::filesystem;

std::string transaction(const std::vector<Json>& items) { return Json{{"transaction", items}}.dump(); }

struct Service : ::testing::Test {
  HttpAnswer run(const std::vector<Json>& items) { return api.call("POST", "/db", transaction(items)); }
  Json history(const std::string& more = "") { return api.call("GET", "/history" + more).json(); }
  std::vector<std::string> texts(const Json& listed) {
    std::vector<std::string> out;
    for (const auto& one : listed["history"]) out.push_back(one["sql"]);
    return out;
  }
  HttpAnswer maintain(const Json& body, const std::string& more = "") { return api.call("POST", "/maintenance" + more, body.dump()); }
  DataApi api;
};

using QueryHistory = Service;
using MaintenanceApi = Service;
using HealthApi = Service;

TEST_F(QueryHistory, HoldsWhatRanNewestFirstWithoutBoundValues) {
  ASSERT_EQ(run({{{"statement", "CREATE TABLE t(a UNIQUE)"}}, {{"statement", "INSERT INTO t VALUES(?)"}, {"values", {"canary-61"}}}}).status, 200);
  ASSERT_EQ(run({{{"query", "SELECT a FROM t"}}}).status, 200);
  ASSERT_EQ(run({{{"statement", "INSERT INTO t VALUES(?)"}, {"values", {"canary-61"}}, {"noFail", true}}}).status, 200);
  ASSERT_EQ(api.call("GET", "/query?sql=SELECT+1").status, 200);
  ASSERT_EQ(api.call("GET", "/query?sql=SELECT+nothing").status, 400);
  const Json listed = history();
  EXPECT_EQ(texts(listed), (std::vector<std::string>{"SELECT nothing", "SELECT 1", "INSERT INTO t VALUES(?)", "SELECT a FROM t", "INSERT INTO t VALUES(?)",
                                                     "CREATE TABLE t(a UNIQUE)"}));
  EXPECT_EQ(listed["count"], 6);
  EXPECT_EQ(listed["total"], 6);
  EXPECT_EQ(listed.dump().find("canary-61"), std::string::npos);
  EXPECT_EQ(listed["history"][0]["index"], 6);
  EXPECT_EQ(listed["history"][0]["success"], false);
  EXPECT_NE(listed["history"][0]["error"], "");
  EXPECT_EQ(listed["history"][1]["success"], true);
  EXPECT_FALSE(listed["history"][1].contains("error"));
  EXPECT_GT(listed["history"][1]["timestamp"].get<int64_t>(), 0);
  EXPECT_GE(listed["history"][1]["duration_ms"].get<double>(), 0.0);
  EXPECT_EQ(listed["history"][2]["success"], false) << "noFail does not make it succeed";
}

TEST_F(QueryHistory, OfAStatementThatRunsAgainHoldsItOnce) {
  ASSERT_EQ(run({{{"statement", "CREATE TABLE t(a UNIQUE)"}}}).status, 200);
  // A statement that ends its transaction makes the writer run the group's others once more.
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k)
        run({{{"statement", i % 2 == 0 ? "INSERT OR ROLLBACK INTO t VALUES(1)" : "INSERT INTO t(a) VALUES(random())"}}});
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(history("?limit=1000")["total"], 161);
}

TEST_F(QueryHistory, IsBoundedAndItsNumbersAreNeverUsedAgain) {
  const std::vector<Json> many(600, Json{{"query", "SELECT 1"}});
  for (int i = 0; i < 3; ++i) ASSERT_EQ(run(many).status, 200);
  EXPECT_EQ(history("?limit=5000")["count"], 1000);
  EXPECT_EQ(history()["count"], 100);
  EXPECT_EQ(history("?limit=0")["count"], 100);
  EXPECT_EQ(history("?limit=3")["history"][0]["index"], 1800);
  EXPECT_EQ(api.call("GET", "/history?limit=x").error(), "limit must be an integer");
  const std::string large = "SELECT '" + std::string(100'000, 'x') + "'";
  for (int i = 0; i < 100; ++i) ASSERT_EQ(run({{{"query", large}}}).status, 200);
  const Json stats = api.call("GET", "/history/stats").json();
  EXPECT_LE(stats["bytes"].get<size_t>(), api::QueryLog::kMaxBytes);
  EXPECT_EQ(stats["total"], stats["succeeded"]);
  EXPECT_EQ(stats["failed"], 0);
  EXPECT_LE(stats["oldest"], stats["newest"]);
}

TEST_F(QueryHistory, EntriesAreTakenOutByTheirNumber) {
  ASSERT_EQ(run({{{"query", "SELECT 1"}}, {{"query", "SELECT 2"}}, {{"query", "SELECT 3"}}}).status, 200);
  EXPECT_EQ(api.call("DELETE", "/history/2").json(), Json({{"success", true}, {"deleted", true}}));
  EXPECT_EQ(texts(history()), (std::vector<std::string>{"SELECT 3", "SELECT 1"}));
  EXPECT_EQ(api.call("DELETE", "/history/2").status, 404);
  EXPECT_EQ(api.call("DELETE", "/history/2").error(), "History entry not found");
  EXPECT_EQ(api.call("DELETE", "/history/two").error(), "index must be an integer");
  EXPECT_EQ(api.call("DELETE", "/history/-1").status, 400);
  EXPECT_EQ(api.call("DELETE", "/history").json(), Json({{"success", true}, {"deleted", 2}}));
  EXPECT_EQ(history()["total"], 0);
  EXPECT_TRUE(api.call("GET", "/history/stats").json()["oldest"].is_null());
  ASSERT_EQ(run({{{"query", "SELECT 4"}}}).status, 200);
  EXPECT_EQ(history()["history"][0]["index"], 4);
  const DataApi::Caller reader{true, {}};
  EXPECT_EQ(api.call(reader, "GET", "/history").status, 200);
  EXPECT_EQ(api.call(reader, "DELETE", "/history").status, 403);
  EXPECT_EQ(api.call(reader, "DELETE", "/history/4").status, 403);
}

TEST_F(QueryHistory, SurvivesAReopenBesideItsDatabaseAndIsNoDatabaseItself) {
  ASSERT_EQ(api.call("POST", "/db?db=app&create_db_if_missing=true", transaction({{{"query", "SELECT 'app'"}}})).status, 200);
  ASSERT_EQ(run({{{"query", "SELECT 'own'"}}}).status, 200);
  api.reopen();
  EXPECT_EQ(texts(history()), std::vector<std::string>{"SELECT 'own'"});
  EXPECT_EQ(texts(history("?db=app")), std::vector<std::string>{"SELECT 'app'"});
  struct stat st {};
  ASSERT_EQ(::stat(api.path("databases/.app.db.history").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
  EXPECT_EQ(api.call("GET", "/kv?db=.app.db.history").status, 400);
  ASSERT_EQ(run({{{"query", "SELECT 2"}}}).status, 200);
  EXPECT_EQ(history()["history"][0]["index"], 2);
  EXPECT_EQ(api.call("GET", "/history?db=missing").status, 404);
}

TEST_F(QueryHistory, ADamagedFileIsEmptyAndReplaced) {
  for (const char* damage : {"", "{", "[]", R"({"next":1})", R"({"next":9,"entries":[{"index":"x"}]})",
                             R"({"next":3,"entries":[{"index":2,"ms":1,"us":1,"sql":"a","error":""},{"index":1,"ms":1,"us":1,"sql":"b","error":""}]})"}) {
    SCOPED_TRACE(damage);
    api.close();
    std::ofstream(api.path(".data.sqlite.history"), std::ios::trunc) << damage;
    api.open();
    EXPECT_EQ(history()["total"], 0);
    ASSERT_EQ(run({{{"query", "SELECT 1"}}}).status, 200);
    api.reopen();
    EXPECT_EQ(texts(history()), std::vector<std::string>{"SELECT 1"});
  }
}

TEST_F(MaintenanceApi, ChecksTheDatabase) {
  EXPECT_EQ(maintain({{"op", "quick_check"}}).json(), Json({{"success", true}, {"op", "quick_check"}, {"ok", true}, {"result", {"ok"}}}));
  for (const char* timeout : {"-5", "0", "1", "301", "99999999"}) EXPECT_EQ(maintain({{"op", "quick_check"}}, std::string("?timeout=") + timeout).status, 200) << timeout;
  EXPECT_EQ(maintain({{"op", "quick_check"}}, "?timeout=soon").error(), "timeout must be an integer");
}

TEST_F(MaintenanceApi, EmptiesTheLog) {
  ASSERT_EQ(run({{{"statement", "CREATE TABLE t(a)"}}, {{"statement", "INSERT INTO t VALUES(1)"}}}).status, 200);
  EXPECT_EQ(maintain({{"op", "wal_checkpoint_truncate"}}).json(),
            Json({{"success", true}, {"op", "wal_checkpoint_truncate"}, {"complete", true}, {"wal_bytes", 0}}));
  EXPECT_EQ(run({{{"query", "SELECT a FROM t"}}}).json()["results"][0]["resultSet"], Json::array({{{"a", 1}}}));
}

TEST_F(MaintenanceApi, CopiesIntoANewDatabaseAndNeverOverOne) {
  ASSERT_EQ(run({{{"statement", "CREATE TABLE t(a)"}}, {{"statement", "INSERT INTO t VALUES('copied')"}}}).status, 200);
  const HttpAnswer copied = maintain({{"op", "vacuum_into"}, {"dest_path", "copy"}});
  ASSERT_EQ(copied.status, 200) << copied.body;
  const Json done = copied.json();
  EXPECT_EQ(done["dest_path"], "copy.db");
  EXPECT_EQ(done["bytes"], fs::file_size(api.path("databases/copy.db")));
  EXPECT_EQ(api.call("POST", "/db?db=copy", transaction({{{"query", "SELECT a FROM t"}}})).json()["results"][0]["resultSet"], Json::array({{{"a", "copied"}}}));
  const auto again = maintain({{"op", "vacuum_into"}, {"dest_path", "copy"}});
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.error(), "the destination exists already");
  for (const auto& [dest, status] : std::vector<std::pair<std::string, int>>{{"../x", 400}, {"/etc/x", 400}, {":memory:", 400}, {"a/b", 400}, {".hidden", 400},
                                                                              {"x-wal", 400}, {"/hoody/databases/no/x.db", 400}, {"/hoody/databases", 409}})
    EXPECT_EQ(maintain({{"op", "vacuum_into"}, {"dest_path", dest}}).status, status) << dest;
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(api.path("databases")))
    if (entry.path().filename().string().find("vacuum") != std::string::npos) left.insert(entry.path().string());
  EXPECT_TRUE(left.empty()) << *left.begin();
}

TEST_F(MaintenanceApi, SaysWhatIsWrong) {
  EXPECT_EQ(api.call("POST", "/maintenance", "").error(), "Invalid JSON body");
  EXPECT_EQ(maintain(Json::array()).error(), "Invalid JSON body");
  EXPECT_EQ(maintain({{"op", "vacuum"}}).error(), "op must be one of wal_checkpoint_truncate, vacuum_into, quick_check");
  EXPECT_EQ(maintain(Json::object()).error(), "op must be one of wal_checkpoint_truncate, vacuum_into, quick_check");
  EXPECT_EQ(maintain({{"op", 3}}).error(), "op must be a string");
  EXPECT_EQ(maintain({{"op", "vacuum_into"}}).error(), "dest_path is required for vacuum_into");
  EXPECT_EQ(maintain({{"op", "quick_check"}, {"dest_path", "x"}}).error(), "dest_path is for vacuum_into only");
  EXPECT_EQ(maintain({{"op", "quick_check"}}, "?db=missing").status, 404);
  EXPECT_EQ(api.call(DataApi::Caller{true, {}}, "POST", "/maintenance", R"({"op":"quick_check"})").status, 403);
  EXPECT_EQ(api.call("GET", "/maintenance").status, 405);
}

TEST(MaintenanceQuota, HoldsForTheCopy) {
  ApiSetUp setup;
  setup.config = R"({"quota_bytes":262144})";
  DataApi api(setup);
  ASSERT_EQ(api.call("POST", "/db", transaction({{{"statement", "CREATE TABLE t AS SELECT zeroblob(150000) AS a"}}})).status, 200);
  const auto refused = api.call("POST", "/maintenance", R"({"op":"vacuum_into","dest_path":"copy"})");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.error(), "the add-on has reached its size limit");
  EXPECT_FALSE(fs::exists(api.path("databases/copy.db")));
  ApiSetUp one;
  one.config = R"({"further_databases":false})";
  DataApi alone(one);
  EXPECT_EQ(alone.call("POST", "/maintenance", R"({"op":"vacuum_into","dest_path":"copy"})").status, 403);
  EXPECT_EQ(alone.call("POST", "/db/create?path=x").status, 403);
}

TEST(DatabasesQuota, BoundsTheirNumberAndSaysSo) {
  ApiSetUp setup;
  setup.config = R"({"max_databases":2})";
  DataApi api(setup);
  EXPECT_EQ(api.call("POST", "/db/create?path=one").status, 200);
  EXPECT_EQ(api.call("POST", "/db/create?path=two").status, 200);
  const auto refused = api.call("POST", "/db/create?path=three");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.error(), "the add-on has as many databases as max_databases allows");
  EXPECT_EQ(api.call("POST", "/maintenance", R"({"op":"vacuum_into","dest_path":"copy"})").status, 429);
  EXPECT_EQ(api.call("POST", "/db/create?path=one").status, 200) << "one that is there is opened";
}

TEST_F(HealthApi, TellsThatItServesAndWhatIsOpen) {
  const auto health = api.call("GET", "/health");
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.json()["status"], "ok");
  EXPECT_FALSE(health.json()["sqlite_version"].get<std::string>().empty());
  ASSERT_EQ(api.call("POST", "/db/create?path=one").status, 200);
  EXPECT_EQ(api.call("GET", "/health/cache").json()["databases"]["known"], 2);
  EXPECT_EQ(api.call("GET", "/health/cache").json()["databases"]["open"], 1);
  api.close();
  EXPECT_EQ(api.call("GET", "/health").status, 503);
  EXPECT_EQ(api.call("GET", "/health").json()["status"], "closed");
  api.open();
}

// Whether `value` is what `schema` says, as far as the document uses schemas.
bool fits(const Json& schema, const Json& value) {
  if (schema.contains("oneOf")) {
    int fitting = 0;
    for (const auto& one : schema["oneOf"]) fitting += fits(one, value) ? 1 : 0;
    return fitting == 1;
  }
  if (value.is_null() && schema.value("nullable", false)) return true;
  const std::string type = schema.value("type", "");
  if ((type == "object" && !value.is_object()) || (type == "array" && !value.is_array()) || (type == "string" && !value.is_string()) ||
      (type == "integer" && !value.is_number_integer()) || (type == "number" && !value.is_number()) || (type == "boolean" && !value.is_boolean()))
    return false;
  for (const auto& name : schema.value("required", Json::array()))
    if (!value.contains(name.get<std::string>())) return false;
  if (type == "object" && schema.contains("properties"))
    for (const auto& [name, member] : schema["properties"].items())
      if (value.contains(name) && !fits(member, value[name])) return false;
  if (type == "array" && schema.contains("items"))
    for (const auto& item : value)
      if (!fits(schema["items"], item)) return false;
  return true;
}

// As a generated client reads a list: page by page, as long as there is more.
TEST_F(Service, EveryListIsReadWholeByItsCursors) {
  for (int i = 0; i < 25; ++i) ASSERT_EQ(api.call("PUT", "/kv/k" + std::to_string(i), std::to_string(i)).status, 200);
  for (int i = 0; i < 24; ++i) ASSERT_EQ(api.call("PUT", "/kv/k0", std::to_string(i)).status, 200);
  ASSERT_EQ(api.call("DELETE", "/history").status, 200);
  for (int i = 0; i < 25; ++i) ASSERT_EQ(api.call("GET", "/query?sql=" + encode("SELECT " + std::to_string(i))).status, 200);
  const struct {
    const char *target, *list, *name;
  } lists[] = {{"/kv?", "items", "key"}, {"/kv?prefix=k&", "items", "key"}, {"/kv?at_timestamp=9999999999&", "entries", "key"},
               {"/kv/snapshot?timestamp=9999999999&prefix=k&", "entries", "key"}, {"/kv/k0/history?", "operations", "op_number"}, {"/history?", "history", "index"}};
  for (const auto& list : lists) {
    for (const int limit : {1, 5, 7, 24, 25, 26}) {
      SCOPED_TRACE(std::string(list.target) + std::to_string(limit));
      std::set<std::string> seen;
      std::string cursor;
      int pages = 0;
      for (bool more = true; more && pages <= 25; ++pages) {
        const HttpAnswer r = api.call("GET", list.target + ("limit=" + std::to_string(limit)) + (cursor.empty() ? "" : "&cursor=" + encode(cursor)));
        ASSERT_EQ(r.status, 200) << r.body;
        const Json page = r.json();
        for (const auto& item : page[list.list]) EXPECT_TRUE(seen.insert(item[list.name].dump()).second);
        more = page["has_more"].get<bool>();
        EXPECT_EQ(page["next_cursor"].is_string(), more);
        if (more) cursor = page["next_cursor"].get<std::string>();
      }
      EXPECT_EQ(seen.size(), 25U);
      EXPECT_EQ(pages, (25 + limit - 1) / limit);
    }
    EXPECT_EQ(api.call("GET", std::string(list.target) + "cursor=-").error(), "cursor must be the next_cursor of an answer");
  }
}

using Document = Service;

TEST_F(Document, NamesEveryRouteAndNoOther) {
  const Json document = api.call("GET", "/openapi.json").json();
  std::set<std::string> described, routed;
  for (const auto& [path, operations] : document["paths"].items())
    for (const auto& [method, operation] : operations.items()) described.insert(method + " " + path);
  for (const auto& route : api::Router::get().routes())
    routed.insert(std::string(route.method == api::Method::get ? "get" : route.method == api::Method::put ? "put" : route.method == api::Method::post ? "post" : "delete") +
                  " " + route.pattern);
  routed.insert("head /kv/{key}");  // every GET answers HEAD; this one is for itself
  EXPECT_EQ(described, routed);
  const auto yaml = api.call("GET", "/openapi.yaml");
  EXPECT_EQ(yaml.content_type, "application/yaml");
  EXPECT_TRUE(yaml.body.starts_with("\"openapi\": \"3.0.3\"\n")) << yaml.body.substr(0, 100);
  EXPECT_NE(yaml.body.find("\n  \"/kv/{key}/incr\":\n    \"post\":\n"), std::string::npos);
}

// Each operation is called with what the document says that it needs, and answers what the document says.
TEST_F(Document, IsWhatTheServerAnswers) {
  const Json document = api.call("GET", "/openapi.json").json();
  ASSERT_EQ(api.call("PUT", "/kv/list", "[1,2,3]", "application/json").status, 200);
  ASSERT_EQ(api.call("PUT", "/kv/number", "1", "text/plain").status, 200);
  ASSERT_EQ(api.call("PUT", "/kv/gone", "1", "text/plain").status, 200);
  ASSERT_EQ(api.call("POST", "/db/create?path=removed").status, 200);
  ASSERT_EQ(run({{{"query", "SELECT 1"}}}).status, 200);
  const std::map<std::string, std::string> keys{{"/kv/{key}/push", "list"}, {"/kv/{key}/pop", "list"}, {"/kv/{key}/remove", "list"}, {"/kv/{key}", "gone"}};
  const std::map<std::string, std::string> values{{"db", "removed"}, {"path", "made"}, {"sql", "SELECT 1"}, {"op_number", "1"}, {"timestamp", "9999999999"},
                                                  {"from", "1"}, {"to", "9999999999"}, {"to_timestamp", "9999999999"}, {"confirm", "yes"}};
  const std::map<std::string, std::string> bodies{{"post /db", R"x({"transaction":[{"query":"SELECT 1 AS a"},{"statement":"CREATE TABLE d(a)"}]})x"},
                                                  {"post /maintenance", R"({"op":"quick_check"})"}, {"post /kv/batch/set", R"({"items":[{"key":"b","value":"1"}]})"},
                                                  {"post /kv/batch/get", R"({"keys":["b"]})"}, {"post /kv/batch/delete", R"({"keys":["b"]})"}, {"post /kv/{key}/push", "4"},
                                                  {"put /kv/{key}", "2"}, {"post /kv/rollback", "{}"}};
  int called = 0;
  for (const auto& [path, operations] : document["paths"].items()) {
    for (const char* method : {"head", "get", "put", "post", "delete"}) {
      if (!operations.contains(method)) continue;
      const Json& operation = operations[method];
      const std::string name = std::string(method) + " " + path;
      SCOPED_TRACE(name);
      std::string target = path;
      const auto put = [&](const std::string& place, const std::string& value) {
        if (const auto at = target.find(place); at != target.npos) target.replace(at, place.size(), value);
      };
      put("{key}", keys.contains(path) ? keys.at(path) : "number");
      if (path == "/history/{index}") {
        ASSERT_EQ(run({{{"query", "SELECT 2"}}}).status, 200);
        put("{index}", history()["history"][0]["index"].dump());
      }
      for (const auto& parameter : operation["parameters"])
        if (parameter["in"] == "query" && (parameter["required"].get<bool>() || parameter["name"] == "confirm"))
          target += (target.find('?') == target.npos ? "?" : "&") + parameter["name"].get<std::string>() + "=" + encode(values.at(parameter["name"]));
      if (path == "/kv/{key}/remove") target += "?index=0";
      std::string upper = method;
      for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      const auto answer = api.call(upper, target, bodies.contains(name) ? bodies.at(name) : "");
      EXPECT_EQ(answer.status, 200) << target << " " << answer.body;
      if (std::string_view(method) == "head") continue;
      const Json& contents = operation["responses"]["200"]["content"];
      if (contents.contains("application/json")) {
        EXPECT_TRUE(fits(contents["application/json"]["schema"], answer.json())) << answer.body;
      }
      ++called;
      // What it refuses is in the document too, and of the form that it says.
      const auto refused = api.call(upper, target + (target.find('?') == target.npos ? "?" : "&") + "db=../x", "{");
      if (refused.status != 200) {
        EXPECT_TRUE(operation["responses"].contains(std::to_string(refused.status))) << refused.status;
        EXPECT_TRUE(fits(document["components"]["responses"]["Error"]["content"]["application/json"]["schema"], refused.json())) << refused.body;
      }
    }
  }
  EXPECT_EQ(called, static_cast<int>(api::Router::get().routes().size()));
}

}  // namespace
}  // namespace via::sqlite::test
