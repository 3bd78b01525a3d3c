// The look at whether a statement shall end, from everywhere where it may work for long: between opcodes (progress handler), in the
// loops inside of one (cmake/sqlite_looks.cmake, functions of ours) and whenever it takes memory. It asks the clock itself: no other
// thread is needed to end a statement at its deadline.
//
// A Guard belongs to a connection and is the thread's from enter() to leave(); look() is about that one and costs a few
// nanoseconds when there is none. Thread: enter, leave, look: the one that runs the statement; stop() any.
#pragma once

#include "cmake/sqlite/via_sqlite_hooks.h"
#include "plugins/sqlite/host.hpp"

#include <sqlite3.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace via::sqlite::engine {

struct Account;  // memory.hpp

// Why a running statement was ended by us.
enum class Stop : int { none, deadline, cancelled, memory, addon_memory, host_memory, operations, reader };

struct Guard {
  sqlite3* db = nullptr;
  const Host* host = nullptr;
  const via_call* call = nullptr;
  uint64_t deadline_ns = 0;         // on the host's clock; 0 none
  Account* account = nullptr;
  int64_t memory = 0;               // what grew on this thread since enter()
  int reads_left = INT_MAX;         // pages from the file
  std::atomic<Stop> stopped{Stop::none};

  void stop(Stop why) noexcept;  // also interrupts the connection
};

void enter(Guard& guard) noexcept;
void leave() noexcept;
Guard* current() noexcept;

// Non-zero: it shall end. Asks flag, clock and cancellation.
int look() noexcept;
// The same when about `work` was done since the last time, of which some ten are a nanosecond.
int look_for(unsigned work) noexcept;
inline bool stopping() noexcept {
  const Guard* guard = current();
  return guard != nullptr && guard->stopped.load(std::memory_order_relaxed) != Stop::none;
}

// Once, before SQLite is first used: hooks and allocator.
void configure() noexcept;

// For tests: the longest processor time between two looks of any statement since it was last asked, while `measuring`. What comes
// behind the look that stopped a statement, and its end, in which it frees what it had, are not in it.
struct Gaps {
  static std::atomic<bool> measuring;
  static uint64_t longest_ns() noexcept;  // and begins anew
};

}  // namespace via::sqlite::engine
