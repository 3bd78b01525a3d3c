// The tick: a task of the host's executor, posted again while statements are armed.
#include "plugins/sqlite/watchdog.hpp"

#include <algorithm>
#include <utility>

namespace via::sqlite {

void Watchdog::arm(Connection& connection, uint64_t deadline_ns, Overdue* overdue) {
  const std::lock_guard lock(mutex_);
  running_.push_back({&connection, deadline_ns, host_.now_ns(), overdue});
  schedule();
}

void Watchdog::schedule() {
  if (ticking_ || !queue_) return;
  ticking_ = host_.executor()->post(queue_, 10'000'000, &Watchdog::tick, this, nullptr) == VIA_OK;
}

void Watchdog::disarm(Connection& connection) {
  const std::lock_guard lock(mutex_);
  const auto it = std::find_if(running_.begin(), running_.end(), [&](const Running& r) { return r.connection == &connection; });
  if (it == running_.end()) return;
  *it = running_.back();
  running_.pop_back();
}

size_t Watchdog::end_older(uint64_t age_ns, Stop why) {
  const std::lock_guard lock(mutex_);
  const uint64_t now = host_.now_ns();
  size_t n = 0;
  for (const Running& r : running_) {
    if (now - r.since_ns <= age_ns) continue;
    r.connection->interrupt(why);
    ++n;
  }
  return n;
}

void Watchdog::tick(void* self, via_status why) {
  auto& dog = *static_cast<Watchdog*>(self);
  const std::lock_guard lock(dog.mutex_);
  dog.ticking_ = false;
  if (why != VIA_OK) return;
  const uint64_t now = dog.host_.now_ns();
  for (Running& r : dog.running_) {
    if (r.deadline_ns == 0 || now < r.deadline_ns) continue;
    r.connection->interrupt(Stop::deadline);
    if (r.overdue && now >= r.deadline_ns + kGraceNs) std::exchange(r.overdue, nullptr)->overdue();
  }
  if (!dog.running_.empty()) dog.schedule();
}

}  // namespace via::sqlite
