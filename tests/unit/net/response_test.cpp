#include "core/net/response.hpp"

#include <gtest/gtest.h>

namespace via::net {
namespace {

TEST(ResponseHead, TheLengthIsFilledInBehindTheBody) {
  for (const std::size_t length : {0UL, 7UL, 10UL, 123'456'789UL, 9'999'999'999UL}) {
    Buffer out;
    const std::size_t framing = append_head(out, {200, "application/json", "req_1", false, {}});
    set_length(out, framing, length);
    const std::string text(out.view());
    const auto at = text.find("Content-Length:");
    ASSERT_NE(at, std::string::npos);
    EXPECT_EQ(std::stoull(text.substr(at + 15)), length);
    EXPECT_TRUE(text.ends_with("\r\n\r\n"));
    EXPECT_EQ(text.find('\0'), std::string::npos);
  }
}

TEST(ResponseHead, AStreamTakesThePlaceOfTheLength) {
  for (const bool chunked : {true, false}) {
    Buffer out;
    const std::size_t framing = append_head(out, {200, "application/x-ndjson", "req_1", false, "X-More: 1\r\n"});
    const std::size_t size = out.size();
    set_streaming(out.data() + framing, chunked);
    const std::string text(out.view());
    EXPECT_EQ(text.size(), size);
    EXPECT_EQ(text.find("Content-Length"), std::string::npos);
    EXPECT_NE(text.find(chunked ? "\r\nTransfer-Encoding: chunked\r\n\r\n" : "\r\nConnection: close"), std::string::npos);
    EXPECT_NE(text.find("X-More: 1\r\n"), std::string::npos);
    EXPECT_TRUE(text.ends_with("\r\n\r\n"));
  }
}

TEST(ResponseHead, AWholeResponseHasItsBodyUnlessOnlyTheHeadWasAsked) {
  Buffer out;
  append_response(out, {404, "text/plain", "req_2", true, {}}, "gone", false);
  EXPECT_EQ(out.view(), "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nVia-Request-Id: req_2\r\nConnection: close\r\n"
                        "Content-Length:          4\r\n\r\ngone");
  out.clear();
  append_response(out, {200, "text/plain", "req_2", false, {}}, "here", true);
  EXPECT_TRUE(out.view().ends_with("Content-Length:          4\r\n\r\n"));
}

TEST(ResponseHead, EveryStatusOfAnErrorHasItsReason) {
  for (const int status : {400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 417, 429, 431, 500, 501, 503, 504, 505})
    EXPECT_NE(reason(status), "Status") << status;
}

TEST(Buffer, ConsumeKeepsTheRestAndShrinkGivesRoomBack) {
  Buffer b;
  b.append(std::string(100'000, 'a'));
  b.append("tail");
  b.consume(100'000);
  EXPECT_EQ(b.view(), "tail");
  b.shrink(1000);
  EXPECT_GE(b.capacity(), 100'000U) << "what is in use is not given back";
  b.consume(50);
  EXPECT_TRUE(b.empty());
  b.shrink(1000);
  EXPECT_EQ(b.capacity(), 0U);
}

}  // namespace
}  // namespace via::net
