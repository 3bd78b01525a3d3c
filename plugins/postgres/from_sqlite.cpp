// See from_sqlite.hpp. The file is a private copy that nobody else has open; SQLite's text is never run on the server: names are
// quoted, values go by COPY, defaults only where they are plain literals.
#include "plugins/postgres/from_sqlite.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <memory>
#include <optional>
#include <set>

namespace via::postgres {
namespace {

namespace fs = std::filesystem;

struct Column {
  std::string name, declared, fallback;  // fallback: a default, as SQL; empty = none
  std::string type;                      // in PostgreSQL
  bool not_null = false, generated = false;
  int key_place = 0;
};
struct Foreign {
  std::vector<std::string> columns, others;
  std::string table, on_update, on_delete;
};
struct Index {
  std::string name;
  bool unique = false;
  std::vector<std::string> columns;
};
struct Table {
  std::string name;
  std::vector<Column> columns;
  std::vector<Foreign> foreign;
  std::vector<Index> indexes;
  bool counts = false;  // an INTEGER PRIMARY KEY
};

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
struct Finalize {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Query = std::unique_ptr<sqlite3_stmt, Finalize>;

Failure damaged() { return {VIA_E_INVALID, "snapshot_invalid", "The SQLite database is damaged or cannot be read."}; }

Failure open_file(const fs::path& file, Database& out) {
  // Nobody changes the copy, so it is read without locks and without a -shm, also where it was left in WAL mode
  // (sqlite.org/uri.html, "immutable").
  std::string uri = "file:";
  for (const char c : file.string()) {
    static constexpr char kDigits[] = "0123456789ABCDEF";
    if (c == '?' || c == '#' || c == '%') {
      uri += '%';
      uri += kDigits[static_cast<unsigned char>(c) >> 4];
      uri += kDigits[static_cast<unsigned char>(c) & 15];
    } else {
      uri += c;
    }
  }
  sqlite3* db = nullptr;
  const int rc = sqlite3_open_v2((uri + "?immutable=1").c_str(), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_URI, nullptr);
  out.reset(db);
  if (rc != SQLITE_OK) return damaged();
  sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_exec(db, "PRAGMA cell_size_check=ON; PRAGMA query_only=ON", nullptr, nullptr, nullptr);
  return {};
}

bool prepare(sqlite3* db, const std::string& sql, Query& out) {
  sqlite3_stmt* s = nullptr;
  const int rc = sqlite3_prepare_v2(db, sql.c_str(), -1, &s, nullptr);
  out.reset(s);
  return rc == SQLITE_OK && s != nullptr;
}

std::string text(sqlite3_stmt* s, int column) {
  const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(s, column));
  return p != nullptr ? std::string(p, static_cast<std::size_t>(sqlite3_column_bytes(s, column))) : std::string();
}

std::string upper(std::string s) {
  for (char& c : s)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return s;
}

// As an app's SQL names it: without quotes it is read in lower case.
std::string moved(const std::string& name) {
  const bool plain = !name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == name.npos &&
                     !(name.front() >= '0' && name.front() <= '9');
  return plain ? lower(name) : name;
}
std::string named(const std::string& name) { return identifier(moved(name)); }
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + named(name);
  return out;
}

// A literal that both dialects write alike; anything else is dropped and told.
std::optional<std::string> moved_default(const std::string& sql, const std::string& type) {
  if (sql.empty() || upper(sql) == "NULL") return std::string();
  const std::string word = upper(sql);
  if (word == "CURRENT_TIMESTAMP" && type == "text") return std::string("to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')");
  if ((word == "TRUE" || word == "FALSE") && type == "bigint") return std::string(word == "TRUE" ? "1" : "0");
  double number = 0;
  const char* from = sql.data() + (sql.front() == '+' ? 1 : 0);
  const auto [end, error] = std::from_chars(from, sql.data() + sql.size(), number);
  if (error == std::errc() && end == sql.data() + sql.size()) {
    if (type == "text") return literal(sql);
    return type == "bytea" ? std::optional<std::string>() : std::string(from, end);
  }
  if (sql.size() >= 2 && sql.front() == '\'' && sql.back() == '\'' && sql.find('\0') == sql.npos) {
    for (std::size_t i = 1; i + 1 < sql.size(); ++i) {
      if (sql[i] != '\'') continue;
      if (i + 2 >= sql.size() || sql[i + 1] != '\'') return std::nullopt;
      ++i;
    }
    return type == "text" ? std::optional(sql) : std::nullopt;
  }
  return std::nullopt;
}

// The type that the declared name stands for (sqlite.org/datatype3.html, "Determination Of Column Affinity").
std::string declared_type(const std::string& declared) {
  const std::string d = upper(declared);
  const auto has = [&](const char* part) { return d.find(part) != d.npos; };
  if (has("INT") || has("BOOL")) return "bigint";
  if (has("CHAR") || has("CLOB") || has("TEXT") || has("DATE") || has("TIME") || has("JSON") || has("UUID")) return "text";
  if (has("BLOB")) return "bytea";
  if (has("REAL") || has("FLOA") || has("DOUB")) return "double precision";
  if (has("NUMERIC") || has("DECIMAL")) return "numeric";
  return "";
}

// What holds every value that is there. With none, what was declared, else text.
Failure decide_type(sqlite3* db, const std::string& table, Column& column) {
  Query q;
  if (!prepare(db, "SELECT DISTINCT typeof(" + identifier(column.name) + ") FROM " + identifier(table), q)) return damaged();
  std::set<std::string> kinds;
  int rc = SQLITE_OK;
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) kinds.insert(text(q.get(), 0));
  if (rc != SQLITE_DONE) return damaged();
  kinds.erase("null");
  const std::string declared = declared_type(column.declared);
  const bool integers = kinds.contains("integer"), reals = kinds.contains("real"), texts = kinds.contains("text"), blobs = kinds.contains("blob");
  if (kinds.empty()) column.type = declared.empty() ? "text" : declared;
  else if (blobs) column.type = "bytea";
  else if (texts) column.type = "text";
  else if (reals) column.type = integers && declared == "numeric" ? "numeric" : "double precision";
  else column.type = declared == "double precision" || declared == "numeric" || declared == "text" ? declared : "bigint";
  // An integer beyond 2^53 would be another one as a double.
  if (integers && column.type == "double precision") {
    Query large;
    if (!prepare(db, "SELECT 1 FROM " + identifier(table) + " WHERE typeof(" + identifier(column.name) + ")='integer' AND abs(" + identifier(column.name) +
                         ") > 9007199254740992 LIMIT 1", large))
      return damaged();
    const int found = sqlite3_step(large.get());
    if (found == SQLITE_ROW || found == SQLITE_ERROR) column.type = "numeric";  // abs() of the smallest integer is an error
  }
  return {};
}

