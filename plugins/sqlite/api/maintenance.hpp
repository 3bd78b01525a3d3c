// What an operator does to a database file through the data API, on a connection of its own.
// Thread: worker; all block. `deadline_ns` is the host clock's.
#pragma once

#include "plugins/sqlite/api/databases.hpp"

#include <string>
#include <vector>

namespace via::sqlite::api {

// What PRAGMA quick_check says: {"ok"}, or at most 100 faults.
Failure quick_check(const OpenDatabase& database, uint64_t deadline_ns, const via_call* call, std::vector<std::string>& said);
// Moves the whole log into the file and empties it; `whole` is false where a reader kept it from that.
Failure checkpoint(const OpenDatabase& database, uint64_t deadline_ns, const via_call* call, bool& whole);
// A compact copy under a name that is not taken, whole or not there. 409 when it is.
Failure vacuum_into(const OpenDatabase& database, Databases& all, const Place& place, uint64_t deadline_ns, const via_call* call, uint64_t& bytes);

}  // namespace via::sqlite::api
