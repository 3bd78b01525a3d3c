// The record of what happened to each key, from which any earlier state is told.
//
// It is a table of the same database, _via_kv_history, which app SQL cannot touch: one row per recorded operation with
// the key's table, key, op_number (1, 2, 3 … per key, deletion keeps counting), time, operation, and the value, content
// type and expiry after it. What was there before is the outcome of the operation before, so it is stored only where the
// chain is broken: there was an unrecorded change in between, `gap_at` of the row before says since when (nothing when it
// was noticed by comparison only). Rows of a key are dense; the oldest may be one whose own "before" was trimmed, and
// row 0 stands for a key whose first known change was not recorded. Times of one key never decrease.
// Everything here runs in the transaction of the change itself.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/kv/entry.hpp"

namespace via::sqlite::kv {

// Records one change of a key. `before` and `after` are null where there was, or is, no live value. `op` is the word that
// answers show: set, delete, incr, decr, push, pop, remove, rollback, expire. Trims the key's oldest operations to what
// the connection keeps. `op_number` gets the operation's number.
Failure record(Connection& connection, const Table& table, std::string_view key, std::string_view op, const Entry* before,
               const Entry* after, int64_t now_ms, int64_t* op_number = nullptr);
// Notes that the key changed without a record. To be called after the change was made.
Failure skip(Connection& connection, const Table& table, std::string_view key, int64_t now_ms);

// Whether the database has the history table. One that is not exactly ours is refused.
Failure history_exists(Connection& connection, bool& exists);

// A live value is the same when bytes, content type and expiry are.
bool same_value(const Entry* a, const Entry* b);

}  // namespace via::sqlite::kv