Failure read_table(sqlite3* db, const std::string& name, Table& table, const std::function<void(const std::string&)>& left_out) {
  table.name = name;
  Query q;
  if (!prepare(db, "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(" + literal(name) + ")", q)) return damaged();
  int rc = SQLITE_OK, keys = 0;
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    Column c;
    c.name = text(q.get(), 0);
    c.declared = text(q.get(), 1);
    c.not_null = sqlite3_column_int(q.get(), 2) != 0;
    c.fallback = text(q.get(), 3);
    c.key_place = sqlite3_column_int(q.get(), 4);
    c.generated = sqlite3_column_int(q.get(), 5) >= 2;
    if (sqlite3_column_int(q.get(), 5) == 1) continue;
    keys += c.key_place > 0 ? 1 : 0;
    if (c.generated) left_out("how column " + c.name + " of table " + name + " is generated (its values are taken)");
    table.columns.push_back(std::move(c));
  }
  if (rc != SQLITE_DONE || table.columns.empty()) return damaged();
  for (Column& c : table.columns) {
    if (Failure f = decide_type(db, name, c)) return f;
    if (keys == 1 && c.key_place == 1 && upper(c.declared) == "INTEGER" && c.type == "bigint") table.counts = true;
    const auto fallback = moved_default(c.fallback, c.type);
    if (!fallback) left_out("the default of column " + c.name + " of table " + name);
    c.fallback = fallback.value_or("");
  }
  if (!prepare(db, "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete FROM pragma_foreign_key_list(" + literal(name) + ") ORDER BY id, seq", q)) return damaged();
  int last = -1;
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    if (sqlite3_column_int(q.get(), 0) != last) {
      last = sqlite3_column_int(q.get(), 0);
      table.foreign.push_back({{}, {}, text(q.get(), 1), text(q.get(), 4), text(q.get(), 5)});
    }
    table.foreign.back().columns.push_back(text(q.get(), 2));
    if (sqlite3_column_type(q.get(), 3) != SQLITE_NULL) table.foreign.back().others.push_back(text(q.get(), 3));
  }
  if (rc != SQLITE_DONE) return damaged();
  if (!prepare(db, "SELECT name, \"unique\", origin, partial FROM pragma_index_list(" + literal(name) + ")", q)) return damaged();
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    Index index{text(q.get(), 0), sqlite3_column_int(q.get(), 1) != 0, {}};
    if (text(q.get(), 2) == "pk") continue;
    bool plain = sqlite3_column_int(q.get(), 3) == 0;
    Query columns;
    if (!prepare(db, "SELECT name FROM pragma_index_info(" + literal(index.name) + ") ORDER BY seqno", columns)) return damaged();
    while ((rc = sqlite3_step(columns.get())) == SQLITE_ROW) {
      if (sqlite3_column_type(columns.get(), 0) == SQLITE_NULL) plain = false;
      else index.columns.push_back(text(columns.get(), 0));
    }
    if (rc != SQLITE_DONE) return damaged();
    if (!plain || index.columns.empty()) left_out("index " + index.name);
    else table.indexes.push_back(std::move(index));
  }
  return rc == SQLITE_DONE ? Failure{} : damaged();
}

