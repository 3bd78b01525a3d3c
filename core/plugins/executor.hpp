// The host's worker threads, and the queues plugins post work to ("via.host.executor/1").
//
// A queue of width n has at most n of its tasks running at once; width 1 is a serial queue. Queues belong to groups (the app that
// owns an add-on): a thread that is free takes from the group with the fewest running tasks, so that no group has more than its
// share while another wants one, and a group with nothing running does not wait for others at all: it gets a thread beyond the
// limit. A task that runs for longer than kLong counts as lost until it ends: another thread takes its place.
// Threads are started when work waits and none is free, and stay. One mutex guards everything: tasks are large compared
// with it, and nothing on the read path comes here.
// Thread: any, except destroy(), which must not be called from a task of the same queue.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/base/clock.hpp"
#include "via/plugin.h"

namespace via::plugins {

class Executor {
 public:
  struct Queue;
  static constexpr std::uint64_t kLongNs = 2'000'000'000;
  static constexpr unsigned kMostOver = 3;  // the pool is at most 1 + kMostOver times its limit
  static constexpr unsigned kOwn = 8;       // of the host's own tasks run at once whatever others do

  Executor(const Clock& clock, unsigned max_threads);
  ~Executor();  // every queue must have been destroyed

  unsigned threads() const noexcept { return max_threads_; }
  // Queues of the same group share; one without a name is a group by itself.
  Queue* create(std::uint32_t width, std::string_view group = {});
  // More or fewer of its tasks may run at once: for one that was given up and does not return. Thread: any.
  void widen(Queue* queue, int by);
  void destroy(Queue* queue);
  // VIA_E_UNAVAILABLE when the queue is being destroyed. An accepted task's fn runs exactly once.
  via_status post(Queue* queue, std::uint64_t delay_ns, via_task_fn fn, void* data, std::uint64_t* task_id);
  void cancel(Queue* queue, std::uint64_t task_id);

  // For core's own work, on queues as wide as the pool; never behind the work of apps, and what operators asked for never behind
  // what requests make the host do (tokens, configuration).
  enum class Lane { requests, control };
  void run(std::function<void()> work, Lane lane = Lane::requests);

  struct Figures {
    unsigned threads = 0, running = 0, long_running = 0;
    std::size_t waiting = 0;
  };
  Figures figures() const;

 private:
  struct Group;
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
  // All with the mutex held.
  [[nodiscard]] bool schedule(Queue* queue);
  Group* group_of(std::string_view name);
  Group* next_group();
  unsigned count_long(const Group* group) const;  // null = of all
  bool may_start(const Group& group) const;
  void start_worker();
  void drop_places(Queue* queue);

  void worker(std::size_t slot);
  void timekeeper();

  const Clock& clock_;
  const unsigned max_threads_;
  mutable std::mutex mutex_;
  std::condition_variable work_, time_, quiet_;
  std::unordered_map<std::string, std::unique_ptr<Group>> groups_;
  std::uint64_t next_group_ = 1;  // names those without one
  std::vector<Group*> ready_;     // that have places, in the order in which they were last served
  std::size_t places_ = 0;        // of all groups
  struct Active {
    std::uint64_t began = 0;  // 0 = it has no task
    const Group* group = nullptr;
  };
  std::vector<Active> active_;  // by thread
  std::vector<Timer> timers_;  // heap, earliest first
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<std::thread> threads_;
  std::thread timekeeper_;
  unsigned idle_ = 0;
  std::uint64_t next_id_ = 1;
  bool stopping_ = false;
  Queue *own_ = nullptr, *control_ = nullptr;
};

}  // namespace via::plugins
