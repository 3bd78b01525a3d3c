// Key-value tables inside of a database: made on demand, and never mistaken for a table that an app made under the name.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/kv/entry.hpp"

namespace via::sqlite::kv {

// Whether the table is there. One that is not exactly ours, or has triggers, is refused: 400 "NAME is not a key-value table".
Failure find_table(Connection& connection, const Table& table, bool& exists);
// Makes it when it is not there.
Failure ensure_table(Connection& connection, const Table& table);

}  // namespace via::sqlite::kv
