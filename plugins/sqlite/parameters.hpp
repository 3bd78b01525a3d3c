// Values that are given by name, matched with the parameters of a statement: in the time of a sort, for a request may hold
// millions of values, and nothing ends what runs outside of SQLite. Thread: that of the connection.
#pragma once

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/errors.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace via::sqlite {

// Calls `bind(parameter, value)` for each parameter, counted from 1, with the number of the value that is given for it;
// `given(value)` is the name of a value, with or without its ':', '@' or '$'. Too few, too many and doubled ones are the
// caller's mistake. A code of SQLite's that `bind` returns ends it and is handed on in `rc`.
template <class Given, class Bind>
Failure bind_named(Statement& s, uint32_t count, const Given& given, const Bind& bind, int& rc) {
  rc = SQLITE_OK;
  if (s.names.empty()) {
    for (int i = 1; i <= s.parameters; ++i) {
      const char* name = sqlite3_bind_parameter_name(s.stmt, i);
      s.names.emplace_back(name ? name : "");
    }
  }
  constexpr uint32_t kFew = 16;
  std::vector<std::pair<std::string_view, uint32_t>> sorted;
  if (count > kFew) {
    sorted.reserve(count);
    for (uint32_t v = 0; v < count; ++v) sorted.emplace_back(given(v), v);
    std::sort(sorted.begin(), sorted.end());
  }
  for (size_t i = 0; i < s.names.size(); ++i) {
    const std::string_view name = s.names[i];
    if (name.empty()) return sql_wrong("the statement has parameters without a name");
    const std::string_view bare = name.substr(1);
    uint32_t found = 0, value = 0;
    const auto take = [&](uint32_t v) { ++found, value = v; };
    if (count <= kFew) {
      for (uint32_t v = 0; v < count; ++v)
        if (const std::string_view one = given(v); one == name || one == bare) take(v);
    } else {
      for (const std::string_view wanted : {name, bare})
        for (auto at = std::lower_bound(sorted.begin(), sorted.end(), std::pair(wanted, 0u)); at != sorted.end() && at->first == wanted && found < 2; ++at)
          take(at->second);
    }
    if (found > 1) return sql_wrong("a value is given twice for the parameter " + std::string(name));
    if (found == 0) return sql_wrong("no value is given for the parameter " + std::string(name));
    if (rc = bind(static_cast<int>(i) + 1, value); rc != SQLITE_OK) return {};
  }
  return count == s.names.size() ? Failure{} : sql_wrong("a value is given for a parameter that the statement does not have");
}

}  // namespace via::sqlite
