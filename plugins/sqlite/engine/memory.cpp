#include "plugins/sqlite/engine/memory.hpp"

#include "plugins/sqlite/engine/look.hpp"

#include <malloc.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <mutex>

namespace via::sqlite::engine {
namespace {

// In front of every block.
struct alignas(16) Header {
  Account* account;
  int64_t size;
};
static_assert(sizeof(Header) == 16);

constexpr int64_t kWorthGivingBack = 64ll << 20;
constexpr int64_t kGiveBackEvery = 2;  // seconds

MemoryLimits configured;
int64_t host_limit = 0;  // written before SQLite is used
std::atomic<int64_t> used{0}, peak{0};
std::atomic<int64_t> given_back_at{0};

std::mutex accounts_mutex;
std::deque<Account> accounts;  // guarded by accounts_mutex; never shrinks

// Whether the statement of this thread may have `more` bytes. Those without a guard are the host's own and few.
bool may_have(int64_t more) {
  Guard* guard = current();
  if (guard == nullptr || via_sqlite_quiet != 0) return true;
  if (more > 0 && look_for(512 + static_cast<unsigned>(std::min<int64_t>(more, 1 << 20)) / 2) != 0) return false;
  if (guard->stopped.load(std::memory_order_relaxed) != Stop::none) return more <= 0;
  Stop why = Stop::none;
  if (guard->memory + more > configured.statement) why = Stop::memory;
  else if (guard->account && guard->account->used.load(std::memory_order_relaxed) + more > guard->account->limit.load(std::memory_order_relaxed)) why = Stop::addon_memory;
  else if (used.load(std::memory_order_relaxed) + more > host_limit) why = Stop::host_memory;
  if (why == Stop::none) return true;
  guard->stop(why);
  return false;
}

// What a thread has taken and given back and nobody else knows yet: a sort has a million blocks.
struct Pending {
  Account* account = nullptr;
  int64_t change = 0;
};
thread_local Pending pending;
constexpr int64_t kPending = 256 << 10;

void tell(Account* account, int64_t change) {
  const int64_t now = used.fetch_add(change, std::memory_order_relaxed) + change;
  if (change > 0 && now > peak.load(std::memory_order_relaxed)) peak.store(now, std::memory_order_relaxed);
  if (account) account->used.fetch_add(change, std::memory_order_relaxed);
}

void count(Account* account, int64_t change) {
  Guard* guard = current();
  if (guard == nullptr) return tell(account, change);
  guard->memory += change;
  if (pending.account != account) engine::flush();
  pending.account = account;
  pending.change += change;
  if (pending.change > kPending || pending.change < -kPending) engine::flush();
}

void* take(int n) {
  if (!may_have(n)) return nullptr;
  auto* header = static_cast<Header*>(std::malloc(sizeof(Header) + static_cast<size_t>(n)));
  if (!header) return nullptr;
  const Guard* guard = current();
  *header = {guard ? guard->account : nullptr, n};
  count(header->account, n);
  return header + 1;
}

Header* header_of(void* block) { return static_cast<Header*>(block) - 1; }

void release(void* block) {
  if (!block) return;
  Header* header = header_of(block);
  count(header->account, -header->size);
  std::free(header);
}

void* change(void* block, int n) {
  Header* header = header_of(block);
  const int64_t more = n - header->size;
  if (more > 0 && !may_have(more)) return nullptr;
  auto* moved = static_cast<Header*>(std::realloc(header, sizeof(Header) + static_cast<size_t>(n)));
  if (!moved) return nullptr;
  moved->size = n;
  count(moved->account, more);
  return moved + 1;
}

int size_of(void* block) { return block ? static_cast<int>(header_of(block)->size) : 0; }
int round_up(int n) { return (n + 7) & ~7; }

}  // namespace

void flush() noexcept {
  if (pending.change != 0) tell(pending.account, pending.change);
  pending.change = 0;
}

Account* take_account(int64_t limit) {
  const std::lock_guard lock(accounts_mutex);
  for (Account& account : accounts) {
    if (account.taken || account.used.load(std::memory_order_relaxed) != 0) continue;
    account.taken = true;
    account.limit = limit;
    return &account;
  }
  Account& fresh = accounts.emplace_back();
  fresh.taken = true;
  fresh.limit = limit;
  return &fresh;
}

void give_account(Account* account) noexcept {
  if (account) account->taken = false;
}

void set_limits(const MemoryLimits& wanted) noexcept {
  configured = wanted;
  host_limit = wanted.host;
  if (host_limit == 0) {
    const int64_t all = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
    host_limit = std::max<int64_t>(1ll << 30, all / 4);
  }
}

const MemoryLimits& limits() noexcept { return configured; }
int64_t memory_used() noexcept { return used.load(std::memory_order_relaxed); }

bool is_short(const Account* account) noexcept {
  if (memory_used() > host_limit / 4 * 3) return true;
  return account && account->used.load(std::memory_order_relaxed) > account->limit.load(std::memory_order_relaxed) / 4 * 3;
}

void give_back() noexcept {
  if (peak.load(std::memory_order_relaxed) - memory_used() < kWorthGivingBack) return;
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  int64_t before = given_back_at.load(std::memory_order_relaxed);
  if (t.tv_sec < before + kGiveBackEvery || !given_back_at.compare_exchange_strong(before, t.tv_sec)) return;
  peak.store(memory_used(), std::memory_order_relaxed);
  ::malloc_trim(0);
}

bool use_allocator() noexcept {
  if (host_limit == 0) set_limits(configured);
  // Without fast bins: a million small blocks that a sort gave back would otherwise be joined in one allocation of somebody's, which
  // took 100 ms. Threads keep their own caches of small blocks.
  ::mallopt(M_MXFAST, 0);
  static const sqlite3_mem_methods methods{take, release, change, size_of, round_up, [](void*) { return SQLITE_OK; }, [](void*) {}, nullptr};
  // The memory statistics of SQLite take a lock of the whole process for every block.
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK && sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK;
}

}  // namespace via::sqlite::engine
