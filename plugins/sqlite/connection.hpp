// One SQLite connection under the policy: how it is opened, its limits, its cached statements, and the guard that ends
// a statement which takes too long, too much memory or nobody waits for.
// Thread: one at a time (NOMUTEX); interrupt() any.
#pragma once

#include "plugins/sqlite/engine/look.hpp"
#include "plugins/sqlite/host.hpp"
#include "plugins/sqlite/policy.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace via::sqlite {

using engine::Stop;

struct Statement {
  std::string sql;
  sqlite3_stmt* stmt = nullptr;
  uint64_t used = 0;
  std::string head;  // rendered columns and types
  bool head_fixed = false;
  int columns = 0, parameters = 0, prepared_again = -1;
  bool alters = false, creates_view = false, inserts = false;
  bool bounded = false;  // when it was prepared it called only functions of constant cost (inline_proof.hpp)
  uint8_t suspect = 0;   // so many further runs on an I/O thread are measured in processor time
  uint64_t judged = 0;   // Handles::schema under which a worker looked whether it can be proven,
  bool provable = false;  // and what it found
  uint64_t proven = 0;   // Handles::schema under which it was proven, on this connection
  std::vector<std::string> names;  // of its parameters, once values came by name (parameters.hpp)
  Statement() = default;
  Statement(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(stmt); }
};

class Connection {
 public:
  enum class Kind { reader, writer };
  static Failure open(const std::string& path, Kind kind, const Limits& limits, const Host& host,
                      std::unique_ptr<Connection>& out);
  ~Connection();
  Connection(const Connection&) = delete;

  sqlite3* db() const { return db_; }
  Policy& policy() { return policy_; }

  // The statement for `sql` (a NUL follows its last byte) from the cache, or prepared and cached. Exactly one
  // statement, of the kind that `mode` takes. Valid until the next call on this connection.
  Failure statement(Operation mode, std::string_view sql, Statement*& out);
  // The first statement of `sql`, not cached; `rest` is what follows. *out.stmt is null at the end of the text.
  Failure prepare(Operation mode, std::string_view sql, bool keep, Statement& out, std::string_view& rest);
  bool cached(Operation mode, std::string_view sql) const;
  // The same from the cache alone, never prepared; null: it is not there.
  Statement* find(Operation mode, std::string_view sql);
  void forget_statements();  // all that are cached; none may be running

  // SQL of the host itself; passes the policy. For statements that are literals of this source.
  int host_exec(const char* sql);
  int host_step(sqlite3_stmt*& slot, const char* sql);
  int64_t host_number(const char* sql, std::string_view bound = {});
  // The host's statement for `sql` from a cache of its own, reset and ready to bind; kv/host_query.hpp is made of it. Bind
  // and step it before the next call: a statement that has not begun may be thrown out of the cache.
  int host_statement(std::string_view sql, sqlite3_stmt*& out);

  // A request begins on this connection, which has served others: last_insert_rowid(), changes() and total_changes() tell nothing
  // of theirs.
  void begin_request();

  // How much history of keys is kept (kv/history.hpp), from the limits.
  int64_t history_operations = 10'000, history_age_ms = 0;
  std::string history_table, history_key;  // how far the pass over old history has come (kv/retention.hpp)
  unsigned changes = 0;  // of keys (kv/store.cpp)
  bool history_checked = false;  // the history table was looked at: it is ours, or not there

  // The key-value tables that were found to be ours under this version of the schema (kv/table.hpp). Forgotten where a version
  // may come again with another schema: when a writer rolls back.
  int64_t checked_schema = -1;
  std::vector<std::string> checked_tables;
  void forget_tables() { checked_schema = -1; }

  // Guards what runs between begin and end, on one thread. The deadline is the host clock's; 0 none; `operations` 0 no budget.
  // Nothing of the three: nothing is guarded, and what a guard before it said is forgotten.
  void begin_guard(uint64_t deadline_ns, const via_call* call, uint64_t operations);
  void end_guard();
  void interrupt(Stop why) { guard_.stop(why); }  // Thread: any, while the guard is on (see Watchdog)
  Stop stopped() const { return guard_.stopped.load(std::memory_order_relaxed); }
  // from_sqlite, seen through the guard and the policy.
  Failure failure(int rc);

 private:
  explicit Connection(const Host& host) : host_(host) {}
  static int progress(void* self);
  static void sql_changes(sqlite3_context* c, int, sqlite3_value**);
  static void sql_total_changes(sqlite3_context* c, int, sqlite3_value**);
  bool inside_virtual_table(const std::string& base);

  struct Key {
    Operation mode;
    std::string_view sql;
    bool operator==(const Key& o) const { return mode == o.mode && sql == o.sql; }
  };
  struct Hash {
    size_t operator()(const Key& k) const { return std::hash<std::string_view>{}(k.sql) + static_cast<size_t>(k.mode); }
  };
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view sql) const { return std::hash<std::string_view>{}(sql); }
  };

  const Host& host_;
  sqlite3* db_ = nullptr;
  Policy policy_;
  std::unordered_map<Key, std::unique_ptr<Statement>, Hash> cache_;
  std::unordered_map<std::string, sqlite3_stmt*, TextHash, std::equal_to<>> host_cache_;
  std::unique_ptr<Statement> loose_;  // the one statement that is too long to be cached
  uint64_t tick_ = 0;
  int64_t changes_before_ = 0;  // of sqlite3_total_changes64: those of earlier requests

  engine::Guard guard_;
  uint64_t operations_ = 0;
  bool guarded_ = false;
};

}  // namespace via::sqlite