// One value in COPY's text format (postgresql.org/docs/15/sql-copy.html, "Text Format").
Failure copy_value(sqlite3_stmt* s, int i, const Column& column, const std::string& table, std::string& line) {
  const int kind = sqlite3_column_type(s, i);
  if (kind == SQLITE_NULL) {
    line += "\\N";
    return {};
  }
  if (column.type == "bytea") {
    static constexpr char kHex[] = "0123456789abcdef";
    const auto* p = static_cast<const unsigned char*>(sqlite3_column_blob(s, i));
    const int n = sqlite3_column_bytes(s, i);
    line += "\\\\x";
    for (int k = 0; k < n; ++k) {
      line += kHex[p[k] >> 4];
      line += kHex[p[k] & 15];
    }
    return {};
  }
  if (kind == SQLITE_FLOAT) {
    const double d = sqlite3_column_double(s, i);
    if (std::isinf(d)) {
      line += d > 0 ? "Infinity" : "-Infinity";
    } else {
      char digits[40];
      line.append(digits, std::to_chars(digits, digits + sizeof digits, d).ptr);
    }
    return {};
  }
  for (const char c : text(s, i)) {
    switch (c) {
      case '\0':
        return {VIA_E_INVALID, "snapshot_invalid",
                "Column " + column.name + " of table " + table + " holds a text with a NUL, which PostgreSQL cannot keep. Change it to a blob and export again."};
      case '\\': line += "\\\\"; break;
      case '\n': line += "\\n"; break;
      case '\r': line += "\\r"; break;
      case '\t': line += "\\t"; break;
      default: line += c;
    }
  }
  return {};
}

