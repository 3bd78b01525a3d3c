// The HTTP extension of an add-on over the wire: at the bare address of `via kit sqlite`, and under a workload binding.
#include "functional/routes.hpp"

#include <sys/stat.h>

#include <fstream>

namespace via::test {
namespace {

const std::string kApi = "/api/v1/sqlite";

struct Kit : ::testing::Test {
  HostProcess process;
  void SetUp() override { process.kit.emplace(); }
  Response call(const std::string& method, const std::string& target, const std::string& body = {},
                const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    return raw(method, kApi + target, body, headers);
  }
  // By a name of this machine, as the kit wants to be asked.
  Response raw(const std::string& method, const std::string& target, const std::string& body = {},
               const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    std::string request = Http::format(method, target, body, headers);
    const std::string host = "Host: via\r\n";
    request.replace(request.find(host), host.size(), "Host: localhost:1\r\n");
    Http http(process.port());
    http.send(request);
    return http.read(30'000, method == "HEAD").value_or(Response{});
  }
  static std::string items(const json& list) { return json{{"transaction", list}}.dump(); }
};

TEST_F(Kit, ServesAFolderOfDatabasesWithoutAToken) {
  ASSERT_TRUE(process.start()) << process.log();
  EXPECT_EQ(call("POST", "/db/create?path=app").status, 200);
  const Response made = call("POST", "/db?db=app", items({{{"statement", "CREATE TABLE t(a)"}}, {{"statement", "INSERT INTO t VALUES(7)"}}}));
  EXPECT_EQ(made.status, 200) << made.body;
  const json read = call("POST", "/db?db=app", items({{{"query", "SELECT a FROM t"}}})).json();
  EXPECT_EQ(read["results"][0]["resultSet"], json::array({json{{"a", 7}}})) << read;
  struct stat st {};
  ASSERT_EQ(::stat((process.databases() / "app.db").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_EQ(process.log().find("CREATE TABLE"), std::string::npos);
  EXPECT_EQ(process.stop(), 0);
}

TEST_F(Kit, AnAcknowledgedWriteSurvivesAKill) {
  ASSERT_TRUE(process.start()) << process.log();
  EXPECT_EQ(call("POST", "/db/create?path=app").status, 200);
  EXPECT_EQ(call("POST", "/db?db=app", items({{{"statement", "CREATE TABLE t(a)"}}})).status, 200);
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(call("POST", "/db?db=app", items({{{"statement", "INSERT INTO t VALUES(?)"}, {"values", {i}}}})).status, 200);
  process.kill();
  ASSERT_TRUE(process.start()) << process.log();
  EXPECT_EQ(call("POST", "/db?db=app", items({{{"query", "SELECT count(*) AS n FROM t"}}})).json()["results"][0]["resultSet"][0]["n"], 20);
}

TEST_F(Kit, ADirectoryOfFilesIsReadByKeys) {
  ASSERT_TRUE(process.start()) << process.log();
  std::filesystem::create_directories(process.databases() / "photos" / "2026");
  std::ofstream(process.databases() / "photos" / "2026" / "note.txt") << "hello";
  const std::string db = "?db=/hoody/databases/photos";
  EXPECT_EQ(call("GET", "/kv/2026/note.txt" + db).body, "hello");
  EXPECT_EQ(call("HEAD", "/kv/2026/none" + db).status, 404);
  EXPECT_EQ(call("GET", "/kv" + db).json()["items"][0]["key"], "2026/note.txt");
  EXPECT_EQ(call("GET", "/kv?db=photos").body, R"({"error":"directory-mode: invalid path input: path must be absolute"})");
  EXPECT_EQ(call("GET", "/health/cache").json()["directories"]["files"], 1);
  for (const char* key : {"..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "2026/%2e%2e/%2e%2e/app.db"})
    EXPECT_EQ(call("GET", std::string("/kv/") + key + db).status / 100, 4) << key;
  EXPECT_EQ(call("DELETE", "/kv/2026/note.txt" + db).status, 200);
  EXPECT_FALSE(std::filesystem::exists(process.databases() / "photos" / "2026" / "note.txt"));
}

TEST_F(Kit, AnotherNameOfThisMachineOrAnotherSiteIsRefused) {
  ASSERT_TRUE(process.start()) << process.log();
  Http http(process.port());
  ASSERT_TRUE(http.send("GET " + kApi + "/query?db=a&sql=SELECT+1 HTTP/1.1\r\nHost: evil.example\r\n\r\n"));
  EXPECT_EQ(http.read()->status, 403);
  EXPECT_EQ(call("POST", "/db/create?path=app", "", {{"Origin", "https://evil.example"}}).status, 403);
  EXPECT_FALSE(std::filesystem::exists(process.databases() / "app.db"));
}

TEST_F(Kit, NoOtherSiteGetsInOnAnyRouteByAnyField) {
  ASSERT_TRUE(process.start()) << process.log();
  ASSERT_EQ(call("PUT", "/kv/k?db=app&create_db_if_missing=1", "1").status, 200);
  struct From {
    const char *host, *fields;
    int status;
  };
  const From all[] = {{"localhost", "", 200},
                      {"LOCALHOST:8080", "", 200},
                      {"127.0.0.1:8080", "", 200},
                      {"[::1]", "", 200},
                      {"[::1]:8080", "Origin: http://[::1]:8080\r\n", 200},
                      {"localhost:1", "Origin: http://localhost:1\r\nSec-Fetch-Site: same-origin\r\n", 200},
                      {"localhost:1", "Sec-Fetch-Site: none\r\n", 200},
                      {"localhost:1", "Sec-Fetch-Site: cross-site\r\n", 403},
                      {"localhost:1", "Sec-Fetch-Site: same-site\r\n", 403},
                      {"localhost:1", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n", 403},
                      {"localhost:1", "sec-fetch-site: cross-site\r\nOrigin: http://localhost:1\r\n", 403},
                      {"localhost:1", "Origin: http://localhost:1\r\nOrigin: https://evil.example\r\n", 403},
                      {"localhost:1", "Origin: https://evil.example\r\nOrigin: http://localhost:1\r\n", 403},
                      {"localhost:1", "Origin: null\r\n", 403},
                      {"localhost:1", "Origin:\r\n", 403},
                      {"localhost:1", "Origin: http://localhost:2\r\n", 403},
                      {"localhost:1", "Origin: evil://localhost:1\r\n", 403},
                      {"localhost:1", "Origin: http://localhost:1.evil.example\r\n", 403},
                      {"[::1].evil.example", "", 403},
                      {"[::1]evil.example:80", "", 403},
                      {"[::1]:80.evil.example", "", 403},
                      {"[::1]:", "", 403},
                      {"[::2]", "", 403},
                      {"localhost.evil.example", "", 403},
                      {"localhost:80.evil.example", "", 403},
                      {"127.0.0.1.evil.example", "", 403},
                      {"127.0.0.1:x", "", 403},
                      {"evil.example", "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n", 403}};
  const std::pair<const char*, std::string> routes[] = {{"GET", kApi + "/query?db=app&sql=SELECT+1"}, {"GET", kApi + "/kv/k?db=app"}, {"HEAD", kApi + "/kv/k?db=app"},
                                                       {"GET", kApi + "/kv?db=app"}, {"GET", "/"}, {"GET", "/health"}, {"GET", kApi + "/health"},
                                                       {"POST", kApi + "/kv/n/incr?db=app"}, {"GET", kApi + "/openapi.json"}, {"GET", "/nothing"}};
  for (const From& from : all) {
    for (const auto& [method, target] : routes) {
      SCOPED_TRACE(std::string(from.host) + " " + from.fields + method + " " + target);
      Http http(process.port());
      ASSERT_TRUE(http.send(std::string(method) + " " + target + " HTTP/1.1\r\nHost: " + from.host + "\r\n" + from.fields + "Content-Length: 0\r\n\r\n"));
      const Response answer = http.read(30'000, std::string(method) == "HEAD").value_or(Response{});
      EXPECT_EQ(answer.status, from.status == 200 && target == "/nothing" ? 404 : from.status);
    }
  }
}

// A stored page is not a page of the kit's own origin, which may call the kit.
TEST_F(Kit, StoredBytesAreNeverAPageOfItsOwn) {
  ASSERT_TRUE(process.start()) << process.log();
  ASSERT_EQ(call("PUT", "/kv/page?db=app&create_db_if_missing=1", "<script>1</script>", {{"Content-Type", "text/html"}}).status, 200);
  std::filesystem::create_directories(process.databases() / "files");
  std::ofstream(process.databases() / "files" / "page.html") << "<script>1</script>";
  for (const char* target : {"/kv/page?db=app", "/kv/none?db=app", "/kv?db=app", "/kv/page.html?db=/hoody/databases/files", "/query?db=app&sql=SELECT+1",
                             "/kv/page/history?db=app", "/health", "/openapi.yaml"})
    for (const char* method : {"GET", "HEAD"}) {
      SCOPED_TRACE(std::string(method) + " " + target);
      const Response answer = call(method, target);
      EXPECT_EQ(answer.header("X-Content-Type-Options"), "nosniff");
      EXPECT_EQ(answer.header("Content-Security-Policy"), "default-src 'none'; sandbox");
      EXPECT_EQ(answer.count("X-Content-Type-Options"), 1);
    }
  EXPECT_EQ(call("GET", "/kv/page?db=app").header("Content-Type"), "text/html");
}

TEST_F(Kit, OtherPathsAreNotFoundAndTheRootSaysWhatThisIs) {
  ASSERT_TRUE(process.start()) << process.log();
  EXPECT_EQ(raw("GET", "/").json()["api"], kApi);
  EXPECT_EQ(raw("GET", "/elsewhere").status, 404);
  EXPECT_EQ(raw("GET", kApi + "x/db").status, 404);
  EXPECT_EQ(call("GET", "/no/such/thing").status, 404);
}

TEST_F(Kit, APublicAddressNeedsToBeAllowed) {
  process.listen = "0.0.0.0:0";
  EXPECT_FALSE(process.start());
  EXPECT_EQ(process.exit_code(), 2);
  EXPECT_NE(process.log().find("--allow-public"), std::string::npos) << process.log();
}

TEST_F(Kit, TwoKitsDoNotShareAFolder) {
  ASSERT_TRUE(process.start()) << process.log();
  const Finished second = run_program({VIA_BINARY, "kit", "sqlite", "--databases", process.databases().string(), "--listen", "127.0.0.1:0"});
  EXPECT_EQ(second.exit_code, 4) << second.err;
}

class UnderABinding : public World {
 protected:
  Response call(const Runtime& runtime, const std::string& method, const std::string& target, const std::string& body = {}) {
    return Http(host.port()).call(method, "/v1/runtime/addons/DATABASE/http" + kApi + target, body,
                                  {{"Authorization", "Bearer " + runtime.token}});
  }
  const std::string read = R"({"transaction":[{"query":"SELECT 1 AS one"}]})", write = R"j({"transaction":[{"statement":"CREATE TABLE u(a)"}]})j";
};

TEST_F(UnderABinding, TheDataApiIsThatOfTheAddonsOwnDatabase) {
  const Runtime runtime = app_with_database("api");
  EXPECT_EQ(call(runtime, "POST", "/db", write).status, 200);
  EXPECT_EQ(caller(runtime).query("SELECT count(*) FROM u").status, 200) << "the same database as of the operations";
  EXPECT_EQ(call(runtime, "POST", "/db", read).json()["results"][0]["resultSet"], json::array({json{{"one", 1}}}));
}

TEST_F(UnderABinding, StoredBytesAreNeverAPageOfTheHost) {
  const Runtime runtime = app_with_database("api");
  ASSERT_EQ(call(runtime, "PUT", "/kv/k", "<p>").status, 200);
  Http socket(host.admin_socket());
  for (const Response& answer : {call(runtime, "GET", "/kv/k"), call(runtime, "GET", "/kv/none"), call(runtime, "GET", "/query?sql=SELECT+1"),
                                 socket.call("GET", "/v1/addons/api-db/http" + kApi + "/kv/k")}) {
    EXPECT_EQ(answer.header("X-Content-Type-Options"), "nosniff") << answer.head;
    EXPECT_EQ(answer.header("Content-Security-Policy"), "default-src 'none'; sandbox") << answer.head;
  }
}

TEST_F(UnderABinding, KeysAndTheirHistoryComeBackWithASnapshot) {
  const Runtime runtime = app_with_database("api");
  ASSERT_EQ(call(runtime, "PUT", "/kv/k", "1").status, 200);
  ASSERT_EQ(call(runtime, "PUT", "/kv/k", "2").status, 200);
  const std::string snapshot = admin("addon.snapshot", {{"name", "api-db"}})["id"];
  ASSERT_EQ(call(runtime, "PUT", "/kv/k", "3").status, 200);
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(call(runtime, "GET", "/kv/k").body, "2");
  EXPECT_EQ(call(runtime, "GET", "/kv/k/history").json()["count"], 2);
}

TEST_F(UnderABinding, FurtherDatabasesAreMadeUnlessTheOperatorSaysOtherwise) {
  const Runtime runtime = app_with_database("api");
  EXPECT_EQ(call(runtime, "POST", "/db/create?path=more").status, 200);
  admin("addon.create", {{"type", "sqlite"}, {"name", "one-db"}, {"app", "one"}, {"bind", "DATABASE"}, {"config", {{"further_databases", false}}}});
  admin("deploy.create", {{"app", "one"}});
  EXPECT_EQ(call(issue("one"), "POST", "/db/create?path=more").status, 403);
}

TEST_F(UnderABinding, RightsAreThoseOfTheBinding) {
  const Runtime runtime = app_with_database("api");
  Runtime nobody = runtime;
  nobody.token = "";
  EXPECT_EQ(call(nobody, "POST", "/db", read).status, 401);
  expect_error(Http(host.port()).call("GET", "/v1/runtime/addons/OTHER/http" + kApi + "/query", "", {{"Authorization", "Bearer " + runtime.token}}), 403,
               "unbound");
  EXPECT_EQ(Http(host.port()).call("GET", "/v1/runtime/addons/DATABASE/http/etc/passwd", "", {{"Authorization", "Bearer " + runtime.token}}).status, 404);
  expect_error(Http(host.port()).call("POST", "/v1/runtime/addons/DATABASE/http" + kApi + "/db", read,
                                      {{"Authorization", "Bearer " + runtime.token}, {"Via-Generation", "9"}}),
               403, "generation_unknown");
  admin("addon.drain", {{"name", "api-db"}});
  expect_error(call(runtime, "POST", "/db", read), 503, "draining");
  admin("addon.resume", {{"name", "api-db"}});
  admin("runtime.stop", {{"instance", runtime.instance}});
  expect_error(call(runtime, "POST", "/db", read), 403, "instance_unknown");
}

}  // namespace
}  // namespace via::test
