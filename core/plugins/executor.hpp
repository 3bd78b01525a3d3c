// The host's worker threads, and the queues plugins post work to ("via.host.executor/1").
//
// A queue of width n has at most n of its tasks running at once; width 1 is a serial queue. Threads are started when
// work waits and none is free, up to a limit, and stay. One mutex guards everything: tasks are large compared with it,
// and nothing on the read path comes here.
// Thread: any, except destroy(), which must not be called from a task of the same queue.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "via/plugin.h"

namespace via::plugins {

class Executor {
 public:
  struct Queue;

  Executor(const Clock& clock, unsigned max_threads);
  ~Executor();  // every queue must have been destroyed

  unsigned threads() const noexcept { return max_threads_; }
  Queue* create(std::uint32_t width);
  void destroy(Queue* queue);
  // VIA_E_UNAVAILABLE when the queue is being destroyed. An accepted task's fn runs exactly once.
  via_status post(Queue* queue, std::uint64_t delay_ns, via_task_fn fn, void* data, std::uint64_t* task_id);
  void cancel(Queue* queue, std::uint64_t task_id);

  // For core's own work, on a queue as wide as the pool.
  void run(std::function<void()> work);

 private:
  struct Task {
    std::uint64_t id;
    via_task_fn fn;
    void* data;
  };
  struct Timer {
    std::uint64_t due;
    Queue* queue;
    Task task;
    bool operator>(const Timer& other) const { return due > other.due; }
  };
  void schedule(Queue* queue);  // mutex held
  void worker();
  void timekeeper();

  const Clock& clock_;
  const unsigned max_threads_;
  std::mutex mutex_;
  std::condition_variable work_, time_, quiet_;
  std::deque<Queue*> ready_;
  std::vector<Timer> timers_;  // heap, earliest first
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::thread> threads_;
  std::thread timekeeper_;
  unsigned idle_ = 0;
  std::uint64_t next_id_ = 1;
  bool stopping_ = false;
  Queue* own_ = nullptr;
};

}  // namespace via::plugins
