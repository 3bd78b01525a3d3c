// Names of key-value tables.
#include "plugins/sqlite/kv/entry.hpp"

#include "plugins/sqlite/api/answer.hpp"

#include <strings.h>

#include <algorithm>

namespace via::sqlite::kv {

Failure Table::parse(std::string_view name, Table& out) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto fits = [&](char c) { return letter(c) || (c >= '0' && c <= '9'); };
  const auto starts = [&](std::string_view prefix) {
    return name.size() >= prefix.size() && strncasecmp(name.data(), prefix.data(), prefix.size()) == 0;
  };
  if (name.empty() || name.size() > 64 || !letter(name.front()) || !std::all_of(name.begin(), name.end(), fits) ||
      starts("sqlite_") || starts("_via_"))
    return api::error(400, "invalid table name");
  out.name_ = name;
  return {};
}

}  // namespace via::sqlite::kv
