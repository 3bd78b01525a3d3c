// A SQLite file of the app's own, with the same four operations and the same meaning as through a host: one
// statement per call, transactions by setup and batch only, a deadline, durable when a write returns.
#include <sqlite3.h>

#include <cstring>

#include "backend.hpp"

namespace via::sql {
namespace {

using std::chrono::steady_clock;

struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Prepared = std::unique_ptr<sqlite3_stmt, Finalize>;

// The codes that the host's SQLite plugin gives for the same failures.
const char* code_of(int result) {
  switch (result & 0xff) {
    case SQLITE_CONSTRAINT:
      return "constraint";
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return "sql_denied";
    case SQLITE_INTERRUPT:
      return "deadline_exceeded";
    case SQLITE_FULL:  // a local file has no quota
      return "disk_full";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "busy";
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
    case SQLITE_TOOBIG:
      return "sql_error";
    default:
      return "internal";
  }
}

class Local final : public Connection::Backend {
 public:
  Local(const std::string& path, const ConnectOptions& options) : timeout_(options.timeout) {
    const int result = sqlite3_open_v2(
        path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (result != SQLITE_OK) {
      const std::string said = sqlite3_errmsg(db_);
      sqlite3_close(db_);
      throw Error("The SQLite file cannot be opened: " + said + ".",
                  {"not_configured", 0, result, {}, {}, false});
    }
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, static_cast<int>(timeout_.count()));
    sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_exec(db_, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON", nullptr,
                 nullptr, nullptr);
    sqlite3_progress_handler(db_, 1000, &Local::past_deadline, this);
    sqlite3_set_authorizer(db_, &Local::authorize, this);
  }
  ~Local() override { sqlite3_close(db_); }
  Local(const Local&) = delete;
  Local& operator=(const Local&) = delete;

  Rows query(const Statement& statement) override {
    begin_call(statement.timeout.value_or(timeout_));
    return run_query(statement);
  }

  Written execute(const Statement& statement) override {
    begin_call(statement.timeout.value_or(timeout_));
    return in_transaction([&] { return run_execute(statement); });
  }

  std::int64_t setup(const std::string& sql) override {
    begin_call(timeout_);
    return in_transaction([&] { return run_setup(sql); });
  }

  std::vector<BatchResult> batch(const std::vector<Statement>& statements) override {
    begin_call(timeout_);
    return in_transaction([&] {
      std::vector<BatchResult> results;
      for (std::size_t i = 0; i < statements.size(); ++i) {
        try {
          const Statement& statement = statements[i];
          switch (statement.kind) {
            case Statement::Kind::query:
              results.push_back({0, 0, run_query(statement)});
              break;
            case Statement::Kind::execute:
              results.push_back(run_execute(statement));
              break;
            case Statement::Kind::setup:
              results.push_back({run_setup(statement.sql), 0, {}});
              break;
          }
        } catch (const Error& error) {
          Error::Details details = error.details();
          details.statement_index = i;
          throw Error(error.what(), std::move(details));
        }
      }
      return results;
    });
  }

  Access access() const noexcept override { return Access::read_write; }
  bool managed() const noexcept override { return false; }
  std::int64_t generation() const noexcept override { return 0; }

 private:
  static int past_deadline(void* self) {
    return steady_clock::now() > static_cast<Local*>(self)->deadline_ ? 1 : 0;
  }

  // Transactions belong to setup and batch, here as behind a host.
  static int authorize(void* data, int action, const char* what, const char* value, const char*, const char* trigger) {
    auto& self = *static_cast<Local*>(data);
    if (action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT) self.control_ = action == SQLITE_TRANSACTION ? what : "SAVEPOINT";
    if (action == SQLITE_PRAGMA && value != nullptr && std::string_view(what) == "foreign_keys") self.drops_keys_ = true;
    if (action == SQLITE_INSERT && trigger == nullptr) self.inserts_ = true;
    const bool control = action == SQLITE_TRANSACTION || action == SQLITE_SAVEPOINT;
    return control && !self.own_ ? SQLITE_DENY : SQLITE_OK;
  }

  void begin_call(std::chrono::milliseconds timeout) {
    deadline_ = steady_clock::now() + timeout;
    sqlite3_set_last_insert_rowid(db_, 0);  // a call tells what it inserted, not what those before it did
  }

  [[noreturn]] void fail(int result) const {
    throw Error(sqlite3_errmsg(db_), {code_of(result), 0, result, {}, {}, false});
  }

  void control(const char* sql) {
    own_ = true;
    const int result = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
    own_ = false;
    if (result != SQLITE_OK) fail(result);
  }

