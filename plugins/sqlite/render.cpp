// The row writer: a column is written as the storage class that SQLite gives it.
#include "plugins/sqlite/render.hpp"

namespace via::sqlite {

bool render_column(Output& out, sqlite3_stmt* stmt, int column, bool integers_as_text) {
  switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER:
      return render_integer(out, sqlite3_column_int64(stmt, column), integers_as_text);
    case SQLITE_FLOAT:
      return render_real(out, sqlite3_column_double(stmt, column));
    case SQLITE_TEXT: {
      const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(stmt, column));
      return render_text(out, {p ? p : "", p ? static_cast<size_t>(sqlite3_column_bytes(stmt, column)) : 0});
    }
    case SQLITE_BLOB: {
      const void* p = sqlite3_column_blob(stmt, column);
      return render_blob(out, p, static_cast<size_t>(sqlite3_column_bytes(stmt, column)));
    }
    default:
      return out.append("null");
  }
}

bool render_row(Output& out, sqlite3_stmt* stmt, int columns, bool integers_as_text) {
  if (!out.put('[')) return false;
  for (int i = 0; i < columns; ++i) {
    if (i > 0 && !out.put(',')) return false;
    if (!render_column(out, stmt, i, integers_as_text)) return false;
  }
  return out.put(']');
}

std::string render_head(sqlite3_stmt* stmt, bool has_row, bool& fixed) {
  StringOutput out;
  fixed = true;
  const int n = sqlite3_column_count(stmt);
  out.append("\"columns\":[");
  for (int i = 0; i < n; ++i) {
    if (i > 0) out.put(',');
    const char* name = sqlite3_column_name(stmt, i);
    render_text(out, name ? name : "");
  }
  out.append("],\"types\":[");
  for (int i = 0; i < n; ++i) {
    if (i > 0) out.put(',');
    if (const char* declared = sqlite3_column_decltype(stmt, i); declared && *declared) {
      render_text(out, declared);
      continue;
    }
    fixed = false;
    static constexpr const char* kClassNames[] = {"NULL", "INTEGER", "REAL", "TEXT", "BLOB", "NULL"};
    render_text(out, kClassNames[has_row ? sqlite3_column_type(stmt, i) : 0]);
  }
  out.put(']');
  return out.take();
}

}  // namespace via::sqlite
