// Running the items. The texts of refusals here are the data API's own; what SQLite says of a statement passes as it is.
#include "plugins/sqlite/api/transaction.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/parameters.hpp"
#include "plugins/sqlite/render.hpp"
#include "plugins/sqlite/run.hpp"

#include <strings.h>

#include <unordered_map>
#include <unordered_set>

namespace via::sqlite::api {
namespace {

constexpr size_t kMaxAnswer = 64u << 20;

struct Word {
  const char* word;
  Kind kind;
};
constexpr Word kWords[] = {
    {"SELECT", Kind::reads},      {"VALUES", Kind::reads},       {"PRAGMA", Kind::reads},       {"EXPLAIN", Kind::reads},
    {"WITH", Kind::with},         {"INSERT", Kind::writes},      {"UPDATE", Kind::writes},      {"DELETE", Kind::writes},
    {"REPLACE", Kind::writes},    {"CREATE", Kind::schema},      {"DROP", Kind::schema},        {"ALTER", Kind::schema},
    {"BEGIN", Kind::control},     {"COMMIT", Kind::control},     {"END", Kind::control},        {"ROLLBACK", Kind::control},
    {"SAVEPOINT", Kind::control}, {"RELEASE", Kind::control},    {"ATTACH", Kind::forbidden},   {"DETACH", Kind::forbidden},
    {"VACUUM", Kind::forbidden},  {"REINDEX", Kind::forbidden},  {"ANALYZE", Kind::forbidden},
};

// The whole request fails with these, whatever an item allows.
bool beyond_item(const Failure& f) {
  return f.status >= VIA_E_UNSUPPORTED || f.status == VIA_E_EXHAUSTED || (f.sqlite_code & 0xff) == SQLITE_FULL;
}

int bind_cell(sqlite3_stmt* stmt, int index, const Transaction& t, const Cell& c) {
  switch (c.kind) {
    case Cell::null: return sqlite3_bind_null(stmt, index);
    case Cell::integer: return sqlite3_bind_int64(stmt, index, c.number);
    case Cell::real: return sqlite3_bind_double(stmt, index, c.fraction);
    case Cell::text: return sqlite3_bind_text64(stmt, index, t.bytes.data() + c.at, c.size, SQLITE_STATIC, SQLITE_UTF8);
    case Cell::blob:
      return c.size == 0 ? sqlite3_bind_zeroblob(stmt, index, 0) : sqlite3_bind_blob64(stmt, index, t.bytes.data() + c.at, c.size, SQLITE_STATIC);
  }
  return SQLITE_MISUSE;
}

Failure bind_row(Connection& connection, Statement& s, const Transaction& t, const Row* row) {
  const uint32_t count = row ? row->count : 0;
  if (!row || !row->named) {
    if (count != static_cast<uint32_t>(s.parameters))
      return sql_wrong("the statement has " + std::to_string(s.parameters) + " parameters, the item gives " + std::to_string(count) + " values");
    for (uint32_t i = 0; i < count; ++i)
      if (const int rc = bind_cell(s.stmt, static_cast<int>(i) + 1, t, t.cells[row->first + i]); rc != SQLITE_OK) return connection.failure(rc);
    return {};
  }
  const auto name_of = [&](uint32_t v) {
    const Name& n = t.names[row->first_name + v];
    return std::string_view(t.bytes).substr(n.at, n.size);
  };
  const auto bind_one = [&](int parameter, uint32_t v) { return bind_cell(s.stmt, parameter, t, t.cells[row->first + v]); };
  int rc = SQLITE_OK;
  if (Failure f = bind_named(s, count, name_of, bind_one, rc)) return f;
  return rc == SQLITE_OK ? Failure{} : connection.failure(rc);
}

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

class Runner {
 public:
  Runner(Connection& connection, const Transaction& transaction, const Limits& limits, bool may_write, const RanItem& ran)
      : c_(connection), t_(transaction), limits_(limits), may_write_(may_write), ran_(ran) {}

