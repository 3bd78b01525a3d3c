#include "core/backup/folder_tar.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/files.hpp"

namespace via::backup {
namespace {

constexpr std::size_t kPiece = 256 << 10;
constexpr int kDeepest = 200;

using Entry = std::unique_ptr<archive_entry, void (*)(archive_entry*)>;

Error wrong(const char* what) { return fail(Code::internal, std::string("the data folder of an app cannot be ") + what); }

class Packer {
 public:
  Packer(struct archive* out, const std::function<bool()>& cancelled) : out_(out), cancelled_(cancelled), buffer_(kPiece) {}

  Result<void> folder(FileHandle at, const std::string& prefix, int depth) {
    if (depth > kDeepest) return fail(Code::refused, "The data folder of an app is nested too deeply to be backed up.");
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(at.release()), ::closedir);
    if (!dir) return system_error("read a folder", errno);
    std::vector<std::string> names;
    while (const dirent* one = ::readdir(dir.get()))
      if (const std::string_view name = one->d_name; name != "." && name != "..") names.emplace_back(name);
    std::sort(names.begin(), names.end());
    for (const std::string& name : names)
      if (auto done = one(::dirfd(dir.get()), name, prefix + name, depth); !done) return done;
    return {};
  }

 private:
  Result<void> one(int dir, const std::string& name, const std::string& path, int depth) {
    if (cancelled_ && cancelled_()) return fail(Code::cancelled, "The backup was cancelled; nothing was left behind.");
    struct stat st {};
    if (::fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};  // gone meanwhile
    if (S_ISLNK(st.st_mode)) {
      char target[4096];
      const ssize_t n = ::readlinkat(dir, name.c_str(), target, sizeof target - 1);
      if (n <= 0) return {};
      target[n] = 0;
      return header(path, AE_IFLNK, 0777, 0, target);
    }
    if (S_ISDIR(st.st_mode)) {
      FileHandle inner(::openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!inner) return {};
      if (auto done = header(path, AE_IFDIR, st.st_mode & 0777, 0, nullptr); !done) return done;
      return folder(std::move(inner), path + "/", depth + 1);
    }
    if (!S_ISREG(st.st_mode)) return {};
    const FileHandle file(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
    if (auto done = header(path, AE_IFREG, st.st_mode & 0777, st.st_size, nullptr); !done) return done;
    for (std::int64_t left = st.st_size; left > 0;) {
      const ssize_t n = ::read(file.get(), buffer_.data(), std::min<std::size_t>(buffer_.size(), static_cast<std::size_t>(left)));
      if (n < 0) return system_error("read a file of an app", errno);
      if (n == 0) break;  // libarchive pads with zeros what is missing
      if (::archive_write_data(out_, buffer_.data(), static_cast<std::size_t>(n)) != n) return wrong("packed");
      left -= n;
    }
    return {};
  }

  Result<void> header(const std::string& path, unsigned type, unsigned mode, std::int64_t size, const char* target) {
    const Entry entry(archive_entry_new(), archive_entry_free);
    archive_entry_set_pathname(entry.get(), path.c_str());
    archive_entry_set_filetype(entry.get(), type);
    archive_entry_set_perm(entry.get(), mode);
    archive_entry_set_size(entry.get(), size);
    if (target != nullptr) archive_entry_set_symlink(entry.get(), target);
    if (::archive_write_header(out_, entry.get()) < ARCHIVE_WARN) return wrong("packed");
    return {};
  }

  struct archive* const out_;
  const std::function<bool()>& cancelled_;
  std::vector<char> buffer_;
};

// The folder that an entry lies in, and its last name; none for a name that leaves the folder.
FileHandle parent_of(int root, std::string_view path, std::string& last) {
  FileHandle at(::fcntl(root, F_DUPFD_CLOEXEC, 3));
  while (at && path.ends_with('/')) path.remove_suffix(1);
  for (;;) {
    const std::size_t end = std::min(path.find('/'), path.size());
    last = std::string(path.substr(0, end));
    if (last.empty() || last == "." || last == ".." || !at) return {};
    if (end == path.size()) return at;
    at = FileHandle(::openat(at.get(), last.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    path.remove_prefix(end + 1);
  }
}

bool put_file(struct archive* in, int dir, const std::string& name, unsigned mode, uid_t owner) {
  const FileHandle file(::openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return false;
  std::vector<char> buffer(kPiece);
  for (la_ssize_t n = 0; (n = ::archive_read_data(in, buffer.data(), buffer.size())) != 0;) {
    if (n < 0) return false;
    for (std::string_view rest(buffer.data(), static_cast<std::size_t>(n)); !rest.empty();) {
      const ssize_t put = ::write(file.get(), rest.data(), rest.size());
      if (put <= 0) return false;
      rest.remove_prefix(static_cast<std::size_t>(put));
    }
  }
  return ::fchown(file.get(), owner, owner) == 0 && ::fchmod(file.get(), mode) == 0 && ::fsync(file.get()) == 0;
}

}  // namespace

Result<void> pack_folder(const std::filesystem::path& folder, const std::filesystem::path& file, const std::function<bool()>& cancelled) {
  FileHandle root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root) return system_error("read a folder", errno);
  const FileHandle target(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!target) return system_error("create a file", errno);
  const std::unique_ptr<struct archive, int (*)(struct archive*)> out(::archive_write_new(), ::archive_write_free);
  if (!out || ::archive_write_set_format_pax_restricted(out.get()) != ARCHIVE_OK || ::archive_write_open_fd(out.get(), target.get()) != ARCHIVE_OK)
    return wrong("packed");
  if (auto done = Packer(out.get(), cancelled).folder(std::move(root), "", 0); !done) return done;
  if (::archive_write_close(out.get()) != ARCHIVE_OK) return wrong("packed");
  return {};
}

Result<void> unpack_folder(const std::filesystem::path& file, const std::filesystem::path& folder, uid_t owner) {
  if (owner == static_cast<uid_t>(-1)) owner = ::geteuid();
  if (::mkdir(folder.c_str(), 0700) != 0) return system_error("create a folder", errno);
  const FileHandle root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root) return system_error("read a folder", errno);
  const std::unique_ptr<struct archive, int (*)(struct archive*)> in(::archive_read_new(), ::archive_read_free);
  if (!in || ::archive_read_support_format_tar(in.get()) != ARCHIVE_OK || ::archive_read_open_filename(in.get(), file.c_str(), kPiece) != ARCHIVE_OK)
    return fail(Code::refused, "The data folder of an app in the archive is no tar file.");
  std::vector<std::pair<std::string, unsigned>> folders;  // their modes are set last, for one without w takes no file
  for (archive_entry* entry = nullptr;;) {
    const int next = ::archive_read_next_header(in.get(), &entry);
    if (next == ARCHIVE_EOF) break;
    if (next < ARCHIVE_WARN) return fail(Code::refused, "The data folder of an app in the archive cannot be read.");
    const char* name = ::archive_entry_pathname(entry);
    std::string last;
    const FileHandle dir = name != nullptr && std::string_view(name).size() < 4096 ? parent_of(root.get(), name, last) : FileHandle();
    if (!dir) return fail(Code::refused, "The data folder of an app in the archive has a name that leaves it.");
    const unsigned mode = ::archive_entry_perm(entry) & 0777;
    bool good = true;
    switch (::archive_entry_filetype(entry)) {
      case AE_IFDIR:
        good = ::mkdirat(dir.get(), last.c_str(), 0700) == 0 && ::fchownat(dir.get(), last.c_str(), owner, owner, AT_SYMLINK_NOFOLLOW) == 0;
        folders.emplace_back(name, mode);
        break;
      case AE_IFLNK:
        good = ::archive_entry_symlink(entry) != nullptr && ::symlinkat(::archive_entry_symlink(entry), dir.get(), last.c_str()) == 0 &&
               ::fchownat(dir.get(), last.c_str(), owner, owner, AT_SYMLINK_NOFOLLOW) == 0;
        break;
      case AE_IFREG:
        good = put_file(in.get(), dir.get(), last, mode, owner);
        break;
      default:
        return fail(Code::refused, "The data folder of an app in the archive has something that is no file, folder or link.");
    }
    if (!good) return system_error("restore the data folder of an app", errno);
  }
  for (auto at = folders.rbegin(); at != folders.rend(); ++at) {
    std::string last;
    const FileHandle dir = parent_of(root.get(), at->first, last);
    const FileHandle inner(dir ? ::openat(dir.get(), last.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1);
    if (!inner || ::fchmod(inner.get(), at->second) != 0) return system_error("restore the data folder of an app", errno);
  }
  if (::fchown(root.get(), owner, owner) != 0 || ::fsync(root.get()) != 0) return system_error("restore the data folder of an app", errno);
  return {};
}

}  // namespace via::backup
