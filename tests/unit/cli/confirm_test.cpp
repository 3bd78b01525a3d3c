// Asking a person before something ends, not asking a script, and being interrupted while something runs.
#include <gtest/gtest.h>

#include "harness.hpp"

namespace via::cli::testing {
namespace {

using nlohmann::json;

const json kPlan = {{"plan",
                     {{"action", "addon.destroy"},
                      {"target", {{"addon", "db"}, {"id", "addon_1"}}},
                      {"touches", {{"apps", {"api"}}, {"bindings", json::array()}, {"bytes", 4096U}}}}},
                    {"hash", "abc"}};

Shell person(const std::string& typed) {
  Shell shell;
  shell.terminal = shell.input_terminal = true;
  shell.input = typed;
  shell.host.answers["addon.destroy"] = {succeed(kPlan), succeed({{"id", "addon_1"}, {"name", "db"}})};
  return shell;
}

TEST(Confirming, APersonRetypesTheNameAndThePlanIsHeld) {
  Shell shell = person("db\n");
  const Ran ran = shell.run({"addon", "destroy", "db", "--force"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  ASSERT_EQ(shell.host.calls.size(), 2U);
  EXPECT_EQ(shell.host.calls[0].arguments["plan"], true);
  EXPECT_EQ(shell.host.calls[1].arguments["if_plan"], "abc");
  EXPECT_EQ(shell.host.calls[1].arguments["confirm"], "db");
  EXPECT_NE(ran.err.find("api"), std::string::npos) << ran.err;
}

TEST(Confirming, AnotherWordChangesNothing) {
  for (const char* typed : {"bd\n", "\n", "", "y\n"}) {
    Shell shell = person(typed);
    const Ran ran = shell.run({"addon", "destroy", "db"});
    EXPECT_EQ(ran.code, 4);
    EXPECT_EQ(shell.host.calls.size(), 1U);
    EXPECT_NE(ran.err.find("Nothing was done"), std::string::npos) << ran.err;
  }
}

TEST(Confirming, AScriptIsNotAskedForWhatIsSafe) {
  Shell shell;
  EXPECT_EQ(shell.run({"addon", "destroy", "db"}).code, 0);
  EXPECT_EQ(shell.host.calls.at(0).arguments, (json{{"name", "db"}, {"wait", false}}));
}

TEST(Confirming, TheNameGoesToTheHostWithForce) {
  for (const std::vector<std::string>& how : {std::vector<std::string>{"--yes"}, {"--confirm", "db"}, {"--apply", "abc"}}) {
    Shell shell;
    std::vector<std::string> words{"addon", "destroy", "db", "--force"};
    words.insert(words.end(), how.begin(), how.end());
    EXPECT_EQ(shell.run(words).code, 0);
    EXPECT_EQ(shell.host.calls.at(0).arguments["confirm"], "db") << how[0];
  }
}

TEST(Confirming, ARollbackOffersToReissueWhatWasRevoked) {
  const json plan = {{"plan", {{"action", "deploy.rollback"}, {"revoked", {{{"binding", "DATABASE"}, {"generation", 1}}}}}}, {"hash", "abc"}};
  json again = plan;
  again["hash"] = "def";
  for (const bool yes : {true, false}) {
    Shell shell;
    shell.terminal = shell.input_terminal = true;
    shell.input = yes ? "y\napi\n" : "n\napi\n";
    shell.host.answers["deploy.rollback"] = {succeed(plan)};
    if (yes) shell.host.answers["deploy.rollback"].push_back(succeed(again));
    shell.host.answers["deploy.rollback"].push_back(succeed({{"id", "dep_1"}, {"app", "api"}}));
    const Ran ran = shell.run({"deploy", "rollback", "api", "--to", "1"});
    EXPECT_NE(ran.err.find("DATABASE generation 1"), std::string::npos) << ran.err;
    ASSERT_EQ(shell.host.calls.size(), yes ? 3U : 2U);
    EXPECT_EQ(shell.host.calls.back().arguments.value("reissue", false), yes);
    EXPECT_EQ(shell.host.calls.back().arguments["if_plan"], yes ? "def" : "abc");
  }
}

TEST(Interrupted, WaitingEndsAndTheOperationGoesOn) {
  Shell shell;
  shell.interrupts = 1;
  shell.host.answers["addon.snapshot"] = {succeed({{"operation", "op_7"}, {"state", "running"}})};
  const Ran ran = shell.run({"addon", "snapshot", "db"});
  EXPECT_EQ(ran.code, 130);
  EXPECT_NE(ran.err.find("Still running: via op wait op_7"), std::string::npos) << ran.err;
  EXPECT_EQ(shell.host.calls.size(), 1U);
}

TEST(Interrupted, InProcessTheOperationIsStoppedAndItsEndAwaited) {
  Shell shell;
  shell.interrupts = 1;
  shell.host.in_process = true;
  shell.host.answers["addon.snapshot"] = {succeed({{"operation", "op_7"}, {"state", "running"}})};
  shell.host.answers["op.wait"] = {succeed({{"id", "op_7"},
                                            {"state", "cancelled"},
                                            {"error", {{"code", "cancelled"}, {"message", "It was cancelled."}}}})};
  const Ran ran = shell.run({"addon", "snapshot", "db", "--no-wait"});
  EXPECT_EQ(ran.code, 1);
  ASSERT_EQ(shell.host.calls.size(), 3U);
  EXPECT_EQ(shell.host.calls[1].command, "op.cancel");
  EXPECT_NE(ran.err.find("It was cancelled."), std::string::npos) << ran.err;
}

TEST(Secrets, GivenAsAnArgumentAreNotRepeated) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"secret", "set", "api", "KEY", "hush"},
                                                {"secret", "set", "api", "KEY=hush"},
                                                {"secret", "rotate", "api", "KEY", "hush", "hush"},
                                                {"secret", "set", "api", "KEY", "--value=hush"}}) {
    Shell shell;
    shell.input = "other";
    const Ran ran = shell.run(words);
    EXPECT_EQ(ran.code, 2);
    EXPECT_EQ(ran.err.find("hush"), std::string::npos) << ran.err;
    EXPECT_TRUE(shell.host.calls.empty());
  }
}

