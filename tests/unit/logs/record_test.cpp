// One line: how it is cut, made safe and read again.
#include <gtest/gtest.h>

#include "core/base/json_text.hpp"
#include "core/logs/record.hpp"

namespace via::logs::test {
namespace {

constexpr std::string_view kTime = "2026-11-29T18:20:54.123Z";

std::string visible(std::string_view raw) {
  std::string out;
  append_visible(out, raw);
  return out;
}

struct Pieces {
  std::vector<std::pair<std::string, bool>> all;
  bool takes = true;
  LineCutter::Take take() {
    return [this](std::string_view piece, bool cut) {
      all.emplace_back(piece, cut);
      return takes;
    };
  }
};
using List = std::vector<std::pair<std::string, bool>>;

TEST(LogRecord, WhatSteersATerminalIsWrittenAsWhatItIs) {
  EXPECT_EQ(visible("plain\ttext \\ \"quoted\""), "plain\ttext \\ \"quoted\"");
  EXPECT_EQ(visible("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(visible(std::string("a\0b\x7f\r", 5)), "a\\x00b\\x7f\\x0d");
  EXPECT_EQ(visible("\xc2\x9b" "31m"), "\\u009b31m") << "C1, an escape in one character";
  EXPECT_EQ(visible("\x9b"), "\\x9b") << "the same for terminals that are not UTF-8";
  EXPECT_EQ(visible("\xe2\x80\xae" "evil"), "\\u202eevil");
  EXPECT_EQ(visible("\xe2\x80\xa8"), "\\u2028");
  EXPECT_EQ(visible("\xf3\xa0\x81\xa1"), "\\U000e0061");
  EXPECT_EQ(visible("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x99\x82"), "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x99\x82");
  EXPECT_EQ(visible("\xff\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82"), "\\xff\\xc0\\x80\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80\\xe2\\x82");
}

TEST(LogRecord, EveryByteAndPairOfBytesComesOutSafe) {
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) {
      const std::string raw{static_cast<char>(a), static_cast<char>(b)};
      const std::string out = visible(raw);
      ASSERT_TRUE(is_utf8(out)) << a << ' ' << b;
      for (const char c : out) ASSERT_TRUE(c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) << a << ' ' << b;
    }
}

TEST(LogRecord, IsReadAsItWasWritten) {
  std::string out;
  append_record(out, kTime, Stream::err, true, "GET / 200 \xff");
  EXPECT_EQ(out, "2026-11-29T18:20:54.123Z stderr P GET / 200 \\xff\n");
  const auto record = parse_record(std::string_view(out).substr(0, out.size() - 1));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->time, 1'795'976'454'123);
  EXPECT_EQ(record->stream, Stream::err);
  EXPECT_TRUE(record->cut);
  EXPECT_EQ(record->text, "GET / 200 \\xff");
  EXPECT_EQ(parse_record("2026-11-29T18:20:54.123Z via F ")->text, "");
  for (const std::string_view wrong : {"", "text", "2026-11-29T18:20:54.123Z", "2026-11-29T18:20:54.123Z stdout F", "2026-11-29T18:20:54.123Z stdout X a",
                                       "2026-11-29T18:20:54.123Z stdin F a", "2026-13-29T18:20:54.123Z stdout F a"})
    EXPECT_FALSE(parse_record(wrong)) << wrong;
}

TEST(LineCutter, LinesComeHoweverTheBytesDo) {
  const std::string text = "one\ntwo\r\n\nthree\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    Pieces pieces;
    LineCutter cutter;
    for (std::size_t at = 0; at < text.size(); at += step) cutter.feed(std::string_view(text).substr(at, step), pieces.take());
    EXPECT_EQ(pieces.all, (List{{"one", false}, {"two", false}, {"", false}, {"three", false}})) << step;
    EXPECT_FALSE(cutter.holds());
  }
}

TEST(LineCutter, ALongLineIsCutAndNoCharacterIsTakenApart) {
  for (const std::size_t step : {std::size_t{1000}, std::size_t{65'536}}) {
    for (std::size_t shift = 0; shift < 4; ++shift) {
      std::string line(shift, 'x');
      while (line.size() < kMaximumLine + 5000) line += "\xf0\x9f\x99\x82";
      const std::string whole = line;
      line += "\nnext\n";
      Pieces pieces;
      LineCutter cutter;
      for (std::size_t at = 0; at < line.size(); at += step) cutter.feed(std::string_view(line).substr(at, step), pieces.take());
      ASSERT_EQ(pieces.all.size(), 3U);
      EXPECT_TRUE(pieces.all[0].second);
      EXPECT_LE(pieces.all[0].first.size(), kMaximumLine);
      EXPECT_TRUE(is_utf8(pieces.all[0].first));
      EXPECT_EQ(pieces.all[0].first + pieces.all[1].first, whole);
      EXPECT_FALSE(pieces.all[1].second);
      EXPECT_EQ(pieces.all[2].first, "next");
    }
  }
}

TEST(LineCutter, ALineOfExactlyTheLimitIsWhole) {
  Pieces pieces;
  LineCutter cutter;
  cutter.feed(std::string(kMaximumLine, 'a') + "\n", pieces.take());
  cutter.feed(std::string(kMaximumLine, 'b'), pieces.take());
  cutter.feed("\n", pieces.take());
  EXPECT_EQ(pieces.all, (List{{std::string(kMaximumLine, 'a'), false}, {std::string(kMaximumLine, 'b'), false}}));
}

TEST(LineCutter, TheRestOfALineThatWasNotTakenIsLeftOut) {
  Pieces pieces;
  pieces.takes = false;
  LineCutter cutter;
  for (int i = 0; i < 100; ++i) cutter.feed(std::string(kMaximumLine, 'a'), pieces.take());
  EXPECT_EQ(pieces.all.size(), 1U);
  EXPECT_FALSE(cutter.holds());
  pieces.takes = true;
  cutter.feed("end\nnext\n", pieces.take());
  EXPECT_EQ(pieces.all.back().first, "next");
  EXPECT_EQ(pieces.all.size(), 2U);
}

TEST(LineCutter, WhatHasNoEndYetGoesOnAfterAFlush) {
  Pieces pieces;
  LineCutter cutter;
  cutter.feed("Password: ", pieces.take());
  EXPECT_TRUE(cutter.holds());
  cutter.flush(false, pieces.take());
  cutter.feed("secret\nlast", pieces.take());
  cutter.flush(true, pieces.take());
  EXPECT_EQ(pieces.all, (List{{"Password: ", true}, {"secret", false}, {"last", false}}));
}

}  // namespace
}  // namespace via::logs::test
