// Base64url, JSON strings, secrets, times.
#include <array>
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base/digest.hpp"
#include "core/base/base64.hpp"
#include "core/base/clock.hpp"
#include "core/base/json_text.hpp"
#include "core/base/secret.hpp"

namespace via {
namespace {

std::string random_bytes(std::mt19937& random, std::size_t most) {
  std::string out(random() % (most + 1), '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

TEST(Base64url, EverySequenceOfBytesHasOneTextAndComesBack) {
  std::mt19937 random(5);  // NOLINT: repeatable
  for (int i = 0; i < 3000; ++i) {
    const std::string bytes = random_bytes(random, 70);
    const std::string text = base64url_encode(bytes);
    EXPECT_EQ(text.find_first_of("+/="), std::string::npos);
    ASSERT_EQ(base64url_decode(text), bytes);
  }
  EXPECT_EQ(base64url_encode(std::string_view("\xff\xfe")), "__4");
}

TEST(Base64url, WhatIsNotTheOneTextIsRefused) {
  for (const char* bad : {"A", "AAAAA", "AA=", "AA==", "AAA=", "AA A", "AA\n", "A+A", "A/A", "AB", "AAB", "__5", "\xc3\xa4"})
    EXPECT_FALSE(base64url_decode(bad)) << bad;
  EXPECT_FALSE(base64url_decode(std::string_view("AA\0A", 4)));
  EXPECT_EQ(base64url_decode(""), "");
  // Exactly the canonical ones of all four-character texts over a part of the alphabet decode and re-encode to themselves.
  constexpr std::string_view kSome = "AQgw_-09=+";
  for (const char a : kSome)
    for (const char b : kSome)
      for (const char c : kSome) {
        const std::string text{a, b, c};
        if (const auto bytes = base64url_decode(text)) {
          EXPECT_EQ(base64url_encode(*bytes), text);
        }
      }
}

TEST(JsonText, IsValidJsonWhateverTheBytes) {
  std::mt19937 random(9);  // NOLINT: repeatable
  for (int i = 0; i < 5000; ++i) {
    const std::string bytes = random_bytes(random, 40);
    std::string out;
    append_json_string(out, bytes);
    const auto parsed = nlohmann::json::parse(out, nullptr, false);
    ASSERT_TRUE(parsed.is_string()) << out;
    if (is_utf8(bytes)) {
      ASSERT_EQ(parsed.get<std::string>(), bytes);
    }
  }
}

TEST(JsonText, AgreesWithAnotherLibraryOnWhatUtf8Is) {
  std::mt19937 random(11);  // NOLINT: repeatable
  const auto other = [](const std::string& s) {
    try {
      (void)nlohmann::json(s).dump();
      return true;
    } catch (const nlohmann::json::exception&) {
      return false;
    }
  };
  for (int i = 0; i < 20'000; ++i) {
    std::string s = random_bytes(random, 4);
    for (char& c : s)
      if (random() % 2) c = static_cast<char>(0x80 + random() % 0x80);
    ASSERT_EQ(is_utf8(s), other(s));
  }
  for (const char* bad : {"\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\x80", "\xc3"})
    EXPECT_FALSE(is_utf8(bad));
}

TEST(Secret, LeavesNothingBehindWhenItEndsOrIsMoved) {
  // A short string lives inside the object, so its bytes can be looked at after its end.
  constexpr std::string_view kCanary = "canary-9A7x";
  const auto holds = [&](const std::array<unsigned char, sizeof(Secret)>& room) {
    return std::string_view(reinterpret_cast<const char*>(room.data()), room.size()).find(kCanary) != std::string_view::npos;
  };
  alignas(Secret) std::array<unsigned char, sizeof(Secret)> room{};
  auto* secret = new (room.data()) Secret(std::string(kCanary));
  EXPECT_TRUE(holds(room));
  Secret moved(std::move(*secret));
  EXPECT_FALSE(holds(room)) << "moved from";
  EXPECT_EQ(moved.reveal(), kCanary);
  *secret = std::move(moved);
  EXPECT_TRUE(holds(room));
  *secret = Secret("x");
  EXPECT_FALSE(holds(room)) << "replaced";
  *secret = Secret(std::string(kCanary));
  secret->~Secret();
  EXPECT_FALSE(holds(room)) << "ended";
}

TEST(Secret, ComparesByContentAndLength) {
  EXPECT_EQ(Secret("abc"), Secret("abc"));
  EXPECT_FALSE(Secret("abc") == Secret("abd"));
  EXPECT_FALSE(Secret("abc") == Secret("ab"));
  EXPECT_EQ(Secret(), Secret(""));
}

TEST(Time, IsReadWithItsOffset) {
  EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_time("2026-11-21T11:54:32Z"), 1'795'262'072'000);
  EXPECT_EQ(parse_time("2026-11-21t11:54:32.5z"), 1'795'262'072'500);
  EXPECT_EQ(parse_time("2026-11-21T11:54:32.1234567Z"), 1'795'262'072'123);
  EXPECT_EQ(parse_time("2026-11-21T12:54:32+01:00"), 1'795'262'072'000);
  EXPECT_EQ(parse_time("2026-11-20T23:54:32-12:00"), 1'795'262'072'000);
  EXPECT_EQ(parse_time("2024-02-29T00:00:00Z"), 1'709'164'800'000);
  for (const char* bad : {"", "2026-11-21", "2026-11-21T11:54:32", "2026-11-21 11:54:32Z", "2026-11-21T11:54Z", "2026-11-21T11:54:32.Z",
                          "2026-11-21T11:54:32Zx", "2026-11-21T24:00:00Z", "2026-11-21T11:60:00Z", "2025-02-29T00:00:00Z",
                          "2026-00-21T11:54:32Z", "2026-11-00T11:54:32Z", "2026-11-21T11:54:32+1:00", "2026-11-21T11:54:32+24:00",
                          "2026-11-21T11:54:32+0100", "1969-12-31T23:59:59Z", "1970-01-01T00:30:00+01:00", "-026-11-21T11:54:32Z"})
    EXPECT_FALSE(parse_time(bad)) << bad;
}

TEST(Time, IsWrittenInUtcWithMilliseconds) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_time(1'795'262'072'123), "2026-11-21T11:54:32.123Z");
  EXPECT_EQ(parse_time("2026-11-21T11:54:32.123Z"), 1'795'262'072'123);
}

TEST(Digest, IsSha256AndSurvivesItsHexadecimalForm) {
  // FIPS 180-2, appendix B.1.
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(hex(sha256("abc")), abc);
  EXPECT_EQ(sha256_hex("abc"), abc);
  EXPECT_EQ(digest_of_hex(abc), sha256("abc"));
  for (const std::string& wrong : {abc.substr(1), abc + "0", "g" + abc.substr(1), "BA" + abc.substr(2)}) EXPECT_FALSE(digest_of_hex(wrong)) << wrong;
}

}  // namespace
}  // namespace via
