// Edits of JSON documents by path at their limits: what an edit leaves, every later read and edit takes.
#include "tests/unit/sqlite_api/api_fixture.hpp"

namespace via::sqlite::test {
namespace {

std::string nested(size_t depth, const std::string& inside = "") {
  return std::string(depth, '[') + inside + std::string(depth, ']');
}

std::string quoted(const std::string& text) { return Json(text).dump(); }

TEST(JsonPathEdits, WouldNotNestADocumentDeeperThanItIsRead) {
  DataApi a;
  ASSERT_EQ(a.call("PUT", "/kv/d", "{\"a\":" + nested(255) + ",\"b\":[]}").status, 200);
  ASSERT_EQ(a.call("GET", "/kv/d?path=b").body, "[]") << "256 levels are read";
  const std::string before = a.call("GET", "/kv/d").body;
  const std::string why = "the document would be nested too deep: 256 levels at most";
  EXPECT_EQ(a.call("PUT", "/kv/d?path=b", nested(256)).error(), why);
  EXPECT_EQ(a.call("PUT", "/kv/d?path=b[0].c.d", nested(253)).error(), why);
  EXPECT_EQ(a.call("PUT", "/kv/d?path=new.c.d", nested(254)).error(), why);
  EXPECT_EQ(a.call("POST", "/kv/d/push?path=b", nested(255)).error(), why);
  EXPECT_EQ(a.call("POST", "/kv/d/push?path=b", nested(255)).status, 400);
  EXPECT_EQ(a.call("GET", "/kv/d").body, before);
  EXPECT_EQ(a.call("POST", "/kv/d/push?path=b", nested(254)).status, 200);
  EXPECT_EQ(a.call("PUT", "/kv/d?path=e.f.g", nested(253)).status, 200);
  EXPECT_EQ(a.call("GET", "/kv/d?path=e.f.g").body, nested(253));
  EXPECT_EQ(a.call("POST", "/kv/d/pop?path=b").json()["length"], 0);
}

TEST(JsonPathEdits, CountBracketsOutsideOfStringsOnly) {
  DataApi a;
  const std::string brackets = quoted(std::string(500, '[') + "\"\\{");
  ASSERT_EQ(a.call("PUT", "/kv/d?path=a.b", brackets).status, 200);
  EXPECT_EQ(a.call("POST", "/kv/d/push?path=c", brackets).status, 200);
  EXPECT_EQ(a.call("GET", "/kv/d?path=c[0]").body, brackets);
}

TEST(JsonPathEdits, RemoveAsDeepAValueAsIsPushed) {
  DataApi a;
  ASSERT_EQ(a.call("POST", "/kv/l/push", nested(200, "1")).status, 200);
  ASSERT_EQ(a.call("POST", "/kv/l/push", "2").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/l/remove", "2").json()["length"], 1) << "beside a deep one";
  EXPECT_EQ(a.call("POST", "/kv/l/remove", nested(200, "2")).error(), "Element not found");
  EXPECT_EQ(a.call("POST", "/kv/l/remove", nested(200, "1")).json()["length"], 0);
}

TEST(JsonPathEdits, BatchesTakeAsDeepABodyAsOtherRequests) {
  DataApi a;
  ASSERT_EQ(a.call("PUT", "/kv/k", "1").status, 200);
  const std::string deep = nested(100);
  EXPECT_EQ(a.call("POST", "/kv/batch/get", R"({"keys":["k"],"more":)" + deep + "}").status, 200);
  EXPECT_EQ(a.call("POST", "/kv/batch/get", R"({"keys":["k",)" + deep + "]}").error(), "Invalid JSON body");
  EXPECT_EQ(a.call("POST", "/kv/batch/get", R"({"keys":["k"],"more":)" + nested(300) + "}").error(), "Invalid JSON body");
}

TEST(JsonPathEdits, RefuseANameThatIsNotText) {
  DataApi a;
  ASSERT_EQ(a.call("PUT", "/kv/d", R"({"a":1})").status, 200);
  for (const char* path : {"%FF", "a.%C3", "[\"%ED%A0%80\"]", "a%C0%AF", "[\"\\ud800\"]"}) {
    SCOPED_TRACE(path);
    const std::string target = "/kv/d?path=" + std::string(path);
    EXPECT_EQ(a.call("PUT", target, "2").error(), "invalid path");
    EXPECT_EQ(a.call("GET", target).error(), "invalid path");
  }
  EXPECT_EQ(a.call("GET", "/kv/d?path=a").body, "1");
  EXPECT_EQ(a.call("PUT", "/kv/d?path=%C3%A9", "2").status, 200);
  EXPECT_EQ(a.call("GET", "/kv/d").body, "{\"a\":1,\"\xc3\xa9\":2}");
}

}  // namespace
}  // namespace via::sqlite::test
