// Content codings: which one a request gets, and that what was encoded reads back, at once and in parts.
#include "core/net/encoding.hpp"
#include "support.hpp"
#include "support/decoded.hpp"

namespace via::net::test {
namespace {

using via::test::decoded;

Encoding chosen(std::initializer_list<std::string_view> fields) {
  std::vector<std::pair<std::string_view, std::string_view>> all{{"Host", "gzip"}};
  for (const auto field : fields) all.emplace_back("accept-ENCODING", field);
  return choose_encoding(all);
}

TEST(Encoding, IsTheOneThatTheClientLikesBest) {
  const struct {
    std::initializer_list<std::string_view> fields;
    Encoding encoding;
  } rows[] = {
      {{}, Encoding::identity},
      {{""}, Encoding::identity},
      {{"gzip"}, Encoding::gzip},
      {{"GZip"}, Encoding::gzip},
      {{"x-gzip"}, Encoding::gzip},
      {{"gzip, deflate, br"}, Encoding::gzip},
      {{"deflate, br"}, Encoding::identity},
      {{"gzip, zstd"}, Encoding::zstd},
      {{"gzip, deflate, br, zstd"}, Encoding::zstd},
      {{"zstd;q=0.5, gzip"}, Encoding::gzip},
      {{"zstd;q=0.5, gzip;q=0.500"}, Encoding::zstd},
      {{"gzip;q=0"}, Encoding::identity},
      {{"gzip;q=0.000, *;q=0"}, Encoding::identity},
      {{"gzip; q=0, zstd"}, Encoding::zstd},
      {{"gzip ;\tq=0.001"}, Encoding::gzip},
      {{"gzip;Q=0"}, Encoding::identity},
      {{"*"}, Encoding::gzip},
      {{"*;q=0"}, Encoding::identity},
      {{"gzip;q=0, *"}, Encoding::identity},
      {{"identity"}, Encoding::identity},
      {{"identity, gzip;q=0.5"}, Encoding::identity},
      {{"identity;q=0.5, gzip"}, Encoding::gzip},
      {{"identity;q=0"}, Encoding::identity},
      {{"gzip;q=2"}, Encoding::identity},
      {{"gzip;q=x"}, Encoding::identity},
      {{"gzip;q=-1"}, Encoding::identity},
      {{"gzip;q="}, Encoding::identity},
      {{"gzip;q=0.1234"}, Encoding::identity},
      {{"gzip;level=1;q=0"}, Encoding::identity},
      {{"gzip;;;q=1"}, Encoding::gzip},
      {{",,gzip,,"}, Encoding::gzip},
      {{"gzipped, notgzip"}, Encoding::identity},
      {{"deflate", "gzip"}, Encoding::gzip},
      {{"gzip", "gzip;q=0"}, Encoding::identity},
  };
  for (const auto& row : rows)
    EXPECT_EQ(chosen(row.fields), row.encoding) << (row.fields.size() == 0 ? "" : *row.fields.begin());
}

TEST(Encoding, OnlyOfTypesThatBecomeSmaller) {
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/x-ndjson", "text/plain", "text/html;charset=x", "application/problem+json",
                           "image/svg+xml", "application/xml", "text/javascript", "application/yaml"})
    EXPECT_TRUE(compresses_well(type)) << type;
  for (const char* type : {"", "image/png", "application/octet-stream", "application/gzip", "application/zip", "video/mp4", "json/x"}) EXPECT_FALSE(compresses_well(type)) << type;
}

TEST(Encoding, MakesAStrongEtagWeakAndNamesItself) {
  Buffer out;
  append_encoded_head(out, "HTTP/1.1 200 OK\r\nX: \"etag: \"\r\netag:  \"abc\" \r\n", Encoding::zstd);
  EXPECT_EQ(out.view(), "HTTP/1.1 200 OK\r\nX: \"etag: \"\r\nETag: W/\"abc\"\r\nContent-Encoding: zstd\r\n");
  Buffer weak;
  append_encoded_head(weak, "HTTP/1.1 200 OK\r\nETag: W/\"abc\"\r\n", Encoding::gzip);
  EXPECT_EQ(weak.view(), "HTTP/1.1 200 OK\r\nETag: W/\"abc\"\r\nContent-Encoding: gzip\r\n");
}

TEST(Encoding, WhatIsEncodedReadsBackInEverySizeAndEachPartWhenItIsFlushed) {
  for (const Encoding encoding : {Encoding::gzip, Encoding::zstd}) {
    for (const std::size_t size : {0UL, 1UL, 100UL, 4096UL, 16'384UL, 100'000UL, 3'000'000UL}) {
      std::string text(size, '\0');
      for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i % 7 == 0 ? i * 2654435761U >> 13U : 'a' + i % 23);
      for (const std::size_t part : {size, std::size_t{70'000}}) {
        auto encoder = Encoder::make(encoding);
        ASSERT_TRUE(encoder);
        Buffer out;
        for (std::size_t at = 0; at + part < size && part > 0; at += part) {
          ASSERT_TRUE(encoder->write(std::string_view(text).substr(at, part), out, Encoder::Until::flushed));
          ASSERT_TRUE(decoded(name_of(encoding), out.view(), false) == text.substr(0, at + part)) << size << " " << at;
        }
        const std::size_t rest = part == 0 || size == 0 ? 0 : (size - 1) / part * part;
        ASSERT_TRUE(encoder->write(std::string_view(text).substr(rest), out, Encoder::Until::finished));
        EXPECT_TRUE(decoded(name_of(encoding), out.view()) == text) << size << " " << part;
      }
    }
  }
}

}  // namespace
}  // namespace via::net::test
