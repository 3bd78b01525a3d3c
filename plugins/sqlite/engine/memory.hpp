// What SQLite takes of memory, on three accounts: of the statement (what grew on its thread), of its add-on, of the host. Each has a
// limit; a statement that goes over one of them gets no memory and ends, and nobody else's does.
//
// Every block remembers the account that it was taken on. Accounts are never given back to the system: blocks may outlive an
// instance; an account without blocks is used again. Thread: any.
#pragma once

#include <atomic>
#include <cstdint>

namespace via::sqlite::engine {

struct Account {
  std::atomic<int64_t> used{0};
  std::atomic<int64_t> limit{0};
  std::atomic<bool> taken{false};
};

struct MemoryLimits {
  int64_t statement = 160ll << 20;  // with the pages that it keeps in its connection's cache
  int64_t addon = 512ll << 20;
  int64_t host = 0;                 // 0 = a quarter of the machine's memory, at least 1 GiB
};

Account* take_account(int64_t limit);
void give_account(Account* account) noexcept;

// For the process. Thread: before SQLite is used.
void set_limits(const MemoryLimits& limits) noexcept;
const MemoryLimits& limits() noexcept;
int64_t memory_used() noexcept;

// What this thread has counted becomes known to all. Thread: at the end of a statement.
void flush() noexcept;

// Whether so much is in use by the add-on, or on the host, that caches should go before somebody is refused.
bool is_short(const Account* account) noexcept;

// Hands what is free back to the system when much was in use and some time has passed. Thread: worker.
void give_back() noexcept;

// sqlite3_config(SQLITE_CONFIG_MALLOC); false when SQLite is in use already.
bool use_allocator() noexcept;

}  // namespace via::sqlite::engine
