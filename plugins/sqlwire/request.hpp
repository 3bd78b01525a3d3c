// The body of an operation, read in one pass from JSON into flat arrays that are reused from request to request.
// Owned by the thread (inline reads) or by the job (writes).
// Thread: one at a time.
#pragma once

#include "plugins/sqlwire/failure.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace via::sqlwire {

enum class Operation : uint8_t { query, execute, setup, batch };

struct Value {
  enum Kind : uint8_t { null, integer, real, text, blob } kind = null;
  int64_t number = 0;
  double fraction = 0;
  uint32_t at = 0, size = 0;            // text and blob, in Request::bytes
  uint32_t name_at = 0, name_size = 0;  // name, for params given as an object
};

struct StatementText {
  Operation operation = Operation::execute;
  bool has_sql = false, has_params = false, named = false, has_operation = false;
  uint32_t sql_at = 0, sql_size = 0;  // in Request::bytes, a NUL follows
  uint32_t first = 0, count = 0;      // in Request::values
};

struct Request {
  std::string bytes;
  std::vector<Value> values;
  std::vector<StatementText> statements;  // one, or those of a batch
  uint64_t generation = 0;
  uint64_t timeout_ms = 0;
  bool has_generation = false, has_timeout = false, integers_as_text = false;

  std::string_view sql(const StatementText& s) const { return std::string_view(bytes).substr(s.sql_at, s.sql_size); }
  std::string_view bytes_of(const Value& v) const { return std::string_view(bytes).substr(v.at, v.size); }
  std::string_view name_of(const Value& v) const {
    return std::string_view(bytes).substr(v.name_at, v.name_size);
  }
};

// Reads `body` for `operation` into `out`, whose memory is reused. Linear; at most one copy of the body. Refuses what
// is not exactly JSON, known fields that come twice or have the wrong type, NUL or BOM in SQL, numbers that a
// 64-bit integer or a double cannot hold (9e999 is infinity, as results write it). Unknown fields are skipped.
Failure parse_request(std::string_view body, Operation operation, Request& out);

}  // namespace via::sqlwire
