// A SQL transaction of the data API: the body of POST /db read in one pass into flat arrays, and its items run in order.
// Thread: values; running: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/render.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::api {

inline constexpr size_t kMaxItems = 10'000;
inline constexpr size_t kMaxBatchRows = 100'000;
inline constexpr size_t kMaxRows = 1'000'000;
inline constexpr size_t kMaxCells = 8'000'000;
inline constexpr uint64_t kMaxResultRows = 10'000;

// A value to bind.
struct Cell {
  enum Kind : uint8_t { null, integer, real, text, blob } kind = null;
  uint32_t size = 0;  // text and blob
  union {
    int64_t number = 0;
    double fraction;
    uint64_t at;  // text and blob, in Transaction::bytes
  };
};

struct Name {
  uint32_t at = 0, size = 0;  // in Transaction::bytes
};

// The values of one execution.
struct Row {
  uint32_t first = 0, count = 0;  // in Transaction::cells
  uint32_t first_name = 0;        // in Transaction::names, when `named`
  bool named = false;
};

struct Item {
  bool query = false, statement = false, values = false, batch = false, no_fail = false;
  uint32_t sql_at = 0, sql_size = 0;    // in Transaction::bytes, a NUL follows
  uint32_t first_row = 0, row_count = 0;  // in Transaction::rows
};

struct Transaction {
  std::string bytes;
  std::vector<Cell> cells;
  std::vector<Name> names;
  std::vector<Row> rows;
  std::vector<Item> items;
  bool list = false;  // resultFormat

  std::string_view sql(const Item& item) const { return std::string_view(bytes).substr(item.sql_at, item.sql_size); }
};

// 400, of an item with `statement_index` set.
Failure parse_transaction(std::string_view body, Transaction& out);

// What kind of statement a text begins; enough to choose how to prepare it, never to trust it.
enum class Kind : uint8_t { reads, writes, schema, with, control, forbidden, empty };
Kind kind_of(std::string_view sql);


// Runs the items on a connection inside of a transaction, and renders the answer's body. A failure of 200 holds the body
// {"reqIdx":…}; others are the request's. On a connection that only reads, `wants_writer` tells that an item writes. `ran` is
// called with each item that was run and how it ended.
using RanItem = std::function<void(std::string_view sql, const Failure& failure)>;
Failure run_transaction(Connection& connection, const Transaction& transaction, const Limits& limits, bool may_write, std::string& body,
                        bool& wants_writer, const RanItem& ran = {});

// Rows of a query as {"a":1} or [1]; at most kMaxResultRows. The statement is bound; it is reset by the caller.
struct Rows {
  uint64_t count = 0;
  bool truncated = false;
};
// Names of columns, of which later ones of the same name get ":1", ":2" … as SQLite itself does in subqueries.
std::vector<std::string> column_keys(sqlite3_stmt* stmt, bool unique);
Failure render_rows(Connection& connection, Statement& statement, bool list, bool finish, size_t max_bytes, const std::vector<std::string>& columns,
                    Output& out, Rows& rows);

}  // namespace via::sqlite::api
