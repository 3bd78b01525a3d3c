// Opening with everything off that an app could misuse, the statement cache, the progress guard.
#include "plugins/sqlite/connection.hpp"

#include "plugins/sqlite/functions.hpp"

#include <strings.h>

#include <algorithm>

namespace via::sqlite {
namespace {

constexpr size_t kCachedStatements = 128;
constexpr size_t kCachedHostStatements = 256;
constexpr size_t kCachedTextLimit = 8192;
constexpr int kBeat = 200;  // VM operations between two looks at the guard

bool is_vacuum(std::string_view sql) {
  return sql.size() >= 6 && strncasecmp(sql.data(), "vacuum", 6) == 0;
}

}  // namespace

Failure Connection::open(const std::string& path, Kind kind, const Limits& limits, const Host& host,
                         std::unique_ptr<Connection>& out) {
  std::unique_ptr<Connection> c(new Connection(host));
  c->guard_.host = &host;
  c->guard_.account = host.account();
  const int flags = (kind == Kind::reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOFOLLOW |
                    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  int rc = sqlite3_open_v2(path.c_str(), &c->db_, flags, nullptr);
  if (rc != SQLITE_OK) return from_sqlite(nullptr, rc);
  sqlite3* db = c->db_;
  c->guard_.db = db;
  c->history_operations = limits.history_operations;
  c->history_age_ms = limits.history_age_ms;
  const auto config = [&](int what, int on) {
    if (rc == SQLITE_OK) rc = sqlite3_db_config(db, what, on, nullptr);
  };
  // Until it has been read: a close of what could not be opened must not remove a log whose index could not be opened
  // either, which SQLite would take for empty.
  int keep_log = 1;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  config(SQLITE_DBCONFIG_DEFENSIVE, 1);
  config(SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0);
  config(SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0);
  config(SQLITE_DBCONFIG_DQS_DML, 0);
  config(SQLITE_DBCONFIG_DQS_DDL, 0);
  config(SQLITE_DBCONFIG_ENABLE_FKEY, 1);
  config(SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, 0);
  config(SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, 0);
  if (rc != SQLITE_OK) return from_sqlite(db, rc);
  sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 10'000'000);
  sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, 1'000'001);
  sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 2'000);
  sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 1'000);
  sqlite3_limit(db, SQLITE_LIMIT_COMPOUND_SELECT, 500);
  sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, 32'766);
  sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1'000);
  sqlite3_limit(db, SQLITE_LIMIT_TRIGGER_DEPTH, 100);
  sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
  if (rc = register_linear_functions(db); rc != SQLITE_OK) return from_sqlite(db, rc);
  constexpr int kFunction = SQLITE_UTF8 | SQLITE_INNOCUOUS;
  rc = sqlite3_create_function_v2(db, "changes", 0, kFunction, c.get(), sql_changes, nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) rc = sqlite3_create_function_v2(db, "total_changes", 0, kFunction, c.get(), sql_total_changes, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return from_sqlite(db, rc);
  sqlite3_busy_timeout(db, kind == Kind::writer ? 5'000 : 1'000);
  rc = c->host_exec("PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY");
  if (rc == SQLITE_OK) rc = c->host_exec(kind == Kind::writer ? "PRAGMA cache_size=-32768" : "PRAGMA cache_size=-8192");
  if (rc == SQLITE_OK && kind == Kind::writer) {
    rc = c->host_exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
                      "PRAGMA journal_size_limit=33554432");
    const int64_t page = c->host_number("PRAGMA page_size");
    if (rc == SQLITE_OK && page > 0)
      rc = c->host_exec(("PRAGMA max_page_count=" +
                         std::to_string(std::max<uint64_t>(8, limits.quota_bytes / static_cast<uint64_t>(page)))).c_str());
  }
  // Reads the schema now, so that damage shows here and the first statement does not pay for it.
  if (rc == SQLITE_OK) rc = c->host_exec("SELECT count(*) FROM sqlite_schema");
  keep_log = 0;
  if (rc == SQLITE_OK) sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  if (rc == SQLITE_OK && kind == Kind::reader) rc = c->host_exec("PRAGMA query_only=ON");
  // Opening makes the log and its index; the file itself does not grow, so that it is not the quota that is used up.
  if ((rc & 0xff) == SQLITE_FULL) return disk_is_full(rc);
  if (rc != SQLITE_OK) return from_sqlite(db, rc);
  sqlite3_set_authorizer(db, Policy::callback, &c->policy_);
  sqlite3_progress_handler(db, kBeat, progress, c.get());
  out = std::move(c);
  return {};
}

