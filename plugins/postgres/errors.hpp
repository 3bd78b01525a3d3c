// What PostgreSQL's refusals are on the wire (plugins/sqlwire/failure.hpp, docs/errors.md).
// Thread: any.
#pragma once

#include "plugins/sqlwire/failure.hpp"

#include <libpq-fe.h>

#include <memory>
#include <string>

namespace via::postgres {

using sqlwire::Failure;

struct ClearResult {
  void operator()(PGresult* r) const { PQclear(r); }
};
using ResultPointer = std::unique_ptr<PGresult, ClearResult>;

Failure sql_wrong(std::string message);
// The server cannot be reached, or ended the connection; nothing was done.
Failure unreachable(std::string why);
// The connection ended after a write was sent and before its answer came.
Failure outcome_unknown();
Failure internal(std::string message);

// By SQLSTATE. The server's first line reaches the client where it is about the statement; what is about the server keeps its
// text for the log. DETAIL, HINT and CONTEXT, which may hold values, are never taken.
Failure from_result(const PGresult* result);
// Of a connection that could not be made: told apart for the operator's log, always `unavailable` for the client.
Failure from_connection(const PGconn* connection);

std::string sqlstate_of(const PGresult* result);

}  // namespace via::postgres
