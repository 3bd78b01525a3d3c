// via::sql — SQL for apps that run on a Via host.
//
//     auto db = via::sql::connect("DATABASE");
//     db.setup("CREATE TABLE IF NOT EXISTS visit(who TEXT NOT NULL, at INTEGER NOT NULL)");
//     db.execute("INSERT INTO visit VALUES(?, unixepoch())", "ada");
//     for (const auto& row : db.query("SELECT who, count(*) AS n FROM visit GROUP BY who"))
//       std::cout << row.get<std::string>("who") << ": " << row.get<std::int64_t>("n") << '\n';
//
// What connect() opens:
//   "DATABASE"              a binding (A-Z, 0-9, '_'): the host's config server is asked for it, with the
//   identity that
//                           the host gave this process ($VIA_BOOTSTRAP). The app sees no path and no
//                           credential.
//   "data/app.db", "x.sqlite", anything with '/', ":memory:"
//                           a SQLite file of the app's own, or one in memory. Same functions, same meaning.
// Outside of a host, "DATABASE" is an error that says so, unless ConnectOptions::local_fallback names a
// folder.
//
// Errors are exceptions of type via::sql::Error. Retries: what the host declined (503, 429) is tried again
// within the timeout; a read is tried again on a lost connection; a write never is once it may have arrived:
// its error then says outcome_unknown().
//
// Thread: a Connection is for one thread at a time. Make one per thread; they are cheap.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace via::sql {

using Blob = std::vector<std::byte>;

// What SQLite stores: NULL, an integer, a real, a text (UTF-8) or a blob.
class Value {
 public:
  using Variant = std::variant<std::nullptr_t, std::int64_t, double, std::string, Blob>;

  Value() noexcept : data_(nullptr) {}
  Value(std::nullptr_t) noexcept : data_(nullptr) {}
  Value(std::nullopt_t) noexcept : data_(nullptr) {}
  template <class N>
  requires(std::is_integral_v<N> && (sizeof(N) < 8 || std::is_signed_v<N>)) Value(N number)
  noexcept : data_(static_cast<std::int64_t>(number)) {}
  // An unsigned 64-bit number above INT64_MAX is no SQLite integer: throws Error{"bad_request"}.
  template <class N>
  requires(std::is_integral_v<N> && sizeof(N) == 8 && std::is_unsigned_v<N>) Value(N number)
      : data_(checked(number)) {}
  Value(double number) noexcept : data_(number) {}
  Value(const char* text) : data_(std::string(text)) {}
  Value(std::string_view text) : data_(std::string(text)) {}
  Value(std::string text) noexcept : data_(std::move(text)) {}
  Value(Blob blob) noexcept : data_(std::move(blob)) {}
  template <class T>
  Value(const std::optional<T>& value) : Value(value ? Value(*value) : Value()) {}

  bool is_null() const noexcept { return std::holds_alternative<std::nullptr_t>(data_); }
  const Variant& variant() const noexcept { return data_; }

  // T is bool, an integer type, double, std::string, Blob or std::optional of one of these. Conversions that
  // lose nothing are made (integer to double, a whole double to integer, 0 and 1 to bool); others throw
  // Error{"type"}.
  template <class T>
  T as() const;

  bool operator==(const Value&) const = default;

 private:
  static std::int64_t checked(std::uint64_t number);
  std::int64_t to_integer(std::int64_t low, std::int64_t high) const;
  double to_real() const;
  const std::string& to_text() const;
  const Blob& to_blob() const;

  Variant data_;
};

