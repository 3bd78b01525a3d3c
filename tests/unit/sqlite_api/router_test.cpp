// Which endpoint a path means, and what every endpoint has in common.
#include "tests/unit/sqlite_api/api_fixture.hpp"

namespace via::sqlite::test {
namespace {

TEST(Router, RefusesUnknownPathsAsJson) {
  DataApi a;
  const HttpAnswer r = a.call("GET", "/nowhere");
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(r.content_type, "application/json");
  EXPECT_EQ(r.error(), "not found");
}

TEST(Router, TellsTheMethodsOfAPath) {
  DataApi a;
  const HttpAnswer r = a.call("PUT", "/db");
  EXPECT_EQ(r.status, 405);
  EXPECT_EQ(r.headers.at("Allow"), "POST, DELETE");
  EXPECT_EQ(a.call("POST", "/kv/snapshot").headers.at("Allow"), "GET");
  EXPECT_EQ(a.call("HEAD", "/query?sql=SELECT+1").status, 200);
}

TEST(Router, PrefersFixedWordsToKeys) {
  const api::Router& router = api::Router::get();
  const auto pattern = [&](api::Method method, std::string_view path) {
    api::Router::Found found;
    const Failure f = router.find(method, path, found);
    return f ? std::to_string(f.http_status) : std::string(found.route->pattern) + " " + found.key;
  };
  EXPECT_EQ(pattern(api::Method::get, "/kv/snapshot"), "/kv/snapshot ");
  EXPECT_EQ(pattern(api::Method::get, "/kv/a/b/history"), "/kv/{key}/history a/b");
  EXPECT_EQ(pattern(api::Method::get, "/kv/history/history"), "/kv/{key}/history history");
  EXPECT_EQ(pattern(api::Method::post, "/kv/a%2Fhistory/rollback"), "/kv/{key}/rollback a/history");
  EXPECT_EQ(pattern(api::Method::get, "/kv//history"), "404");
  EXPECT_EQ(pattern(api::Method::get, "/db/"), "404");
}

TEST(Router, DecodesKeysAndRefusesBrokenOnes) {
  std::string out;
  EXPECT_TRUE(api::decode_path("a%2Fb/c+d", out));
  EXPECT_EQ(out, "a/b/c+d");
  EXPECT_FALSE(api::decode_path("%", out));
  EXPECT_FALSE(api::decode_path("%4", out));
  EXPECT_FALSE(api::decode_path("%zz", out));
  EXPECT_FALSE(api::decode_path("a%00b", out));
}

TEST(Router, NeedsACallerThatMayRead) {
  DataApi a;
  DataApi::Caller odd;
  odd.limits = {{"colour", "red"}};
  EXPECT_EQ(a.call(odd, "GET", "/query").status, 403);
}

}  // namespace
}  // namespace via::sqlite::test
