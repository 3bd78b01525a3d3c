// Keys of directory mode: whatever is asked for below a folder, what comes back is one of its own plain files, by the key that
// the list gives it, and nothing that lies beside the folder, behind a link or in a hidden file.
#include "target.hpp"

#include "plugins/sqlite/api/directories.hpp"

#include <filesystem>
#include <fstream>

namespace {

using namespace via::sqlite;
namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "via-fuzz-XXXXXX").string();
    root_ = fs::canonical(::mkdtemp(pattern.data()));
    for (const char* made : {"files/a/b/c", "files/ab", "beside"}) fs::create_directories(root_ / made);
    for (const char* plain : {"files/f", "files/a/f", "files/a/b/f", "files/a/b/c/f", "files/ab/x.txt"}) write(plain, "plain");
    for (const char* other : {"files/.f", "files/a/.g", "files/f-wal", "beside/f", "f"}) write(other, "other");
    fs::create_symlink(root_ / "f", root_ / "files" / "l");
    fs::create_symlink("../f", root_ / "files" / "a" / "l");
    fs::create_directory_symlink(root_ / "beside", root_ / "files" / "d");
    fs::create_hard_link(root_ / "f", root_ / "files" / "h");
  }
  ~Folder() {
    std::error_code ec;
    fs::remove_all(root_, ec);
  }
  Folder(const Folder&) = delete;
  std::string files() const { return (root_ / "files").string(); }

 private:
  void write(const char* name, const char* text) { std::ofstream(root_ / name) << text; }
  fs::path root_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  static api::Directories& directories = [&]() -> api::Directories& {
    const Host& host = *new Host(nullptr);  // never destroyed: a database ends with its host's threads
    auto& databases = *new api::Databases(host, *new Database(host));
    databases.serve(folder.files(), {}, {true, false});
    return *new api::Directories(databases);
  }();
  const std::string_view key = via::fuzz::text(data, size);
  std::string value;
  api::PlainFile about;
  const bool found = !directories.read(folder.files(), key, value, about);
  VIA_FUZZ_CHECK(!found || (value == "plain" && about.key == key));
  std::vector<api::PlainFile> listed;
  VIA_FUZZ_CHECK(!directories.list(folder.files(), key, 100, 0, false, listed));
  for (const api::PlainFile& file : listed) VIA_FUZZ_CHECK(file.key.starts_with(key));
  VIA_FUZZ_CHECK(!found || (!listed.empty() && listed.front().key == key));
  return 0;
}
