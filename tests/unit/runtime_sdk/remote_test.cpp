// The client against a config server that the test plays.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "fake_server.hpp"
#include "via/sql.hpp"

namespace via::sql::testing {
namespace {

using nlohmann::json;

std::string descriptor(std::int64_t generation, const std::string& access = "read_write") {
  return json{{"binding", "DATABASE"},
              {"type", "sqlite"},
              {"scope", "addon"},
              {"generation", generation},
              {"mode", "proxy"},
              {"access", access},
              {"endpoint", "/v1/runtime/addons/DATABASE"},
              {"operations", {"query", "execute", "setup", "batch"}}}
      .dump();
}

std::string resolved(std::int64_t generation = 1, const std::string& access = "read_write") {
  return http(
      200,
      R"({"app":"api","release":"rel_1","deploy":"dep_1","profile_version":3,"values":[],"descriptors":[)" +
          descriptor(generation, access) + R"(],"missing":[]})");
}

// A process that a host launched: bootstrap and token, and a server that resolves DATABASE and answers
// operations with `operation`.
class Launched {
 public:
  explicit Launched(FakeServer::Answer operation, std::string resolve = resolved())
      : server([operation = std::move(operation),
                resolve = std::move(resolve)](const Request& request) -> Reply {
          if (request.path == "/v1/runtime/config/resolve") return {resolve};
          return operation(request);
        }) {
    folder.write("bootstrap.json", json{{"config_url", server.url()},
                                        {"app", "api"},
                                        {"deploy", "dep_1"},
                                        {"release", "rel_1"},
                                        {"instance", "ins_1"},
                                        {"env", "test"}}
                                       .dump());
    folder.write("token", "token-1\n");
    options.bootstrap_file = (folder.path / "bootstrap.json").string();
  }
  Connection connect() { return sql::connect("DATABASE", options); }
  std::vector<Request> operations() const {
    auto all = server.requests();
    std::erase_if(all, [](const Request& r) { return r.path == "/v1/runtime/config/resolve"; });
    return all;
  }

  Folder folder;
  FakeServer server;
  ConnectOptions options;
};

const char* kRow = R"({"columns":["a"],"types":["INTEGER"],"rows":[[1]],"truncated":false})";
const char* kWritten = R"({"update_count":1,"last_insert_rowid":7})";

template <class F>
Error failure_of(F work) {
  try {
    work();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error("none", {});
}

TEST(Remote, ResolvesAndSendsTheGenerationWithEachOperation) {
  Launched app([](const Request&) -> Reply { return {http(200, kRow)}; }, resolved(4, "read_only"));
  auto db = app.connect();
  EXPECT_EQ(db.query("SELECT a FROM t WHERE b = ? AND c = ?", 1, "x").scalar<int>(), 1);
  EXPECT_TRUE(db.managed());
  EXPECT_EQ(db.access(), Access::read_only);
  EXPECT_EQ(db.generation(), 4);
  const auto requests = app.server.requests();
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].json["keys"], json::array({"DATABASE"}));
  EXPECT_EQ(requests[0].token, "token-1");
  EXPECT_EQ(requests[1].path, "/v1/runtime/addons/DATABASE/query");
  EXPECT_EQ(requests[1].json["generation"], 4);
  EXPECT_EQ(requests[1].json["params"], json::array({1, "x"}));
  EXPECT_GT(requests[1].json["timeout_ms"], 0);
  EXPECT_EQ(requests[1].connection, 1);  // kept alive
}

TEST(Remote, ReadsEveryKindOfValue) {
  Launched app([](const Request&) -> Reply {
    return {http(200,
                 R"({"columns":["i","r","t","b","n"],"types":["","","","",""],)"
                 R"("rows":[[9223372036854775807,2.0,"Å",{"base64":"AAEC/w=="},null]],"truncated":true})")};
  });
  auto db = app.connect();
  const Rows rows = db.query("SELECT 1");
  const Row row = rows.one();
  EXPECT_EQ(row.get<std::int64_t>("i"), 9223372036854775807);
  EXPECT_EQ(row.get<double>("r"), 2.0);
  EXPECT_EQ(row.get<std::string>("t"), "Å");
  EXPECT_EQ(row.get<Blob>("b"), (Blob{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{255}}));
  EXPECT_EQ(row.get<std::optional<int>>("n"), std::nullopt);
  EXPECT_TRUE(rows.truncated);
}

TEST(Remote, InfinityArrivesAsInfinityBothWays) {
  Launched app([](const Request&) -> Reply {
    return {http(200, R"({"columns":["a","b","c","d","e"],"types":["","","","",""],"rows":[[9e999,-9e999,"9e999, \"-9e999\"",-0.0,18446744073709551615]],"truncated":false})")};
  });
  auto db = app.connect();
  const Rows rows = db.query("SELECT ?, :b", std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), "-9e999", 0.5, std::numeric_limits<double>::quiet_NaN());
  const Row row = rows.one();
  EXPECT_EQ(row.get<double>("a"), std::numeric_limits<double>::infinity());
  EXPECT_EQ(row.get<double>("b"), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(row.get<std::string>("c"), "9e999, \"-9e999\"");
  EXPECT_TRUE(std::signbit(row.get<double>("d")));
  EXPECT_EQ(row.get<std::string>("e"), "18446744073709551615");
  EXPECT_NE(app.operations().at(0).body.find(R"("params":[9e999,-9e999,"-9e999",0.5,null])"), std::string::npos) << app.operations().at(0).body;
}

