#include "core/base/disk_reserve.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <limits>

#include "core/base/files.hpp"

namespace via {

// What cannot be told counts as room: the write itself says it then.
std::uint64_t DiskReserve::free_bytes() const {
  struct statvfs disk {};
  if (::statvfs(folder_.c_str(), &disk) != 0) return std::numeric_limits<std::uint64_t>::max();
  // Root may use what is kept back for it.
  return static_cast<std::uint64_t>(::geteuid() == 0 ? disk.f_bfree : disk.f_bavail) * disk.f_frsize;
}

bool DiskReserve::is_full() const { return free_bytes() < kLeast; }

bool DiskReserve::has_room() const { return free_bytes() >= kLeast + (is_there() ? 0 : kBytes); }

bool DiskReserve::is_there() const {
  struct stat st {};
  return ::lstat(file_.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == static_cast<off_t>(kBytes);
}

bool DiskReserve::give_up() {
  const std::lock_guard lock(mutex_);
  const bool was = is_there();
  return ::unlink(file_.c_str()) == 0 && was;
}

bool DiskReserve::make() {
  const std::lock_guard lock(mutex_);
  if (is_there() || free_bytes() / 4 < kBytes) return false;
  ::unlink(file_.c_str());  // of another size
  const FileHandle file(::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file && ::posix_fallocate(file.get(), 0, static_cast<off_t>(kBytes)) == 0) return true;
  ::unlink(file_.c_str());
  return false;
}

}  // namespace via
