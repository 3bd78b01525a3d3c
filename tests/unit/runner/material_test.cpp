#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "core/releases/material.hpp"
#include "support/fakes.hpp"

namespace via::releases::test {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct stat stat_of(const std::filesystem::path& path) {
  struct stat st {};
  EXPECT_EQ(::lstat(path.c_str(), &st), 0);
  return st;
}

class Material : public ::testing::Test {
 protected:
  std::filesystem::path folder() const { return root.path() / "ins_1"; }
  Bootstrap bootstrap() const {
    return {"http://127.0.0.1:8181", "", "app_1", "dep_1", "rel_1", "ins_1", "production"};
  }
  via::test::TemporaryFolder root;
};

TEST_F(Material, HoldsWhatItsFormatSays) {
  ASSERT_TRUE(write_material(folder(), Secret("a.b.c"), bootstrap(),
                             {{"DATABASE", "sqlite", {"query", "execute"}, 2}, {"CACHE", "kv", {}, 1}}));
  EXPECT_EQ(text_of(folder() / "token"), "a.b.c");
  EXPECT_EQ(text_of(folder() / "bootstrap.json"),
            "{\"config_url\":\"http://127.0.0.1:8181\",\"app\":\"app_1\",\"deploy\":\"dep_1\",\"release\":\"rel_1\","
            "\"instance\":\"ins_1\",\"env\":\"production\"}\n");
  EXPECT_EQ(text_of(folder() / "bindings.json"),
            "[{\"binding\":\"DATABASE\",\"type\":\"sqlite\",\"scopes\":[\"query\",\"execute\"],\"generation\":2},"
            "{\"binding\":\"CACHE\",\"type\":\"kv\",\"scopes\":[],\"generation\":1}]\n");
}

TEST_F(Material, NamesTheCaFileOnlyWhenThereIsOne) {
  Bootstrap with = bootstrap();
  with.ca_file = "/etc/via/ca \"1\".pem";
  ASSERT_TRUE(write_material(folder(), Secret("t"), with, {}));
  EXPECT_NE(text_of(folder() / "bootstrap.json").find(R"("ca_file":"/etc/via/ca \"1\".pem")"), std::string::npos);
  EXPECT_EQ(text_of(folder() / "bindings.json"), "[]\n");
}

TEST_F(Material, IsPrivateUnderAnyUmask) {
  for (const mode_t mask : {0000, 0022, 0077}) {
    const mode_t before = ::umask(mask);
    ASSERT_TRUE(write_material(folder(), Secret("t"), bootstrap(), {}));
    ASSERT_TRUE(replace_token(folder(), Secret("u")));
    ::umask(before);
    EXPECT_EQ(stat_of(folder()).st_mode & 07777U, 0700U);
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder())) {
      EXPECT_EQ(stat_of(entry.path()).st_mode & 07777U, 0600U) << entry.path();
      ++files;
    }
    EXPECT_EQ(files, 3U);  // and no temporary ones
    ASSERT_TRUE(remove_material(folder()));
  }
}

TEST_F(Material, ATokenIsReplacedWholeAndNeverInPlace) {
  ASSERT_TRUE(write_material(folder(), Secret("old"), bootstrap(), {}));
  std::ifstream reader(folder() / "token");
  const auto before = stat_of(folder() / "token").st_ino;
  const auto bootstrap_before = stat_of(folder() / "bootstrap.json").st_ino;
  ASSERT_TRUE(replace_token(folder(), Secret("new-and-longer")));
  EXPECT_NE(stat_of(folder() / "token").st_ino, before);
  EXPECT_EQ(stat_of(folder() / "bootstrap.json").st_ino, bootstrap_before);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), "old");
  EXPECT_EQ(text_of(folder() / "token"), "new-and-longer");
}

TEST_F(Material, WritingAgainReplacesEverything) {
  ASSERT_TRUE(write_material(folder(), Secret("old"), bootstrap(), {{"A", "kv", {}, 1}}));
  Bootstrap other = bootstrap();
  other.release = "rel_2";
  ASSERT_TRUE(write_material(folder(), Secret("new"), other, {}));
  EXPECT_EQ(text_of(folder() / "token"), "new");
  EXPECT_NE(text_of(folder() / "bootstrap.json").find("rel_2"), std::string::npos);
  EXPECT_EQ(text_of(folder() / "bindings.json"), "[]\n");
}

TEST_F(Material, AFileThatIsALinkIsReplacedNotFollowed) {
  ASSERT_TRUE(write_material(folder(), Secret("old"), bootstrap(), {}));
  std::ofstream(root.path() / "victim") << "precious";
  std::filesystem::remove(folder() / "token");
  std::filesystem::create_symlink(root.path() / "victim", folder() / "token");
  ASSERT_TRUE(replace_token(folder(), Secret("new")));
  EXPECT_EQ(text_of(root.path() / "victim"), "precious");
  EXPECT_TRUE(S_ISREG(stat_of(folder() / "token").st_mode));
}

TEST_F(Material, FoldersThatOthersMayWriteAndLinksAreRefusedAndFilesArePrivateWhereOthersMayLook) {
  ASSERT_TRUE(write_material(folder(), Secret("t"), bootstrap(), {}));
  ::chmod(folder().c_str(), 0755);
  ASSERT_TRUE(replace_token(folder(), Secret("t")));
  for (const auto& entry : std::filesystem::directory_iterator(folder())) EXPECT_EQ(stat_of(entry.path()).st_mode & 0777, 0600U) << entry.path();
  ::chmod(folder().c_str(), 0775);
  for (const auto& refused : {write_material(folder(), Secret("CANARY"), bootstrap(), {}), replace_token(folder(), Secret("CANARY"))}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message.find("CANARY"), std::string::npos);
    EXPECT_EQ(refused.error().message.find(root.path().string()), std::string::npos);
  }
  EXPECT_EQ(text_of(folder() / "token"), "t");
  ::chmod(folder().c_str(), 0700);
  std::filesystem::create_directory_symlink(folder(), root.path() / "ins_2");
  EXPECT_FALSE(write_material(root.path() / "ins_2", Secret("x"), bootstrap(), {}));
  EXPECT_EQ(replace_token(root.path() / "none", Secret("x")).error().code, Code::not_found);
}

TEST_F(Material, RemovalIsWholeAndMayComeTwice) {
  ASSERT_TRUE(write_material(folder(), Secret("t"), bootstrap(), {}));
  ASSERT_TRUE(remove_material(folder()));
  EXPECT_FALSE(std::filesystem::exists(folder()));
  EXPECT_TRUE(remove_material(folder()));
  EXPECT_TRUE(remove_material(root.path() / "no" / "parent"));
}

}  // namespace
}  // namespace via::releases::test
