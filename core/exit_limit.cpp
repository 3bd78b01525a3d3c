#include "core/exit_limit.hpp"

#include <unistd.h>

#include <cstdio>

#include "core/base/log.hpp"

namespace via {

ExitLimit::~ExitLimit() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ExitLimit::start(std::chrono::milliseconds limit) {
  thread_ = std::thread([this, limit] {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, limit, [this] { return over_; })) return;
    // A logger of its own: the host's may be going down.
    Logger(Logger::Target::standard_error).error("stopped_in_the_middle", {{"reason", "a thread did not end in time"}});
    leave();
  });
}

// Not exit(): destructors and handlers would meet threads that still run.
void ExitLimit::leave() {
  std::fflush(nullptr);
  ::_exit(0);
}

}  // namespace via
