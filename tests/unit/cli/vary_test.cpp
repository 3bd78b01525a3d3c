// The app developer's side: targets, what is recommended, and what leaves the machine.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include "cli/command.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

using nlohmann::json;

class Vary : public ::testing::Test {
 protected:
  Vary() {
    std::string name = (std::filesystem::temp_directory_path() / "via-vary-XXXXXX").string();
    folder = ::mkdtemp(name.data());
    shell.program = "/usr/bin/vary";
    shell.variables["VARY_TARGETS"] = (folder / "targets.toml").string();
  }
  ~Vary() override { std::filesystem::remove_all(folder); }
  void targets(const std::string& text) { std::ofstream(folder / "targets.toml") << text; }

  std::filesystem::path folder;
  Shell shell;
};

constexpr const char* kTwo = "[targets.prod]\nstate_dir = \"/srv/prod\"\nlater = 1\n[targets.test]\nstate_dir = \"/srv/test\"\n";

TEST_F(Vary, TargetNamesTheHost) {
  targets(kTwo);
  const Ran ran = shell.run({"app", "logs", "api", "--target", "test", "--lines", "5"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(shell.host.state_dir, "/srv/test");
  ASSERT_EQ(shell.host.calls.size(), 1U);
  EXPECT_EQ(shell.host.calls[0].command, "app.logs");
  EXPECT_EQ(shell.host.calls[0].arguments, (json{{"name", "api"}, {"lines", 5}}));
}

TEST_F(Vary, TargetMayBeLeftOutWhenItIsClear) {
  targets(std::string("default = \"prod\"\n") + kTwo);
  EXPECT_EQ(shell.run({"app", "status", "api"}).code, 0);
  EXPECT_EQ(shell.host.state_dir, "/srv/prod");
  targets("[targets.only]\nstate_dir = \"/srv/only\"\n");
  EXPECT_EQ(shell.run({"app", "status", "api"}).code, 0);
  EXPECT_EQ(shell.host.state_dir, "/srv/only");
}

TEST_F(Vary, AnUnknownTargetNamesTheKnownOnesAndTheFile) {
  const Ran none = shell.run({"app", "status", "api", "--target", "prod"});
  EXPECT_EQ(none.code, 3);
  EXPECT_NE(none.err.find((folder / "targets.toml").string()), std::string::npos) << none.err;
  targets(kTwo);
  for (const auto& words : {std::vector<std::string>{"app", "status", "api", "--target", "prdo"}, {"app", "status", "api"}}) {
    const Ran ran = shell.run(words);
    EXPECT_EQ(ran.code, 3);
    EXPECT_NE(ran.err.find("Known: prod, test."), std::string::npos) << ran.err;
    EXPECT_TRUE(ran.err.starts_with("vary: ")) << ran.err;
  }
  EXPECT_EQ(shell.host.opened, 0);
}

TEST_F(Vary, WithoutTargetsItIsTheHostOfThisMachine) {
  shell.variables["VIA_STATE_DIR"] = "/srv/here";
  for (const char* text : {"", "[containers.dev]\nurl = \"http://127.0.0.1:8080\"\n"}) {
    if (*text != '\0') targets(text);
    shell.host.answer = succeed({{"app", "api"},
                                 {"state", "degraded"},
                                 {"problems", json::array({{{"code", "runtime_identity_expired"},
                                                            {"message", "It has expired."},
                                                            {"recommend", "vary app repair api --target {target}"}}})}});
    const Ran ran = shell.run({"app", "status", "api", "--json"});
    EXPECT_EQ(ran.code, 7) << ran.err;
    EXPECT_EQ(shell.host.state_dir, "/srv/here");
    EXPECT_EQ(json::parse(ran.out)["problems"].at(0)["recommend"], "vary app repair api");
  }
  // Without a name for the folder either, it is the one that every other command takes.
  shell.variables.erase("VIA_STATE_DIR");
  shell.variables["VARY_TARGETS"] = "";
  shell.host.answer = succeed({{"app", "api"}, {"ok", true}, {"state", "ok"}});
  EXPECT_EQ(shell.run({"app", "status", "api"}).code, 0);
  Shell other;
  EXPECT_EQ(other.run({"app", "list"}).code, 0);
  EXPECT_EQ(shell.host.state_dir, other.host.state_dir);
}

TEST_F(Vary, AMalformedFileIsSaidWithItsPlace) {
  for (const char* text : {"[targets.a\n", "[targets.a]\nstate_dir = 1\n", "[targets.a]\nstate_dir = \"relative\"\n", "default = 1\n"}) {
    targets(text);
    const Ran ran = shell.run({"app", "status", "api"});
    EXPECT_EQ(ran.code, 2) << text;
    EXPECT_NE(ran.err.find("targets.toml"), std::string::npos) << ran.err;
  }
}

const json kExpired = {{"code", "runtime_identity_expired"},
                       {"message", "The token of instance ins_1 has expired."},
                       {"recommend", "vary app repair api --target {target}"}};

TEST_F(Vary, AnExpiredIdentityRecommendsTheRepairByItsRealNames) {
  targets(kTwo);
  for (const char* command : {"status", "doctor"}) {
    shell.host.answer = succeed({{"app", "api"}, {"ok", false}, {"state", "degraded"}, {"problems", json::array({kExpired})}});
    const Ran text = shell.run({"app", command, "api", "--target", "prod"});
    EXPECT_EQ(text.code, 7);
    EXPECT_NE(text.out.find("runtime_identity_expired"), std::string::npos) << text.out;
    EXPECT_NE(text.out.find("vary app repair api --target prod"), std::string::npos) << text.out;
    const Ran program = shell.run({"app", command, "api", "--target", "prod", "--json"});
    EXPECT_EQ(program.code, 7);
    const json problem = json::parse(program.out)["problems"].at(0);
    EXPECT_EQ(problem["code"], "runtime_identity_expired");
    EXPECT_EQ(problem["recommend"], "vary app repair api --target prod");
  }
}

TEST_F(Vary, SmokeReportsAnExpiredIdentityWhicheverWayItComes) {
  targets(kTwo);
  const auto smoke = [&] {
    const Ran ran = shell.run({"app", "smoke", "api", "--target", "prod", "--json"});
    EXPECT_EQ(ran.code, 7);
    const json answer = json::parse(ran.out);
    EXPECT_EQ(answer["problems"].at(0)["code"], "runtime_identity_expired") << ran.out;
    EXPECT_EQ(answer["problems"].at(0)["recommend"], "vary app repair api --target prod") << ran.out;
  };
  // As a check of the answer, and as the error that ended the operation.
  shell.host.answer = succeed({{"app", "api"},
                               {"ok", false},
                               {"checks", json::array({{{"name", "identity ins_1"},
                                                        {"ok", false},
                                                        {"detail", "It has expired."},
                                                        {"code", "runtime_identity_expired"},
                                                        {"recommend", "vary app repair api --target {target}"}}})}});
  smoke();
  shell.host.answer = fail(Code::runtime_identity_expired, "The token has expired.");
  smoke();
}

TEST_F(Vary, AWellAppExitsWithZero) {
  targets(kTwo);
  shell.host.answer = succeed({{"app", "api"}, {"ok", true}, {"state", "ok"}, {"problems", json::array()}});
  for (const char* command : {"status", "doctor", "smoke"})
    EXPECT_EQ(shell.run({"app", command, "api", "--target", "prod"}).code, 0) << command;
}

TEST_F(Vary, DeployLaunchesTheCommandAfterTheDashes) {
  targets(kTwo);
  shell.run({"app", "deploy", "api", "--target", "prod", "--check", "./smoke.sh", "--replicas", "2", "--", "/bin/api", "--target"});
  EXPECT_EQ(shell.host.calls.at(0).command, "deploy.create");
  EXPECT_EQ(shell.host.calls[0].arguments,
            (json{{"app", "api"}, {"check", "./smoke.sh"}, {"replicas", 2}, {"command", {"/bin/api", "--target"}}, {"wait", false}}));
}

TEST_F(Vary, TheDebugBundleIsAPrivateFileThatIsNotReplaced) {
  targets(kTwo);
  shell.host.answer = succeed({{"app", "api"}, {"status", {{"state", "ok"}}}, {"logs", json::array({"x"})}});
  const auto file = folder / "bundle.json";
  const std::vector<std::string> words{"app", "debug-bundle", "api", "--target", "prod", "--out", file.string()};
  const Ran ran = shell.run(words);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_FALSE(shell.host.calls.at(0).arguments.contains("out"));
  EXPECT_NE(ran.out.find("logs, status"), std::string::npos) << ran.out;
  struct stat st {};
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  std::ifstream in(file);
  EXPECT_EQ(json::parse(in)["status"]["state"], "ok");
  EXPECT_EQ(shell.run(words).code, 4);
}

TEST_F(Vary, LogsCannotSteerTheTerminal) {
  targets(kTwo);
  shell.host.answer = succeed({{"items", json::array({{{"instance", "ins_1"}, {"time", "t"}, {"stream", "stdout"}, {"text", "one\n\x1b]0;owned\x07two"}}})}});
  EXPECT_EQ(shell.run({"app", "logs", "api", "--target", "prod"}).out, "t ins_1 out one\\n\\x1b]0;owned\\x07two\n");
}

TEST_F(Vary, IsATreeOfItsOwn) {
  const Ran help = shell.run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_TRUE(help.out.starts_with("vary: ")) << help.out;
  EXPECT_EQ(help.out.find("--state-dir"), std::string::npos);
  EXPECT_EQ(shell.run({"addon", "list"}).code, 2);
  EXPECT_NE(shell.run({"app", "status"}).err.find("Run 'vary app status --help'"), std::string::npos);
  const std::string script = shell.run({"completion", "bash"}).out;
  EXPECT_NE(script.find("complete -o default -F _vary vary"), std::string::npos);
  EXPECT_NE(script.find("debug-bundle"), std::string::npos);
  EXPECT_EQ(script.find("_via"), std::string::npos);
}

TEST_F(Vary, EveryCommandHasExamplesThatParse) {
  targets("[targets.prod]\nstate_dir = \"/srv/prod\"\n");
  CommandTree tree("vary");
  for (const CLI::App* app : tree.root().get_subcommand("app")->get_subcommands({})) {
    const Command* command = tree.find(app);
    ASSERT_NE(command, nullptr);
    ASSERT_FALSE(command->example_lines().empty()) << app->get_name();
    if (app->get_name() == "debug-bundle") continue;  // writes a file
    shell.on_interrupt = [&] { return app->get_name() == "logs"; };  // it may follow, until Ctrl-C
    for (const std::string& line : command->example_lines())
      EXPECT_EQ(shell.run(words_of(line.substr(line.find(' ')))).code, 0) << line;
  }
}

}  // namespace
}  // namespace via::cli::testing
