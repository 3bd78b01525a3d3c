#include "core/base/files.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace via {
namespace {

Result<void> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("write a file", errno);
    }
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> read_all(int fd, std::size_t max_bytes) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return system_error("inspect a file", errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::internal, "not a regular file");
  if (static_cast<std::uint64_t>(st.st_size) > max_bytes) return fail(Code::body_too_large, "the file is too large");
  std::string out;
  out.reserve(static_cast<std::size_t>(st.st_size));
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      return system_error("read a file", errno);
    }
    if (n == 0) return out;
    if (out.size() + static_cast<std::size_t>(n) > max_bytes) return fail(Code::body_too_large, "the file is too large");
    out.append(buffer, static_cast<std::size_t>(n));
  }
}

Result<FileHandle> open_for_reading(const fs::path& path) {
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return system_error("open a file", errno);
  return file;
}

}  // namespace

fs::path system_path(std::string_view absolute, std::string_view test_root) {
  return fs::path(std::string(test_root) + std::string(absolute));
}

void FileHandle::reset() noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Error system_error(std::string_view what, int error_number) {
  if (error_number == ENOSPC || error_number == EDQUOT) return fail(Code::disk_full, "The disk is full: could not " + std::string(what));
  const Code code = error_number == ENOENT ? Code::not_found : Code::internal;
  return fail(code, "could not " + std::string(what) + ": " + std::strerror(error_number));
}

Result<void> sync_folder(const fs::path& path) {
  const FileHandle folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return system_error("open a folder", errno);
  if (::fsync(folder.get()) != 0) return system_error("sync a folder", errno);
  return {};
}

Result<void> write_file_atomic(const fs::path& path, std::string_view content, unsigned mode) {
  std::string name(".");
  name.append(path.filename().string()).append(".partial");
  const fs::path temporary = path.parent_path() / name;
  ::unlink(temporary.c_str());  // left by a crash
  FileHandle file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return system_error("create a file", errno);
  auto written = write_all(file.get(), content);
  if (written && ::fsync(file.get()) != 0) written = system_error("sync a file", errno);
  file.reset();
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = system_error("rename a file", errno);
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  return sync_folder(path.parent_path());
}

Result<std::string> read_file(const fs::path& path, std::size_t max_bytes) {
  auto file = open_for_reading(path);
  if (!file) return file.error();
  return read_all(file->get(), max_bytes);
}

Result<std::string> read_private_file(const fs::path& path, std::size_t max_bytes) {
  auto file = open_for_reading(path);
  if (!file) return file.error();
  struct stat st {};
  if (::fstat(file->get(), &st) != 0) return system_error("inspect a file", errno);
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    return fail(Code::not_allowed, "a private file has the wrong owner, mode or kind (expected: own, 0600, regular)");
  return read_all(file->get(), max_bytes);
}

namespace {

// Its mode, when it is a folder of this user.
Result<mode_t> mode_of_own_folder(const fs::path& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return system_error("inspect a folder", errno);
  if (!S_ISDIR(st.st_mode)) return fail(Code::not_allowed, "expected a folder, found something else");
  if (st.st_uid != ::geteuid()) return fail(Code::not_allowed, "the folder belongs to another user");
  return st.st_mode;
}

Result<void> make_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return sync_folder(path.parent_path().empty() ? fs::path(".") : path.parent_path());
  if (errno != EEXIST) return system_error("create a folder", errno);
  return {};
}

}  // namespace

Result<void> check_private_folder(const fs::path& path) {
  const auto mode = mode_of_own_folder(path);
  if (!mode) return mode.error();
  if ((*mode & 077) != 0)
    return fail(Code::not_allowed, "the folder is open to other users; it must have mode 0700");
  return {};
}

Result<void> make_private_folder(const fs::path& path) {
  if (auto made = make_folder(path); !made) return made;
  return check_private_folder(path);
}

std::uint64_t folder_bytes(const fs::path& path) {
  std::uint64_t sum = 0;
  std::error_code ec;
  fs::recursive_directory_iterator at(path, fs::directory_options::skip_permission_denied, ec);
  for (const fs::recursive_directory_iterator end; !ec && at != end; at.increment(ec)) {
    struct stat st {};
    if (::lstat(at->path().c_str(), &st) == 0 && S_ISREG(st.st_mode)) sum += static_cast<std::uint64_t>(st.st_size);
  }
  return sum;
}

Result<bool> check_named_folder(const fs::path& path) {
  const auto mode = mode_of_own_folder(path);
  if (!mode) return mode.error();
  if ((*mode & 022) != 0)
    return fail(Code::not_allowed, "other users can write into the folder; take that from them first (chmod go-w)");
  return (*mode & 055) != 0;
}

Result<bool> make_named_folder(const fs::path& path) {
  if (auto made = make_folder(path); !made) return made.error();
  return check_named_folder(path);
}

Result<bool> take_private_folder(const fs::path& path) {
  if (auto made = make_folder(path); !made) return made.error();
  std::error_code ec;
  if (const auto open = check_named_folder(path); open && *open && fs::is_empty(path, ec) && !ec) {
    const FileHandle folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!folder || ::fchmod(folder.get(), 0700) != 0) return system_error("close a folder to other users", errno);
    if (auto closed = check_private_folder(path); !closed) return closed.error();
    return true;
  }
  if (auto checked = check_private_folder(path); !checked) return checked.error();
  return false;
}

Result<void> remove_tree(const fs::path& path) {
  std::error_code ec;
  fs::remove_all(path, ec);
  if (ec) return system_error("remove a folder", ec.value());
  return sync_folder(path.parent_path());
}

namespace {

// The process that wrote its id into the lock file is gone. A child that it had just forked may hold the lock for a
// moment longer, until it runs its program or dies with its parent.
bool holder_is_gone(int lock) {
  char text[24] = {};
  if (::pread(lock, text, sizeof text - 1, 0) <= 0) return false;
  const long pid = std::strtol(text, nullptr, 10);
  return pid > 0 && ::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH;
}

}  // namespace

Result<StateLock> StateLock::take(const fs::path& folder, const char* name) {
  FileHandle itself(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!itself) return system_error("open the folder to lock", errno);
  FileHandle file(::open((folder / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return system_error("open the lock file", errno);
  int wait_ms = 5000;
  for (const int lock : {itself.get(), file.get()}) {
    for (; ::flock(lock, LOCK_EX | LOCK_NB) != 0; wait_ms -= 5) {
      if (errno != EWOULDBLOCK) return system_error("lock the state folder", errno);
      if (wait_ms <= 0 || !holder_is_gone(file.get()))
        return fail(Code::conflict, "another via process holds this state folder");
      ::usleep(5000);
    }
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0 || ::pwrite(file.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size()))
    return system_error("write the lock file", errno);
  return StateLock(std::move(itself), std::move(file));
}

}  // namespace via
