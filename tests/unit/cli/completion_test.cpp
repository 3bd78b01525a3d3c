// The scripts know every command and flag, and the shell that reads them agrees.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "cli/command.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

void each_app(const CLI::App& app, const std::function<void(const CLI::App&)>& visit) {
  visit(app);
  for (const CLI::App* child : app.get_subcommands({})) each_app(*child, visit);
}

TEST(Completion, NamesEveryCommandAndFlag) {
  CommandTree tree;
  for (const char* shell_name : {"bash", "zsh", "fish"}) {
    Shell shell;
    const Ran ran = shell.run({"completion", shell_name});
    EXPECT_EQ(ran.code, 0);
    const bool fish = std::string(shell_name) == "fish";
    each_app(tree.root(), [&](const CLI::App& app) {
      if (app.get_parent() != nullptr) {
        EXPECT_NE(ran.out.find(app.get_name()), std::string::npos) << app.get_name();
      }
      for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) {
          EXPECT_NE(ran.out.find((fish ? "-l " : "--") + name), std::string::npos)
              << shell_name << " " << name;
        }
      }
    });
  }
}

// What bash offers for a line, by running the script in bash.
std::string offered(const std::string& line) {
  Shell shell;
  const auto folder =
      std::filesystem::temp_directory_path() / ("via_completion_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "script") << shell.run({"completion", "bash"}).out;
  std::ofstream(folder / "run")
      << "source '" << (folder / "script").string() << "'\nCOMP_WORDS=(" << line
      << ")\nCOMP_CWORD=$((${#COMP_WORDS[@]}-1))\n_via\nprintf '%s ' \"${COMPREPLY[@]}\"\n";
  std::string out;
  FILE* pipe = ::popen(("bash '" + (folder / "run").string() + "' 2>&1").c_str(), "r");
  if (pipe == nullptr) return "no bash";
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) out += buffer;
  ::pclose(pipe);
  std::filesystem::remove_all(folder);
  return out;
}

TEST(Completion, OfBashFollowsTheWords) {
  EXPECT_EQ(offered("via addon cr"), "create ");
  EXPECT_EQ(offered("via --state-dir /x addon unb"), "unbind ");
  EXPECT_EQ(offered("via identity keys ''"), "list rotate revoke ");
  EXPECT_EQ(offered("via addon create --re"), "--read-only ");
  EXPECT_EQ(offered("via addon list --js"), "--json ");
  EXPECT_EQ(offered("via completion z"), "zsh ");
  EXPECT_EQ(offered("via identity issue --kind b"), "build ");
}

}  // namespace
}  // namespace via::cli::testing
