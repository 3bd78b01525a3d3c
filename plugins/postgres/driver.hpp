// The event loop behind every PostgreSQL add-on of the host: one task on one of the host's threads, which lives as long as there
// is something to wait for and is posted again with the next operation. It sends, receives and answers, and never waits for
// anything but sockets.
// Thread: submit(), command(), and call() any; everything else is the task's.
#pragma once

#include "plugins/postgres/pool.hpp"

#include <via/plugin/host.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

namespace via::postgres {

class Driver {
 public:
  explicit Driver(plugin::Host host);  // the library's
  ~Driver();
  Driver(const Driver&) = delete;

  std::uint64_t now_ns() const;
  void submit(std::shared_ptr<Pool> pool, std::unique_ptr<Job> job);
  // Runs `work` on the task.
  void command(std::function<void()> work);
  // The same, and waits for its end. Not from the task.
  void call(std::function<void()> work);

  // The task's.
  void watch(Connection& connection);
  void unwatch(Connection& connection);
  void touch(Connection& connection) { touched_.insert(&connection); }
  void add(std::shared_ptr<Pool> pool) { pools_.insert(std::move(pool)); }
  void remove(const std::shared_ptr<Pool>& pool) { pools_.erase(pool); }

 private:
  void wake();  // mutex held: sees to it that the task looks at the inbox
  void come_back();
  void run();
  bool turn();  // false: there is nothing to wait for
  void work_on(Connection& connection);

  const plugin::Host host_;
  int epoll_ = -1, event_ = -1;
  std::mutex mutex_;
  std::vector<std::pair<std::shared_ptr<Pool>, std::unique_ptr<Job>>> jobs_;  // guarded by mutex_
  std::vector<std::function<void()>> commands_;                               // guarded by mutex_
  bool running_ = false, waiting_ = false, comes_back_ = false;               // guarded by mutex_

  std::unordered_set<std::shared_ptr<Pool>> pools_;
  std::unordered_set<Connection*> touched_, watched_;
  std::uint64_t last_look_ns_ = 0, last_use_ns_ = 0;
  plugin::Queue queue_;  // guarded by mutex_
};

}  // namespace via::postgres