Connection::~Connection() {
  end_guard();
  cache_.clear();
  loose_.reset();
  for (const auto& [sql, stmt] : host_cache_) sqlite3_finalize(stmt);
  sqlite3_close_v2(db_);
}

Failure Connection::prepare(Operation mode, std::string_view sql, bool keep, Statement& out, std::string_view& rest) {
  const std::string_view text = skip_blank(sql);
  rest = {};
  if (text.empty()) return {};
  if (is_vacuum(text))
    return denied_by_policy("VACUUM is not allowed: free space is used again by itself; the data API makes a compact copy (POST /maintenance, vacuum_into)");
  for (int attempt = 0; attempt < 2; ++attempt) {
    policy_.begin_prepare(mode);
    const char* tail = nullptr;
    // The text is followed by a NUL, which spares SQLite a copy.
    const int rc = sqlite3_prepare_v3(db_, text.data(), static_cast<int>(text.size()) + 1,
                                      keep ? SQLITE_PREPARE_PERSISTENT : 0, &out.stmt, &tail);
    policy_.preparing = false;
    if (rc != SQLITE_OK) {
      if (policy_.denied_write) return writes_in_query();
      return policy_.denied ? denied_by_policy(policy_.why) : failure(rc);
    }
    if (!out.stmt) return {};
    if (sqlite3_stmt_isexplain(out.stmt)) return denied_by_policy("EXPLAIN is not allowed: run it with sqlite3 on a copy (via addon export)");
    rest = text.substr(std::min(static_cast<size_t>(tail - text.data()), text.size()));
    if (policy_.shadow_suspects.empty()) break;
    const auto suspects = policy_.shadow_suspects;
    bool inside = false;
    for (const auto& base : suspects) inside = inside || inside_virtual_table(base);
    if (!inside) break;
    // The first use of a virtual table may itself have prepared reads of its tables; the second prepare tells.
    if (attempt == 1) return denied_by_policy("the tables that a virtual table keeps itself in are not for statements of apps; use the virtual table");
    sqlite3_finalize(out.stmt);
    out.stmt = nullptr;
  }
  out.alters = policy_.alters;
  out.creates_view = policy_.creates_view;
  out.inserts = policy_.inserts;
  out.bounded = policy_.bounded;
  out.columns = sqlite3_column_count(out.stmt);
  out.parameters = sqlite3_bind_parameter_count(out.stmt);
  return {};
}

bool Connection::inside_virtual_table(const std::string& base) {
  return host_number("SELECT count(*) FROM sqlite_schema WHERE type='table' AND rootpage=0 AND name=?1 COLLATE NOCASE", base) > 0;
}

bool Connection::cached(Operation mode, std::string_view sql) const { return cache_.contains({mode, sql}); }

Statement* Connection::find(Operation mode, std::string_view sql) {
  const auto it = cache_.find({mode, sql});
  if (it == cache_.end()) return nullptr;
  it->second->used = ++tick_;
  policy_.mode = mode;
  policy_.host_sql = false;
  return it->second.get();
}

void Connection::forget_statements() {
  cache_.clear();
  loose_.reset();
}

Failure Connection::statement(Operation mode, std::string_view sql, Statement*& out) {
  if (out = find(mode, sql); out) return {};
  const bool keep = sql.size() <= kCachedTextLimit;
  auto fresh = std::make_unique<Statement>();
  std::string_view rest;
  if (Failure f = prepare(mode, sql, keep, *fresh, rest)) return f;
  if (!fresh->stmt) return bad_request("the SQL text holds no statement");
  if (!skip_blank(rest).empty()) return bad_request("exactly one statement is taken here");
  if (mode == Operation::query && !sqlite3_stmt_readonly(fresh->stmt)) return writes_in_query();
  if (mode == Operation::execute && sqlite3_stmt_readonly(fresh->stmt)) {
    return {VIA_E_INVALID, "sql_denied", "execute takes one statement that writes; use query for one that reads", SQLITE_AUTH};
  }
  fresh->used = ++tick_;
  out = fresh.get();
  if (!keep) {
    loose_ = std::move(fresh);
    return {};
  }
  if (cache_.size() >= kCachedStatements) {
    cache_.erase(std::min_element(cache_.begin(), cache_.end(),
                                  [](const auto& a, const auto& b) { return a.second->used < b.second->used; }));
  }
  fresh->sql = sql;
  const Key key{mode, fresh->sql};
  cache_.emplace(key, std::move(fresh));
  return {};
}

int Connection::host_exec(const char* sql) {
  policy_.host_sql = true;
  return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
}