  Failure run(std::string& body, bool& wants_writer) {
    out_.append("{\"results\":[");
    for (size_t i = 0; i < t_.items.size(); ++i) {
      if (i > 0) out_.put(',');
      const Item& item = t_.items[i];
      const bool guarded = item.no_fail && may_write_;
      if (guarded && c_.host_exec("SAVEPOINT item") != SQLITE_OK) return internal("cannot open a savepoint");
      const size_t before = out_.written();
      item_out_.clear();
      Failure f = run_item(item, wants_writer);
      if (wants_writer) return {};
      if (ran_) ran_(t_.sql(item), f);
      if (f && beyond_item(f)) return f;
      if (may_write_ && sqlite3_get_autocommit(c_.db()) != 0) {
        if (!f) f = sql_wrong("the transaction ended by itself");
        return whole(i, f);
      }
      if (guarded) {
        if (f && c_.host_exec("ROLLBACK TO item") != SQLITE_OK) return internal("cannot undo an item");
        if (c_.host_exec("RELEASE item") != SQLITE_OK) return internal("cannot end a savepoint");
      }
      if (f && !item.no_fail) return whole(i, f);
      if (f) {
        out_.append("{\"success\":false,\"error\":");
        render_text(out_, f.message);
        out_.put('}');
      } else {
        out_.append(item_out_);
      }
      if (out_.written() - before > limits_.max_result_bytes + (1u << 20) || out_.written() > kMaxAnswer)
        return whole(i, bad_request("the results of the transaction are too large"));
    }
    out_.append("]}");
    int open_keys = 0, high = 0;
    if (may_write_ && !t_.items.empty() && sqlite3_db_status(c_.db(), SQLITE_DBSTATUS_DEFERRED_FKS, &open_keys, &high, 0) == SQLITE_OK &&
        open_keys != 0)
      return whole(t_.items.size() - 1, {VIA_E_INVALID, "constraint", "FOREIGN KEY constraint failed", SQLITE_CONSTRAINT_FOREIGNKEY});
    body = out_.take();
    return {};
  }

 private:
  // The answer that undoes everything.
  static Failure whole(size_t index, const Failure& f) {
    StringOutput text;
    render_text(text, f.message);
    const std::string said = text.take();
    Failure all = error(200, "{\"reqIdx\":" + std::to_string(index) + ",\"error\":" + said + ",\"message\":" + said + "}");
    all.status = VIA_E_INVALID;
    return all;
  }

  Failure run_item(const Item& item, bool& wants_writer) {
    const std::string_view sql = t_.sql(item);
    const Kind kind = kind_of(sql);
    switch (kind) {
      case Kind::empty: return bad_request("the SQL text holds no statement");
      case Kind::control: return sql_wrong("transaction control is not allowed: all items are one transaction");
      case Kind::forbidden: return sql_wrong("ATTACH, DETACH, VACUUM, REINDEX and ANALYZE are not allowed here");
      default: break;
    }
    if (kind == Kind::schema) {
      if (!may_write_) return wants_writer = true, Failure{};
      return run_schema(item, sql);
    }
    Statement* s = nullptr;
    Failure f;
    if (kind == Kind::writes) {
      if (!may_write_) return wants_writer = true, Failure{};
      f = c_.statement(Operation::execute, sql, s);
    } else {
      f = c_.statement(Operation::query, sql, s);
      if (f && kind == Kind::with && c_.policy().denied_write) {
        if (!may_write_) return wants_writer = true, Failure{};
        f = c_.statement(Operation::execute, sql, s);
      }
    }
    if (f) return f;
    return item.query ? run_query(item, *s) : run_statement(item, *s);
  }

  Failure run_query(const Item& item, Statement& s) {
    if (s.columns == 0) return sql_wrong("a query returns rows; this statement does not, use \"statement\" for it");
    const Resetting resetting(s);
    if (Failure f = bind_row(c_, s, t_, item.values ? &t_.rows[item.first_row] : nullptr)) return f;
    prepare_policy();
    const auto columns = column_keys(s.stmt, !t_.list);
    StringOutput out;
    out.append("{\"success\":true,\"resultHeaders\":[");
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i > 0) out.put(',');
      render_text(out, columns[i]);
    }
    out.append("],\"resultSet\":");
    Rows rows;
    if (Failure f = render_rows(c_, s, t_.list, sqlite3_stmt_readonly(s.stmt) == 0, limits_.max_result_bytes, columns, out, rows)) return f;
    out.append(rows.truncated ? ",\"truncated\":true}" : ",\"truncated\":false}");
    item_out_ = out.take();
    return {};
  }

  Failure run_statement(const Item& item, Statement& s) {
    const Resetting resetting(s);
    StringOutput out;
    out.append(item.batch ? "{\"success\":true,\"rowsUpdatedBatch\":[" : "{\"success\":true,\"rowsUpdated\":");
    prepare_policy();
    const uint32_t times = item.batch ? item.row_count : 1;
    for (uint32_t i = 0; i < times; ++i) {
      const Row* row = item.row_count > 0 ? &t_.rows[item.first_row + i] : nullptr;
      if (Failure f = bind_row(c_, s, t_, row)) return at_row(item, i, std::move(f));
      int64_t changed = 0;
      if (Failure f = step_all(s, changed)) return at_row(item, i, std::move(f));
      if (i > 0) out.put(',');
      render_integer(out, changed, false);
    }
    out.append(item.batch ? "]}" : "}");
    item_out_ = out.take();
    return {};
  }

