// JSON as strict as tokens need it: one reading for one text.
//
// Refused: names that stand twice in an object (after escapes are resolved), NUL anywhere, a byte order mark, text
// behind the value, numbers beyond a double, invalid UTF-8, and everything beyond the limits. The result is one flat
// list of nodes, so neither parsing nor destroying it recurses. Internal to core/identity.
// Thread: any (values).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace via::identity {

struct JsonLimits {
  std::size_t depth = 8;  // nested objects and arrays, the outermost one included
  std::size_t nodes = 128;
};

struct JsonNode {
  enum class Type : std::uint8_t { null, boolean, integer, number, string, array, object };
  Type type = Type::null;
  std::uint32_t parent = 0;
  std::uint32_t children = 0;
  std::int64_t integer = 0;  // set for Type::integer, which is what has neither fraction nor exponent and fits
  std::string name;          // as a member of an object
  std::string text;
};

class Json {
 public:
  static std::optional<Json> parse(std::string_view text, JsonLimits limits);

  const JsonNode& root() const { return nodes_.front(); }
  // The member of an object, or null. Nodes are found by position, so `parent` must be of this object.
  const JsonNode* member(const JsonNode& parent, std::string_view name) const;
  // The same, and only when it is a string.
  const std::string* string(const JsonNode& parent, std::string_view name) const;
  std::optional<std::int64_t> integer(const JsonNode& parent, std::string_view name) const;
  std::vector<const JsonNode*> children(const JsonNode& parent) const;

 private:
  std::vector<JsonNode> nodes_;
};

}  // namespace via::identity