TEST(Remote, SendsEveryKindOfValue) {
  Launched app([](const Request&) -> Reply { return {http(200, kWritten)}; });
  auto db = app.connect();
  const Written written = db.execute("INSERT", nullptr, std::int64_t{-5}, 0.5, "t",
                                     Blob{std::byte{255}, std::byte{1}}, std::optional<int>(), true);
  EXPECT_EQ(written.update_count, 1);
  EXPECT_EQ(written.last_insert_rowid, 7);
  EXPECT_EQ(app.operations().at(0).json["params"],
            json::parse(R"([null,-5,0.5,"t",{"base64":"/wE="},null,1])"));
  db.execute("INSERT", named({{"a", 1}, {"b", "x"}}));
  EXPECT_EQ(app.operations().at(1).json["params"], json::parse(R"({"a":1,"b":"x"})"));
  EXPECT_EQ(failure_of([&] { db.execute("INSERT", "\xff"); }).code(), "bad_request");
}

TEST(Remote, SendsABatchAsOneRequest) {
  Launched app([](const Request&) -> Reply {
    return {http(200, std::string(R"({"results":[{"update_count":0},)") + kWritten + "," + kRow + "]}")};
  });
  auto db = app.connect();
  const auto results =
      db.batch({setup("CREATE TABLE t(a)"), execute("INSERT INTO t VALUES(?)", 1), query("SELECT a FROM t")});
  ASSERT_EQ(results.size(), 3U);
  EXPECT_EQ(results[1].update_count, 1);
  EXPECT_EQ(results[2].rows.scalar<int>(), 1);
  EXPECT_EQ(app.operations().at(0).json["operations"],
            json::parse(R"x([{"operation":"setup","sql":"CREATE TABLE t(a)"},
                            {"operation":"execute","sql":"INSERT INTO t VALUES(?)","params":[1]},
                            {"operation":"query","sql":"SELECT a FROM t"}])x"));
}

TEST(Remote, ErrorsCarryWhatTheHostSaid) {
  Launched app([](const Request&) -> Reply {
    return {error(400, "constraint", R"(,"sqlite_code":2067,"sqlstate":"23505","statement_index":3)")};
  });
  auto db = app.connect();
  const Error failure = failure_of([&] { db.batch({execute("INSERT")}); });
  EXPECT_EQ(failure.code(), "constraint");
  EXPECT_EQ(failure.http_status(), 400);
  EXPECT_EQ(failure.sqlite_code(), 2067);
  EXPECT_EQ(failure.sqlstate(), "23505");
  EXPECT_EQ(failure.statement_index(), 3U);
  EXPECT_EQ(failure.request_id(), "req_test");
  EXPECT_FALSE(failure.outcome_unknown());
  EXPECT_STREQ(failure.what(), "said");
}

TEST(Remote, ReadsTheTokenAgainWhenItHasExpired) {
  Folder* material = nullptr;
  Launched app([&](const Request& request) -> Reply {
    if (request.token == "token-2") return {http(200, kRow)};
    material->write("token", "token-2");  // the host replaced it meanwhile
    return {error(401, "runtime_identity_expired")};
  });
  material = &app.folder;
  auto db = app.connect();
  EXPECT_EQ(db.query("SELECT 1").scalar<int>(), 1);
  EXPECT_EQ(app.operations().size(), 2U);
}

TEST(Remote, GivesUpWhenTheTokenOnDiskHasExpiredToo) {
  Launched app([](const Request&) -> Reply { return {error(401, "runtime_identity_expired")}; });
  auto db = app.connect();
  EXPECT_EQ(failure_of([&] { db.query("SELECT 1"); }).code(), "runtime_identity_expired");
  EXPECT_EQ(app.operations().size(), 1U);
}

