// Earlier states of a key-value table, told from its history (history.hpp) and held against the table itself: what cannot
// be told exactly is unknown, never guessed. A state is looked up by bisection, so its cost does not grow with the number
// of operations by more than a few look-ups.
// Thread: that of the connection; inside one transaction.
#pragma once

#include "plugins/sqlite/kv/history.hpp"

#include <functional>
#include <vector>

namespace via::sqlite::kv {

// 409 "time-travel chain gap".
Failure chain_gap();

struct State {
  enum class Kind : uint8_t { absent, present, unknown };
  Kind kind = Kind::absent;
  Entry entry;            // when present; its updated_ms is the time of the operation that made it
  int64_t op_number = 0;  // the last operation at that time, 0 when none

  bool present() const { return kind == Kind::present; }
  bool unknown() const { return kind == Kind::unknown; }
  const Entry* live() const { return present() ? &entry : nullptr; }
};

// One recorded operation. `before` is known unless it was trimmed.
struct Operation {
  int64_t number = 0, time = 0;
  std::string op;
  bool before_known = false, broken = false;
  std::optional<Entry> before, after;
};

class Travel {
 public:
  // 400 when the table is not a key-value table, 409 when the history is of another make.
  static Failure open(Connection& connection, const Table& table, int64_t now_ms, std::optional<Travel>& out);

  // The key at the end of the millisecond `at_ms`; a time to come is now.
  Failure at(std::string_view key, int64_t at_ms, State& out);
  // What the table holds now.
  Failure current(std::string_view key, std::optional<Entry>& out);
  // The numbers of the oldest and the newest row, both -1 when the key has no history.
  Failure range(std::string_view key, int64_t& oldest, int64_t& newest);
  // Operations with numbers up to `newest`, newest first, until `each` returns false.
  Failure operations(std::string_view key, int64_t newest, const std::function<bool(Operation&&)>& each);
  // The operation of that number with its outcome, without what was before; nothing when it was trimmed.
  Failure outcome(std::string_view key, int64_t number, std::optional<Operation>& out);
  // Whether changes of the key are missing anywhere in what is kept of its history.
  Failure has_gaps(std::string_view key, bool& gaps);
  // Whether the table holds what the key's newest operation left.
  Failure tip_holds(std::string_view key, bool& holds);
  // Every key that the table or its history knows, in byte order, from the first that is not before `prefix` on, until
  // `each` returns false.
  Failure keys(std::string_view prefix, const std::function<bool(std::string_view)>& each);
  // Keys with an operation later than `from_ms` and not later than `to_ms`, in byte order, at most `limit`.
  Failure changed(int64_t from_ms, int64_t to_ms, size_t limit, std::vector<std::string>& out, bool& truncated);
  // Before this time, keys without history may have been forgotten ones.
  int64_t horizon() const { return horizon_; }
  bool has_table() const { return has_table_; }

 private:
  Travel(Connection& connection, const Table& table, int64_t now_ms) : connection_(&connection), table_(table), now_(now_ms) {}
  Failure row_at(std::string_view key, int64_t at_ms, int64_t oldest, int64_t newest, int64_t& number);

  Connection* connection_;
  Table table_;
  int64_t now_;
  bool has_history_ = false, has_table_ = false;
  int64_t horizon_ = INT64_MIN;
};

// For GET /kv/{key}?at_timestamp=: the value then, nothing when there was none, 409 when that cannot be told.
Failure get_at(Connection& connection, const Table& table, std::string_view key, int64_t at_ms, int64_t now_ms, std::optional<Entry>& out);

// For GET /kv?at_timestamp= and GET /kv/snapshot: the envelope of a table's earlier state, as JSON.
struct Page {
  std::string_view prefix, cursor;  // of an earlier answer: the first key, in base64
  int64_t limit = 100;
};
Failure table_at(Connection& connection, const Table& table, const Page& page, int64_t at_ms, int64_t now_ms, std::string& json);

// The keys of a table whose state may differ between two times: all of them up to a bound, beyond it those with an operation in
// between, and then `truncated` says that others were not looked at.
Failure candidates(Travel& travel, int64_t from_ms, int64_t to_ms, std::vector<std::string>& out, bool& truncated);

// Pieces of answers.
void append_text(std::string& out, std::string_view text);    // in quotes; what is not UTF-8 becomes U+FFFD
void append_base64(std::string& out, std::string_view bytes); // in quotes
void append_raw(std::string& out, const std::optional<Entry>& entry);            // base64 or null
bool append_document(std::string& out, std::string_view name, const Entry& entry);  // ,"name":<value> when it is JSON
void append_keys(std::string& out, const std::vector<std::string>& keys);        // as an array

inline constexpr size_t kShownGapKeys = 1'000;

}  // namespace via::sqlite::kv
