// Tables, widths, times, and values that try to steer the terminal.
#include <gtest/gtest.h>

#include "cli/output.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

TEST(Text, WidthCountsWideAndCombiningCharacters) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("Åland"), 5);
  EXPECT_EQ(display_width("e\u0301"), 1);
  EXPECT_EQ(display_width("日本"), 4);
  EXPECT_EQ(display_width("\xff\xfe"), 2);
}

TEST(Text, IsCutWithAnEllipsisBetweenCharacters) {
  EXPECT_EQ(fit("abcdef", 6), "abcdef");
  EXPECT_EQ(fit("abcdef", 4), "abc…");
  EXPECT_EQ(fit("日本語", 4), "日…");
  EXPECT_EQ(fit("", 4), "");
}

TEST(Text, HoldsNoControlCharacters) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\td\x7f"), "a\\x1b[31mb\\nc\\td\\x7f");
  EXPECT_EQ(printable("x\u009by"), "x?y");
  EXPECT_EQ(printable("日本"), "日本");
}

TEST(Time, IsRelativeToNow) {
  const std::int64_t now = 1795262400000;  // 2026-11-21T12:00:00Z
  EXPECT_EQ(relative_time("2026-11-21T11:59:48.123Z", now), "12s ago");
  EXPECT_EQ(relative_time("2026-11-21T11:30:00Z", now), "30m ago");
  EXPECT_EQ(relative_time("2026-11-20T12:00:00Z", now), "24h ago");
  EXPECT_EQ(relative_time("2026-11-01T12:00:00Z", now), "20d ago");
  EXPECT_EQ(relative_time("2026-11-21T13:00:00Z", now), "in 1h");
  EXPECT_EQ(relative_time("soon", now), "soon");
}

nlohmann::json one_app(const std::string& name) {
  return {{"items", {{{"name", name}, {"id", "app_01jd5qk7m8x9"}, {"created_at", "2026-11-21T11:00:00Z"}}}}};
}

TEST(Table, FitsTheTerminal) {
  Shell shell;
  shell.terminal = true;
  shell.width = 40;
  shell.host.answer = succeed(one_app(std::string(60, 'x')));
  const std::string out = shell.run({"app", "list", "--no-color"}).out;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(display_width(line), 40) << line;
  EXPECT_NE(out.find("…"), std::string::npos);
  EXPECT_NE(out.find("1h ago"), std::string::npos);
}

TEST(Table, IsWholeWhenItGoesToAProgram) {
  Shell shell;
  shell.width = 40;
  shell.host.answer = succeed(one_app(std::string(60, 'x')));
  const std::string out = shell.run({"app", "list"}).out;
  EXPECT_NE(out.find(std::string(60, 'x')), std::string::npos);
  EXPECT_NE(out.find("2026-11-21T11:00:00Z"), std::string::npos);
}

TEST(Color, NeedsATerminalAndCanBeRefused) {
  Shell shell;
  shell.host.answer = succeed(one_app("a"));
  const auto colored = [&](const std::vector<std::string>& words) {
    return shell.run(words).out.find('\x1b') != std::string::npos;
  };
  EXPECT_FALSE(colored({"app", "list"}));
  shell.terminal = true;
  EXPECT_TRUE(colored({"app", "list"}));
  EXPECT_FALSE(colored({"app", "list", "--no-color"}));
  shell.variables["NO_COLOR"] = "1";
  EXPECT_FALSE(colored({"app", "list"}));
}

TEST(Table, ShowsStoredEscapesInsteadOfSendingThem) {
  Shell shell;
  shell.host.answer = succeed({{"items", {{{"key", "A"}, {"value", "\x1b]0;owned\x07"}}}}});
  const std::string out = shell.run({"config", "list", "api"}).out;
  EXPECT_EQ(out.find('\x1b'), std::string::npos);
  EXPECT_NE(out.find("\\x1b]0;owned\\x07"), std::string::npos);
}

TEST(Table, SaysWhenThereIsNothing) {
  Shell shell;
  shell.host.answer = succeed({{"items", nlohmann::json::array()}});
  const Ran ran = shell.run({"addon", "list"});
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "No add-ons.\n");
}

}  // namespace
}  // namespace via::cli::testing
