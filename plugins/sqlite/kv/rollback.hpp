// Bringing earlier states back: one key by a number of operations, a table to a time. What cannot be told exactly is
// refused and nothing is changed; what is changed is recorded like any other change, and so can be undone.
// Thread: the writer, inside the request's savepoint; a dry run any reader.
#pragma once

#include "plugins/sqlite/kv/travel.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::kv {

// Restores the state before the key's last `steps` operations. `json` is the answer.
Failure rollback_key(Connection& connection, const Table& table, std::string_view key, int64_t steps, int64_t now_ms, std::string& json);

// Which keys of a table; both may be given.
struct Selection {
  std::optional<std::vector<std::string>> keys;
  std::vector<std::string> exclude;
  // The body of POST /kv/rollback. 400 "Invalid JSON body", 413 above 10,000 keys.
  static Failure parse(std::string_view body, Selection& out);
};

// Restores the state at `to_ms`. A dry run changes nothing and tells what cannot be restored instead of refusing.
Failure rollback_table(Connection& connection, const Table& table, int64_t to_ms, const Selection& selection, bool dry_run,
                       int64_t now_ms, std::string& json);

// What changed between two times, as the answer of GET /kv/diff.
Failure diff_table(Connection& connection, const Table& table, int64_t from_ms, int64_t to_ms,
                   const std::optional<std::vector<std::string>>& keys, int64_t now_ms, std::string& json);

}  // namespace via::sqlite::kv
