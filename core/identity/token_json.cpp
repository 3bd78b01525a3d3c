#include "core/identity/token_json.hpp"

#include <limits>

#include <nlohmann/json.hpp>

namespace via::identity {
namespace {

using Type = JsonNode::Type;

class Collector {
 public:
  Collector(std::vector<JsonNode>& nodes, JsonLimits limits) : nodes_(nodes), limits_(limits) {}

  // NOLINTBEGIN(readability-identifier-naming): names given by nlohmann's SAX interface.
  bool null() { return add(Type::null); }
  bool boolean(bool) { return add(Type::boolean); }
  bool number_integer(std::int64_t value) { return add(Type::integer, value); }
  bool number_unsigned(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return add(Type::number);
    return add(Type::integer, static_cast<std::int64_t>(value));
  }
  bool number_float(double, const std::string&) { return add(Type::number); }
  bool string(std::string& value) {
    if (value.find('\0') != std::string::npos || !add(Type::string)) return false;
    nodes_.back().text = std::move(value);
    return true;
  }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(Type::object); }
  bool start_array(std::size_t) { return open(Type::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (name.find('\0') != std::string::npos) return false;
    const std::uint32_t parent = open_.back();
    for (std::size_t i = parent + 1; i < nodes_.size(); ++i)
      if (nodes_[i].parent == parent && nodes_[i].name == name) return false;
    name_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) { return false; }
  // NOLINTEND(readability-identifier-naming)

 private:
  bool add(Type type, std::int64_t integer = 0) {
    if (nodes_.size() >= limits_.nodes) return false;
    JsonNode node;
    node.type = type;
    node.integer = integer;
    if (!open_.empty()) {
      node.parent = open_.back();
      JsonNode& parent = nodes_[node.parent];
      ++parent.children;
      if (parent.type == Type::object) node.name = std::move(name_);
    }
    nodes_.push_back(std::move(node));
    return true;
  }
  bool open(Type type) {
    if (open_.size() >= limits_.depth || !add(type)) return false;
    open_.push_back(static_cast<std::uint32_t>(nodes_.size() - 1));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::vector<JsonNode>& nodes_;
  JsonLimits limits_;
  std::vector<std::uint32_t> open_;
  std::string name_;
};

}  // namespace

std::optional<Json> Json::parse(std::string_view text, JsonLimits limits) {
  // nlohmann's lexer takes a NUL for the end of the text and skips a byte order mark.
  if (text.empty() || text.find('\0') != std::string_view::npos || text.front() == '\xEF') return std::nullopt;
  Json out;
  Collector collector(out.nodes_, limits);
  if (!nlohmann::json::sax_parse(text.begin(), text.end(), &collector)) return std::nullopt;
  if (out.nodes_.empty()) return std::nullopt;
  return out;
}

const JsonNode* Json::member(const JsonNode& parent, std::string_view name) const {
  const auto index = static_cast<std::size_t>(&parent - nodes_.data());
  if (parent.type != Type::object) return nullptr;
  for (std::size_t i = index + 1; i < nodes_.size(); ++i)
    if (nodes_[i].parent == index && nodes_[i].name == name) return &nodes_[i];
  return nullptr;
}

const std::string* Json::string(const JsonNode& parent, std::string_view name) const {
  const JsonNode* node = member(parent, name);
  return node != nullptr && node->type == Type::string ? &node->text : nullptr;
}

std::optional<std::int64_t> Json::integer(const JsonNode& parent, std::string_view name) const {
  const JsonNode* node = member(parent, name);
  if (node == nullptr || node->type != Type::integer) return std::nullopt;
  return node->integer;
}

std::vector<const JsonNode*> Json::children(const JsonNode& parent) const {
  const auto index = static_cast<std::size_t>(&parent - nodes_.data());
  std::vector<const JsonNode*> out;
  out.reserve(parent.children);
  for (std::size_t i = index + 1; i < nodes_.size() && out.size() < parent.children; ++i)
    if (nodes_[i].parent == index) out.push_back(&nodes_[i]);
  return out;
}

}  // namespace via::identity
