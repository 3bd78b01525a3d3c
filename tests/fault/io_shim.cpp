#include "fault/io_shim.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace via::test {
namespace {

void put(char* to, std::size_t size, const std::string& text) {
  if (text.size() >= size) throw std::length_error("too long for the shim: " + text);
  std::memcpy(to, text.c_str(), text.size() + 1);
}

void set_active(via_shim* shared, std::uint32_t value) {
  __atomic_store_n(&shared->active, value, __ATOMIC_RELEASE);
}

}  // namespace

IoShim::IoShim(const std::filesystem::path& control, const std::filesystem::path& root) : control_(control) {
  const int fd = ::open(control.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || ::ftruncate(fd, sizeof(via_shim)) != 0) throw std::runtime_error("the shim's file cannot be made");
  void* at = ::mmap(nullptr, sizeof(via_shim), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ::close(fd);
  if (at == MAP_FAILED) throw std::runtime_error("the shim's file cannot be mapped");
  shared_ = static_cast<via_shim*>(at);
  put(shared_->root, sizeof shared_->root, root.string());
}

IoShim::~IoShim() {
  ::munmap(shared_, sizeof(via_shim));
}

std::map<std::string, std::string> IoShim::environment() const {
  return {{"LD_PRELOAD", VIA_IO_SHIM_LIBRARY}, {"VIA_IO_SHIM", control_.string()}};
}

void IoShim::watch(const std::filesystem::path& root, const std::filesystem::path& more) {
  set_active(shared_, 0);
  put(shared_->root, sizeof shared_->root, root.string());
  put(shared_->more, sizeof shared_->more, more.string());
}

void IoShim::trace() {
  set_active(shared_, 0);
  shared_->action = VIA_SHIM_NONE;
  shared_->count = shared_->matched = shared_->struck = 0;
  set_active(shared_, 1);
}

void IoShim::arm(const IoPoint& point, via_shim_action action, bool sticky) {
  set_active(shared_, 0);
  put(shared_->target, sizeof shared_->target, point.name);
  shared_->occurrence = point.occurrence;
  shared_->sticky = sticky ? 1 : 0;
  shared_->action = action;
  shared_->count = shared_->matched = shared_->struck = 0;
  set_active(shared_, 1);
}

void IoShim::off() {
  set_active(shared_, 0);
}

unsigned IoShim::struck() const {
  return __atomic_load_n(&shared_->struck, __ATOMIC_ACQUIRE);
}

std::vector<IoPoint> IoShim::calls() const {
  if (shared_->count > VIA_SHIM_CALLS) throw std::length_error("more calls than the shim can list");
  std::vector<IoPoint> out;
  std::map<std::string, unsigned> seen;
  for (std::uint32_t i = 0; i < shared_->count; ++i) {
    const std::string name = shared_->calls[i].name;
    out.push_back({name, ++seen[name], shared_->calls[i].actions});
  }
  return out;
}

const char* name_of(via_shim_action action) {
  switch (action) {
    case VIA_SHIM_NONE: return "none";
    case VIA_SHIM_KILL: return "kill";
    case VIA_SHIM_TORN: return "torn";
    case VIA_SHIM_EIO: return "EIO";
    case VIA_SHIM_ENOSPC: return "ENOSPC";
    case VIA_SHIM_SHORT: return "short";
  }
  return "?";
}

}  // namespace via::test
