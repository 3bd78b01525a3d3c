// The record of what happened to each key, from which any earlier state is told.
//
// It is a table of the same database, _via_kv_history, which app SQL cannot touch. One row per recorded operation: the
// key's table, key, op_number (1, 2, 3 … per key, never reused, deletion keeps counting), time, operation, and value,
// content type and expiry before and after. A change that asked not to be recorded leaves a mark that says since when
// the chain is broken. Everything here runs in the transaction of the change itself.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/kv/entry.hpp"

namespace via::sqlite::kv {

// What keeps the history bounded, from the add-on's configuration.
struct Retention {
  int64_t max_operations_per_key = 10'000;
  int64_t max_age_ms = 0;  // 0 = no limit
};

// Records one change of a key. `before` and `after` are null where there was, or is, no live value. `op` is the word that
// answers show: set, delete, incr, decr, push, pop, remove, rollback, expire.
Failure record(Connection& connection, const Table& table, std::string_view key, std::string_view op, const Entry* before,
               const Entry* after, int64_t now_ms);
// Notes that the key changed without a record.
Failure skip(Connection& connection, const Table& table, std::string_view key, int64_t now_ms);

}  // namespace via::sqlite::kv
