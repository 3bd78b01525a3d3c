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
