// One request of the data API, decoded once: where it goes, its parameters, its body, what its caller may do.
// Thread: one at a time; views live as long as the request.
#pragma once

#include "plugins/sqlite/errors.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace via::sqlite::api {

enum class Method : uint8_t { get, head, put, post, del, other };

// Query parameters, percent-decoded ('+' is a blank). Of a name that comes twice the first counts; an empty value counts
// as given by find() and as absent by the typed getters, which keep their default then.
class Parameters {
 public:
  void add(std::string name, std::string value) { all_.emplace_back(std::move(name), std::move(value)); }
  std::optional<std::string_view> find(std::string_view name) const;
  std::string_view text(std::string_view name, std::string_view otherwise = {}) const;
  // 400 "NAME must be an integer" when the value is none or does not fit 64 bits.
  Failure integer(std::string_view name, int64_t& value) const;
  // true, false, 1, 0, yes, no, or the bare name; else 400 "NAME must be true or false".
  Failure boolean(std::string_view name, bool& value) const;
  // `cursor`, where a list counts by a number: the next_cursor of an answer. 400 when it is none, `value` stays without it.
  Failure numbered_cursor(int64_t& value) const;
  // Unix seconds, or milliseconds when it is 10^11 or more; out in milliseconds. `given` tells whether it was there.
  Failure timestamp(std::string_view name, int64_t& unix_ms, bool& given) const;

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

// What the caller may do: the binding's scopes, narrowed by a capability URL.
struct Rights {
  bool write = true;
  bool query_only = false;  // only GET /query (and health)
  std::string only_db;      // the one database it may name, by the name it was shared under; empty = any
};

struct Request {
  Method method = Method::other;
  std::string route;              // the endpoint's pattern, e.g. "/kv/{key}/incr"
  std::string key;                // {key} or {index}, percent-decoded; may hold any bytes but NUL
  Parameters parameters;
  std::string_view content_type;  // as sent, empty when absent
  std::string body;
  Rights rights;
};

}  // namespace via::sqlite::api
