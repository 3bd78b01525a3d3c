// A scanner over text that is known to be valid: it looks for ends and compares names.
#include "plugins/sqlite/kv/json_path.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/render.hpp"

#include <boost/json.hpp>
#include <boost/json/basic_parser_impl.hpp>

namespace via::sqlite::kv {
namespace {

constexpr size_t kSteps = 64, kPathBytes = 4096;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

struct Scanner {
  std::string_view s;
  size_t at = 0;

  char peek() const { return at < s.size() ? s[at] : '\0'; }
  void space() {
    while (at < s.size() && is_space(s[at])) ++at;
  }
  std::string_view string() {
    const size_t begin = at++;
    while (at < s.size() && s[at] != '"') at += s[at] == '\\' ? 2 : 1;
    at = std::min(at + 1, s.size());
    return s.substr(begin, at - begin);
  }
  std::string_view value() {
    space();
    const size_t begin = at;
    size_t depth = 0;
    do {
      const char c = peek();
      if (c == '"') string();
      else if (c == '{' || c == '[') ++depth, ++at;
      else if (c == '}' || c == ']') --depth, ++at;
      else if (depth != 0) ++at;
      else while (at < s.size() && !is_space(s[at]) && s[at] != ',' && s[at] != '}' && s[at] != ']') ++at;
    } while (depth != 0 && at < s.size());
    return s.substr(begin, at - begin);
  }
};

std::string quoted(std::string_view name) { return boost::json::serialize(boost::json::string_view(name.data(), name.size())); }

bool same_name(std::string_view token, std::string_view name) {
  const std::string_view inner = token.substr(1, token.size() - 2);
  if (inner.find('\\') == std::string_view::npos) return inner == name;
  boost::json::error_code ec;
  const auto decoded = boost::json::parse({token.data(), token.size()}, ec);
  return !ec && decoded.is_string() && std::string_view(decoded.get_string()) == name;
}

std::string_view trimmed(std::string_view document) {
  Scanner scan{document};
  return scan.value();
}

// Of a name that comes twice the last counts, as it does for readers of the document.
std::optional<std::string_view> member(std::string_view object, std::string_view name) {
  std::optional<std::string_view> found;
  Scanner scan{object, 1};
  for (scan.space(); scan.peek() == '"'; scan.space()) {
    const std::string_view token = scan.string();
    scan.space();
    ++scan.at;
    const std::string_view value = scan.value();
    if (same_name(token, name)) found = value;
    scan.space();
    if (scan.peek() == ',') ++scan.at;
  }
  return found;
}

std::vector<std::string_view> elements(std::string_view array) {
  std::vector<std::string_view> out;
  Scanner scan{array, 1};
  for (scan.space(); scan.peek() != ']' && scan.peek() != '\0'; scan.space()) {
    out.push_back(scan.value());
    scan.space();
    if (scan.peek() == ',') ++scan.at;
  }
  return out;
}

// How many arrays and objects of a valid document are within each other.
size_t depth_of(std::string_view document) {
  size_t depth = 0, deepest = 0;
  for (Scanner scan{document}; scan.at < document.size();) {
    const char c = scan.peek();
    if (c == '"') {
      scan.string();
      continue;
    }
    if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
    if (c == '}' || c == ']') --depth;
    ++scan.at;
  }
  return deepest;
}

// Takes a document's events and makes nothing of them: its tree would need many times its size.
struct Nothing {
  using error_code = boost::json::error_code;
  using Text = boost::json::string_view;
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_object_begin(error_code&) { return true; }
  bool on_object_end(std::size_t, error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_key_part(Text, std::size_t, error_code&) { return true; }
  bool on_key(Text, std::size_t, error_code&) { return true; }
  bool on_string_part(Text, std::size_t, error_code&) { return true; }
  bool on_string(Text, std::size_t, error_code&) { return true; }
  bool on_number_part(Text, error_code&) { return true; }
  bool on_int64(std::int64_t, Text, error_code&) { return true; }
  bool on_uint64(std::uint64_t, Text, error_code&) { return true; }
  bool on_double(double, Text, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(Text, error_code&) { return true; }
  bool on_comment(Text, error_code&) { return true; }
};

}  // namespace

Failure JsonPath::parse(std::string_view text, JsonPath& out) {
  out.steps_.clear();
  const auto invalid = [] { return api::error(400, "invalid path"); };
  if (text.size() > kPathBytes || !is_utf8(text)) return invalid();
  if (text.starts_with('$')) {
    text.remove_prefix(1);
    if (text.empty()) return {};
    if (text.front() != '.' && text.front() != '[') return invalid();
    if (text.front() == '.') text.remove_prefix(1);
  }
  bool after_dot = true;
  size_t i = 0;
  while (i < text.size() || after_dot) {
    if (out.steps_.size() == kSteps || i == text.size()) return invalid();
    Step step;
    if (text[i] == '[') {
      if (after_dot && i != 0) return invalid();
      ++i;
      if (i < text.size() && text[i] == '"') {
        Scanner scan{text, i};
        const std::string_view token = scan.string();
        boost::json::error_code ec;
        const auto name = boost::json::parse({token.data(), token.size()}, ec);
        if (ec || !name.is_string()) return invalid();
        step.name = std::string_view(name.get_string());
        i = scan.at;
      } else {
        step.is_index = true;
        const size_t begin = i;
        for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) step.index = step.index * 10 + static_cast<size_t>(text[i] - '0');
        if (i == begin || i - begin > 9) return invalid();
      }
      if (i >= text.size() || text[i] != ']') return invalid();
      ++i;
    } else {
      if (!after_dot) return invalid();
      const size_t end = std::min(text.find_first_of(".[]", i), text.size());
      if (end == i) return invalid();
      step.name = text.substr(i, end - i);
      i = end;
    }
    out.steps_.push_back(std::move(step));
    after_dot = i < text.size() && text[i] == '.';
    if (after_dot) ++i;
  }
  return {};
}

std::optional<std::string_view> JsonPath::find(std::string_view document) const {
  std::string_view here = trimmed(document);
  for (const Step& step : steps_) {
    std::optional<std::string_view> next;
    if (step.is_index && here.starts_with('[')) {
      const auto all = elements(here);
      if (step.index < all.size()) next = all[step.index];
    } else if (!step.is_index && here.starts_with('{')) {
      next = member(here, step.name);
    }
    if (!next) return std::nullopt;
    here = *next;
  }
  return here;
}

Failure JsonPath::replace(std::string& document, std::string_view leaf) const {
  // Every step leads through one array or object, there already or made here.
  if (steps_.size() + depth_of(leaf) > kJsonDepth)
    return api::error(400, "the document would be nested too deep: " + std::to_string(kJsonDepth) + " levels at most");
  const std::string value(trimmed(leaf));  // the blanks around it would be one more pair with each change
  std::string_view here = trimmed(document);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    const bool array = here.starts_with('[');
    if (step.is_index != array || (!array && !here.starts_with('{')))
      return api::error(400, "the path leads through a value that is no object or array of that kind");
    size_t count = 0;
    std::optional<std::string_view> next;
    if (array) {
      const auto all = elements(here);
      count = all.size();
      if (step.index < count) next = all[step.index];
      else if (step.index > count) return api::error(400, "the path's index is beyond the end of the array");
    } else {
      next = member(here, step.name);
      count = here[here.find_first_not_of(" \t\r\n", 1)] == '}' ? 0 : 1;
    }
    if (next) {
      here = *next;
      continue;
    }
    std::string added = value;
    for (size_t later = steps_.size() - 1; later > i; --later) {
      const Step& inner = steps_[later];
      if (inner.is_index && inner.index != 0) return api::error(400, "the path's index is beyond the end of the array");
      added = inner.is_index ? "[" + added + "]" : "{" + quoted(inner.name) + ":" + added + "}";
    }
    if (!array) added.insert(0, quoted(step.name) + ":");
    if (count != 0) added.insert(0, ",");
    document.insert(static_cast<size_t>(here.data() - document.data()) + here.size() - 1, added);
    return {};
  }
  document.replace(static_cast<size_t>(here.data() - document.data()), here.size(), value);
  return {};
}

Failure JsonPath::edit_array(std::string& document, bool make, const std::function<Failure(Elements& all)>& fn) const {
  const std::optional<std::string_view> there = find(document);
  if (!there && !make) return api::error(404, "Path not found");
  const std::string_view before = there.value_or("[]");
  if (!before.starts_with('[')) return api::error(400, "the value is not a JSON array");
  Elements all = elements(before);
  if (Failure f = fn(all)) return f;
  std::string array = "[";
  for (const std::string_view e : all) array.append(array.size() == 1 ? "" : ",").append(trimmed(e));
  array += ']';
  return replace(document, array);
}

std::optional<boost::json::value> parse_json(std::string_view text) {
  boost::json::error_code ec;
  boost::json::parse_options options;
  options.max_depth = kJsonDepth;
  auto value = boost::json::parse({text.data(), text.size()}, ec, {}, options);
  return ec ? std::nullopt : std::optional(std::move(value));
}

bool valid_json(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kJsonDepth;
  boost::json::basic_parser<Nothing> parser(options);
  boost::json::error_code ec;
  const size_t used = parser.write_some(false, text.data(), text.size(), ec);
  return !ec && parser.done() && text.find_first_not_of(" \t\r\n", used) == text.npos;
}

}  // namespace via::sqlite::kv
