// The step loops. What a client reads of a result is written here and in render.cpp only.
#include "plugins/sqlite/run.hpp"

#include "plugins/sqlite/parameters.hpp"

#include <string>
#include <vector>

namespace via::sqlite {
namespace {

const Failure kSinkFull{VIA_E_WOULD_BLOCK, "", ""};

int bind_value(sqlite3_stmt* stmt, int index, const Request& request, const Value& v) {
  const std::string_view bytes = request.bytes_of(v);
  switch (v.kind) {
    case Value::null: return sqlite3_bind_null(stmt, index);
    case Value::integer: return sqlite3_bind_int64(stmt, index, v.number);
    case Value::real: return sqlite3_bind_double(stmt, index, v.fraction);
    case Value::text: return sqlite3_bind_text64(stmt, index, bytes.data(), bytes.size(), SQLITE_STATIC, SQLITE_UTF8);
    case Value::blob:
      if (bytes.empty()) return sqlite3_bind_zeroblob(stmt, index, 0);
      return sqlite3_bind_blob64(stmt, index, bytes.data(), bytes.size(), SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

// Resets at the end of a run, whichever way it ends; values that were borrowed are let go.
class Resetting {
 public:
  explicit Resetting(Statement& s) : s_(s) {}
  ~Resetting() {
    sqlite3_reset(s_.stmt);
    if (s_.parameters > 0) sqlite3_clear_bindings(s_.stmt);
  }
  Resetting(const Resetting&) = delete;

 private:
  Statement& s_;
};

// The row that a statement inserts last. Where the request has inserted before it, SQLite tells the earlier row when there is
// none; then the rows are watched.
class Inserted {
 public:
  Inserted(sqlite3* db, const Statement& s) : db_(db), inserts_(s.inserts), watches_(s.inserts && sqlite3_last_insert_rowid(db) != 0) {
    if (watches_) sqlite3_update_hook(db, saw, this);
  }
  ~Inserted() {
    if (watches_) sqlite3_update_hook(db_, nullptr, nullptr);
  }
  Inserted(const Inserted&) = delete;
  int64_t rowid() const { return inserts_ && (!watches_ || saw_) ? sqlite3_last_insert_rowid(db_) : 0; }

 private:
  static void saw(void* self, int what, const char*, const char*, sqlite3_int64) {
    if (what == SQLITE_INSERT) static_cast<Inserted*>(self)->saw_ = true;
  }
  sqlite3* const db_;
  const bool inserts_, watches_;
  bool saw_ = false;
};

// The rendered columns and types, from the statement's own copy while they cannot have changed.
bool put_head(Statement& s, bool has_row, Output& out) {
  const int again = sqlite3_stmt_status(s.stmt, SQLITE_STMTSTATUS_REPREPARE, 0);
  if (s.prepared_again != again || !s.head_fixed) {
    s.columns = sqlite3_column_count(s.stmt);
    s.head = render_head(s.stmt, has_row, s.head_fixed);
    s.prepared_again = again;
  }
  return out.append(s.head);
}

}  // namespace

Failure bind(Connection& connection, Statement& s, const Request& request, const StatementText& text) {
  int rc = SQLITE_OK;
  if (!text.named) {
    if (text.count != static_cast<uint32_t>(s.parameters))
      return sql_wrong("the statement has " + std::to_string(s.parameters) + " parameters, the request gives " + std::to_string(text.count));
    for (uint32_t i = 0; i < text.count && rc == SQLITE_OK; ++i)
      rc = bind_value(s.stmt, static_cast<int>(i) + 1, request, request.values[text.first + i]);
  } else {
    const auto name_of = [&](uint32_t v) { return request.name_of(request.values[text.first + v]); };
    const auto bind_one = [&](int parameter, uint32_t v) { return bind_value(s.stmt, parameter, request, request.values[text.first + v]); };
    if (Failure f = bind_named(s, text.count, name_of, bind_one, rc)) return f;
  }
  if (rc == SQLITE_OK) return {};
  Failure f = connection.failure(rc);
  sqlite3_clear_bindings(s.stmt);
  return f;
}

Failure read_rows(Connection& connection, Statement& s, const Request& request, Format format, const Limits& limits,
                  Output& out) {
  connection.policy().host_sql = false;
  connection.policy().mode = Operation::query;
  connection.policy().denied = false;
  const Resetting resetting(s);
  int rc = sqlite3_step(s.stmt);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) return connection.failure(rc);
  const size_t start = out.written();
  if (!out.put('{') || !put_head(s, rc == SQLITE_ROW, out)) return kSinkFull;
  if (!out.append(format == Format::json ? ",\"rows\":[" : "}\n")) return kSinkFull;
  uint64_t rows = 0;
  bool truncated = false;
  const uint64_t max_rows = format == Format::json ? limits.max_rows : UINT64_MAX;
  const uint64_t max_bytes = format == Format::json ? limits.max_result_bytes : UINT64_MAX;
  for (; rc == SQLITE_ROW; rc = sqlite3_step(s.stmt)) {
    if (rows >= max_rows || out.written() - start >= max_bytes) {
      truncated = true;
      rc = SQLITE_DONE;
      break;
    }
    if (format == Format::json && rows > 0 && !out.put(',')) return kSinkFull;
    if (!render_row(out, s.stmt, s.columns, request.integers_as_text)) return kSinkFull;
    if (format == Format::lines && !out.put('\n')) return kSinkFull;
    ++rows;
  }
  if (rc != SQLITE_DONE) return connection.failure(rc);
  bool ok = true;
  if (format == Format::json) {
    ok = out.append(truncated ? "],\"truncated\":true}" : "],\"truncated\":false}");
  } else {
    ok = out.append("{\"row_count\":" + std::to_string(rows) + ",\"truncated\":false}\n");
  }
  return ok ? Failure{} : kSinkFull;
}

Failure run_write(Connection& connection, Statement& s, const Request& request, const Limits& limits, Output* out,
                  int64_t& updated) {
  sqlite3* db = connection.db();
  connection.policy().host_sql = false;
  connection.policy().denied = false;
  const Resetting resetting(s);
  const Inserted inserted(db, s);
  const int64_t before = sqlite3_total_changes64(db);
  StringOutput returned;
  uint64_t rows = 0;
  bool truncated = false;
  int rc = SQLITE_OK;
  while ((rc = sqlite3_step(s.stmt)) == SQLITE_ROW) {
    if (!out) continue;
    if (rows >= limits.max_rows || returned.written() >= limits.max_result_bytes) {
      truncated = true;
      continue;
    }
    if (rows == 0) {
      returned.put(',');
      put_head(s, true, returned);
      returned.append(",\"rows\":[");
    } else {
      returned.put(',');
    }
    render_row(returned, s.stmt, s.columns, request.integers_as_text);
    ++rows;
  }
  if (rc != SQLITE_DONE) return connection.failure(rc);
  const int64_t changed = sqlite3_total_changes64(db) == before ? 0 : sqlite3_changes64(db);
  updated += changed;
  if (!out) return {};
  out->append("{\"update_count\":");
  render_integer(*out, changed, false);
  out->append(",\"last_insert_rowid\":");
  render_integer(*out, inserted.rowid(), request.integers_as_text);
  if (s.columns > 0) {
    if (rows == 0) {
      returned.put(',');
      put_head(s, false, returned);
      returned.append(",\"rows\":[");
    }
    out->append(returned.take());
    out->append(truncated ? "],\"truncated\":true" : "],\"truncated\":false");
  }
  out->put('}');
  return {};
}

int64_t reserved_objects(Connection& connection) {
  return connection.host_number("SELECT count(*) FROM sqlite_schema WHERE substr(name,1,5)='_via_' COLLATE NOCASE");
}

Failure check_views(Connection& connection) {
  std::vector<std::string> names;
  connection.policy().host_sql = true;
  sqlite3_stmt* stmt = nullptr;
  if (sqlite3_prepare_v2(connection.db(), "SELECT name FROM sqlite_schema WHERE type='view'", -1, &stmt, nullptr) == SQLITE_OK)
    while (sqlite3_step(stmt) == SQLITE_ROW)
      names.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(stmt, 0)), static_cast<size_t>(sqlite3_column_bytes(stmt, 0)));
  sqlite3_finalize(stmt);
  for (const auto& name : names) {
    std::string sql = "SELECT * FROM main.\"";
    for (const char c : name) {
      if (c == '"') sql += '"';
      sql += c;
    }
    sql += '"';
    Statement s;
    std::string_view rest;
    const Failure f = connection.prepare(Operation::query, sql, false, s, rest);
    // A view over a table that is not there yet is the app's business; one that the policy forbids is ours.
    if (f && (std::string_view(f.code) == "sql_denied" || f.message.find("unsafe use of") != f.message.npos))
      return denied_by_policy("a view uses something that statements of this binding may not use: " + f.message);
  }
  return {};
}

}  // namespace via::sqlite
