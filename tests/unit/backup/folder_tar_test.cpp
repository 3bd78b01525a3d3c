// The data folders of apps in an archive: everything that an app can have made, and archives that want out.
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>

#include <gtest/gtest.h>

#include "core/backup/folder_tar.hpp"
#include "support/fakes.hpp"

namespace via::backup {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Entry {
  std::string name;
  unsigned type = AE_IFREG;
  std::string text = {};  // of a link: its target
};

void make_tar(const fs::path& file, const std::vector<Entry>& entries) {
  struct archive* out = ::archive_write_new();
  ::archive_write_set_format_pax_restricted(out);
  ASSERT_EQ(::archive_write_open_filename(out, file.c_str()), ARCHIVE_OK);
  for (const Entry& one : entries) {
    archive_entry* entry = ::archive_entry_new();
    ::archive_entry_set_pathname(entry, one.name.c_str());
    ::archive_entry_set_filetype(entry, one.type);
    ::archive_entry_set_perm(entry, 0644);
    if (one.type == AE_IFLNK) ::archive_entry_set_symlink(entry, one.text.c_str());
    else ::archive_entry_set_size(entry, static_cast<la_int64_t>(one.text.size()));
    ::archive_write_header(out, entry);
    if (one.type == AE_IFREG) ::archive_write_data(out, one.text.data(), one.text.size());
    ::archive_entry_free(entry);
  }
  ::archive_write_free(out);
}

TEST(FolderTar, BringsBackWhatAnAppMade) {
  const test::TemporaryFolder root;
  const fs::path data = root.path() / "data", back = root.path() / "back", tar = root.path() / "tar";
  fs::create_directories(data / "deep/er");
  std::ofstream(data / "deep/er/file") << "text";
  std::ofstream(data / std::string(200, 'n')) << "a long name";
  std::ofstream(data / "new\nline \xff") << "any bytes";
  std::ofstream(data / "empty");
  std::ofstream(data / "large", std::ios::binary) << std::string(3'000'000, 'x');
  fs::create_symlink("/etc/passwd", data / "link");
  ASSERT_EQ(::mkfifo((data / "pipe").c_str(), 0600), 0);
  ::chmod((data / "deep").c_str(), 0500);
  ASSERT_TRUE(pack_folder(data, tar));
  ASSERT_TRUE(unpack_folder(tar, back, static_cast<uid_t>(-1)));
  EXPECT_EQ(read(back / "deep/er/file"), "text");
  EXPECT_EQ(read(back / std::string(200, 'n')), "a long name");
  EXPECT_EQ(read(back / "new\nline \xff"), "any bytes");
  EXPECT_EQ(read(back / "large").size(), 3'000'000U);
  EXPECT_EQ(fs::read_symlink(back / "link"), "/etc/passwd");
  EXPECT_FALSE(fs::exists(fs::symlink_status(back / "pipe"))) << "what is neither file, folder nor link is left out";
  struct stat st {};
  ASSERT_EQ(::stat((back / "deep").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0500U);
  EXPECT_FALSE(unpack_folder(tar, back, static_cast<uid_t>(-1))) << "not over something";
}

TEST(FolderTar, WritesNothingOutsideOfTheFolder) {
  const test::TemporaryFolder root;
  int n = 0;
  const auto refused = [&](const std::vector<Entry>& entries) {
    const fs::path tar = root.path() / ("tar" + std::to_string(n)), back = root.path() / ("back" + std::to_string(n));
    ++n;
    make_tar(tar, entries);
    EXPECT_FALSE(unpack_folder(tar, back, static_cast<uid_t>(-1))) << entries.front().name;
    EXPECT_FALSE(fs::exists(root.path() / "out")) << entries.front().name;
  };
  refused({{"../out", AE_IFREG, "x"}});
  refused({{"a/../../out", AE_IFREG, "x"}});
  refused({{(root.path() / "out").string(), AE_IFREG, "x"}});
  refused({{"link", AE_IFLNK, root.path().string()}, {"link/out", AE_IFREG, "x"}});
  refused({{"link", AE_IFLNK, (root.path() / "out").string()}, {"link", AE_IFREG, "x"}});
  refused({{"disk", AE_IFBLK, ""}});
  refused({{"missing/out", AE_IFREG, "x"}});
}

TEST(FolderTar, IsCancelledAndRefusesWhatIsTooDeep) {
  const test::TemporaryFolder root;
  fs::path deep = root.path() / "data";
  for (int i = 0; i < 210; ++i) deep /= "d";
  fs::create_directories(deep);
  EXPECT_FALSE(pack_folder(root.path() / "data", root.path() / "tar"));
  EXPECT_FALSE(pack_folder(root.path() / "data", root.path() / "tar2", [] { return true; }));
}

}  // namespace
}  // namespace via::backup
