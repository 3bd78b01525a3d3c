#include <gtest/gtest.h>

#include <via/plugin.hpp>

namespace via::plugin {
namespace {

TEST(PluginValues, JsonStringEscapesWhatJsonMayNotHold) {
  EXPECT_EQ(json_string("a\"b\\c\n\x01z"), R"("a\"b\\c\u000a\u0001z")");
  EXPECT_EQ(json_string("\xc3\xa9"), "\"\xc3\xa9\"");
}

TEST(PluginValues, FailureCarriesItsCodeAndMembers) {
  EXPECT_EQ(Failure(VIA_E_INVALID, "no").details(), "");
  EXPECT_EQ(Failure(VIA_E_INVALID, "no", "bad_line").details(), R"({"code":"bad_line"})");
  EXPECT_EQ(Failure(VIA_E_INVALID, "no", "bad_line", "\"line\":7").details(), R"({"code":"bad_line","line":7})");
  EXPECT_EQ(Failure(VIA_E_INVALID, "no", "", "\"line\":7").details(), R"({"line":7})");
}

TEST(PluginValues, IdsReadAsOperatorsSeeThem) {
  via_id id{};
  EXPECT_EQ(text(id), "00000000000000000000000000");
  for (auto& b : id.b) b = 0xff;
  EXPECT_EQ(text(id), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  id = {};
  id.b[15] = 33;
  EXPECT_EQ(text(id), "00000000000000000000000011");
}

TEST(PluginValues, ACallerOfAnOlderHostHasNoLiveGenerations) {
  via_caller raw{};
  const std::uint32_t live[] = {1, 2};
  raw.struct_size = sizeof raw;
  raw.live_generations = live;
  raw.live_generations_len = 2;
  EXPECT_EQ(Caller(&raw).live_generations().size(), 2U);
  raw.struct_size = offsetof(via_caller, live_generations);
  EXPECT_TRUE(Caller(&raw).live_generations().empty());
  EXPECT_FALSE(Caller(nullptr));
  EXPECT_FALSE(Caller(nullptr).may("read"));
}

TEST(PluginValues, FieldsOfARequestAreFoundWithoutCaseAndItsQueryWithCase) {
  const via_pair headers[] = {{str("Content-Type"), str("text/plain")}};
  const via_pair query[] = {{str("Limit"), str("7")}};
  via_http_request raw{};
  raw.struct_size = sizeof raw;
  raw.headers = headers;
  raw.headers_len = 1;
  raw.query = query;
  raw.query_len = 1;
  const HttpRequest request(raw);
  EXPECT_EQ(request.header("content-type"), "text/plain");
  EXPECT_EQ(request.header("content-typ"), std::nullopt);
  EXPECT_EQ(request.query("Limit"), "7");
  EXPECT_EQ(request.query("limit"), std::nullopt);
}

}  // namespace
}  // namespace via::plugin
