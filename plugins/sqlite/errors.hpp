// What SQLite's refusals are on the wire (plugins/sqlwire/failure.hpp).
// Thread: values; any.
#pragma once

#include "plugins/sqlwire/failure.hpp"

#include <sqlite3.h>

#include <string>

namespace via::sqlite {

using sqlwire::bad_request;
using sqlwire::fail_call;
using sqlwire::Failure;
using sqlwire::finish_call;
using sqlwire::text;
using sqlwire::view;

Failure sql_wrong(std::string message);
Failure denied_by_policy(std::string_view why = {});
Failure writes_in_query();
Failure internal(std::string message, int sqlite_code = 0);

// What SQLite's result code means for the caller. Messages of the database reach the client only for mistakes of
// the statement; damage, I/O and the like keep their text for the log and hold neither SQL nor a path.
Failure from_sqlite(sqlite3* db, int rc);
// The disk has no room: the operator's trouble, and not the quota of the add-on.
Failure disk_is_full(int sqlite_code = 0);

}  // namespace via::sqlite
