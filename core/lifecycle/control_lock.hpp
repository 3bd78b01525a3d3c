// The lock of the control plane: one holder, and a wait that ends. A condition under a plain mutex rather than
// std::timed_mutex, whose timed wait GCC 12's ThreadSanitizer does not see.
//
// What happens under it: reading and changing the store, publishing to the authorization index, short plugin calls, launching.
// What does not: the wait until no request runs under rights that ended (it is left to unlock(), which lets go first), the end
// of a process (it may use its whole grace), copies of data, checks, commands of operators, waits for other operations. Who has
// to do one of those commits what decides it, lets go of the lock, does it, and takes the lock again to go on from what is
// committed by then: an instance may have been ended meanwhile. Only a host that is stopping keeps the lock while a process
// ends, so that the launcher is not taken away under it.
// Thread: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace via::lifecycle {

// TimedLockable, as std::unique_lock wants it.
class ControlLock {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    free_.wait(guard, [this] { return !held_; });
    held_ = true;
  }
  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> limit) {
    std::unique_lock guard(mutex_);
    if (!free_.wait_for(guard, limit, [this] { return !held_; })) return false;
    held_ = true;
    return true;
  }
  // Lets go, then does what was left for afterwards: it returns when that is done.
  void unlock() {
    std::vector<std::function<void()>> later;
    {
      const std::lock_guard guard(mutex_);
      later.swap(later_);
      held_ = false;
    }
    free_.notify_one();
    for (const auto& work : later) work();
  }
  // Thread: the holder's.
  void after_unlock(std::function<void()> work) {
    const std::lock_guard guard(mutex_);
    later_.push_back(std::move(work));
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool held_ = false;                          // guarded by mutex_
  std::vector<std::function<void()>> later_;  // guarded by mutex_
};

}  // namespace via::lifecycle
