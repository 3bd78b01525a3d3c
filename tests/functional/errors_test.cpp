// The error table of the wire, row by row, for resolve, refresh and each operation, over a real socket: 4xx.
#include "functional/routes.hpp"

#include "core/base/base64.hpp"

#include <ctime>
#include <set>

namespace via::test {
namespace {

class ErrorTable : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    Caller app = caller(api);
    ASSERT_EQ(app.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT UNIQUE)").status, 200);
  }
  Response with_token(const Route& route, const std::string& token) {
    return Caller(host.port(), token).post(route.path, route.body);
  }
  std::string signed_with(const std::function<void(json&)>& change) {
    json payload = payload_of(api);
    change(payload);
    return sign(json{{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", kid()}}.dump(), payload.dump());
  }
  Runtime api;
};

TEST_F(ErrorTable, EveryRouteAnswersAValidRequest) {
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    const Response answer = with_token(route, api.token);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_FALSE(answer.header("Via-Request-Id").empty());
  }
}

TEST_F(ErrorTable, TokensThatProveNothingAre401OnEveryRoute) {
  const std::int64_t now = std::time(nullptr);
  const auto other = identity::EcKey::generate();
  const auto dot = api.token.rfind('.');
  const std::string head = api.token.substr(0, dot);
  std::string forged = head + '.';
  {
    const auto signature = (*other)->sign(head);
    forged += base64url_encode(*signature);
  }
  const struct {
    const char* name;
    std::string token, code;
  } rows[] = {
      {"malformed", "abc", "token_malformed"},
      {"two parts", head, "token_malformed"},
      {"signed by somebody else", forged, "token_signature"},
      {"expired", signed_with([&](json& p) {
         p["iat"] = p["nbf"] = now - 600;
         p["exp"] = now - 1;
       }),
       "runtime_identity_expired"},
      {"other audience", signed_with([](json& p) { p["aud"] = "via-other"; }), "token_audience"},
      {"audience of builds", signed_with([](json& p) { p["aud"] = "via-build"; }), "token_audience"},
      {"subject that is not the app", signed_with([](json& p) { p["sub"] = "other"; }), "token_malformed"},
      {"other issuer", signed_with([](json& p) { p["iss"] = "via:elsewhere:1"; }), "token_signature"},
  };
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    std::set<std::string> messages;
    for (const auto& row : rows) {
      SCOPED_TRACE(row.name);
      const Response answer = with_token(route, row.token);
      expect_error(answer, 401, row.code);
      messages.insert(answer.json()["error"].value("message", ""));
    }
    EXPECT_EQ(messages.size(), 1U) << "every refused token gets the same text";
    expect_error(Caller(host.port(), "").post(route.path, route.body), 401, "token_missing");
    for (const char* scheme : {"Basic YTpi", "Bearer", "Bearer ", "Token abc"}) {
      SCOPED_TRACE(scheme);
      expect_error(Caller(host.port(), "").post(route.path, route.body, {{"Authorization", scheme}}), 401,
                   "token_missing");
    }
  }
}

TEST_F(ErrorTable, TokensOutsideOfTheAuthorizationFieldDoNotCount) {
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    Caller nobody(host.port(), "");
    expect_error(nobody.post(route.path + "?access_token=" + api.token, route.body), 401, "token_missing");
    expect_error(nobody.post(route.path, route.body, {{"Cookie", "token=" + api.token}}), 401,
                 "token_missing");
    expect_error(nobody.post(route.path, R"({"token":")" + api.token + "\"}"), 401, "token_missing");
    expect_error(nobody.post(route.path, route.body,
                             {{"Authorization", "Bearer " + api.token}, {"Authorization", "Bearer x"}}),
                 400, "bad_request");
  }
}