  template <class F>
  std::invoke_result_t<F> in_transaction(F work) {
    control("BEGIN IMMEDIATE");
    try {
      auto result = work();
      control("COMMIT");
      return result;
    } catch (...) {
      deadline_ = steady_clock::time_point::max();
      own_ = true;
      if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
      own_ = false;
      throw;
    }
  }

  // The first statement of `sql`; `rest` is what follows it.
  Prepared prepare(std::string_view sql, std::string_view& rest) {
    if (sql.find('\0') != std::string_view::npos) raise("bad_request", "the SQL text holds a NUL");
    sqlite3_stmt* statement = nullptr;
    const char* end = nullptr;
    inserts_ = false;
    const int result = sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), 0, &statement, &end);
    if (result != SQLITE_OK) fail(result);
    rest = sql.substr(static_cast<std::size_t>(end - sql.data()));
    return Prepared(statement);
  }

  Prepared prepare_one(const std::string& sql) {
    std::string_view rest;
    Prepared statement = prepare(sql, rest);
    if (!statement) raise("bad_request", "the SQL text holds no statement");
    while (!rest.empty()) {
      if (prepare(rest, rest)) raise("bad_request", "one statement per call; use setup or batch for more");
    }
    return statement;
  }

  void bind(sqlite3_stmt* statement, const Params& params) {
    const int count = sqlite3_bind_parameter_count(statement);
    if (!params.named.empty()) {
      for (int i = 1; i <= count; ++i) {
        const char* name = sqlite3_bind_parameter_name(statement, i);
        const Value* value = nullptr;
        for (const auto& [given, candidate] : params.named) {
          if (name != nullptr && given == name + 1) value = &candidate;
        }
        if (value == nullptr) raise("sql_error", "a parameter of the statement has no value");
        bind_value(statement, i, *value);
      }
      return;
    }
    if (static_cast<std::size_t>(count) != params.positional.size()) {
      raise("sql_error", "the statement has " + std::to_string(count) + " parameters and " +
                             std::to_string(params.positional.size()) + " values were given");
    }
    for (int i = 1; i <= count; ++i)
      bind_value(statement, i, params.positional[static_cast<std::size_t>(i) - 1]);
  }

