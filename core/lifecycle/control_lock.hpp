// The lock of the control plane: one holder, and a wait that ends. A condition under a plain mutex rather than
// std::timed_mutex, whose timed wait GCC 12's ThreadSanitizer does not see.
//
// What happens under it: reading and changing the store, publishing to the authorization index (and the wait until no
// request runs under rights that ended, which is bounded), short plugin calls, launching. What does not: the end of a
// process (it may use its whole grace), copies of data, checks, commands of operators, waits for other operations. Who has
// to do one of those commits what decides it, lets go of the lock, does it, and takes the lock again to go on from what is
// committed by then: an instance may have been ended meanwhile. Only a host that is stopping keeps the lock while a process
// ends, so that the launcher is not taken away under it.
// Thread: any.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

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
  void unlock() {
    {
      const std::lock_guard guard(mutex_);
      held_ = false;
    }
    free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable free_;
  bool held_ = false;  // guarded by mutex_
};

}  // namespace via::lifecycle
