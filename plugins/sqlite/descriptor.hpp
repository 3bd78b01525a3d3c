// A file descriptor that is closed at the end of its scope. Closing any descriptor of a file drops the POSIX locks that the
// process has on it: never one of a database that SQLite has open (O_PATH ones do not count).
// Thread: one at a time.
#pragma once

#include <unistd.h>

namespace via::sqlite {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

}  // namespace via::sqlite
