// The one table from SQLite's result codes to what a client and an operator see (docs/errors.md).
#include "plugins/sqlite/errors.hpp"

namespace via::sqlite {

Failure bad_request(std::string message) { return {VIA_E_INVALID, "bad_request", std::move(message)}; }
Failure sql_wrong(std::string message) {
  return {VIA_E_INVALID, "sql_error", std::move(message), SQLITE_ERROR};
}
Failure denied_by_policy() {
  return {VIA_E_INVALID, "sql_denied",
          "the statement uses something that the SQL policy of this binding does not allow", SQLITE_AUTH};
}
Failure writes_in_query() {
  return {VIA_E_INVALID, "sql_denied",
          "query takes one statement that only reads; use execute for one that writes and setup for the schema",
          SQLITE_AUTH};
}
Failure internal(std::string message, int sqlite_code) {
  return {VIA_E_INTERNAL, "internal", std::move(message), sqlite_code};
}

Failure from_sqlite(sqlite3* db, int rc) {
  const char* said = db ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
  switch (rc & 0xff) {
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
      return {VIA_E_INVALID, "sql_error", said, rc};
    case SQLITE_TOOBIG:
      return {VIA_E_INVALID, "sql_error", "string or blob too big", rc};
    case SQLITE_CONSTRAINT:
      return {VIA_E_INVALID, "constraint", said, rc};
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return {VIA_E_INVALID, "sql_denied", denied_by_policy().message, rc};
    case SQLITE_INTERRUPT:
      return {VIA_E_DEADLINE, "deadline_exceeded", "the statement did not end in time", rc};
    case SQLITE_NOMEM:
      return {VIA_E_INVALID, "memory_limit", "the statement needs more memory than one statement may have", rc};
    case SQLITE_FULL:
      return {VIA_E_EXHAUSTED, "quota_exceeded", "the database has reached its size limit", rc};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {VIA_E_UNAVAILABLE, "busy", "the database is busy", rc, -1, 50};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {VIA_E_CORRUPT, "internal", std::string("the database file is damaged: ") + sqlite3_errstr(rc), rc};
    default:
      return internal(std::string("SQLite failed: ") + sqlite3_errstr(rc), rc);
  }
}

void fail_call(via_call* call, const Failure& failure) {
  std::string details = "{";
  if (*failure.code) {
    details += "\"code\":\"";
    details += failure.code;
    details += '"';
  }
  const auto number = [&](const char* name, int value) {
    details += details.size() > 1 ? ",\"" : "\"";
    details += name;
    details += "\":";
    details += std::to_string(value);
  };
  if (failure.sqlite_code != 0) number("sqlite_code", failure.sqlite_code);
  if (failure.statement_index >= 0) number("statement_index", failure.statement_index);
  if (failure.retry_after_ms >= 0) number("retry_after_ms", failure.retry_after_ms);
  details += '}';
  call->complete(call, failure.status, view(failure.message), view(details));
}

void finish_call(via_call* call, std::string_view details) {
  call->complete(call, VIA_OK, view(""), view(details));
}

}  // namespace via::sqlite
