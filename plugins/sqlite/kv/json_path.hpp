// A place inside of a JSON document: a.b[0].c, with an optional leading "$". The document stays text: a leaf is a range of
// it, and a change rewrites nothing but that range, so that order, spacing and the digits of numbers elsewhere stay.
// Thread: values; any.
#pragma once

#include "plugins/sqlite/errors.hpp"

#include <boost/json/value.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::kv {

class JsonPath {
 public:
  // 400 "invalid path". Members with '.', '[' or ']' in their name are written ["name"].
  static Failure parse(std::string_view text, JsonPath& out);
  bool whole() const { return steps_.empty(); }

  // `document` must be valid JSON (valid_json). The leaf's text, or nothing.
  std::optional<std::string_view> find(std::string_view document) const;
  // Puts `leaf` (valid JSON) there. A missing member is added, with the objects on the way to it; the index behind an array's
  // last element appends. 400 where the path leads through something else, or the document would be no valid_json any more;
  // the document is as it was then.
  Failure replace(std::string& document, std::string_view leaf) const;
  // Hands the elements of the array there to `fn`, and puts what it left of them, all valid JSON, in its place. A missing array
  // is made when `make`, and 404 "Path not found" else.
  using Elements = std::vector<std::string_view>;
  Failure edit_array(std::string& document, bool make, const std::function<Failure(Elements& all)>& fn) const;

 private:
  struct Step {
    std::string name;
    size_t index = 0;
    bool is_index = false;
  };
  std::vector<Step> steps_;
};

inline constexpr size_t kJsonDepth = 256;  // arrays and objects within each other
std::optional<boost::json::value> parse_json(std::string_view text);
bool valid_json(std::string_view text);

}  // namespace via::sqlite::kv
