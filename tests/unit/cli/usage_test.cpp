// Help, mistakes and what is said about them.
#include <gtest/gtest.h>

#include "cli/command.hpp"
#include "core/base/files.hpp"
#include "core/bundle/bundle.hpp"
#include "harness.hpp"
#include "support/fakes.hpp"

namespace via::cli::testing {
namespace {

void each_app(const CLI::App& app, std::vector<std::string> path,
              const std::function<void(const CLI::App&, const std::vector<std::string>&)>& visit) {
  visit(app, path);
  for (const CLI::App* child : app.get_subcommands({})) {
    auto deeper = path;
    deeper.push_back(child->get_name());
    each_app(*child, deeper, visit);
  }
}

TEST(Help, OfEveryCommandHasUsageAndExamples) {
  CommandTree tree;
  int commands = 0;
  each_app(tree.root(), {}, [&](const CLI::App&, const std::vector<std::string>& path) {
    for (const char* flag : {"--help", "-h"}) {
      auto words = path;
      words.push_back(flag);
      Shell shell;
      const Ran ran = shell.run(words);
      EXPECT_EQ(ran.code, 0);
      EXPECT_NE(ran.out.find("\nEXAMPLES\n  "), std::string::npos) << ran.out;
      EXPECT_EQ(ran.err, "");
      EXPECT_EQ(shell.host.opened, 0);
    }
    ++commands;
  });
  EXPECT_GT(commands, 35);
}

// Where the shell would begin something else, outside of quotes.
std::size_t end_of_command(const std::string& line) {
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\'') quoted = !quoted;
    if (!quoted && std::string_view("(>|&").find(line[i]) != std::string_view::npos) return i;
  }
  return line.size();
}

// The files that the examples of bundles name.
void stand_in_for_files(std::vector<std::string>& words, const std::filesystem::path& home, const std::string& command) {
  const std::string manifest =
      R"({"manifest_version":1,"id":"acme.notes","version":"1.2.0","abi":{"major":1,"minor":0},"library":"notes.so",)"
      R"("types":[{"id":"acme-notes","scopes":["r"],"access":{"read_write":["r"]}}]})";
  ASSERT_TRUE(write_file_atomic(home / "manifest.json", manifest));
  ASSERT_TRUE(write_file_atomic(home / "notes.so", manifest));
  if (command != "keygen") {
    ASSERT_TRUE(bundle::SigningKey::create(home / "acme.key"));
  }
  bool named = command != "pack";
  for (std::string& word : words) {
    if (word.starts_with("~/")) word = home / word.substr(2);
    if (word.starts_with("build/")) word = home;
    if (word.starts_with("dist/")) word = home / "out", named = true;
  }
  if (!named) words.insert(words.end(), {"-o", home / "out"});
}

TEST(Help, ExamplesAreCommandsThatParse) {
  CommandTree tree;
  each_app(tree.root(), {}, [&](const CLI::App& app, const std::vector<std::string>& path) {
    const Command* command = tree.find(&app);
    if (command == nullptr) return;
    ASSERT_FALSE(command->example_lines().empty());
    for (std::string line : command->example_lines()) {
      if (!line.starts_with("via ")) continue;
      line = line.substr(0, end_of_command(line));
      auto words = words_of(line.substr(4));
      Shell shell;
      shell.host.answer = succeed({{"ok", true}, {"state", "done"}});
      shell.input = "from standard input\n";
      shell.variables["VIA_KIT_URL"] = "http://127.0.0.1:8080";
      if (path.front() == "logs") shell.on_interrupt = [] { return true; };  // it may follow, until Ctrl-C
      if (const auto at = line.find("/etc/via/backup.pass"); at != std::string::npos) {
        words = words_of(line.substr(4, at - 4) + shell.private_file("a passphrase\n"));
      }
      for (std::string& word : words) {
        if (word == "via.app.toml") word = shell.private_file("app = \"api\"\n");
      }
      // The folders that examples name may be there, and hold somebody's host.
      via::test::TemporaryFolder machine;
      for (std::string& word : words)
        for (const char* place : {"/var/", "/srv/", "/etc/", "/run/", "/opt/"})
          if (word.starts_with(place)) word.insert(0, machine.path().string());
      std::string written;
      if (line.starts_with("via plugin new")) {  // it writes where it is told
        written = shell.private_file("") + ".new";
        words.insert(words.end(), {"--folder", written});
      }
      via::test::TemporaryFolder home;
      if (path.front() == "plugin" && (path.back() == "pack" || path.back() == "keygen" || path.back() == "add"))
        stand_in_for_files(words, home.path(), path.back());
      const Ran ran = shell.run(words);
      EXPECT_EQ(ran.code, 0) << line << "\n" << ran.err;
      if (!shell.restored.file.empty()) {
        EXPECT_TRUE(shell.restored.state_dir.string().starts_with(machine.path().string())) << line;
      }
      if (!written.empty()) std::filesystem::remove_all(written);
      for (const std::string& word : path) EXPECT_NE(line.find(word), std::string::npos) << line;
    }
  });
}