TEST_F(ErrorTable, RightsThatAreNotTheirsAre403OnEveryRoute) {
  const Runtime other = app_with_database("other");
  const Runtime stopped = issue("api");
  admin("runtime.stop", {{"instance", stopped.instance}});
  const auto claim = [&](const char* member, const std::string& value) {
    return signed_with([&](json& p) { p["via"][member] = value; });
  };
  const struct {
    const char* name;
    std::string token, code;
  } rows[] = {
      {"unknown instance", claim("instance", "ins_01ARZ3NDEKTSV4RRFFQ69G5FAV"), "instance_unknown"},
      {"stopped instance", stopped.token, "instance_unknown"},
      {"release of another app", claim("release", other.release), "instance_unknown"},
      {"deploy of another app", claim("deploy", other.deploy), "instance_unknown"},
      {"instance of another app", claim("instance", other.instance), "instance_unknown"},
      {"another app", signed_with([](json& p) { p["sub"] = p["via"]["app"] = "other"; }), "instance_unknown"},
      {"another environment", claim("env", "staging"), "instance_unknown"},
      {"build token", admin("identity.issue", {{"kind", "build"}, {"app", "api"}}).value("token", ""),
       "build_token"},
      {"session token",
       admin("identity.issue", {{"kind", "session"}, {"subject", "operator"}}).value("token", ""),
       "session_token"},
  };
  for (const Route& route : all_routes(api))
    for (const auto& row : rows) {
      SCOPED_TRACE(route.name + ": " + row.name);
      expect_error(with_token(route, row.token), 403, row.code);
    }
}

TEST_F(ErrorTable, BindingThatTheReleaseDoesNotHaveIsUnbound) {
  Caller app = caller(api);
  for (const Route& route : operation_routes()) {
    SCOPED_TRACE(route.name);
    for (const char* name : {"OTHER", "database", "DATABASE_URL", "api-db"})
      expect_error(app.post(operation_path(route.name, name), route.body), 403, "unbound");
  }
  const json missing = app.resolve({{"keys", {"OTHER"}}}).json();
  EXPECT_EQ(missing["missing"], json({"OTHER"}));
  admin("app.create", {{"name", "bare"}});
  admin("deploy.create", {{"app", "bare"}});
  Caller bare = caller(issue("bare"));
  for (const Route& route : operation_routes())
    expect_error(bare.post(route.path, route.body), 403, "unbound");
}

TEST_F(ErrorTable, RefreshForAnotherAppReleaseOrDeployIs403) {
  const Runtime other = app_with_database("other");
  Caller app = caller(api);
  for (const char* member : {"app", "release", "deploy"}) {
    SCOPED_TRACE(member);
    json body = json::parse(all_routes(api)[1].body);
    body[member] = json::parse(all_routes(other)[1].body)[member];
    expect_error(app.refresh(body), 403, "unbound");
  }
  json body = json::parse(all_routes(api)[1].body);
  body["profile_version"] = 99;
  expect_error(app.refresh(body), 409, "stale_claims");
}

TEST_F(ErrorTable, ReadOnlyBindingMayOnlyQuery) {
  admin("addon.bind", {{"app", "api"}, {"name", "api-db"}, {"binding", "REPLICA"}, {"read_only", true}});
  admin("deploy.create", {{"app", "api"}});
  Caller app = caller(issue("api"));
  ASSERT_EQ(app.execute("INSERT INTO t(b) VALUES('kept')").status, 200);
  for (const Route& route : operation_routes()) {
    SCOPED_TRACE(route.name);
    const Response answer = app.post(operation_path(route.name, "REPLICA"), route.body);
    if (route.writes)
      expect_error(answer, 403, "scope_denied");
    else {
      EXPECT_EQ(answer.status, 200);
    }
  }
  EXPECT_EQ(rows_of(app.op("query", {{"sql", "SELECT b FROM t"}}, "REPLICA")), json({{"kept"}}));
  EXPECT_EQ(app.op("query", {{"sql", "DELETE FROM t RETURNING a"}}, "REPLICA").status, 400);
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{1}}));
  const json descriptor = app.resolve({{"keys", {"REPLICA"}}}).json()["descriptors"][0];
  EXPECT_EQ(descriptor["access"], "read_only");
  EXPECT_EQ(descriptor["operations"], json({"query"}));
}

