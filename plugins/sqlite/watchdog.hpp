// Ends statements at their deadline with sqlite3_interrupt, from a timer that ticks only while something runs. A runner
// disarms before it uses the connection again, under the same mutex, so a late interrupt never cuts the next statement.
// Thread: any; the mutex is held for a few instructions.
#pragma once

#include "plugins/sqlite/connection.hpp"

#include <mutex>
#include <vector>

namespace via::sqlite {

// Told once of a statement that has not ended a grace after its deadline, though it was interrupted then.
class Overdue {
 public:
  virtual void overdue() = 0;  // Thread: the watchdog's; short, and never a call of the watchdog
 protected:
  ~Overdue() = default;
};

class Watchdog {
 public:
  static constexpr uint64_t kGraceNs = 2'000'000'000;
  Watchdog(const Host& host) : host_(host) {}
  void use(via_queue* queue) {
    const std::lock_guard lock(mutex_);
    queue_ = queue;
  }
  void arm(Connection& connection, uint64_t deadline_ns, Overdue* overdue = nullptr);
  void disarm(Connection& connection);
  // Ends what has run for longer than `age_ns`; how many. For the writer, between its own statements.
  size_t end_older(uint64_t age_ns, Stop why);

 private:
  static void tick(void* self, via_status why);
  void schedule();

  const Host& host_;
  std::mutex mutex_;
  via_queue* queue_ = nullptr;
  struct Running {
    Connection* connection;
    uint64_t deadline_ns, since_ns;
    Overdue* overdue;
  };
  std::vector<Running> running_;
  bool ticking_ = false;
};

// Guard and watchdog over one statement.
class Guarded {
 public:
  Guarded(Watchdog& dog, Connection& connection, uint64_t deadline_ns, const via_call* call, Overdue* overdue = nullptr)
      : dog_(dog), connection_(connection) {
    connection.begin_guard(deadline_ns, call, 4'000'000'000);
    dog.arm(connection, deadline_ns, overdue);
  }
  ~Guarded() {
    dog_.disarm(connection_);
    connection_.end_guard();
  }
  Guarded(const Guarded&) = delete;

 private:
  Watchdog& dog_;
  Connection& connection_;
};

}  // namespace via::sqlite
