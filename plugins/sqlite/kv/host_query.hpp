// A cached statement of the host, bound from the left and reset at the end of its scope. Its text is a literal of this
// source, or one with a checked table name (Table) in double quotes.
// Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/render.hpp"

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>

namespace via::sqlite::kv {

class HostQuery {
 public:
  HostQuery(Connection& connection, std::string_view sql) : connection_(connection), rc_(connection.host_statement(sql, stmt_)) {}
  ~HostQuery() {
    if (stmt_) sqlite3_reset(stmt_);
  }
  HostQuery(const HostQuery&) = delete;
  HostQuery& operator=(const HostQuery&) = delete;

  // Bound bytes are not copied: they must live until the query's end.
  HostQuery& text(std::string_view s) {
    if (ready()) keep(sqlite3_bind_text64(stmt_, ++bound_, s.data() ? s.data() : "", s.size(), SQLITE_STATIC, SQLITE_UTF8));
    return *this;
  }
  HostQuery& blob(std::string_view s) {
    if (ready()) keep(sqlite3_bind_blob64(stmt_, ++bound_, s.data() ? s.data() : "", s.size(), SQLITE_STATIC));
    return *this;
  }
  HostQuery& integer(int64_t n) {
    if (ready()) keep(sqlite3_bind_int64(stmt_, ++bound_, n));
    return *this;
  }
  HostQuery& integer(const std::optional<int64_t>& n) { return n ? integer(*n) : null(); }
  HostQuery& null() {
    if (ready()) keep(sqlite3_bind_null(stmt_, ++bound_));
    return *this;
  }

  // True with a row; false at the end or on a failure (see failed()).
  bool next() {
    if (!ready()) return false;
    reals_.clear();
    const int rc = sqlite3_step(stmt_);
    if (rc == SQLITE_ROW) return true;
    if (rc != SQLITE_DONE) rc_ = rc;
    return false;
  }
  // Runs a statement that gives no rows.
  Failure run() {
    next();
    return failed();
  }
  int code() const { return rc_; }
  Failure failed() const { return rc_ == SQLITE_OK ? Failure{} : connection_.failure(rc_); }

  bool is_null(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }
  int64_t number(int column) const { return sqlite3_column_int64(stmt_, column); }
  std::optional<int64_t> number_or_null(int column) const {
    return is_null(column) ? std::nullopt : std::optional<int64_t>(number(column));
  }
  // Text or blob; valid until the next step. A number is told by all its digits, where SQLite would tell fifteen of them.
  std::string_view bytes(int column) const {
    if (sqlite3_column_type(stmt_, column) == SQLITE_FLOAT) {
      StringOutput digits;
      render_real(digits, sqlite3_column_double(stmt_, column));
      return reals_.emplace_back(digits.take());
    }
    const void* p = sqlite3_column_type(stmt_, column) == SQLITE_BLOB ? sqlite3_column_blob(stmt_, column)
                                                                     : static_cast<const void*>(sqlite3_column_text(stmt_, column));
    const auto size = static_cast<size_t>(sqlite3_column_bytes(stmt_, column));
    return p ? std::string_view(static_cast<const char*>(p), size) : std::string_view();
  }

 private:
  bool ready() const { return stmt_ && rc_ == SQLITE_OK; }
  void keep(int rc) {
    if (rc != SQLITE_OK) rc_ = rc;
  }
  Connection& connection_;
  sqlite3_stmt* stmt_ = nullptr;
  int rc_;
  int bound_ = 0;
  mutable std::list<std::string> reals_;
};

}  // namespace via::sqlite::kv