// The parameters of a statement: by position, or by name (`:name`, `@name` or `$name` in the SQL).
class Params {
 public:
  Params() = default;
  explicit Params(std::vector<Value> by_position) : positional(std::move(by_position)) {}
  explicit Params(std::vector<std::pair<std::string, Value>> by_name) : named(std::move(by_name)) {}

  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// db.query("… WHERE code = :code", via::sql::named({{"code", "AW"}}))
inline Params named(std::initializer_list<std::pair<std::string, Value>> values) {
  return Params(std::vector<std::pair<std::string, Value>>(values));
}

// Any failure. what() is for people and holds no credential.
class Error : public std::runtime_error {
 public:
  struct Details {
    std::string code;     // "unbound", "scope_denied", "sql_error", …; of this library: "not_configured",
                          // "unreachable", "outcome_unknown", "deadline_exceeded", "type", "protocol"
    int http_status = 0;  // of the host's refusal; 0 when this library found it
    int sqlite_code = 0;  // SQLite's (extended) result code, 0 when not of SQLite
    std::optional<std::size_t> statement_index;  // of a batch
    std::string request_id;                      // names the request in the host's log
    bool outcome_unknown = false;                // a write that may or may not have been made
    std::string sqlstate = {};                   // PostgreSQL's, empty when not of PostgreSQL
  };
  Error(const std::string& message, Details details)
      : std::runtime_error(message), details_(std::move(details)) {}

  const std::string& code() const noexcept { return details_.code; }
  int http_status() const noexcept { return details_.http_status; }
  int sqlite_code() const noexcept { return details_.sqlite_code; }
  const std::string& sqlstate() const noexcept { return details_.sqlstate; }
  std::optional<std::size_t> statement_index() const noexcept { return details_.statement_index; }
  const std::string& request_id() const noexcept { return details_.request_id; }
  bool outcome_unknown() const noexcept { return details_.outcome_unknown; }
  const Details& details() const noexcept { return details_; }

 private:
  Details details_;
};

class Rows;

// One row of a result. Refers to its Rows, which must live as long.
class Row {
 public:
  // By position from 0, or by column name (exact, first of that name). Error{"type"} when there is no such
  // column.
  const Value& operator[](std::size_t index) const;
  const Value& operator[](std::string_view column) const;
  template <class T>
  T get(std::size_t index) const {
    return (*this)[index].template as<T>();
  }
  template <class T>
  T get(std::string_view column) const {
    return (*this)[column].template as<T>();
  }
  std::size_t size() const noexcept;

 private:
  friend class Rows;
  Row(const Rows& rows, std::size_t index) : rows_(&rows), index_(index) {}
  const Rows* rows_;
  std::size_t index_;
};

// The whole result of a query.
class Rows {
 public:
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = Row;
    Iterator(const Rows& rows, std::size_t at) : rows_(&rows), at_(at) {}
    Row operator*() const { return (*rows_)[at_]; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++at_;
      return before;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    const Rows* rows_;
    std::size_t at_;
  };

  std::size_t size() const noexcept { return cells.size(); }
  bool empty() const noexcept { return cells.empty(); }
  Row operator[](std::size_t index) const;
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

  // The one row of a result that must have exactly one; Error{"type"} otherwise.
  Row one() const;
  // Its first column.
  template <class T>
  T scalar() const {
    return one().template get<T>(0);
  }

