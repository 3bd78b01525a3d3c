// The manual pages: of every command, and such that the formatter has no complaint.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "cli/man.hpp"
#include "harness.hpp"

namespace via::cli::testing {
namespace {

void each_app(const CLI::App& app, const std::function<void(const CLI::App&)>& visit) {
  visit(app);
  for (const CLI::App* child : app.get_subcommands({})) each_app(*child, visit);
}

TEST(Manual, EveryPageHasItsSectionsAndNoLooseControlLine) {
  for (const char* program : {"via", "vary"}) {
    CommandTree tree(program);
    each_app(tree.root(), [&](const CLI::App& app) {
      const std::string page = man_page(tree, app);
      SCOPED_TRACE(man_name(app));
      EXPECT_TRUE(page.starts_with(".TH \""));
      for (const char* section : {"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"})
        EXPECT_NE(page.find(std::string("\n.SH ") + section + "\n"), std::string::npos) << section;
      std::istringstream in(page);
      for (std::string line; std::getline(in, line);) {
        if (!line.starts_with('.')) continue;
        const std::string macro = line.substr(0, line.find(' '));
        EXPECT_TRUE(macro == ".TH" || macro == ".SH" || macro == ".TP" || macro == ".nf" || macro == ".fi" || macro == ".nh" ||
                    macro == ".hy")
            << line;
      }
      for (const char c : page) EXPECT_LT(static_cast<unsigned char>(c), 0x80U);
    });
  }
}

TEST(Manual, NamesTheOptionsThatTheHelpNames) {
  Shell shell;
  const std::string page = shell.run({"man", "addon", "restore"}).out;
  for (const char* part : {"VIA-ADDON-RESTORE", "\\-\\-force\\-after\\-timeout", "\\-\\-drain", "\\-\\-state\\-dir", "id of an operation"})
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  EXPECT_EQ(shell.run({"man", "addon", "rstore"}).code, 3);
}

TEST(Manual, AllPagesOfAllNamesAreWritten) {
  std::string name = (std::filesystem::temp_directory_path() / "via-man-XXXXXX").string();
  const std::filesystem::path folder = ::mkdtemp(name.data());
  Shell shell;
  EXPECT_EQ(shell.run({"man", "--all", folder.string()}).code, 0);
  for (const char* page : {"via.1", "via-addon.1", "via-addon-restore.1", "via-identity-keys-rotate.1", "vary.1", "vary-app-repair.1"})
    EXPECT_TRUE(std::filesystem::exists(folder / page)) << page;
  // The formatter says on standard error what it does not understand.
  if (std::system("command -v groff >/dev/null 2>&1") == 0) {
    std::string complaints;
    FILE* pipe = ::popen(("groff -man -Tascii -ww -z '" + folder.string() + "'/*.1 2>&1 >/dev/null").c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    char buffer[4096];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) complaints += buffer;
    EXPECT_EQ(::pclose(pipe), 0);
    EXPECT_EQ(complaints, "");
  }
  std::filesystem::remove_all(folder);
  EXPECT_NE(shell.run({"man", "--all", folder.string()}).code, 0) << "a folder that is not there";
}

}  // namespace
}  // namespace via::cli::testing
