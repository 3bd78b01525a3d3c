// The one table from SQLSTATE to what a client and an operator see.
#include "plugins/postgres/errors.hpp"

#include <string_view>

namespace via::postgres {

Failure sql_wrong(std::string message) { return {VIA_E_INVALID, "sql_error", std::move(message)}; }
Failure unreachable(std::string why) {
  Failure f{VIA_E_UNAVAILABLE, "unavailable", std::move(why)};
  f.retry_after_ms = 500;
  return f;
}
Failure outcome_unknown() {
  return {VIA_E_INTERNAL, "outcome_unknown", "the connection to the server ended before it said whether the write was made"};
}
Failure internal(std::string message) { return {VIA_E_INTERNAL, "internal", std::move(message)}; }

std::string sqlstate_of(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state != nullptr ? state : "";
}

Failure from_result(const PGresult* result) {
  const std::string state = sqlstate_of(result);
  // A server always names one; without it the words are libpq's own, of a connection that is gone.
  if (state.empty()) return unreachable("the connection to the PostgreSQL server ended");
  const char* said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const std::string message = said != nullptr ? said : "the server gave no reason";
  const std::string_view group = std::string_view(state).substr(0, 2);
  Failure f;
  const auto is = [&](std::string_view known) { return state == known; };
  if (is("57014")) f = {VIA_E_DEADLINE, "deadline_exceeded", "the statement did not end in time"};
  else if (is("25006") || is("42501") || is("0LP01") || is("28000"))
    f = {VIA_E_INVALID, "sql_denied", is("25006") ? sqlwire::writes_in_query().message
                                               : "the role of this binding has no right to that: it owns what is in its database, and nothing of the server"};
  else if (group == "23" || is("44000")) f = {VIA_E_INVALID, "constraint", message};
  else if (is("40001") || is("40P01") || is("55P03") || is("55006")) {
    f = {VIA_E_UNAVAILABLE, "busy", "the statement met another one; nothing was written, try it again"};
    f.retry_after_ms = 20;
  } else if (is("53100")) f = {VIA_E_EXHAUSTED, "disk_full", "the server's disk is full; nothing was written"};
  else if (is("53400")) f = {VIA_E_EXHAUSTED, "quota_exceeded", "a limit of the server's configuration is reached"};
  else if (is("53200")) f = {VIA_E_INVALID, "memory_limit", "the statement needs more memory than the server has"};
  else if (is("53300")) f = unreachable("the server has no connection left");
  else if (group == "57" || group == "08") f = unreachable("the server is ending or starting; nothing was done");
  else if (group == "58" || group == "XX" || group == "53") f = internal("PostgreSQL failed (" + state + "): " + message);
  else f = sql_wrong(message);
  f.sqlstate = state;
  return f;
}

Failure from_connection(const PGconn* connection) {
  const std::string_view said = PQerrorMessage(connection);
  const auto has = [&](std::string_view part) { return said.find(part) != said.npos; };
  if (PQconnectionNeedsPassword(connection) != 0 || has("password authentication failed") || has("pg_hba.conf") || has("no password supplied"))
    return unreachable("the PostgreSQL server refuses the host's credentials");
  if (has("does not exist")) return unreachable("the PostgreSQL server has no such database or role");
  if (has("too many clients") || has("too many connections") || has("remaining connection slots"))
    return unreachable("the PostgreSQL server has no connection left");
  if (has("starting up") || has("shutting down") || has("recovery mode")) return unreachable("the PostgreSQL server is starting or ending");
  if (has("SSL") || has("certificate")) return unreachable("the PostgreSQL server and the host do not agree on TLS");
  return unreachable("the PostgreSQL server cannot be reached");
}

}  // namespace via::postgres