TEST_F(ErrorTable, GenerationsThatWereNeverGivenOutAreRefused) {
  Caller app = caller(api);
  for (const Route& route : operation_routes()) {
    SCOPED_TRACE(route.name);
    for (const char* generation : {"0", "2", "4294967295"})
      expect_error(app.post(route.path, route.body, {{"Via-Generation", generation}}), 403,
                   "generation_unknown");
    for (const char* generation : {"x", "-1", "1.0", "99999999999", " 1 2"})
      expect_error(app.post(route.path, route.body, {{"Via-Generation", generation}}), 400, "bad_request");
    json body = json::parse(route.body);
    body["generation"] = 2;
    expect_error(app.post(route.path, body.dump()), 403, "generation_unknown");
    body["generation"] = 1;
    EXPECT_EQ(app.post(route.path, body.dump(), {{"Via-Generation", "1"}}).status, 200);
  }
  json refresh = json::parse(all_routes(api)[1].body);
  refresh["keys"] = {{{"key", "DATABASE"}, {"scope", "addon"}, {"generation", 2}},
                     {{"key", "DATABASE"}, {"scope", "addon"}, {"generation", 1}},
                     {{"key", "DATABASE_URL"}, {"scope", "addon"}, {"generation", 0}},
                     {{"key", "OTHER"}, {"scope", "addon"}, {"generation", 1}}};
  const json keys = app.refresh(refresh).json()["keys"];
  ASSERT_EQ(keys.size(), 4U);
  EXPECT_EQ(keys[0].value("code", ""), "generation_unknown");
  EXPECT_EQ(keys[1].value("status", ""), "unchanged");
  EXPECT_EQ(keys[2].value("code", ""), "generation_unknown");
  EXPECT_EQ(keys[3].value("code", ""), "unbound");
}

