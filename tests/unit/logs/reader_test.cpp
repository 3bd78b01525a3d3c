// Reading: one list of many logs, every line once.
#include <chrono>
#include <fstream>

#include <gtest/gtest.h>

#include "core/logs/reader.hpp"
#include "support/fakes.hpp"

namespace via::logs::test {
namespace {

struct LogReader : ::testing::Test {
  // Files of the right number, as a LogFile makes them.
  void put(const std::string& instance, std::uint64_t number, std::int64_t time, const std::string& text, Stream stream = Stream::out) {
    std::string out;
    append_record(out, format_time(kBegin + time), stream, false, text);
    std::ofstream(file_of(folder.path() / (instance + ".log"), number), std::ios::app) << out;
  }
  Answer read(Query query) {
    if (query.sources.empty()) query.sources = {{"ins_b", true}, {"ins_a", true}};
    return read_logs(folder.path(), query, std::chrono::duration_cast<std::chrono::milliseconds>(
                                               std::chrono::system_clock::now().time_since_epoch()).count());
  }
  static std::string texts(const Answer& answer) {
    std::string out;
    for (const Line& line : answer.lines) out += (out.empty() ? "" : " ") + line.text;
    return out;
  }
  static Query last(std::size_t lines) {
    Query out;
    out.last = lines;
    return out;
  }
  static constexpr std::int64_t kBegin = 1'795'976'454'000;
  via::test::TemporaryFolder folder;
};

TEST_F(LogReader, LinesOfAllInstancesComeInTheOrderOfTime) {
  put("ins_a", 1, 1, "a1");
  put("ins_b", 1, 2, "b2", Stream::err);
  put("ins_a", 1, 3, "a3");
  put("ins_a", 2, 5, "a5");
  put("ins_b", 1, 4, "b4");
  put("ins_c", 1, 2, "of another app");
  const Answer all = read({});
  EXPECT_EQ(texts(all), "a1 b2 a3 b4 a5");
  EXPECT_FALSE(all.more);
  EXPECT_EQ(all.lines[1].instance, "ins_b");
  EXPECT_EQ(all.lines[1].stream, Stream::err);
  EXPECT_EQ(all.lines[1].time, kBegin + 2);
  for (std::size_t n = 0; n <= 6; ++n) {
    const std::string expected[] = {"", "a5", "b4 a5", "a3 b4 a5", "b2 a3 b4 a5", "a1 b2 a3 b4 a5", "a1 b2 a3 b4 a5"};
    EXPECT_EQ(texts(read(last(n))), expected[n]) << n;
  }
  Query since;
  since.since = kBegin + 3;
  EXPECT_EQ(texts(read(since)), "a3 b4 a5");
  since.last = 2;
  EXPECT_EQ(texts(read(since)), "b4 a5");
}

TEST_F(LogReader, PagesHaveEveryLineOnce) {
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    put(i % 3 == 0 ? "ins_a" : "ins_b", static_cast<std::uint64_t>(1 + i / 20), i, std::to_string(i));
    expected += (i == 0 ? "" : " ") + std::to_string(i);
  }
  for (const std::size_t most : {1U, 7U, 100U, 1000U}) {
    Query query;
    query.most = most;
    std::string seen;
    for (;;) {
      const Answer page = read(query);
      EXPECT_LE(page.lines.size(), most);
      if (!page.lines.empty()) seen += (seen.empty() ? "" : " ") + texts(page);
      auto cursor = parse_cursor(to_text(page.cursor));
      ASSERT_TRUE(cursor);
      query.cursor = *cursor;
      if (!page.more) break;
    }
    EXPECT_EQ(seen, expected) << most;
  }
}

TEST_F(LogReader, FollowingGoesOnOverRotationAndToNewInstances) {
  put("ins_a", 1, 1, "one");
  Query query = last(10);
  Answer answer = read(query);
  EXPECT_EQ(texts(answer), "one");
  const auto next = [&] {
    query = {};
    query.cursor = answer.cursor;
    answer = read(query);
    return texts(answer);
  };
  EXPECT_EQ(next(), "");
  put("ins_a", 1, 2, "two");
  put("ins_a", 2, 3, "three");
  EXPECT_EQ(next(), "two three");
  put("ins_b", 1, 4, "new");
  put("ins_a", 2, 4, "four");
  EXPECT_EQ(next(), "new four");
  EXPECT_EQ(next(), "");
  fs::remove(file_of(folder.path() / "ins_a.log", 1));
  fs::remove(file_of(folder.path() / "ins_a.log", 2));
  put("ins_a", 5, 9, "nine");
  EXPECT_EQ(next(), "lines are missing: they were rotated away before they were read nine");
  EXPECT_EQ(answer.lines[0].stream, Stream::host);
  EXPECT_EQ(next(), "");
}

TEST_F(LogReader, OnlyNewLinesAreFollowedWhenNoneWereAskedFor) {
  put("ins_a", 1, 1, "one");
  const Answer none = read(last(0));
  EXPECT_EQ(texts(none), "");
  put("ins_a", 1, 2, "two");
  Query query;
  query.cursor = none.cursor;
  EXPECT_EQ(texts(read(query)), "two");
}

TEST_F(LogReader, ALineIsReadWhenItIsWhole) {
  put("ins_a", 1, 1, "one");
  const fs::path file = file_of(folder.path() / "ins_a.log", 1);
  std::ofstream(file, std::ios::app) << "2026-11-29T18:20:55.000Z stdout F hal";
  Answer answer = read({});
  EXPECT_EQ(texts(answer), "one");
  std::ofstream(file, std::ios::app) << "f\n";
  Query query;
  query.cursor = answer.cursor;
  EXPECT_EQ(texts(read(query)), "half");
  EXPECT_EQ(texts(read(last(1))), "half");
}

TEST_F(LogReader, WhatAnEarlierViaWroteIsShownSafely) {
  std::ofstream(folder.path() / "ins_a.log") << "plain \x1b[31m\nno end";
  fs::last_write_time(folder.path() / "ins_a.log", fs::file_time_type::clock::now() - std::chrono::hours(24 * 365));
  put("ins_a", 1, 1, "one");
  EXPECT_EQ(texts(read({})), "plain \\x1b[31m no end one") << "its time is that of the file";
  std::ofstream(folder.path() / "ins_b.log") << std::string(3 << 20, 'x');
  Query only;
  only.sources = {{"ins_b", false}};
  EXPECT_EQ(read(only).lines[0].text.size(), kMaximumLine);
}

TEST_F(LogReader, LinksAndFoldersAreNotRead) {
  std::ofstream(folder.path() / "secret") << "2026-11-29T18:20:55.000Z stdout F secret\n";
  fs::create_symlink(folder.path() / "secret", file_of(folder.path() / "ins_a.log", 1));
  fs::create_directory(file_of(folder.path() / "ins_a.log", 2));
  EXPECT_EQ(texts(read({})), "");
  EXPECT_EQ(texts(read(last(5))), "");
}

TEST_F(LogReader, AnAnswerIsBounded) {
  std::string line;
  append_record(line, format_time(kBegin), Stream::out, false, std::string(16'000, 'x'));
  std::ofstream file(file_of(folder.path() / "ins_a.log", 1));
  for (int i = 0; i < 1000; ++i) file << line;
  file.close();
  const auto bytes = [](const Answer& answer) {
    std::size_t sum = 0;
    for (const Line& one : answer.lines) sum += one.text.size();
    return sum;
  };
  const Answer first = read({});
  EXPECT_TRUE(first.more);
  EXPECT_LE(bytes(first), 5U << 20);
  const Answer end = read(last(10'000));
  EXPECT_LE(bytes(end), 5U << 20);
  EXPECT_GT(end.lines.size(), 200U);
}

TEST_F(LogReader, ACursorOfSomethingElseIsRefused) {
  for (const char* text : {"", "1", "2:3", "1:x", "1:1;", "1:1;ins_a", "1:1;ins_a=1", "1:1;ins_a=1:", "1:1;ins_a=-1:0", "1:1;=1:0"}) {
    if (std::string_view(text) == "1:1;") continue;
    EXPECT_FALSE(parse_cursor(text)) << text;
  }
  EXPECT_TRUE(parse_cursor("1:1"));
  const auto good = parse_cursor("1:7;ins_a=2:33;ins_b=0:0");
  ASSERT_TRUE(good);
  EXPECT_EQ(good->places.at("ins_a"), (Place{2, 33}));
  // A place behind the end, or in a file that never was, hurts nobody.
  put("ins_a", 1, 1, "one");
  Query query;
  query.cursor = *parse_cursor("1:7;ins_a=1:999999");
  EXPECT_EQ(texts(read(query)), "one");
  query.cursor = *parse_cursor("1:7;ins_a=99:0;ins_zzz=1:1");
  EXPECT_EQ(texts(read(query)), "");
}

}  // namespace
}  // namespace via::logs::test
