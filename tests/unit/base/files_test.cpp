// Durable and private files.
#include "core/base/files.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "support/fakes.hpp"

namespace via {
namespace {

struct FilesTest : ::testing::Test {
  via::test::TemporaryFolder folder;
  fs::path at(const char* name) const { return folder.path() / name; }
  static unsigned mode(const fs::path& path) {
    struct stat st {};
    ::lstat(path.c_str(), &st);
    return st.st_mode & 07777U;
  }
};

TEST_F(FilesTest, WritingReplacesTheWholeFileAndLeavesNothingBeside) {
  ASSERT_TRUE(write_file_atomic(at("f"), "first"));
  ASSERT_TRUE(write_file_atomic(at("f"), std::string(100'000, 'x')));
  EXPECT_EQ(read_file(at("f"))->size(), 100'000U);
  EXPECT_EQ(mode(at("f")), 0600U);
  ASSERT_TRUE(write_file_atomic(at("public"), "", 0644));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);
}

TEST_F(FilesTest, WhatACrashLeftBehindDoesNotStandInTheWay) {
  std::ofstream(at(".f.partial")) << "half";
  ASSERT_TRUE(write_file_atomic(at("f"), "whole"));
  EXPECT_EQ(*read_file(at("f")), "whole");
  EXPECT_FALSE(fs::exists(at(".f.partial")));
}

TEST_F(FilesTest, ALinkInThePlaceOfTheTemporaryFileIsNotFollowed) {
  std::ofstream(at("victim")) << "keep";
  fs::create_symlink(at("victim"), at(".f.partial"));
  ASSERT_TRUE(write_file_atomic(at("f"), "new"));
  EXPECT_EQ(*read_file(at("victim")), "keep");
}

TEST_F(FilesTest, AFailedWriteKeepsTheOldFile) {
  ASSERT_TRUE(write_file_atomic(at("f"), "old"));
  EXPECT_FALSE(write_file_atomic(folder.path() / "missing" / "f", "new"));
  fs::create_directory(at("d"));
  EXPECT_FALSE(write_file_atomic(at("d"), "new")) << "a folder is not replaced by a file";
  EXPECT_FALSE(fs::exists(at(".d.partial")));
  EXPECT_EQ(*read_file(at("f")), "old");
}

TEST_F(FilesTest, OnlyRegularFilesUpToTheLimitAreRead) {
  ASSERT_TRUE(write_file_atomic(at("f"), "12345"));
  EXPECT_TRUE(read_file(at("f"), 5));
  EXPECT_EQ(read_file(at("f"), 4).error().code, Code::body_too_large);
  EXPECT_EQ(read_file(at("missing")).error().code, Code::not_found);
  fs::create_symlink(at("f"), at("link"));
  EXPECT_FALSE(read_file(at("link")));
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  EXPECT_FALSE(read_file(at("fifo"))) << "and does not wait for a writer";
  EXPECT_FALSE(read_file(folder.path()));
}

TEST_F(FilesTest, APrivateFileThatOthersCanReachIsRefused) {
  ASSERT_TRUE(write_file_atomic(at("key"), "secret"));
  EXPECT_EQ(*read_private_file(at("key")), "secret");
  for (const unsigned open : {0640U, 0604U, 0620U, 0602U, 0610U, 0601U}) {
    ::chmod(at("key").c_str(), open);
    const auto read = read_private_file(at("key"));
    ASSERT_FALSE(read) << open;
    EXPECT_EQ(read.error().code, Code::not_allowed);
  }
  ::chmod(at("key").c_str(), 0600);
  fs::create_hard_link(at("key"), at("twin"));
  EXPECT_FALSE(read_private_file(at("key"))) << "linked twice";
  fs::remove(at("twin"));
  fs::create_symlink(at("key"), at("link"));
  EXPECT_FALSE(read_private_file(at("link")));
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(at("key").c_str(), 65534, 65534), 0);
    EXPECT_FALSE(read_private_file(at("key"))) << "another user's";
  }
}

TEST_F(FilesTest, APrivateFolderIsMadeOrChecked) {
  ASSERT_TRUE(make_private_folder(at("state")));
  EXPECT_EQ(mode(at("state")), 0700U);
  ASSERT_TRUE(make_private_folder(at("state"))) << "again";
  EXPECT_FALSE(make_private_folder(folder.path() / "a" / "b")) << "parents are not made";
  for (const unsigned open : {0750U, 0701U, 0777U}) {
    ::chmod(at("state").c_str(), open);
    EXPECT_EQ(make_private_folder(at("state")).error().code, Code::not_allowed) << open;
  }
  ::chmod(at("state").c_str(), 0700);
  fs::create_directory_symlink(at("state"), at("link"));
  EXPECT_FALSE(make_private_folder(at("link")));
  std::ofstream(at("file")) << "x";
  EXPECT_FALSE(make_private_folder(at("file")));
}

TEST_F(FilesTest, AFolderThatAnOperatorNamedMayBeReadByOthersAndNotWritten) {
  const auto made = make_named_folder(at("data"));
  ASSERT_TRUE(made);
  EXPECT_FALSE(*made);
  EXPECT_EQ(mode(at("data")), 0700U);
  for (const unsigned readable : {0755U, 0750U, 0711U, 0704U}) {
    ::chmod(at("data").c_str(), readable);
    const auto open = make_named_folder(at("data"));
    ASSERT_TRUE(open) << readable;
    EXPECT_TRUE(*open) << readable;
    EXPECT_EQ(mode(at("data")), readable) << "left as it is";
  }
  for (const unsigned writable : {0775U, 0757U, 0720U, 0777U, 01777U}) {
    ::chmod(at("data").c_str(), writable);
    EXPECT_EQ(make_named_folder(at("data")).error().code, Code::not_allowed) << writable;
  }
}

TEST_F(FilesTest, OnlyAnEmptyFolderThatNobodyElseWritesIsClosedWhenItIsTaken) {
  for (const unsigned readable : {0755U, 0750U}) {
    fs::create_directory(at("state"));
    ::chmod(at("state").c_str(), readable);
    const auto taken = take_private_folder(at("state"));
    ASSERT_TRUE(taken);
    EXPECT_TRUE(*taken);
    EXPECT_EQ(mode(at("state")), 0700U);
    EXPECT_FALSE(*take_private_folder(at("state"))) << "it is closed already";
    ::chmod(at("state").c_str(), readable);
    std::ofstream(at("state") / "something") << "x";
    EXPECT_EQ(take_private_folder(at("state")).error().code, Code::not_allowed) << "somebody may have looked into it";
    fs::remove_all(at("state"));
  }
  fs::create_directory(at("state"));
  ::chmod(at("state").c_str(), 0770);
  EXPECT_EQ(take_private_folder(at("state")).error().code, Code::not_allowed);
}

TEST_F(FilesTest, RemovingATreeIsFineWhenItIsMissingAndDoesNotFollowLinks) {
  fs::create_directories(at("tree") / "deep");
  std::ofstream(at("keep")) << "x";
  fs::create_symlink(at("keep"), at("tree") / "deep" / "link");
  ASSERT_TRUE(remove_tree(at("tree")));
  ASSERT_TRUE(remove_tree(at("tree")));
  EXPECT_TRUE(fs::exists(at("keep")));
}

TEST_F(FilesTest, TheStateLockHoldsWithoutItsFile) {
  const auto first = StateLock::take(folder.path());
  ASSERT_TRUE(first);
  for (const bool put_back : {false, true}) {
    ASSERT_TRUE(std::filesystem::remove(at("lock")));
    if (put_back) std::ofstream(at("lock")) << "2147483647\n";  // of nobody: as a file from a copy of the folder would be
    const auto second = StateLock::take(folder.path());
    ASSERT_FALSE(second) << put_back;
    EXPECT_EQ(second.error().code, Code::conflict);
  }
}

TEST_F(FilesTest, TheStateLockIsHeldByOneAndEndsWithItsHolder) {
  {
    const auto first = StateLock::take(folder.path());
    ASSERT_TRUE(first);
    const auto second = StateLock::take(folder.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::conflict);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = StateLock::take(folder.path());
    ::_exit(held ? 0 : 1);  // ends without letting go, as a crash does
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(StateLock::take(folder.path()));
}

TEST_F(FilesTest, ErrorsNameNoPath) {
  const auto failed = read_file(at("a-telling-name"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message.find("a-telling-name"), std::string::npos);
}

}  // namespace
}  // namespace via
