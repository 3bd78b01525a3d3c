// Operations of one add-on that were given up because they did not end: how many are still in the plugin, and to whom the
// add-on is closed for a while because it makes them again and again.
//
// Owned by the add-on's instance. Thread: any; closed_to_some() is one relaxed load, the rest takes a mutex and is rare.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace via::plugins {

class Abandoned {
 public:
  static constexpr std::size_t kMost = 3;  // in one window, by one instance or share; then it is closed out
  static constexpr std::uint64_t kWindowNs = 60'000'000'000, kClosedNs = 60'000'000'000;

  // One was given up that `who` (an instance or a share) made; empty = nobody is to blame. It is stuck until came_back().
  void add(std::string_view who, std::uint64_t now_ns);
  void came_back() noexcept { stuck_.fetch_sub(1, std::memory_order_acq_rel); }

  std::int64_t stuck() const noexcept { return stuck_.load(std::memory_order_acquire); }
  // Stuck, or given up within the window.
  bool degraded(std::uint64_t now_ns) const;
  std::uint64_t total() const noexcept { return total_.load(std::memory_order_relaxed); }

  bool closed_to_some() const noexcept { return closed_to_some_.load(std::memory_order_relaxed); }
  // For how many seconds the add-on is closed to `who`; 0 = it is open.
  std::uint32_t closed_for(std::string_view who, std::uint64_t now_ns);

 private:
  struct Record {
    std::vector<std::uint64_t> times;  // of the last ones, at most kMost
    std::uint64_t closed_until = 0;
  };
  std::atomic<std::int64_t> stuck_{0};
  std::atomic<std::uint64_t> total_{0};
  std::atomic<bool> closed_to_some_{false};
  mutable std::mutex mutex_;
  std::map<std::string, Record, std::less<>> by_;  // guarded by mutex_; what is older than the window goes at the next add()
  std::uint64_t last_ = 0;                         // guarded by mutex_
};

}  // namespace via::plugins