TEST(BackupRestore, WantsAYesForAFolderThatHoldsSomething) {
  std::string name = (std::filesystem::temp_directory_path() / "via-restore-XXXXXX").string();
  const std::filesystem::path folder = ::mkdtemp(name.data());
  const std::vector<std::string> words{"backup", "restore", "/b", "--state-dir", folder.string()};
  {
    Shell shell;
    EXPECT_EQ(shell.run(words).code, 0) << "it is empty";
    EXPECT_EQ(shell.restored.state_dir, folder);
    EXPECT_FALSE(shell.restored.replace);
  }
  std::ofstream(folder / "x") << "x";
  {
    Shell shell;
    EXPECT_EQ(shell.run(words).code, 4);
    EXPECT_TRUE(shell.restored.file.empty());
    shell.terminal = shell.input_terminal = true;
    shell.input = "something else\n";
    EXPECT_EQ(shell.run(words).code, 4);
    EXPECT_TRUE(shell.restored.file.empty());
    shell.input = folder.filename().string() + "\n";
    EXPECT_EQ(shell.run(words).code, 0);
    EXPECT_TRUE(shell.restored.replace);
  }
  Shell shell;
  auto with_yes = words;
  with_yes.emplace_back("--yes");
  EXPECT_EQ(shell.run(with_yes).code, 0);
  EXPECT_TRUE(shell.restored.replace);
  std::filesystem::remove_all(folder);
}

TEST(Passphrase, ComesFromAPrivateFileOrStandardInput) {
  Shell shell;
  const std::string file = shell.private_file("hush\nmore\n");
  EXPECT_EQ(shell.run({"backup", "verify", "/b", "--passphrase-file", file}).code, 7);
  EXPECT_EQ(shell.host.calls.at(0).arguments["passphrase"], "hush");
  shell.input = "typed\n";
  shell.run({"backup", "verify", "/b", "--passphrase-file", "-"});
  EXPECT_EQ(shell.host.calls.at(1).arguments["passphrase"], "typed");
  std::filesystem::permissions(file, std::filesystem::perms::group_read, std::filesystem::perm_options::add);
  EXPECT_EQ(shell.run({"backup", "verify", "/b", "--passphrase-file", file}).code, 5);
  EXPECT_EQ(shell.host.calls.size(), 2U);
}

TEST(Manifest, IsSentAsItsText) {
  Shell shell;
  const std::string file = shell.private_file("app = \"api\"\n");
  shell.run({"app", "manifest", "apply", "--file", file});
  EXPECT_EQ(shell.host.calls.at(0).command, "app.manifest.apply");
  EXPECT_EQ(shell.host.calls[0].arguments["manifest"], "app = \"api\"\n");
  EXPECT_EQ(shell.run({"app", "manifest", "validate", "--file", "/no/such/file"}).code, 3);
  shell.host.answer = succeed({{"app", "api"}, {"problems", json::array({{{"code", "bad"}, {"message", "no"}}})}});
  EXPECT_EQ(shell.run({"app", "manifest", "validate", "--file", file}).code, 1);
}

}  // namespace
}  // namespace via::cli::testing