  void bind_value(sqlite3_stmt* statement, int at, const Value& value) {
    struct Visitor {
      sqlite3_stmt* statement;
      int at;
      int operator()(std::nullptr_t) const { return sqlite3_bind_null(statement, at); }
      int operator()(std::int64_t number) const { return sqlite3_bind_int64(statement, at, number); }
      int operator()(double number) const { return sqlite3_bind_double(statement, at, number); }
      int operator()(const std::string& text) const {
        return sqlite3_bind_text64(statement, at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
      }
      int operator()(const Blob& blob) const {
        return blob.empty() ? sqlite3_bind_zeroblob(statement, at, 0)
                            : sqlite3_bind_blob64(statement, at, blob.data(), blob.size(), SQLITE_STATIC);
      }
    };
    if (const int result = std::visit(Visitor{statement, at}, value.variant()); result != SQLITE_OK)
      fail(result);
  }

  static Value column(sqlite3_stmt* statement, int at) {
    switch (sqlite3_column_type(statement, at)) {
      case SQLITE_INTEGER:
        return Value(static_cast<std::int64_t>(sqlite3_column_int64(statement, at)));
      case SQLITE_FLOAT:
        return Value(sqlite3_column_double(statement, at));
      case SQLITE_TEXT: {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, at));
        return Value(std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, at))));
      }
      case SQLITE_BLOB: {
        const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement, at));
        const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, at));
        return Value(size == 0 ? Blob() : Blob(bytes, bytes + size));
      }
      default:
        return {};
    }
  }

  Rows step_all(sqlite3_stmt* statement) {
    static constexpr const char* kClasses[] = {"NULL", "INTEGER", "REAL", "TEXT", "BLOB", "NULL"};
    Rows rows;
    const int width = sqlite3_column_count(statement);
    for (int i = 0; i < width; ++i) rows.columns.emplace_back(sqlite3_column_name(statement, i));
    int result = SQLITE_ROW;
    bool first = true;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
      auto& cells = rows.cells.emplace_back();
      for (int i = 0; i < width; ++i) {
        if (first) {
          const char* declared = sqlite3_column_decltype(statement, i);
          rows.types.emplace_back(declared != nullptr ? declared
                                                      : kClasses[sqlite3_column_type(statement, i)]);
        }
        cells.push_back(column(statement, i));
      }
      first = false;
    }
    if (result != SQLITE_DONE) fail(result);
    for (int i = 0; first && i < width; ++i) {
      const char* declared = sqlite3_column_decltype(statement, i);
      rows.types.emplace_back(declared != nullptr ? declared : "NULL");
    }
    return rows;
  }

  Rows run_query(const Statement& statement) {
    const Prepared prepared = prepare_one(statement.sql);
    if (sqlite3_stmt_readonly(prepared.get()) == 0) {
      throw Error("query takes one statement that only reads; use execute for one that writes",
                  {"sql_denied", 0, SQLITE_AUTH, {}, {}, false});
    }
    bind(prepared.get(), statement.params);
    return step_all(prepared.get());
  }

  Written run_execute(const Statement& statement) {
    const Prepared prepared = prepare_one(statement.sql);
    const bool inserts = inserts_;
    bind(prepared.get(), statement.params);
    const std::int64_t before = sqlite3_total_changes64(db_);
    bool inserted = false;
    sqlite3_update_hook(db_, [](void* saw, int what, const char*, const char*, sqlite3_int64) {
      if (what == SQLITE_INSERT) *static_cast<bool*>(saw) = true;
    }, &inserted);
    const bool first = sqlite3_last_insert_rowid(db_) == 0;
    Written written;
    try {
      written.rows = step_all(prepared.get());
    } catch (...) {
      sqlite3_update_hook(db_, nullptr, nullptr);
      throw;
    }
    sqlite3_update_hook(db_, nullptr, nullptr);
    // DROP and its like leave the count of the statement before them; total_changes tells.
    written.update_count = sqlite3_total_changes64(db_) == before ? 0 : sqlite3_changes64(db_);
    if (inserts && (first || inserted)) written.last_insert_rowid = sqlite3_last_insert_rowid(db_);
    return written;
  }

  std::int64_t run_setup(const std::string& sql) {
    std::int64_t count = 0;
    bool any = false, begun = false, ended = false;
    struct Keys {
      sqlite3* db;
      bool off = false;
      ~Keys() {
        if (off) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
      }
    } keys{db_};
    for (std::string_view rest = sql; !rest.empty();) {
      own_ = true;  // it is compiled, not run
      control_.clear();
      drops_keys_ = false;
      Prepared prepared;
      try {
        prepared = prepare(rest, rest);
      } catch (...) {
        own_ = false;
        throw;
      }
      own_ = false;
      if (!prepared) continue;
      // A script may be wrapped in one pair, as .dump writes it: this is one transaction already.
      if (control_ == "BEGIN" && !any && !begun) {
        begun = true;
        continue;
      }
      if (control_ == "COMMIT" && begun && !ended) {
        ended = any = true;
        continue;
      }
      if (!control_.empty() || ended)
        throw Error("BEGIN and COMMIT are not allowed: each setup is one transaction already. One pair around the whole script may stay.",
                    {"sql_denied", 0, SQLITE_AUTH, {}, {}, false});
      if (drops_keys_ && !any && !begun) {  // the first line of a dump, which by itself means nothing inside of a transaction
        keys.off = sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr) == SQLITE_OK;
        continue;
      }
      any = true;
      const std::int64_t before = sqlite3_total_changes64(db_);
      step_all(prepared.get());
      if (sqlite3_total_changes64(db_) != before) count += sqlite3_changes64(db_);
    }
    if (!any) raise("bad_request", "the SQL text holds no statement");
    if (keys.off && step_all(prepare_one("SELECT 1 FROM pragma_foreign_key_check LIMIT 1").get()).size() > 0)
      throw Error("FOREIGN KEY constraint failed", {"constraint", 0, SQLITE_CONSTRAINT_FOREIGNKEY, {}, {}, false});
    if (begun && !ended)
      throw Error("the script begins a transaction and does not end it", {"sql_denied", 0, SQLITE_AUTH, {}, {}, false});
    return count;
  }

  sqlite3* db_ = nullptr;
  const std::chrono::milliseconds timeout_;
  steady_clock::time_point deadline_ = steady_clock::time_point::max();
  bool own_ = false;  // a transaction statement is ours
  std::string control_;      // the statement that was prepared last controls a transaction: its word
  bool drops_keys_ = false;  // it sets PRAGMA foreign_keys
  bool inserts_ = false;  // the statement that was prepared last does, by itself
};

}  // namespace

std::unique_ptr<Connection::Backend> open_local(const std::string& path, const ConnectOptions& options) {
  return std::make_unique<Local>(path, options);
}

}  // namespace via::sql
