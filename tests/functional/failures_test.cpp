// The error table's end: limits and real failures. SQLite is made to fail by a damaged file, a full disk and
// a file size limit, and nothing of it reaches the client.
#include "functional/routes.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cstdio>
#include <fstream>
#include <thread>

namespace via::test {
namespace {

constexpr const char* kSlowRead =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c";
constexpr const char* kSlowWrite =
    "INSERT INTO t(b) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c";

class Failures : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  }
  // Every operation but `query` with something to write.
  std::vector<std::pair<std::string, json>> writes(const std::string& text) const {
    const json row{{"sql", "INSERT INTO t(b) VALUES(?)"}, {"params", {text}}};
    return {{"execute", row},
            {"setup", {{"sql", "CREATE TABLE IF NOT EXISTS u(a); INSERT INTO u VALUES('" + text + "')"}}},
            {"batch",
             {{"operations", {{{"operation", "execute"}, {"sql", row["sql"]}, {"params", row["params"]}}}}}}};
  }
  Runtime api;
};

TEST_F(Failures, DamagedFileIsAGeneric500ForEveryOperation) {
  Caller app = caller(api);
  ASSERT_EQ(
      app.setup("CREATE TABLE wide(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX wide_b ON wide(b)").status,
      200);
  ASSERT_EQ(
      app.execute(
             "INSERT INTO wide(b) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 3000) "
             "SELECT printf('value-%06d-%.*c', x, 100, 'x') FROM c")
          .status,
      200);
  const auto file = data_file("api-db", "api");
  ASSERT_EQ(host.stop(), 0);
  {
    // Everything behind the schema's page.
    std::fstream data(file, std::ios::in | std::ios::out | std::ios::binary);
    const auto size = std::filesystem::file_size(file);
    ASSERT_GT(size, 20'000U);
    data.seekp(4096);
    data << std::string(size - 4096, '\xa5');
  }
  ASSERT_TRUE(host.start()) << host.log();
  app = caller(api);
  const std::string request = operation_path("query");
  const Response read = app.query("SELECT sum(length(b)) FROM wide");
  expect_generic_500(read);
  expect_generic_500(app.execute("INSERT INTO wide(b) VALUES('secret-value')"));
  expect_generic_500(app.setup("CREATE TABLE more(a); INSERT INTO wide(b) VALUES('secret-value')"));
  expect_generic_500(app.op(
      "batch",
      {{"operations", {{{"operation", "execute"}, {"sql", "INSERT INTO wide(b) VALUES('secret-value')"}}}}}));
  EXPECT_EQ(app.resolve().status, 200) << "the rest of the host serves";
  const std::string log = host.log();
  EXPECT_NE(log.find(read.header("Via-Request-Id")), std::string::npos) << "the log names the request";
  EXPECT_EQ(log.find("secret-value"), std::string::npos);
  EXPECT_EQ(log.find(HostProcess::kCanary), std::string::npos);
  EXPECT_EQ(log.find("INSERT"), std::string::npos);
}

TEST_F(Failures, FileSizeLimitIsAGeneric500AndAcknowledgedRowsStay) {
  Caller app = caller(api);
  const std::string big(50'000, 'w');
  ASSERT_EQ(app.execute("INSERT INTO t(b) VALUES(?)", json::array({big})).status, 200);
  rlimit before{};
  ASSERT_EQ(::prlimit(host.pid(), RLIMIT_FSIZE, nullptr, &before), 0);
  const rlimit tight{300'000, before.rlim_max};
  ASSERT_EQ(::prlimit(host.pid(), RLIMIT_FSIZE, &tight, nullptr), 0);
  int acknowledged = 1;
  for (const auto& [operation, body] : writes(big)) {
    SCOPED_TRACE(operation);
    Response answer;
    for (int i = 0; i < 50; ++i) {
      answer = app.op(operation, body);
      if (answer.status != 200) break;
      if (operation != "setup") ++acknowledged;
    }
    if (answer.status == 503) answer = app.op(operation, body);  // recovering from the one before
    expect_generic_500(answer);
  }
  ASSERT_EQ(::prlimit(host.pid(), RLIMIT_FSIZE, &before, nullptr), 0);
  ASSERT_TRUE(eventually([&] { return app.execute("INSERT INTO t(b) VALUES('after')").status == 200; }))
      << "writes go on without a restart";
  const json rows = rows_of(app.query("SELECT count(*) FROM t WHERE b <> 'after'"));
  ASSERT_TRUE(rows.is_array());
  EXPECT_GE(rows[0][0].get<int>(), acknowledged);
  EXPECT_EQ(host.log().find(HostProcess::kCanary), std::string::npos);
}

class FullDisk : public Failures {
 protected:
  void SetUp() override {
    // A disk of 6 MB of the host's own, in a mount namespace that ends with it.
    addons_ = (host.state_dir() / "addons").string();
    std::filesystem::create_directory(addons_);
    std::filesystem::permissions(addons_, std::filesystem::perms::owner_all);
    host.before_exec = [this] {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
          ::mount("disk", addons_.c_str(), "tmpfs", 0, "size=6m,mode=0700") != 0) {
        // Not allowed here: a limit that lets the files grow to 1 MB fails the same writes.
        const rlimit limit{1'000'000, 1'000'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
      }
    };
    Failures::SetUp();
  }
  // What the host sees of its disk.
  bool really_full() const {
    struct statvfs disk {};
    return ::statvfs(("/proc/" + std::to_string(host.pid()) + "/root" + addons_).c_str(), &disk) == 0 && disk.f_bavail * disk.f_frsize < (1U << 20);
  }
  std::string addons_;
};

TEST_F(FullDisk, IsSaidToWritesAsWhatItIsAndReadsGoOn) {
  Caller app = caller(api);
  const std::string big(50'000, 'w');
  int acknowledged = 0;
  for (const auto& [operation, body] : writes(big)) {
    SCOPED_TRACE(operation);
    Response answer;
    for (int i = 0; i < 200; ++i) {
      answer = app.op(operation, body);
      if (answer.status == 200 && operation != "setup") ++acknowledged;
      if (answer.status == 503) continue;
      if (answer.status != 200) break;
    }
    if (really_full())
      expect_error(answer, 507, "disk_full");
    else
      expect_generic_500(answer);  // a limit of the process is no full disk
    const json rows = rows_of(app.query("SELECT count(*) FROM t"));
    ASSERT_TRUE(rows.is_array());
    EXPECT_EQ(rows[0][0].get<int>(), acknowledged) << "what was acknowledged is there, what failed is not";
  }
  EXPECT_GT(acknowledged, 10);
  EXPECT_EQ(host.log().find(HostProcess::kCanary), std::string::npos);
}

TEST_F(Failures, QuotaIs429) {
  const Runtime small = app_with_database("small", false, {{"quota_bytes", 200'000}});
  Caller app = caller(small);
  ASSERT_EQ(app.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  for (const auto& [operation, body] : writes(std::string(50'000, 'q'))) {
    SCOPED_TRACE(operation);
    Response answer;
    for (int i = 0; i < 20 && (answer = app.op(operation, body)).status == 200; ++i) {
    }
    expect_error(answer, 429, "quota_exceeded");
  }
  EXPECT_EQ(rows_of(app.query("SELECT 1")), json({{1}}));
}

TEST_F(Failures, DeadlineIs504ForEveryOperation) {
  Caller app = caller(api);
  expect_error(app.op("query", {{"sql", kSlowRead}, {"timeout_ms", 50}}), 504, "deadline_exceeded");
  expect_error(app.op("execute", {{"sql", kSlowWrite}, {"timeout_ms", 50}}), 504, "deadline_exceeded");
  expect_error(app.op("setup", {{"sql", kSlowWrite}, {"timeout_ms", 50}}), 504, "deadline_exceeded");
  expect_error(app.op("batch", {{"operations", {{{"operation", "execute"}, {"sql", kSlowWrite}}}},
                                {"timeout_ms", 50}}),
               504, "deadline_exceeded");
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{0}}));
}

TEST_F(Failures, FullQueueIs429) {
  Http slow(host.port());
  const std::string authorization = "Bearer " + api.token;
  const auto request = [&](const json& body) {
    return Http::format("POST", operation_path("execute"), body.dump(), {{"Authorization", authorization}});
  };
  ASSERT_EQ(caller(api).query("SELECT 1").status, 200);
  ASSERT_TRUE(slow.send(request({{"sql", kSlowWrite}, {"timeout_ms", 25'000}})));
  // One more than may wait for the writer, each on a connection of its own.
  std::vector<std::unique_ptr<Http>> waiting;
  const std::string write = request({{"sql", "INSERT INTO t(b) VALUES('w')"}, {"timeout_ms", 20'000}});
  std::optional<Response> refused;
  for (int i = 0; i < 4400 && !refused; ++i) {
    waiting.push_back(std::make_unique<Http>(host.port()));
    ASSERT_TRUE(waiting.back()->send(write));
    if (i > 4000) refused = waiting.back()->read(50);
  }
  ASSERT_TRUE(refused) << "no write was refused";
  expect_error(*refused, 429, "queue_full");
  EXPECT_EQ(refused->json()["error"].value("retry_after_ms", 0), 100);
  host.kill();
}

TEST_F(Failures, UnknownTokensDoNotWaitBehindAppsThatHaveEveryWorker) {
  Runtime other = app_with_database("other");
  ASSERT_EQ(host.stop(), 0);
  host.configure("workers = 2\n");
  ASSERT_TRUE(host.start()) << host.log();
  // Both workers are kept busy by two add-ons until they are told that nobody waits.
  std::vector<std::unique_ptr<Http>> busy;
  for (const Runtime* runtime : {&api, &other}) {
    ASSERT_EQ(caller(*runtime).query("SELECT 1").status, 200);
    busy.push_back(std::make_unique<Http>(host.port()));
    ASSERT_TRUE(busy.back()->send(Http::format("POST", operation_path("query"),
                                               json{{"sql", kSlowRead}, {"timeout_ms", 20'000}}.dump(),
                                               {{"Authorization", "Bearer " + runtime->token}})));
  }
  std::vector<std::unique_ptr<Http>> waiting;
  for (int i = 0; i < 300; ++i) {
    waiting.push_back(std::make_unique<Http>(host.port()));
    ASSERT_TRUE(
        waiting.back()->send(Http::format("POST", "/v1/runtime/config/resolve", "{}",
                                          {{"Authorization", "Bearer unknown" + std::to_string(i)}})));
  }
  for (auto& one : waiting) {
    const auto answer = one->read();
    ASSERT_TRUE(answer);
    if (answer->status == 503) expect_error(*answer, 503, "overloaded");  // more than 256 at one moment
    else expect_error(*answer, 401, "token_malformed");
  }
  EXPECT_FALSE(busy.front()->read(1)) << "the workers are still at it";
  EXPECT_EQ(caller(issue("api")).resolve().status, 200) << "and a new token is verified meanwhile";
}

TEST_F(Failures, MethodsThatARouteDoesNotTakeAre405WithAllow) {
  const std::vector<std::pair<std::string, std::string>> token{{"Authorization", "Bearer " + api.token}};
  for (const Route& route : all_routes(api))
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}) {
      SCOPED_TRACE(std::string(method) + " " + route.path);
      const Response answer = Http(host.port()).call(method, route.path, {}, token);
      EXPECT_EQ(answer.status, 405);
      EXPECT_EQ(answer.header("Allow"), "POST");
      if (std::string_view(method) != "HEAD") {
        EXPECT_EQ(answer.code(), "method_not_allowed");
      }
    }
  for (const char* path : {"/health", "/ready", "/.well-known/jwks.json"}) {
    SCOPED_TRACE(path);
    const Response answer = Http(host.port()).call("POST", path, "{}");
    EXPECT_EQ(answer.status, 405);
    EXPECT_EQ(answer.header("Allow"), "GET, HEAD");
    EXPECT_EQ(Http(host.port()).call("GET", path).status, 200);
    EXPECT_EQ(Http(host.port()).call("HEAD", path).status, 200);
  }
}

TEST_F(Failures, FormsAndCompressedBodiesAre415) {
  Caller app = caller(api);
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    for (const char* type : {"text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded",
                             "multipart/form-data; boundary=x"})
      expect_error(app.post(route.path, route.body, {{"Content-Type", type}, {"Origin", "https://evil"}}),
                   415, "unsupported_media_type");
    for (const char* encoding : {"gzip", "br", "deflate", "zstd", "gzip, gzip"})
      expect_error(app.post(route.path, route.body, {{"Content-Encoding", encoding}}), 415,
                   "unsupported_media_type");
    const Response cross =
        app.post(route.path, route.body, {{"Content-Type", "application/json"}, {"Origin", "https://evil"}});
    EXPECT_EQ(cross.status, 200);
    for (const auto& [name, value] : cross.headers)
      EXPECT_FALSE(name.starts_with("Access-Control")) << name << value;
  }
}

TEST_F(Failures, BodiesOverTheLimitAre413WithAndWithoutALength) {
  ASSERT_EQ(host.stop(), 0);
  host.configure("[limits]\nbody_bytes = 4096\n");
  ASSERT_TRUE(host.start()) << host.log();
  const auto padded = [](std::string body, std::size_t size) {
    return body + std::string(size - body.size(), ' ');
  };
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    EXPECT_EQ(caller(api).post(route.path, padded(route.body, 4096)).status, 200);
    const Response over = caller(api).post(route.path, padded(route.body, 4097));
    expect_error(over, 413, "body_too_large");
    EXPECT_TRUE(over.closes());
    for (const std::size_t size : {4096U, 4097U}) {
      const std::string body = padded(route.body, size);
      std::string chunked = "POST " + route.path + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " +
                            api.token + "\r\nTransfer-Encoding: chunked\r\n\r\n";
      for (std::size_t at = 0; at < body.size(); at += 1000) {
        const std::string piece = body.substr(at, 1000);
        char line[16];
        std::snprintf(line, sizeof line, "%zx\r\n", piece.size());
        chunked += line + piece + "\r\n";
      }
      chunked += "0\r\n\r\n";
      Http http(host.port());
      (void)http.send(chunked);
      const auto answer = http.read();
      ASSERT_TRUE(answer);
      EXPECT_EQ(answer->status, size == 4096 ? 200 : 413) << answer->body;
    }
  }
}

TEST_F(Failures, AdminErrorsHaveTheSameNamesOnTheWire) {
  EXPECT_EQ(admin_error("app.create", {{"name", "api"}}), "conflict");
  EXPECT_EQ(admin_error("app.show", {{"name", "nobody"}}), "not_found");
  EXPECT_EQ(admin_error("app.create", {{"name", "not a name!"}}), "bad_request");
  EXPECT_EQ(admin_error("app.create"), "bad_request");
  EXPECT_EQ(admin_error("app.delete", {{"name", "api"}}), "refused");
  EXPECT_EQ(admin_error("addon.destroy", {{"name", "api-db"}, {"app", "api"}}), "refused");
  EXPECT_EQ(admin_error("no.such.command"), "not_found");
  admin("app.create", {{"name", "undeployed"}});
  EXPECT_EQ(admin_error("runtime.issue", {{"app", "undeployed"}}), "precondition_failed");
}

}  // namespace
}  // namespace via::test
