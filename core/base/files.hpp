// Files that must survive a crash and must not be readable by others. One place decides the order of write, fsync
// and rename (docs/formats.md, "Durable files"); everything else in core goes through here.
// Thread: worker; may block.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/error.hpp"

namespace via {

namespace fs = std::filesystem;

// Where a machine keeps things of Via when nobody says otherwise, /var/lib/via and /etc/via. Tests have a machine of their own: what
// $VIA_TEST_ROOT holds comes before it.
fs::path system_path(std::string_view absolute, std::string_view test_root);

// Owns a file descriptor.
class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) noexcept : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(other.release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  ~FileHandle() { reset(); }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  int release() noexcept {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

// The error of a failed system call. `what` says what was attempted, without a path.
Error system_error(std::string_view what, int error_number);

// Replaces `path` by `content`: temporary file beside it, fsync, rename, fsync of the folder. Mode 0600 by default.
Result<void> write_file_atomic(const fs::path& path, std::string_view content, unsigned mode = 0600);
// Reads a regular file (no symbolic link) of at most `max_bytes`.
Result<std::string> read_file(const fs::path& path, std::size_t max_bytes = 16U << 20);
// The same, and refuses one that another user owns, that is linked twice, or that group or others may touch.
Result<std::string> read_private_file(const fs::path& path, std::size_t max_bytes = 1U << 20);
// Creates the folder (and not its parents) with mode 0700, or checks owner and mode of one that exists.
Result<void> make_private_folder(const fs::path& path);
// Owner is this user, mode has no bits for group or others, it is a folder and no symbolic link.
Result<void> check_private_folder(const fs::path& path);
// A folder that an operator named: made with mode 0700, or of this user and written by nobody else. Whether others may look into it:
// what is put there is private by its own mode.
Result<bool> make_named_folder(const fs::path& path);
Result<bool> check_named_folder(const fs::path& path);
// make_private_folder, but an empty folder that others may look into, as mkdir makes it, is closed. Whether it was.
Result<bool> take_private_folder(const fs::path& path);
Result<void> sync_folder(const fs::path& path);
// Of all regular files below it; links are not followed, what cannot be read is left out.
std::uint64_t folder_bytes(const fs::path& path);
// Removes a tree; missing is fine. The parent folder is synced afterwards.
Result<void> remove_tree(const fs::path& path);

// Holds a folder for the life of the object (flock: it ends with the process, however that ends). The folder itself is locked,
// which nobody can remove by mistake, and a file in it that says who has it.
class StateLock {
 public:
  // Code::conflict when another process has it.
  static Result<StateLock> take(const fs::path& folder, const char* name = "lock");

 private:
  StateLock(FileHandle folder, FileHandle file) : folder_(std::move(folder)), file_(std::move(file)) {}
  FileHandle folder_, file_;
};

}  // namespace via
