// The one table from SQLite's result codes to what a client and an operator see (docs/errors.md).
#include "plugins/sqlite/errors.hpp"

#include <cerrno>

namespace via::sqlite {

namespace {

Failure with_code(Failure failure) {
  failure.sqlite_code = SQLITE_AUTH;
  return failure;
}

}  // namespace

Failure sql_wrong(std::string message) {
  return {VIA_E_INVALID, "sql_error", std::move(message), SQLITE_ERROR};
}
Failure denied_by_policy(std::string_view why) { return with_code(sqlwire::denied_by_policy(why)); }
Failure writes_in_query() { return with_code(sqlwire::writes_in_query()); }
Failure internal(std::string message, int sqlite_code) {
  return {VIA_E_INTERNAL, "internal", std::move(message), sqlite_code};
}

Failure disk_is_full(int sqlite_code) {
  return {VIA_E_EXHAUSTED, "disk_full", "the disk is full; nothing was written, and what is there can be read", sqlite_code};
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
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
      // The shared memory is only ever made larger; of the rest the system said why.
      if (const int why = db ? sqlite3_system_errno(db) : 0; rc == SQLITE_IOERR_SHMSIZE || why == ENOSPC || why == EDQUOT) return disk_is_full(rc);
      [[fallthrough]];
    default:
      return internal(std::string("SQLite failed: ") + sqlite3_errstr(rc), rc);
  }
}

}  // namespace via::sqlite