  std::vector<std::string> columns;
  std::vector<std::string> types;  // as declared, "" where there is no declaration
  std::vector<std::vector<Value>> cells;
  bool truncated = false;  // the host's row or byte limit was met: there is more
};

// What a write did. `rows` has what RETURNING gave.
struct Written {
  std::int64_t update_count = 0;  // rows of INSERT, UPDATE, DELETE; 0 for other statements
  std::int64_t last_insert_rowid = 0;  // of the row that this statement inserted last, else 0
  Rows rows;
};

struct Statement {
  enum class Kind { query, execute, setup };
  Kind kind = Kind::query;
  std::string sql;
  Params params;
  std::optional<std::chrono::milliseconds> timeout;  // this statement's own; not inside a batch
};

// One result of a batch: `rows` of a query, the counts of the others.
using BatchResult = Written;

namespace detail {
template <class... Args>
Params pack(Args&&... args) {
  if constexpr (sizeof...(Args) == 1 && (std::is_same_v<std::decay_t<Args>, Params> && ...)) {
    return Params(std::forward<Args>(args)...);
  } else {
    return Params(std::vector<Value>{Value(std::forward<Args>(args))...});
  }
}
}  // namespace detail

// For batches: db.batch({execute("INSERT …", 1), execute("INSERT …", 2)})
template <class... Args>
Statement query(std::string sql, Args&&... args) {
  return {Statement::Kind::query, std::move(sql), detail::pack(std::forward<Args>(args)...), {}};
}
template <class... Args>
Statement execute(std::string sql, Args&&... args) {
  return {Statement::Kind::execute, std::move(sql), detail::pack(std::forward<Args>(args)...), {}};
}
inline Statement setup(std::string sql) {
  return {Statement::Kind::setup, std::move(sql), {}, {}};
}

struct ConnectOptions {
  // How long one call may take, retries included. Statement::timeout overrides it.
  std::chrono::milliseconds timeout{5000};
  // Without a host, open <local_fallback>/<BINDING>.sqlite instead of failing. For development.
  std::string local_fallback;
  // How often to ask, before an operation, whether the credential was rotated. Whoever follows a rotation in
  // time does not notice when the old generation is revoked. 0 = only when the host refuses the one in use.
  std::chrono::milliseconds refresh_interval{60'000};
  // Instead of $VIA_BOOTSTRAP and $VARY_CONFIG_TOKEN_PATH.
  std::string bootstrap_file;
  std::string token_file;
};

enum class Access { read_write, read_only };

class Connection {
 public:
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  // Exactly one statement that only reads.
  template <class... Args>
  Rows query(std::string sql, Args&&... args) {
    return query(
        Statement{Statement::Kind::query, std::move(sql), detail::pack(std::forward<Args>(args)...), {}});
  }
  Rows query(const Statement& statement);

  // Exactly one statement that writes. It is durable when this returns.
  template <class... Args>
  Written execute(std::string sql, Args&&... args) {
    return execute(
        Statement{Statement::Kind::execute, std::move(sql), detail::pack(std::forward<Args>(args)...), {}});
  }
  Written execute(const Statement& statement);

  // One or more statements without parameters, schema first, in one transaction. Returns the update count.
  std::int64_t setup(std::string sql);

  // All in one transaction, or nothing: a failure throws an Error whose statement_index() says which.
  std::vector<BatchResult> batch(const std::vector<Statement>& statements);

  // What the host lets this binding do; read_write for a file of the app's own.
  Access access() const noexcept;
  bool managed() const noexcept;
  // The credential generation in use; 0 when not managed.
  std::int64_t generation() const noexcept;

  class Backend;
  explicit Connection(std::unique_ptr<Backend> backend);

 private:
  std::unique_ptr<Backend> backend_;
};

// Opens `name` as described at the head of this file. A binding is resolved here, so a missing one fails
// here.
Connection connect(std::string_view name, const ConnectOptions& options = {});

// ---------------------------------------------------------------------------------------------------------------

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template <class T>
T Value::as() const {
  if constexpr (IsOptional<T>::value) {
    if (is_null()) return std::nullopt;
    return as<typename T::value_type>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return to_integer(0, 1) != 0;
  } else if constexpr (std::is_integral_v<T>) {
    constexpr auto low = std::is_signed_v<T> ? static_cast<std::int64_t>(std::numeric_limits<T>::min()) : 0;
    constexpr auto high = sizeof(T) == 8 ? std::numeric_limits<std::int64_t>::max()
                                         : static_cast<std::int64_t>(std::numeric_limits<T>::max());
    return static_cast<T>(to_integer(low, high));
  } else if constexpr (std::is_same_v<T, double>) {
    return to_real();
  } else if constexpr (std::is_same_v<T, std::string>) {
    return to_text();
  } else if constexpr (std::is_same_v<T, Blob>) {
    return to_blob();
  } else {
    static_assert(std::is_same_v<T, Value>, "via::sql::Value has no such type");
    return *this;
  }
}

}  // namespace via::sql
