// Reading parameters.
#include "plugins/sqlite/api/request.hpp"

#include "plugins/sqlite/api/answer.hpp"

#include <charconv>

namespace via::sqlite::api {
namespace {

constexpr int64_t kMilliseconds = 100'000'000'000;  // from here on a timestamp is in milliseconds

bool parse_integer(std::string_view s, int64_t& value) {
  if (s.starts_with('+')) s.remove_prefix(1);
  if (s.empty() || s.front() == '+') return false;
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), value);
  return ec == std::errc() && end == s.data() + s.size();
}

}  // namespace

std::optional<std::string_view> Parameters::find(std::string_view name) const {
  for (const auto& [n, v] : all_)
    if (n == name) return v;
  return std::nullopt;
}

std::string_view Parameters::text(std::string_view name, std::string_view otherwise) const {
  const auto v = find(name);
  return v && !v->empty() ? *v : otherwise;
}

Failure Parameters::integer(std::string_view name, int64_t& value) const {
  const std::string_view v = text(name);
  if (v.empty() || parse_integer(v, value)) return {};
  return error(400, std::string(name) + " must be an integer");
}

Failure Parameters::numbered_cursor(int64_t& value) const {
  const std::string_view v = text("cursor");
  int64_t n = 0;
  if (v.empty()) return {};
  if (!parse_integer(v, n) || n < 0) return wrong_cursor();
  value = n;
  return {};
}

Failure Parameters::boolean(std::string_view name, bool& value) const {
  const auto v = find(name);
  if (!v) return {};
  if (v->empty() || *v == "true" || *v == "1" || *v == "yes") value = true;
  else if (*v == "false" || *v == "0" || *v == "no") value = false;
  else return error(400, std::string(name) + " must be true or false");
  return {};
}

Failure Parameters::timestamp(std::string_view name, int64_t& unix_ms, bool& given) const {
  given = !text(name).empty();
  if (!given) return {};
  int64_t n = 0;
  if (!parse_integer(text(name), n) || n < 0) return error(400, std::string(name) + " must be a Unix timestamp");
  unix_ms = n >= kMilliseconds ? n : n * 1000;
  return {};
}

}  // namespace via::sqlite::api