std::string refreshed(const std::string& item) {
  return http(
      200, R"({"app":"api","release":"rel_1","deploy":"dep_1","profile_version":4,"keys":[)" + item + "]}");
}

TEST(Remote, RefreshesAnOldGenerationOnceAndTriesAgain) {
  Launched app([](const Request& request) -> Reply {
    if (request.path == "/v1/runtime/config/refresh") {
      return {
          refreshed(R"({"key":"DATABASE","scope":"addon","generation":2,"status":"updated","descriptor":)" +
                    descriptor(2) + "}")};
    }
    if (request.json["generation"] == 1) return {error(403, "generation_revoked")};
    return {http(200, kWritten)};
  });
  auto db = app.connect();
  EXPECT_EQ(db.execute("INSERT").update_count, 1);
  EXPECT_EQ(db.generation(), 2);
  const auto requests = app.operations();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[1].json["app"], "api");
  EXPECT_EQ(requests[1].json["release"], "rel_1");
  EXPECT_EQ(requests[1].json["deploy"], "dep_1");
  EXPECT_EQ(requests[1].json["profile_version"], 3);
  EXPECT_EQ(requests[1].json["keys"], json::parse(R"([{"key":"DATABASE","scope":"addon","generation":1}])"));
}

TEST(Remote, ARevokedGenerationWithoutASuccessorIsAnError) {
  Launched app([](const Request& request) -> Reply {
    if (request.path == "/v1/runtime/config/refresh") {
      return {refreshed(
          R"({"key":"DATABASE","scope":"addon","generation":1,"status":"rejected","code":"generation_revoked"})")};
    }
    return {error(403, "generation_revoked")};
  });
  auto db = app.connect();
  EXPECT_EQ(failure_of([&] { db.query("SELECT 1"); }).code(), "generation_revoked");
  EXPECT_EQ(app.operations().size(), 2U);
}

TEST(Remote, FollowsARotationBeforeItIsForced) {
  Launched app([](const Request& request) -> Reply {
    if (request.path == "/v1/runtime/config/refresh") {
      return {
          refreshed(R"({"key":"DATABASE","scope":"addon","generation":2,"status":"updated","descriptor":)" +
                    descriptor(2) + "}")};
    }
    return {http(200, kRow)};
  });
  app.options.refresh_interval = std::chrono::milliseconds(1);
  auto db = app.connect();
  while (db.generation() == 1) db.query("SELECT 1");
  db.query("SELECT 1");
  EXPECT_EQ(app.operations().back().json.value("generation", 2), 2);
}

TEST(Remote, TriesAgainWhatTheHostDeclined) {
  for (const auto& [status, code] : {std::pair{503, "draining"}, {503, "overloaded"}, {429, "queue_full"}}) {
    int count = 0;
    Launched app([&, status = status, code = code](const Request&) -> Reply {
      if (++count <= 2) return {error(status, code, R"(,"retry_after_ms":1)")};
      return {http(200, kWritten)};
    });
    auto db = app.connect();
    EXPECT_EQ(db.execute("INSERT").update_count, 1);
    EXPECT_EQ(app.operations().size(), 3U);
  }
}

TEST(Remote, DoesNotWaitBeyondTheTimeout) {
  Launched app([](const Request&) -> Reply { return {error(503, "draining", "", "Retry-After: 60\r\n")}; });
  auto db = app.connect();
  const auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(failure_of([&] { db.query("SELECT 1"); }).code(), "draining");
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
}

TEST(Remote, ReadsAreSentAgainOnALostConnection) {
  int count = 0;
  Launched app([&](const Request&) -> Reply {
    if (++count == 1) return {"", true};
    return {http(200, kRow)};
  });
  auto db = app.connect();
  EXPECT_EQ(db.query("SELECT 1").scalar<int>(), 1);
  EXPECT_EQ(app.operations().size(), 2U);
}

TEST(Remote, WritesAreNotAndSayThatTheOutcomeIsUnknown) {
  for (const char* partial : {"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"}) {
    Launched app([&](const Request&) -> Reply { return {partial, true}; });
    auto db = app.connect();
    const Error failure = failure_of([&] { db.execute("INSERT"); });
    EXPECT_EQ(failure.code(), "outcome_unknown");
    EXPECT_TRUE(failure.outcome_unknown());
    EXPECT_EQ(app.operations().size(), 1U);
  }
}

TEST(Remote, AClosedKeptConnectionIsReplacedBeforeAWriteIsSent) {
  int count = 0;
  Launched app([&](const Request&) -> Reply { return {http(200, kWritten), ++count == 1}; });
  auto db = app.connect();
  db.execute("INSERT");
  app.server.wait_until_hung_up(1);  // else the second write could leave before the end of the first connection is seen
  // The write is sent once, on a new connection.
  for (int i = 0; i < 3; ++i) db.execute("INSERT");
  EXPECT_EQ(app.operations().size(), 4U);
}

