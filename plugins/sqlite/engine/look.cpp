#include "plugins/sqlite/engine/look.hpp"

#include "plugins/sqlite/engine/match.hpp"
#include "plugins/sqlite/engine/memory.hpp"

#include <time.h>

#include <mutex>

namespace via::sqlite::engine {
namespace {

constexpr unsigned kAsk = 200'000;       // units of work between two looks, as in the amalgamation
constexpr unsigned kAlways = 1u << 31;  // once stopped, every further question is a look

thread_local Guard* mine = nullptr;
thread_local uint64_t looked_cpu_ns = 0;
std::atomic<uint64_t> longest_gap{0};

uint64_t cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

void measure() {
  const uint64_t now = cpu_ns(), gap = now - looked_cpu_ns;
  looked_cpu_ns = now;
  if (stopping()) return;  // it knows; what is left is to let go of what it has
  uint64_t known = longest_gap.load(std::memory_order_relaxed);
  while (gap > known && !longest_gap.compare_exchange_weak(known, gap, std::memory_order_relaxed)) {
  }
}

int read_page() noexcept {
  Guard* guard = mine;
  if (guard == nullptr || guard->reads_left == INT_MAX) return 0;
  if (guard->reads_left > 0) {
    --guard->reads_left;
    return 0;
  }
  guard->stop(Stop::operations);
  return 1;
}

}  // namespace

std::atomic<bool> Gaps::measuring{false};

uint64_t Gaps::longest_ns() noexcept { return longest_gap.exchange(0, std::memory_order_relaxed); }

void Guard::stop(Stop why) noexcept {
  Stop none = Stop::none;
  stopped.compare_exchange_strong(none, why);
  sqlite3_interrupt(db);
}

void enter(Guard& guard) noexcept {
  mine = &guard;
  via_sqlite_work = 0;
  if (Gaps::measuring.load(std::memory_order_relaxed)) looked_cpu_ns = cpu_ns();
}

void leave() noexcept {
  mine = nullptr;
  via_sqlite_work = 0;
  flush();
}

Guard* current() noexcept { return mine; }

int look() noexcept {
  Guard* guard = mine;
  if (guard == nullptr) return 0;
  if (Gaps::measuring.load(std::memory_order_relaxed)) measure();
  if (guard->stopped.load(std::memory_order_relaxed) == Stop::none) {
    if (guard->deadline_ns != 0 && guard->host->now_ns() >= guard->deadline_ns) guard->stop(Stop::deadline);
    else if (guard->call && guard->call->cancelled && guard->call->cancelled(guard->call)) guard->stop(Stop::cancelled);
    else return 0;
  }
  via_sqlite_work = kAlways;
  return 1;
}

int look_for(unsigned work) noexcept {
  if ((via_sqlite_work += work) < kAsk) return 0;
  via_sqlite_work = 0;
  return via_sqlite_quiet == 0 ? look() : 0;
}

void configure() noexcept {
  static std::once_flag once;
  std::call_once(once, [] {
    (void)use_allocator();
    via_sqlite_hooks.look = [] { return look(); };
    via_sqlite_hooks.read_page = [] { return read_page(); };
    via_sqlite_hooks.match = match;
    via_sqlite_hooks.halted = [] {
      if (Gaps::measuring.load(std::memory_order_relaxed)) looked_cpu_ns = cpu_ns();
    };
  });
}

}  // namespace via::sqlite::engine
