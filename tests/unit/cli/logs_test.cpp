// via logs, and vary app logs, which is the same.
#include <gtest/gtest.h>

#include "cli/command.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

using nlohmann::json;

json line(const std::string& text, const std::string& stream = "stdout", bool cut = false) {
  json out = {{"instance", "ins_1"}, {"time", "2026-11-21T11:59:00.123Z"}, {"stream", stream}, {"text", text}};
  if (cut) out["cut"] = true;
  return out;
}

Result<json> answer(json items, const std::string& cursor, bool more = false) {
  return succeed({{"app", "api"}, {"items", std::move(items)}, {"cursor", cursor}, {"more", more}});
}

TEST(Logs, LinesComeWithTimeInstanceAndStream) {
  Shell shell;
  shell.host.answer = answer(json::array({line("one\ttab"), line("two \x1b[31m", "stderr", true), line("3 lines dropped: …", "via")}), "1:1");
  const Ran ran = shell.run({"logs", "api"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "2026-11-21T11:59:00.123Z ins_1 out one\ttab\n"
            "2026-11-21T11:59:00.123Z ins_1 err two \\x1b[31m…\n"
            "2026-11-21T11:59:00.123Z ins_1 via 3 lines dropped: …\n");
  ASSERT_EQ(shell.host.calls.size(), 1U);
  EXPECT_EQ(shell.host.calls[0].command, "app.logs");
  EXPECT_EQ(shell.host.calls[0].arguments, (json{{"name", "api"}}));
  EXPECT_EQ(shell.run({"logs", "api", "--quiet"}).out, "one\ttab\ntwo \\x1b[31m\n3 lines dropped: …\n");
}

TEST(Logs, JsonIsOneObjectALine) {
  Shell shell;
  shell.host.answer = answer(json::array({line("one"), line("two \"q\"\n")}), "1:1");
  const Ran ran = shell.run({"logs", "api", "--json"});
  EXPECT_EQ(ran.out, line("one").dump() + "\n" + line("two \"q\"\n").dump() + "\n");
}

TEST(Logs, OptionsAreWhatIsAskedFor) {
  Shell shell;
  shell.host.answer = answer(json::array(), "1:1");
  EXPECT_NE(shell.run({"logs", "api", "--instance", "ins_1", "--since", "10m", "--tail", "7"}).err.find("No logs."), std::string::npos);
  EXPECT_EQ(shell.host.calls[0].arguments, (json{{"name", "api"}, {"instance", "ins_1"}, {"since", 600}, {"lines", 7}}));
  EXPECT_EQ(shell.run({"logs", "api", "--tail", "x"}).code, 2);
  EXPECT_EQ(shell.run({"logs", "api", "--since", "x"}).code, 2);
  EXPECT_EQ(shell.run({"logs"}).code, 2);
  const Ran help = shell.run({"logs", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("EXAMPLES"), std::string::npos);
  EXPECT_NE(help.out.find("-f, --follow"), std::string::npos) << help.out;
}

TEST(Logs, PagesAreAskedForUntilThereAreNoMore) {
  Shell shell;
  shell.host.answers["app.logs"] = {answer(json::array({line("one")}), "1:1", true), answer(json::array({line("two")}), "1:2")};
  EXPECT_EQ(shell.run({"logs", "api", "--since", "1h", "--quiet"}).out, "one\ntwo\n");
  ASSERT_EQ(shell.host.calls.size(), 2U);
  EXPECT_EQ(shell.host.calls[1].arguments, (json{{"name", "api"}, {"since", 3600}, {"cursor", "1:1"}}));
}

TEST(Logs, FollowingGoesOnFromTheCursorUntilCtrlC) {
  for (const bool vary : {false, true}) {
    Shell shell;
    const std::string targets = shell.private_file("[targets.prod]\nstate_dir = \"/srv/prod\"\n");
    shell.variables["VARY_TARGETS"] = targets;
    if (vary) shell.program = "vary";
    shell.host.answers["app.logs"] = {answer(json::array({line("one")}), "1:1", true), answer(json::array({line("two")}), "1:2", true),
                                      answer(json::array(), "1:3"), answer(json::array({line("three")}), "1:4")};
    // Four looks: one begins to catch it, two say no; there is none to press it before the third answer.
    shell.on_interrupt = [looks = 0]() mutable { return ++looks > 4; };
    const Ran ran = shell.run(vary ? std::vector<std::string>{"app", "logs", "api", "-f", "--quiet", "--lines", "5"}
                                   : std::vector<std::string>{"logs", "api", "-f", "--quiet", "--tail", "5"});
    EXPECT_EQ(ran.code, 0) << "Ctrl-C is how it ends";
    EXPECT_EQ(ran.out, "one\ntwo\nthree\n");
    ASSERT_EQ(shell.host.calls.size(), 4U);
    EXPECT_EQ(shell.host.calls[0].arguments, (json{{"name", "api"}, {"lines", 5}}));
    EXPECT_EQ(shell.host.calls[3].arguments, (json{{"name", "api"}, {"cursor", "1:3"}, {"wait_seconds", 1}}));
  }
}

TEST(Logs, AnAppThatIsNotThereIsAnErrorAlsoWhenFollowing) {
  Shell shell;
  shell.host.answer = fail(Code::not_found, "App 'apo' does not exist. There are: api.");
  for (const char* flag : {"--json", "-f", "--no-color"}) {
    const Ran ran = shell.run({"logs", "apo", flag});
    EXPECT_EQ(ran.code, 3);
    EXPECT_NE(ran.err.find("There are: api."), std::string::npos) << ran.err;
  }
}

}  // namespace
}  // namespace via::cli::testing
