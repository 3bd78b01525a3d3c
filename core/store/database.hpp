// One SQLite connection: statements prepared once and kept, values bound, errors as Result.
//
// SQL is literal text (the cache is keyed by it); values are always bound. This is the only folder of core that
// includes sqlite3.h, and the copy of SQLite it links is its own: no file is opened by any other copy.
// Thread: one at a time for each connection (the store's own: the control thread).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/try.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace via::store {

// The current row of a query. Columns count from 0.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  std::int64_t integer(int column) const;
  std::string text(int column) const;  // NULL = empty
  bool is_null(int column) const;

 private:
  sqlite3_stmt* statement_;
};

class Database;

// One run of a cached statement; resets it at its end.
class Query {
 public:
  Query(Query&& other) noexcept;
  Query& operator=(Query&&) = delete;
  ~Query();
  // True while there is a row; false at the end and on an error, which end() tells apart.
  bool next();
  Row row() const { return Row(statement_); }
  Result<void> end();
  bool is_full() const;  // it failed because a write found no room on the disk

 private:
  friend class Database;
  explicit Query(Database& db) : db_(db) {}
  void bind(int at, std::int64_t value);
  void bind(int at, std::string_view value);
  void bind(int at, std::nullptr_t);
  template <class T>
  void bind_any(int at, const T& value) {
    if constexpr (std::is_same_v<T, bool> || std::is_integral_v<T>)
      bind(at, static_cast<std::int64_t>(value));
    else if constexpr (std::is_same_v<T, std::nullptr_t>)
      bind(at, nullptr);
    else
      bind(at, std::string_view(value));
  }
  void note(int rc);

  Database& db_;
  sqlite3_stmt* statement_ = nullptr;
  int rc_ = 0;
  bool* in_use_ = nullptr;
};

// The write transactions of all connections to one file, one after another in the order they came: SQLite's own wait for
// the file's lock polls, and under load one side of it would wait long. Thread: any.
class WriteTurns {
 public:
  void lock() {
    std::unique_lock guard(mutex_);
    const std::uint64_t mine = next_++;
    changed_.wait(guard, [&] { return serving_ == mine; });
  }
  void unlock() {
    {
      const std::lock_guard guard(mutex_);
      ++serving_;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t next_ = 0, serving_ = 0;  // guarded by mutex_
};

class Database {
 public:
  enum class Mode { create, must_exist };
  // WAL, synchronous=FULL, foreign keys, mode 0600 for everything it writes.
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  // Another connection to the same file, for another thread; its write transactions take turns with this one's.
  Result<std::unique_ptr<Database>> connect_again() const;
  Database& operator=(const Database&) = delete;

  template <class... Args>
  Query query(std::string_view sql, const Args&... args) {
    Query q = prepare(sql);
    int at = 0;
    (q.bind_any(++at, args), ...);
    return q;
  }
  // Runs a statement to its end and ignores rows.
  template <class... Args>
  Result<void> run(std::string_view sql, const Args&... args) {
    Query q = query(sql, args...);
    while (q.next()) {
    }
    return q.end();
  }
  // Every row through `map(Row)`.
  template <class Map, class... Args>
  auto all(Map map, std::string_view sql, const Args&... args)
      -> Result<std::vector<std::decay_t<std::invoke_result_t<Map, Row>>>> {
    std::vector<std::decay_t<std::invoke_result_t<Map, Row>>> out;
    Query q = query(sql, args...);
    while (q.next()) out.push_back(map(q.row()));
    VIA_TRY(q.end());
    return out;
  }
  // The first row, if any.
  template <class Map, class... Args>
  auto one(Map map, std::string_view sql, const Args&... args)
      -> Result<std::optional<std::decay_t<std::invoke_result_t<Map, Row>>>> {
    std::optional<std::decay_t<std::invoke_result_t<Map, Row>>> out;
    Query q = query(sql, args...);
    if (q.next()) out = map(q.row());
    VIA_TRY(q.end());
    return out;
  }
  // Literal SQL without values, several statements: migrations and pragmas.
  Result<void> script(const char* sql);
  std::int64_t changes() const;  // rows of the last INSERT, UPDATE or DELETE
  bool in_transaction() const;
  // A consistent copy of the whole database in a new file (mode 0600), synced. Not while in a transaction.
  Result<void> copy_to(const std::filesystem::path& file) const;

  // How many statements were run since the database was opened: tests count them instead of time.
  std::uint64_t statements_run() const { return statements_run_; }
  // Called before each statement. Fault tests throw from it, which leaves what kill -9 would leave: no COMMIT.
  void set_before_statement(std::function<void(std::string_view sql)> hook) { before_statement_ = std::move(hook); }

 private:
  friend class Query;
  friend class Transaction;
  struct Prepared {
    sqlite3_stmt* statement = nullptr;
    bool in_use = false;
  };
  Database() = default;
  Query prepare(std::string_view sql);
  Error error(int rc) const;

  sqlite3* db_ = nullptr;
  std::shared_ptr<WriteTurns> turns_;
  std::unordered_map<std::string, std::vector<std::unique_ptr<Prepared>>> cache_;
  std::uint64_t statements_run_ = 0;
  std::function<void(std::string_view)> before_statement_;
};

// BEGIN IMMEDIATE … COMMIT; rolls back when it is destroyed before commit(). Waits for its turn among the connections.
class Transaction {
 public:
  static Result<Transaction> begin(Database& db);
  Transaction(Transaction&& other) noexcept : db_(std::exchange(other.db_, nullptr)), turn_(std::move(other.turn_)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  // Durable when it returns success. On failure nothing of it is there (`disk_full`), unless its name is `outcome_unknown`.
  Result<void> commit();

 private:
  Transaction(Database& db, std::unique_lock<WriteTurns> turn) : db_(&db), turn_(std::move(turn)) {}
  Database* db_;
  std::unique_lock<WriteTurns> turn_;
};

}  // namespace via::store