int Connection::host_step(sqlite3_stmt*& slot, const char* sql) {
  policy_.host_sql = true;
  if (!slot) {
    if (const int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &slot, nullptr); rc != SQLITE_OK) return rc;
  }
  sqlite3_step(slot);
  return sqlite3_reset(slot);
}

int64_t Connection::host_number(const char* sql, std::string_view bound) {
  policy_.host_sql = true;
  sqlite3_stmt* stmt = nullptr;
  int64_t n = -1;
  if (sqlite3_prepare_v2(db_, sql, -1, &stmt, nullptr) == SQLITE_OK) {
    if (!bound.empty()) sqlite3_bind_text(stmt, 1, bound.data(), static_cast<int>(bound.size()), SQLITE_STATIC);
    if (sqlite3_step(stmt) == SQLITE_ROW) n = sqlite3_column_int64(stmt, 0);
  }
  sqlite3_finalize(stmt);
  return n;
}

int Connection::host_statement(std::string_view sql, sqlite3_stmt*& out) {
  policy_.host_sql = true;
  if (const auto it = host_cache_.find(sql); it != host_cache_.end()) {
    out = it->second;
    sqlite3_reset(out);
    return SQLITE_OK;
  }
  out = nullptr;
  const int rc = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &out, nullptr);
  if (rc != SQLITE_OK) return rc;
  if (host_cache_.size() >= kCachedHostStatements) {
    std::erase_if(host_cache_, [](const auto& cached) {
      if (sqlite3_stmt_busy(cached.second)) return false;
      sqlite3_finalize(cached.second);
      return true;
    });
  }
  host_cache_.emplace(sql, out);
  return rc;
}

void Connection::begin_request() {
  sqlite3_set_last_insert_rowid(db_, 0);
  changes_before_ = sqlite3_total_changes64(db_);
}

void Connection::sql_changes(sqlite3_context* context, int, sqlite3_value**) {
  const auto& c = *static_cast<const Connection*>(sqlite3_user_data(context));
  sqlite3_result_int64(context, sqlite3_total_changes64(c.db_) == c.changes_before_ ? 0 : sqlite3_changes64(c.db_));
}

void Connection::sql_total_changes(sqlite3_context* context, int, sqlite3_value**) {
  const auto& c = *static_cast<const Connection*>(sqlite3_user_data(context));
  sqlite3_result_int64(context, sqlite3_total_changes64(c.db_) - c.changes_before_);
}

void Connection::begin_guard(uint64_t deadline_ns, const via_call* call, uint64_t operations) {
  end_guard();
  guard_.stopped.store(Stop::none, std::memory_order_relaxed);
  if (deadline_ns == 0 && !call && operations == 0) return;
  guard_.deadline_ns = deadline_ns;
  guard_.call = call;
  guard_.memory = 0;
  operations_ = operations;
  guarded_ = true;
  engine::enter(guard_);
}

void Connection::end_guard() {
  if (!guarded_) return;
  guarded_ = false;
  guard_.call = nullptr;
  engine::leave();
}

int Connection::progress(void* self) {
  auto& c = *static_cast<Connection*>(self);
  if (!c.guarded_) return 0;
  if (c.operations_ != 0) {
    if (c.operations_ <= kBeat) {
      c.guard_.stop(Stop::operations);
      return 1;
    }
    c.operations_ -= kBeat;
  }
  return engine::look();
}

Failure Connection::failure(int rc) {
  if (guarded_) {
    switch (stopped()) {
      case Stop::none: break;
      case Stop::deadline: return from_sqlite(db_, SQLITE_INTERRUPT);
      case Stop::cancelled: return {VIA_E_CANCELLED, "cancelled", "the request was cancelled", SQLITE_INTERRUPT};
      case Stop::memory: return from_sqlite(db_, SQLITE_NOMEM);
      case Stop::addon_memory:
        return {VIA_E_UNAVAILABLE, "memory_busy", "other statements of this add-on use the memory that it may have; try again when they have ended",
                SQLITE_NOMEM, -1, 1000};
      case Stop::host_memory:
        return {VIA_E_UNAVAILABLE, "memory_busy", "the host is short of memory; try again", SQLITE_NOMEM, -1, 1000};
      case Stop::operations: return {VIA_E_INVALID, "operation_limit", "the statement takes too many steps", SQLITE_INTERRUPT};
      case Stop::reader:
        return {VIA_E_UNAVAILABLE, "reader_too_old", "the result was not taken fast enough while the database was written to; read it again",
                SQLITE_INTERRUPT, -1, 100};
    }
  }
  if (rc == SQLITE_ERROR && policy_.denied) return denied_by_policy(policy_.why);
  return from_sqlite(db_, rc);
}

}  // namespace via::sqlite
