// What `via plugin new` writes. That it builds, passes its tests and runs is for docs.plugin (tests/unit/docs).
#include <gtest/gtest.h>

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "unit/cli/harness.hpp"

namespace via::cli::testing {
namespace {

namespace fs = std::filesystem;

class PluginNew : public ::testing::Test {
 protected:
  PluginNew() {
    char name[] = "/tmp/via-plugin-new-XXXXXX";
    root_ = ::mkdtemp(name);
  }
  ~PluginNew() override { fs::remove_all(root_); }
  Ran make(const std::string& name, const std::string& folder) {
    return shell_.run({"plugin", "new", name, "--folder", (root_ / folder).string(), "--json"});
  }
  std::string text(const fs::path& path) const {
    std::ifstream in(root_ / path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  fs::path root_;
  Shell shell_;
};

TEST_F(PluginNew, WritesEveryFileAndLeavesNoPlaceholder) {
  const Ran ran = make("acme-notes", "a");
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto answer = nlohmann::json::parse(ran.out);
  EXPECT_EQ(answer["name"], "acme-notes");
  std::vector<std::string> files = answer["files"];
  for (const char* wanted : {".gitignore", "CMakeLists.txt", "README.md", "check.json", "manifest.json", "src/acme-notes.hpp",
                             "src/entries.cpp", "src/entries.hpp", "src/plugin.cpp", "tests/acme-notes_test.cpp"})
    EXPECT_NE(std::find(files.begin(), files.end(), wanted), files.end()) << wanted;
  for (const auto& file : files) {
    const std::string body = text(fs::path("a") / file);
    EXPECT_FALSE(body.empty()) << file;
    for (const char* placeholder : {"@NAME@", "@CLASS@", "@SPACE@"}) EXPECT_EQ(body.find(placeholder), std::string::npos) << file;
  }
  EXPECT_NE(text("a/src/acme-notes.hpp").find("class AcmeNotes"), std::string::npos);
  EXPECT_NE(text("a/src/acme-notes.hpp").find("namespace acme_notes_plugin"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(text("a/manifest.json"))["types"][0]["id"], "acme-notes");
}

TEST_F(PluginNew, RefusesNamesThatAreNoTypeId) {
  for (const char* name : {"", "Acme", "9lives", "a b", "../up", "a/b", "acme.notes", "-x", "abcdefghijklmnopqrstuvwxyzabcdefg",
                           // a file or a class of the scaffold, and targets that CMake keeps for itself
                           "entries", "plugin", "test", "all", "clean", "install", "help", "package", "package_source", "edit_cache",
                           "rebuild_cache"}) {
    EXPECT_EQ(make(name, "b").code, 2) << name;
    EXPECT_FALSE(fs::exists(root_ / "b")) << name;
  }
}

TEST_F(PluginNew, OverwritesNothing) {
  fs::create_directory(root_ / "c");
  std::ofstream(root_ / "c" / "mine") << "mine";
  const Ran ran = make("notes", "c");
  EXPECT_EQ(ran.code, 4) << ran.err;
  EXPECT_EQ(std::distance(fs::directory_iterator(root_ / "c"), {}), 1);
}

}  // namespace
}  // namespace via::cli::testing
