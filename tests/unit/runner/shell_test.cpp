// One shell command of an operator: it ends when its time is over, whatever it does with its output.
#include <gtest/gtest.h>

#include "core/releases/shell.hpp"

namespace via::releases {
namespace {

TEST(Shell, AnswersExitCodeAndTheEndOfTheOutput) {
  const ShellResult ran = run_shell("echo out; echo err >&2; exit 3", 10'000);
  EXPECT_EQ(ran.exit_code, 3);
  EXPECT_NE(ran.output.find("out\n"), std::string::npos);
  EXPECT_NE(ran.output.find("err\n"), std::string::npos);
}

TEST(Shell, CommandThatNeverStopsWritingIsEndedAtItsTime) {
  const ShellResult ran = run_shell("yes", 200);
  EXPECT_EQ(ran.exit_code, 124);
  EXPECT_LE(ran.output.size(), 4096U);
}

// A process that left the group keeps the pipe and goes on writing; the command itself has ended.
TEST(Shell, WhatItLeavesBehindDoesNotHoldItUp) {
  const ShellResult ran = run_shell("setsid timeout 5 yes & exit 0", 10'000);
  EXPECT_EQ(ran.exit_code, 0);
}

TEST(Shell, HasNothingOfTheHostsEnvironment) {
  const ShellResult ran = run_shell("test -z \"$HOME$USER\" && echo \"$ONE\"", 10'000, {{"ONE", "1"}});
  EXPECT_EQ(ran.output, "1\n");
}

}  // namespace
}  // namespace via::releases