TEST(Help, OfTheProgramGroupsEveryCommand) {
  Shell shell;
  const Ran ran = shell.run({});
  EXPECT_EQ(ran.code, 0);
  CommandTree tree;
  for (const CLI::App* app : tree.root().get_subcommands({})) {
    EXPECT_NE(ran.out.find("\n  " + app->get_name() + " "), std::string::npos) << app->get_name();
  }
  EXPECT_EQ(ran.out, shell.run({"--help"}).out);
}

TEST(Help, ShowsTheFormOfDeployCreate) {
  Shell shell;
  const std::string out = shell.run({"deploy", "create", "--help"}).out;
  EXPECT_NE(out.find("via deploy create APP [--env KEY=VALUE] [--replicas N] [--cwd DIR] [--fs] [--memory SIZE] [--cpus N] [--pids N] [--files N] [--network host|none] [--read PATH] [--check CMD] [--check-timeout DURATION] [--no-wait] [-- COMMAND…]"),
            std::string::npos)
      << out;
}

struct Mistake {
  std::vector<std::string> words;
  const char* says;
};

TEST(Mistakes, ExitWithTwoAndSayWhatWasMeant) {
  const Mistake mistakes[] = {
      {{"ad"}, "Did you mean 'via addon'?"},
      {{"addno", "list"}, "Did you mean 'via addon'?"},
      {{"app", "lst"}, "Did you mean 'via app list'?"},
      {{"identity", "keys", "lsit"}, "Did you mean 'via identity keys list'?"},
      {{"xyzzy"}, "'via' has no command 'xyzzy'."},
      {{"console", "--help"}, "'via' has no command 'console'."},
      {{"console", "-h"}, "'via' has no command 'console'."},
      {{"--help", "console"}, "'via' has no command 'console'."},
      {{"--json", "console", "list", "--help"}, "'via' has no command 'console'."},
      {{"addno", "list", "--help"}, "Did you mean 'via addon'?"},
      {{"addon", "crate", "--help"}, "Did you mean 'via addon create'?"},
      {{"identity", "keys", "lsit", "--help"}, "Did you mean 'via identity keys list'?"},
      {{"addon", "--jsno", "--help"}, "Did you mean --json?"},
      {{"addon", "list", "--ap", "api"}, "Did you mean --app?"},
      {{"addon", "list", "--jsno"}, "Did you mean --json?"},
      {{"app", "create"}, "'via app create' needs APP."},
      {{"addon", "create", "sqlite", "db"}, "needs --app."},
      {{"addon", "bind", "api"}, "needs NAME, --binding."},
      {{"app", "create", "a", "b"}, "takes no further argument 'b'"},
      {{"deploy", "create", "api", "./run"}, "after '--'"},
      {{"deploy", "create", "api", "--"}, "No command follows '--'"},
      {{"deploy", "create", "api", "--env", "A"}, "not of the form KEY=VALUE"},
      {{"deploy", "create", "api", "--env", "A=1", "--env", "A=2"}, "given twice"},
      {{"deploy", "create", "api", "--replicas", "two"}, "not a whole number"},
      {{"runtime", "issue", "api", "--ttl", "soon"}, "not a duration"},
      {{"runtime", "issue", "api", "--ttl", "-5m"}, "not a duration"},
      {{"identity", "issue", "--kind", "root"}, "runtime,build,session"},
      {{"completion", "tcsh"}, "bash,zsh,fish"},
      {{"app"}, "COMMANDS"},
      {{"app", "list", "--state-dir"}, "via:"},
      {{"addon", "list", "--app", "a", "--app", "b"}, "--app"},
  };
  for (const Mistake& mistake : mistakes) {
    Shell shell;
    const Ran ran = shell.run(mistake.words);
    std::string line;
    for (const auto& word : mistake.words) line += " " + word;
    EXPECT_EQ(ran.code, 2) << line << "\n" << ran.err;
    EXPECT_NE(ran.err.find(mistake.says), std::string::npos) << line << "\n" << ran.err;
    EXPECT_EQ(ran.out, "") << line;
    EXPECT_TRUE(shell.host.calls.empty()) << line;
  }
}

TEST(Mistakes, OfAWordAreNotHiddenByHelpUnderAnyNameOfTheProgram) {
  for (const char* program : {"via", "vary", "hoody"}) {
    Shell shell;
    shell.program = program;
    const Ran ran = shell.run({"console", "--help"});
    EXPECT_EQ(ran.code, 2) << program;
    EXPECT_EQ(ran.out, "") << program;
    EXPECT_NE(ran.err.find("has no command 'console'"), std::string::npos) << ran.err;
  }
  Shell shell;
  EXPECT_EQ(shell.run({"addon", "create", "sqlite", "db", "--help"}).code, 0) << "a command with arguments has a help";
}

TEST(Version, IsShortFullOrJson) {
  Shell shell;
  EXPECT_EQ(shell.run({"version"}).out, shell.run({"--version"}).out);
  EXPECT_EQ(nlohmann::json::parse(shell.run({"version", "--json"}).out)["name"], "via");
}

}  // namespace
}  // namespace via::cli::testing
