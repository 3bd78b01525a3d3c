#include "plugins/sqlite/kv/content_type.hpp"

#include "plugins/sqlite/kv/json_path.hpp"

#include <strings.h>

namespace via::sqlite::kv {
namespace {

std::string_view bare(std::string_view type) {
  type = type.substr(0, type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

bool same(std::string_view a, std::string_view b) { return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0; }

}  // namespace

bool says_json(std::string_view content_type) {
  constexpr std::string_view kSuffix = "+json";
  const std::string_view type = bare(content_type);
  return same(type, "application/json") || same(type, "text/json") ||
         (type.size() > kSuffix.size() && same(type.substr(type.size() - kSuffix.size()), kSuffix));
}

std::string type_for(std::string_view sent, std::string_view value) {
  const std::string_view type = bare(sent);
  const bool bytes = same(type, "application/octet-stream");
  const bool generic = type.empty() || bytes || same(type, "application/x-www-form-urlencoded");
  const bool json = !generic && says_json(sent);
  if (!generic && !json) return std::string(sent);
  if (!valid_json(value)) return bytes ? "application/octet-stream" : "text/plain";
  return json ? std::string(sent) : "application/json";
}

std::string_view shown_type(const Entry& entry) {
  return says_json(entry.content_type) && !valid_json(entry.value) ? std::string_view("text/plain") : std::string_view(entry.content_type);
}

}  // namespace via::sqlite::kv
