// Running one prepared statement: binding, rows, counts. Shared by inline reads, worker reads and the writer.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/render.hpp"
#include "plugins/sqlwire/operation.hpp"

namespace via::sqlite {

using sqlwire::Format;

// Each statement names its values by position or by name; too few, too many and unknown ones are the caller's mistake.
// Values are borrowed from `request` until the statement is reset.
Failure bind(Connection& connection, Statement& statement, const Request& request, const StatementText& text);

// Runs a bound query and renders it whole; resets the statement. VIA_E_WOULD_BLOCK when `out` took no more.
Failure read_rows(Connection& connection, Statement& statement, const Request& request, Format format,
                  const Limits& limits, Output& out);

// Runs a bound statement to its end and renders {"update_count":…,"last_insert_rowid":…} and the rows it returned,
// if `out` is given. Adds to `updated`. Resets the statement.
Failure run_write(Connection& connection, Statement& statement, const Request& request, const Limits& limits,
                  Output* out, int64_t& updated);

// How many objects of the schema have the host's prefix. ALTER TABLE … RENAME TO does not show its target to the
// authorizer: where this changed over an app's statement, it made one.
int64_t reserved_objects(Connection& connection);
// A view's text meets the policy only when it is used; uses each once, so that a bad one is never stored.
Failure check_views(Connection& connection);

}  // namespace via::sqlite