  Failure step_all(Statement& s, int64_t& changed) {
    const int64_t before = sqlite3_total_changes64(c_.db());
    int rc = SQLITE_OK;
    while ((rc = sqlite3_step(s.stmt)) == SQLITE_ROW) {}
    changed = sqlite3_total_changes64(c_.db()) == before ? 0 : sqlite3_changes64(c_.db());
    if (rc == SQLITE_DONE) {
      sqlite3_reset(s.stmt);
      return {};
    }
    Failure f = c_.failure(rc);
    sqlite3_reset(s.stmt);
    return f;
  }

  static Failure at_row(const Item& item, uint32_t index, Failure f) {
    if (item.batch && !beyond_item(f)) f.message += " (row " + std::to_string(index) + " of valuesBatch)";
    return f;
  }

  // A change of the schema, by the rules of the operation `setup` with one statement.
  Failure run_schema(const Item& item, std::string_view sql) {
    if (item.query) return sql_wrong("a query returns rows; this statement does not, use \"statement\" for it");
    Statement s;
    std::string_view rest;
    if (Failure f = c_.prepare(Operation::setup, sql, false, s, rest)) return f;
    if (!skip_blank(rest).empty()) return bad_request("exactly one statement is taken here");
    const int64_t reserved = s.alters ? reserved_objects(c_) : -1;
    c_.policy().mode = Operation::setup;
    if (Failure f = run_statement(item, s)) return f;
    if (s.alters && reserved_objects(c_) != reserved)
      return denied_by_policy("names that begin with sqlite_ or _via_ are not for statements of apps; choose another name");
    return s.creates_view ? check_views(c_) : Failure{};
  }

  void prepare_policy() {
    c_.policy().host_sql = false;
    c_.policy().denied = false;
  }

  Connection& c_;
  const Transaction& t_;
  const Limits& limits_;
  const bool may_write_;
  const RanItem& ran_;
  StringOutput out_;
  std::string item_out_;
};

}  // namespace

Kind kind_of(std::string_view sql) {
  const std::string_view text = skip_blank(sql);
  if (text.empty()) return Kind::empty;
  size_t n = 0;
  while (n < text.size() && ((text[n] | 0x20) >= 'a' && (text[n] | 0x20) <= 'z')) ++n;
  for (const Word& w : kWords)
    if (std::char_traits<char>::length(w.word) == n && strncasecmp(w.word, text.data(), n) == 0) return w.kind;
  return Kind::reads;  // SQLite tells what is wrong with it
}

std::vector<std::string> column_keys(sqlite3_stmt* stmt, bool unique) {
  std::vector<std::string> out;
  const int n = sqlite3_column_count(stmt);
  out.reserve(static_cast<size_t>(n));
  std::unordered_set<std::string> taken;
  std::unordered_map<std::string, int> counted;  // the last number that was tried for a name
  for (int i = 0; i < n; ++i) {
    const char* const text = sqlite3_column_name(stmt, i);
    const std::string name = text ? text : "";
    std::string key = name;
    while (unique && !taken.insert(key).second) key = name + ":" + std::to_string(++counted[name]);
    out.push_back(std::move(key));
  }
  return out;
}

Failure render_rows(Connection& connection, Statement& s, bool list, bool finish, size_t max_bytes, const std::vector<std::string>& columns,
                    Output& out, Rows& rows) {
  std::vector<std::string> labels;  // {"a": and ,"b": as they stand before each value
  for (size_t i = 0; i < columns.size(); ++i) {
    StringOutput label;
    label.put(i == 0 ? (list ? '[' : '{') : ',');
    if (!list) {
      render_text(label, columns[i]);
      label.put(':');
    }
    labels.push_back(label.take());
  }
  const size_t start = out.written();
  out.put('[');
  int rc = SQLITE_OK;
  while ((rc = sqlite3_step(s.stmt)) == SQLITE_ROW) {
    if (rows.truncated) continue;
    if (rows.count >= kMaxResultRows || out.written() - start >= max_bytes) {
      rows.truncated = true;
      if (finish) continue;  // a write with RETURNING
      rc = SQLITE_DONE;
      break;
    }
    if (rows.count++ > 0) out.put(',');
    for (size_t i = 0; i < labels.size(); ++i) {
      out.append(labels[i]);
      const int column = static_cast<int>(i);
      if (sqlite3_column_type(s.stmt, column) == SQLITE_BLOB) {
        const void* p = sqlite3_column_blob(s.stmt, column);
        render_base64(out, p, static_cast<size_t>(sqlite3_column_bytes(s.stmt, column)));
      } else {
        render_column(out, s.stmt, column, false);
      }
    }
    out.put(list ? ']' : '}');
  }
  if (rc != SQLITE_DONE) return connection.failure(rc);
  out.put(']');
  return {};
}

Failure run_transaction(Connection& connection, const Transaction& transaction, const Limits& limits, bool may_write, std::string& body,
                        bool& wants_writer, const RanItem& ran) {
  wants_writer = false;
  return Runner(connection, transaction, limits, may_write, ran).run(body, wants_writer);
}

}  // namespace via::sqlite::api
