// Frames and values: what was written is read, and everything else is refused.
#include "core/isolation/frame.hpp"

#include <gtest/gtest.h>

#include "core/isolation/message.hpp"

namespace via::isolation {
namespace {

void feed(FrameReader& reader, std::string_view bytes) {
  const auto room = reader.room(bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  reader.commit(bytes.size());
}

TEST(IsolationFrame, WhatWasWrittenIsReadInAnyPieces) {
  Packet packet(Kind::complete, 7);
  packet.u32(5).bytes(std::string_view("why")).f64(1.5);
  packet.begin(Kind::data, 8);
  packet.raw("payload");
  const std::string bytes(packet.finish());
  for (std::size_t step = 1; step <= bytes.size(); ++step) {
    FrameReader reader;
    std::vector<std::pair<Kind, std::string>> got;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      feed(reader, std::string_view(bytes).substr(at, step));
      Frame frame;
      while (reader.next(frame) == FrameReader::Next::frame) got.emplace_back(frame.kind, frame.payload);
      reader.compact();
    }
    ASSERT_EQ(got.size(), 2U) << step;
    Reader in(got[0].second);
    EXPECT_EQ(in.u32(), 5U);
    EXPECT_EQ(in.bytes(), "why");
    EXPECT_EQ(in.f64(), 1.5);
    EXPECT_TRUE(in.done());
    EXPECT_EQ(got[1].second, "payload");
  }
}

TEST(IsolationFrame, AnotherVersionALongPayloadAndUnusedBitsAreBroken) {
  const auto next = [](std::string bytes) {
    FrameReader reader;
    feed(reader, bytes);
    Frame frame;
    return reader.next(frame);
  };
  Packet packet(Kind::stop, 0);
  const std::string good(packet.finish());
  ASSERT_EQ(next(good), FrameReader::Next::frame);
  for (const std::size_t at : {2U, 3U, 4U, 6U, 7U}) {
    std::string bad = good;
    bad[at] = 0x7f;
    EXPECT_EQ(next(bad), FrameReader::Next::broken) << at;
  }
  EXPECT_EQ(next(good.substr(0, 15)), FrameReader::Next::more);
}

TEST(IsolationFrame, TheGoldenBytesOfAFrame) {
  Packet packet(Kind::window, 0x0102030405060708);
  packet.u64(65536);
  const unsigned char expected[] = {8, 0, 0, 0, 1, 7, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0};
  EXPECT_EQ(packet.finish(), std::string_view(reinterpret_cast<const char*>(expected), sizeof expected));
}

TEST(IsolationFrame, APayloadThatIsTooShortReadsAsNothing) {
  Packet packet(Kind::log, 1);
  const via_pair pair{{"key", 3}, {"value", 5}};
  packet.bytes(std::string_view("text")).pairs(&pair, 1);
  const std::string payload(packet.finish().substr(kHeaderBytes));
  for (std::size_t n = 0; n < payload.size(); ++n) {
    Reader in(std::string_view(payload).substr(0, n));
    (void)in.bytes();
    (void)in.pairs();
    EXPECT_FALSE(in.done()) << n;
    EXPECT_EQ(in.u64(), 0U);
  }
  Packet many(Kind::log, 1);
  many.u32(0xffffffff);
  Reader in(many.finish().substr(kHeaderBytes));
  EXPECT_TRUE(in.pairs().empty()) << "a count alone takes no memory";
  EXPECT_FALSE(in.ok());
}

TEST(IsolationMessage, ACallArrivesAsItWasMade) {
  const via_str scopes[] = {{"read", 4}, {"write", 5}};
  const std::uint32_t live[] = {3, 4};
  via_caller caller{sizeof(via_caller), 4, {{9}}, scopes, 2, live, 2};
  const via_pair pairs[] = {{{"a", 1}, {"1", 1}}, {{"b", 1}, {"", 0}}};
  const via_http_request request{sizeof(via_http_request), 0, {"GET", 3}, {"/x", 2}, pairs, pairs, pairs + 1, 1, 2, 1, &caller,
                                 {nullptr, 0}, pairs, 1};
  Packet packet;
  begin_call(packet, 5, Verb::handle, 6, via_id{{1, 2}}, 77, 6);
  put(packet, request);
  packet.raw("bod");
  CallMessage message;
  ASSERT_TRUE(message.parse(packet.finish().substr(kHeaderBytes)));
  EXPECT_FALSE(message.whole());
  EXPECT_FALSE(message.add_body("yyyy")) << "more than was announced";
  ASSERT_TRUE(message.add_body("y!!"));
  ASSERT_TRUE(message.whole());
  EXPECT_EQ(message.instance, 6U);
  EXPECT_EQ(message.remaining_ns, 77U);
  EXPECT_EQ(message.request_id.b[1], 2);
  const via_http_request& got = message.request();
  EXPECT_EQ(std::string_view(got.path.ptr, got.path.len), "/x");
  ASSERT_EQ(got.query_len, 2U);
  EXPECT_EQ(got.headers_len, 1U);
  EXPECT_EQ(std::string_view(got.query[1].key.ptr, got.query[1].key.len), "b");
  ASSERT_NE(got.caller, nullptr);
  EXPECT_EQ(got.caller->live_generations[1], 4U);
  EXPECT_EQ(std::string_view(got.caller->scopes[1].ptr, got.caller->scopes[1].len), "write");
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(got.body.ptr), got.body.len), "body!!");
}

TEST(IsolationMessage, EveryCutCallIsRefused) {
  const via_str scope{"read", 4};
  const via_binding_args args{sizeof(via_binding_args), 1, {{1}}, &scope, 1, {reinterpret_cast<const std::uint8_t*>("pw"), 2}, 0};
  Packet packet;
  begin_call(packet, 5, Verb::bind, 6, via_id{}, 0, 0);
  put(packet, args);
  const std::string payload(packet.finish().substr(kHeaderBytes));
  CallMessage whole;
  ASSERT_TRUE(whole.parse(payload));
  EXPECT_EQ(whole.binding().secret.len, 2U);
  for (std::size_t n = 0; n < payload.size(); ++n) EXPECT_FALSE(CallMessage().parse(std::string_view(payload).substr(0, n))) << n;
  EXPECT_FALSE(CallMessage().parse(payload + "x")) << "a call of this kind has no body";
  std::string unknown = payload;
  unknown[0] = 99;
  EXPECT_FALSE(CallMessage().parse(unknown));
}

}  // namespace
}  // namespace via::isolation
