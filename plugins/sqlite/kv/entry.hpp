// What one key holds, and the table it is in.
// Thread: values; any.
#pragma once

#include "plugins/sqlite/errors.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace via::sqlite::kv {

struct Entry {
  std::string value;         // raw bytes as they were sent
  std::string content_type;  // "application/json", "text/plain", …
  int64_t created_ms = 0, updated_ms = 0;
  std::optional<int64_t> expires_ms;  // gone at and after this time, swept or not

  bool expired(int64_t now_ms) const { return expires_ms && *expires_ms <= now_ms; }
};

// A key-value table's name, checked: 1 to 64 of [A-Za-z0-9_], no digit first, not sqlite_… and not _via_…. Only such a
// name is ever put into SQL text, and there in double quotes.
class Table {
 public:
  static Failure parse(std::string_view name, Table& out);  // 400 "invalid table name"
  const std::string& name() const { return name_; }

 private:
  std::string name_ = "kv_store";
};

}  // namespace via::sqlite::kv
