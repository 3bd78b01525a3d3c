// Reading and changing the keys of one table. Every change goes through change(): what was there, what is there after, and
// its record in the history are one transaction.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/database.hpp"
#include "plugins/sqlite/kv/entry.hpp"

#include <functional>

namespace via::sqlite::kv {

inline constexpr size_t kKeyBytes = 4096;

// 400 for an empty key, one over kKeyBytes or with a NUL.
Failure check_key(std::string_view key);

// The live value of a key. No table: nothing.
Failure get(Connection& connection, const Table& table, std::string_view key, int64_t now_ms, std::optional<Entry>& out);

// Live keys in byte order from `prefix` on. `each` returns false to end.
Failure list(Connection& connection, const Table& table, std::string_view prefix, int64_t limit, int64_t offset, int64_t now_ms,
             const std::function<bool(std::string_view key, const Entry&)>& each);

struct Change {
  Table table;
  std::string key;
  const char* op = "set";
  bool history = true;
  int64_t now_ms = 0;
};
// What a change makes of `before` (null: no live value): sets `after`, or leaves it empty for a deletion.
using ChangeFn = std::function<Failure(const Entry* before, std::optional<Entry>& after)>;
// Makes the table when a value is to be stored and it is not there. created_ms and updated_ms are filled in here.
Failure change(Connection& connection, const Change& what, const ChangeFn& fn);

// Takes away at most so many rows of a table of ours whose time is over. They were gone for every request before, and need no
// record. A table without the index of ours is not swept: that would read all of it.
Failure sweep(Connection& connection, const Table& table, int64_t now_ms, int limit);

// Database::Chores: the same for every table of the database, for those that nobody changes. What has passed its time is gone
// for requests anyway, so a few thousand rows a minute will do.
bool sweep_idle(Database& database, const Database::Pin& pin);

}  // namespace via::sqlite::kv