// Every row of one table.
Failure copy_rows(sqlite3* db, Link& link, const Table& table, const Watch& watch, std::uint64_t& done, std::uint64_t total) {
  std::vector<std::string> names;
  std::string columns;
  for (const Column& c : table.columns) {
    names.push_back(c.name);
    columns += (columns.empty() ? "" : ", ") + identifier(c.name);
  }
  Query q;
  if (!prepare(db, "SELECT " + columns + " FROM " + identifier(table.name), q)) return damaged();
  if (Failure f = link.run("COPY " + named(table.name) + " (" + listed(names) + ") FROM STDIN")) return f;
  std::string lines;
  Failure failure;
  const auto put = [&] {
    if (PQputCopyData(link.raw(), lines.data(), static_cast<int>(lines.size())) != 1) failure = unreachable("the connection to the PostgreSQL server ended");
    lines.clear();
  };
  int rc = SQLITE_OK;
  while (!failure && (rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    for (std::size_t i = 0; i < table.columns.size() && !failure; ++i) {
      if (i > 0) lines += '\t';
      failure = copy_value(q.get(), static_cast<int>(i), table.columns[i], table.name, lines);
    }
    lines += '\n';
    ++done;
    if (failure || lines.size() < 65'536) continue;
    put();
    if (watch.progress) watch.progress(done, total);
    if (watch.give_up && watch.give_up()) failure = {VIA_E_CANCELLED, "", "the operation was cancelled"};
  }
  if (!failure && rc != SQLITE_DONE) failure = damaged();
  if (!failure && !lines.empty()) put();
  PQputCopyEnd(link.raw(), failure ? "given up" : nullptr);
  for (ResultPointer result(PQgetResult(link.raw())); result; result.reset(PQgetResult(link.raw())))
    if (!failure && PQresultStatus(result.get()) != PGRES_COMMAND_OK) failure = from_result(result.get());
  return failure;
}

std::string create_table(const Table& table) {
  std::string sql = "CREATE TABLE " + named(table.name) + " (";
  std::vector<std::string> key(table.columns.size());
  bool first = true;
  for (const Column& c : table.columns) {
    sql += (first ? "" : ", ") + named(c.name) + " " + c.type;
    first = false;
    if (c.key_place > 0) key[static_cast<std::size_t>(c.key_place) - 1] = c.name;
    if (table.counts && c.key_place == 1) sql += " GENERATED BY DEFAULT AS IDENTITY";
    else if (!c.fallback.empty()) sql += " DEFAULT " + c.fallback;
    if (c.not_null) sql += " NOT NULL";
  }
  std::erase(key, std::string());
  if (!key.empty()) sql += ", PRIMARY KEY (" + listed(key) + ")";
  return sql + ")";
}

// After the rows: what they must keep to.
std::vector<std::string> constraints(const Table& table) {
  std::vector<std::string> out;
  for (const Index& index : table.indexes) {
    // Those that a UNIQUE of the table made have no name of their own.
    const bool own = !index.name.starts_with("sqlite_autoindex_");
    if (own) out.push_back(std::string(index.unique ? "CREATE UNIQUE INDEX " : "CREATE INDEX ") + named(index.name) + " ON " + named(table.name) + " (" + listed(index.columns) + ")");
    else if (index.unique) out.push_back("ALTER TABLE " + named(table.name) + " ADD UNIQUE (" + listed(index.columns) + ")");
  }
  for (const Column& c : table.columns)
    if (table.counts && c.key_place == 1)
      out.push_back("SELECT setval(pg_get_serial_sequence(" + literal(named(table.name)) + ", " + literal(moved(c.name)) + "), coalesce(max(" + named(c.name) + "), 0) + 1, false) FROM " +
                    named(table.name));
  return out;
}

std::string action(const std::string& what) {
  static const std::set<std::string> known{"CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT"};
  return known.contains(upper(what)) ? upper(what) : "NO ACTION";
}

}  // namespace

bool is_sqlite_file(const fs::path& file) {
  char magic[16]{};
  std::ifstream(file, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == std::string_view("SQLite format 3\0", 16);
}

Failure verify_sqlite(const fs::path& file, const Watch&) {
  Database db;
  if (Failure f = open_file(file, db)) return f;
  Query q;
  if (!prepare(db.get(), "PRAGMA integrity_check(1)", q) || sqlite3_step(q.get()) != SQLITE_ROW || text(q.get(), 0) != "ok") return damaged();
  return {};
}

Failure copy_from_sqlite(const fs::path& file, Link& link, const std::string& owner, const Watch& watch) {
  Database db;
  if (Failure f = open_file(file, db)) return f;
  const auto left_out = [&](const std::string& what) {
    if (watch.note) watch.note("the import from SQLite does not take over " + what);
  };
  // A virtual table's own tables are its, not the app's.
  std::vector<std::string> names, of_virtual;
  Query q;
  if (!prepare(db.get(), "SELECT type, name FROM pragma_table_list WHERE schema='main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_via\\_%' ESCAPE '\\' ORDER BY name", q))
    return damaged();
  int rc = SQLITE_OK;
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    const std::string kind = text(q.get(), 0), name = text(q.get(), 1);
    if (kind == "table") names.push_back(name);
    else if (kind != "shadow") left_out(kind + " " + name);
  }
  if (rc != SQLITE_DONE) return damaged();
  if (!prepare(db.get(), "SELECT type || ' ' || name FROM sqlite_schema WHERE type='trigger' OR (type='table' AND sql LIKE '%CHECK%(%')", q)) return damaged();
  while ((rc = sqlite3_step(q.get())) == SQLITE_ROW) {
    const std::string what = text(q.get(), 0);
    left_out(what.starts_with("table") ? "CHECK constraints of " + what : what);
  }

  std::vector<Table> tables;
  std::uint64_t total = 0, done = 0;
  std::set<std::string> taken;
  for (const auto& name : names) {
    Table table;
    if (Failure f = read_table(db.get(), name, table, left_out)) return f;
    if (!taken.insert(moved(name)).second) return {VIA_E_INVALID, "snapshot_invalid", "Two tables would have the name " + moved(name) + "."};
    if (prepare(db.get(), "SELECT count(*) FROM " + identifier(name), q) && sqlite3_step(q.get()) == SQLITE_ROW) total += static_cast<std::uint64_t>(sqlite3_column_int64(q.get(), 0));
    tables.push_back(std::move(table));
  }

  const auto run = [&]() -> Failure {
    if (Failure f = link.run("BEGIN")) return f;
    if (Failure f = link.run("SET LOCAL ROLE " + identifier(owner))) return f;
    for (const Table& table : tables) {
      if (Failure f = link.run(create_table(table))) return f;
      if (Failure f = copy_rows(db.get(), link, table, watch, done, total)) return f;
    }
    for (const Table& table : tables)
      for (const auto& sql : constraints(table))
        if (Failure f = link.run(sql)) return f;
    for (const Table& table : tables)
      for (const Foreign& key : table.foreign) {
        std::string sql = "ALTER TABLE " + named(table.name) + " ADD FOREIGN KEY (" + listed(key.columns) + ") REFERENCES " + named(key.table);
        if (!key.others.empty()) sql += " (" + listed(key.others) + ")";
        sql += " ON UPDATE " + action(key.on_update) + " ON DELETE " + action(key.on_delete);
        if (Failure f = link.run(sql)) return f;
      }
    return link.run("COMMIT");
  };
  Failure failure = run();
  if (!failure) return {};
  (void)link.run("ROLLBACK");
  if (failure.status == VIA_E_INVALID && *failure.code != '\0' && std::string_view(failure.code) != "snapshot_invalid") {
    // A rule of the schema that SQLite did not hold the data to.
    failure.code = "snapshot_invalid";
    failure.message = "The SQLite data do not fit into PostgreSQL: " + failure.message;
    failure.statement_index = -1;
  }
  return failure;
}

}  // namespace via::postgres