TEST_F(ErrorTable, MalformedBodiesAre400OnEveryRoute) {
  Caller app = caller(api);
  for (const Route& route : all_routes(api)) {
    SCOPED_TRACE(route.name);
    for (const char* body :
         {"{", "nonsense", "{\"sql\":\"SELECT 1\"", "{} {}", "\xff\xfe", "{\"a\":01}", "{'sql':1}"}) {
      SCOPED_TRACE(body);
      const Response answer = app.post(route.path, body);
      EXPECT_EQ(answer.status, 400) << answer.body;
      EXPECT_FALSE(answer.code().empty());
    }
    for (const char* body : {"[]", "\"SELECT 1\"", "7", "null"}) {
      SCOPED_TRACE(body);
      EXPECT_EQ(app.post(route.path, body).status, 400);
    }
    EXPECT_EQ(app.post(route.path, std::string(100'000, '[')).status, 400);
    EXPECT_EQ(with_token(route, api.token).status, 200) << "the next request is served";
  }
}

TEST_F(ErrorTable, WrongMembersOfResolveAndRefreshAre400) {
  Caller app = caller(api);
  for (const json& body : {json{{"keys", "DATABASE"}}, json{{"keys", {1}}},
                           json{{"keys", {std::string(5000, 'k')}}}, json{{"keys", nullptr}}})
    expect_error(app.resolve(body), 400, "bad_request");
  const json good = json::parse(all_routes(api)[1].body);
  for (const char* member : {"app", "release", "deploy", "profile_version", "keys"}) {
    json body = good;
    body.erase(member);
    expect_error(app.refresh(body), 400, "bad_request");
    body[member] = true;
    expect_error(app.refresh(body), 400, "bad_request");
  }
  for (const json& key :
       {json{{"key", "A"}, {"scope", "bogus"}, {"generation", 1}},
        json{{"key", "A"}, {"scope", "addon"}, {"generation", -1}},
        json{{"key", "A"}, {"scope", "addon"}, {"generation", 1.5}}, json{{"key", "A"}, {"scope", "addon"}},
        json{{"key", "A"}, {"scope", "addon"}, {"generation", 4294967296}}, json("A")}) {
    json body = good;
    body["keys"] = {key};
    expect_error(app.refresh(body), 400, "bad_request");
  }
  json body = good;
  body["unknown"] = {1, 2};
  EXPECT_EQ(app.refresh(body).status, 200) << "unknown members are ignored";
}

TEST_F(ErrorTable, WrongStatementsAre400) {
  Caller app = caller(api);
  ASSERT_EQ(app.execute("INSERT INTO t(a, b) VALUES(1, 'one')").status, 200);
  const struct {
    const char* operation;
    json body;
    const char* code;  // null: any code of 400
  } rows[] = {
      {"query", {{"sql", ""}}, nullptr},
      {"query", {{"sql", 7}}, nullptr},
      {"query", {{"params", json::array()}}, nullptr},
      {"query", {{"sql", "SELECT"}}, "sql_error"},
      {"query", {{"sql", "SELECT * FROM nowhere"}}, "sql_error"},
      {"query", {{"sql", "SELECT ?"}, {"params", {1, 2}}}, nullptr},
      {"query", {{"sql", "SELECT ?, ?"}, {"params", {1}}}, nullptr},
      {"query", {{"sql", "SELECT :a"}, {"params", {{"b", 1}}}}, nullptr},
      {"query", {{"sql", "SELECT ?"}, {"params", {json::array()}}}, nullptr},
      {"query", {{"sql", "SELECT ?"}, {"params", {{{"base64", "%%%"}}}}}, nullptr},
      {"query", {{"sql", "SELECT 1; SELECT 2"}}, nullptr},
      {"query", {{"sql", std::string("SELECT 1\0", 9)}}, nullptr},
      {"query", {{"sql", "SELECT 1"}, {"integers", "bogus"}}, nullptr},
      {"query", {{"sql", "SELECT 1"}, {"timeout_ms", -1}}, nullptr},
      {"query", {{"sql", "SELECT 1"}, {"timeout_ms", "5"}}, nullptr},
      {"query", {{"sql", "INSERT INTO t(b) VALUES('x')"}}, "sql_denied"},
      {"execute", {{"sql", "SELECT"}}, "sql_error"},
      {"execute", {{"sql", "INSERT INTO nowhere VALUES(1)"}}, "sql_error"},
      {"execute", {{"sql", "INSERT INTO t(a) VALUES(1)"}}, "constraint"},
      {"execute", {{"sql", "INSERT INTO t(b) VALUES('x'); DELETE FROM t"}}, nullptr},
      {"execute", {{"sql", "INSERT INTO t(b) VALUES(?)"}}, nullptr},
      {"setup", {{"sql", "CREATE"}}, "sql_error"},
      {"setup", {{"sql", ";;"}}, nullptr},
      {"setup", {{"sql", "CREATE TABLE t(a)"}}, "sql_error"},
      {"batch", {{"operations", json::array()}}, nullptr},
      {"batch", {{"operations", 7}}, nullptr},
      {"batch", {{"operations", {{{"operation", "bogus"}, {"sql", "SELECT 1"}}}}}, nullptr},
      {"batch",
       {{"operations", {{{"operation", "execute"}, {"sql", "INSERT INTO t(a) VALUES(1)"}}}}},
       "constraint"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.operation) + " " + row.body.dump());
    const Response answer = app.op(row.operation, row.body);
    expect_error(answer, 400, row.code == nullptr ? answer.code() : row.code);
    EXPECT_NE(answer.code(), "");
  }
  for (const std::string number : {"1e400", "9223372036854775808", "-9223372036854775809"}) {
    SCOPED_TRACE(number);
    EXPECT_EQ(app.post(operation_path("query"), R"({"sql":"SELECT ?","params":[)" + number + "]}").status,
              400);
  }
  EXPECT_EQ(rows_of(app.query("SELECT a, b FROM t")), json({{1, "one"}}))
      << "nothing of all that was written";
}

TEST_F(ErrorTable, FailingStatementOfABatchIsNamedAndNothingIsApplied) {
  Caller app = caller(api);
  const Response answer =
      app.op("batch", {{"operations",
                        {{{"operation", "execute"}, {"sql", "INSERT INTO t(b) VALUES('a')"}},
                         {{"operation", "execute"}, {"sql", "INSERT INTO t(b) VALUES('a')"}}}}});
  expect_error(answer, 400, "constraint");
  EXPECT_EQ(answer.json()["error"].value("statement_index", -1), 1);
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{0}}));
}

TEST_F(ErrorTable, UnknownPathsAndOperationsAre404) {
  Caller app = caller(api);
  expect_error(app.op("drop", {{"sql", "SELECT 1"}}), 404, "not_found");
  for (const char* path : {"/", "/v1", "/v1/runtime", "/v1/runtime/config", "/v1/runtime/addons/DATABASE",
                           "/v1/runtime/addons/DATABASE/", "/v1/runtime/addons/DATABASE/query/",
                           "/v1/admin/status", "/metrics"}) {
    SCOPED_TRACE(path);
    EXPECT_EQ(app.post(path, "{}").status, 404);
  }
}

}  // namespace
}  // namespace via::test
