// The process of one add-on type: started when it is used, started again after it ended, and given a pause when it keeps
// ending.
//
// Thread: any; blocks. One mutex is held while a process starts, so that everybody who needs it waits for the same one.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "core/isolation/run.hpp"

namespace via::isolation {

class Process {
 public:
  explicit Process(Run::Setup setup);
  ~Process();  // stops it

  // The run that serves now; starts one when there is none. unavailable while it pauses, with when it goes on.
  Result<std::shared_ptr<Run>> connect();
  void stop();
  std::uint64_t next_instance() noexcept { return last_instance_.fetch_add(1, std::memory_order_relaxed) + 1; }
  const Run::Setup& setup() const noexcept { return setup_; }

 private:
  void count_end();  // mutex_ held: looks at a run that ended
  Error paused(std::uint64_t now) const;

  const Run::Setup setup_;
  std::atomic<std::uint64_t> last_instance_{0};
  std::uint32_t starts_ = 0;  // a metric
  std::mutex mutex_;
  std::shared_ptr<Run> run_;       // guarded by mutex_, as the rest
  bool stopped_ = false;
  int failures_ = 0;               // in a row
  std::uint64_t not_before_ns_ = 0;
  std::string last_reason_;
};

}  // namespace via::isolation