TEST(Remote, AWriteWithoutAnAnswerEndsInTime) {
  Launched app([](const Request&) -> Reply { return {"HTTP/1.1 100 Continue\r\n\r\n"}; });
  auto db = app.connect();
  Statement statement = execute("INSERT");
  statement.timeout = std::chrono::milliseconds(1);
  const Error failure = failure_of([&] { db.execute(statement); });
  EXPECT_TRUE(failure.outcome_unknown() || failure.code() == "deadline_exceeded") << failure.code();
}

TEST(Remote, AMissingBindingSaysWhatToDo) {
  Launched app(
      [](const Request&) -> Reply { return {}; },
      http(200, R"({"app":"api","release":"r","deploy":"d","profile_version":0,"values":[],"descriptors":[],)"
                R"("missing":["DATABASE"]})"));
  const Error failure = failure_of([&] { app.connect(); });
  EXPECT_EQ(failure.code(), "unbound");
  EXPECT_NE(std::string(failure.what()).find("via addon bind api"), std::string::npos);
}

TEST(Remote, ADescriptorCannotSendTheTokenElsewhere) {
  const std::string evil = http(
      200,
      R"({"descriptors":[{"binding":"DATABASE","generation":1,"endpoint":"http://127.0.0.1:1/steal"}]})");
  Launched app([](const Request&) -> Reply { return {http(200, kRow)}; }, evil);
  auto db = app.connect();
  db.query("SELECT 1");
  EXPECT_EQ(app.operations().at(0).path, "/v1/runtime/addons/DATABASE/query");
}

TEST(Remote, AnswersThatMakeNoSenseAreErrors) {
  for (const std::string& bytes :
       {http(200, "not json"), http(200, R"({"columns":["a"],"rows":[[1,2]]})"),
        http(200, R"({"columns":["a"],"rows":[[{"x":1}]]})"), std::string("HTTP/1.1 200 OK\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        std::string("gopher\r\n\r\n")}) {
    Launched app([&](const Request&) -> Reply { return {bytes, true}; });
    auto db = app.connect();
    EXPECT_EQ(failure_of([&] { db.query("SELECT 1"); }).code(), "protocol") << bytes;
  }
}

TEST(Connect, WithoutAHostSaysSo) {
  ::unsetenv("VIA_BOOTSTRAP");
  const Error failure = failure_of([] { connect("DATABASE"); });
  EXPECT_EQ(failure.code(), "not_configured");
  EXPECT_NE(std::string(failure.what()).find("VIA_BOOTSTRAP"), std::string::npos);
}

TEST(Connect, FallsBackToAFileOnlyWhenAsked) {
  ::unsetenv("VIA_BOOTSTRAP");
  Folder folder;
  ConnectOptions options;
  options.local_fallback = folder.path.string();
  auto db = connect("DATABASE", options);
  EXPECT_FALSE(db.managed());
  EXPECT_TRUE(std::filesystem::exists(folder.path / "DATABASE.sqlite"));
}

TEST(Connect, ReadsTheEnvironmentThatTheHostGives) {
  Launched app([](const Request&) -> Reply { return {http(200, kRow)}; });
  std::filesystem::create_directory(app.folder.path / "elsewhere");
  app.folder.write("elsewhere/t", "token-3");
  ::setenv("VIA_BOOTSTRAP", app.options.bootstrap_file.c_str(), 1);
  ::setenv("VARY_CONFIG_TOKEN_PATH", (app.folder.path / "elsewhere/t").c_str(), 1);
  EXPECT_NO_THROW(connect("DATABASE"));
  ::unsetenv("VIA_BOOTSTRAP");
  ::unsetenv("VARY_CONFIG_TOKEN_PATH");
  EXPECT_EQ(app.server.requests().at(0).token, "token-3");
}

TEST(Connect, RefusesWhatIsNeitherBindingNorPath) {
  for (const char* name : {"", "database", "DATA-BASE", "1DB"}) {
    EXPECT_EQ(failure_of([&] { connect(name); }).code(), "bad_request") << name;
  }
}

TEST(Connect, ToNobodyIsUnreachable) {
  Folder folder;
  folder.write("bootstrap.json", R"({"config_url":"http://127.0.0.1:1"})");
  folder.write("token", "t");
  ConnectOptions options;
  options.bootstrap_file = (folder.path / "bootstrap.json").string();
  EXPECT_EQ(failure_of([&] { connect("DATABASE", options); }).code(), "unreachable");
}

}  // namespace
}  // namespace via::sql::testing
