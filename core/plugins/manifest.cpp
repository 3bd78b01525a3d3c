#include "core/plugins/manifest.hpp"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/ids.hpp"

namespace via::plugins {
namespace {

using nlohmann::json;

// Thrown and caught in this file only: one way out of deep reading.
struct Wrong {
  std::string what;
};

const json& member(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) throw Wrong{std::string("member \"") + name + "\" is missing"};
  return *it;
}

std::string text(const json& object, const char* name) {
  const json& v = member(object, name);
  if (!v.is_string() || v.get_ref<const std::string&>().empty())
    throw Wrong{std::string("member \"") + name + "\" must be a non-empty string"};
  return v.get<std::string>();
}

std::uint32_t number(const json& object, const char* name, std::uint32_t fallback) {
  const auto it = object.find(name);
  if (it == object.end()) return fallback;
  if (!it->is_number_unsigned() || it->get<std::uint64_t>() > 0xffff'ffffU)
    throw Wrong{std::string("member \"") + name + "\" must be a whole number"};
  return it->get<std::uint32_t>();
}

std::vector<std::string> texts(const json& object, const char* name, bool required) {
  const auto it = object.find(name);
  std::vector<std::string> out;
  if (it == object.end()) {
    if (required) throw Wrong{std::string("member \"") + name + "\" is missing"};
    return out;
  }
  if (!it->is_array()) throw Wrong{std::string("member \"") + name + "\" must be a list of strings"};
  for (const json& v : *it) {
    if (!v.is_string()) throw Wrong{std::string("member \"") + name + "\" must be a list of strings"};
    out.push_back(v.get<std::string>());
  }
  return out;
}

bool identifier(std::string_view s) {
  return !s.empty() && s.size() <= 32 && s.front() >= 'a' && s.front() <= 'z' &&
         std::all_of(s.begin(), s.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
}

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

void check_subset(const std::vector<std::string>& part, const std::vector<std::string>& whole, const char* what) {
  for (const auto& s : part)
    if (std::find(whole.begin(), whole.end(), s) == whole.end())
      throw Wrong{std::string(what) + " names the scope \"" + s + "\", which \"scopes\" does not list"};
}

AddonType read_type(const json& object, const std::string& plugin_id) {
  if (!object.is_object()) throw Wrong{"an entry of \"types\" must be an object"};
  AddonType type;
  type.plugin_id = plugin_id;
  type.id = text(object, "id");
  if (!identifier(type.id)) throw Wrong{"a type id must be 1 to 32 characters of a-z, 0-9, '-' and '_'"};
  type.title = object.contains("title") ? text(object, "title") : type.id;
  type.storage_schema = number(object, "storage_schema", 1);
  type.credentials = object.contains("credentials") ? text(object, "credentials") : "host";
  if (type.credentials != "host" && type.credentials != "plugin-applied")
    throw Wrong{"\"credentials\" must be \"host\" or \"plugin-applied\""};
  type.scopes = texts(object, "scopes", true);
  if (type.scopes.empty()) throw Wrong{"\"scopes\" must name at least one scope"};
  const json& access = member(object, "access");
  if (!access.is_object()) throw Wrong{"\"access\" must be an object"};
  type.read_write_scopes = texts(access, "read_write", true);
  type.read_only_scopes = texts(access, "read_only", false);
  check_subset(type.read_write_scopes, type.scopes, "\"access.read_write\"");
  check_subset(type.read_only_scopes, type.scopes, "\"access.read_only\"");
  std::set<std::string> names;
  if (const auto ops = object.find("ops"); ops != object.end()) {
    if (!ops->is_array()) throw Wrong{"\"ops\" must be a list"};
    for (const json& op : *ops) {
      if (!op.is_object()) throw Wrong{"an entry of \"ops\" must be an object"};
      Operation operation{text(op, "name"), texts(op, "scopes", true)};
      if (!identifier(operation.name) || operation.name == "http")
        throw Wrong{"an operation name must be 1 to 32 characters of a-z, 0-9, '-' and '_', and not \"http\""};
      if (!names.insert(operation.name).second) throw Wrong{"operation \"" + operation.name + "\" stands twice"};
      check_subset(operation.scopes, type.scopes, "an operation");
      type.ops.push_back(std::move(operation));
    }
  }
  if (const auto http = object.find("http"); http != object.end()) {
    if (!http->is_object()) throw Wrong{"\"http\" must be an object"};
    type.http = {text(*http, "prefix"), texts(*http, "scopes", true)};
    if (!type.http.prefix.starts_with('/') || type.http.prefix.ends_with('/') || type.http.prefix.find("//") != std::string::npos)
      throw Wrong{"\"http.prefix\" must be a path such as /api/v1/name"};
    check_subset(type.http.scopes, type.scopes, "\"http.scopes\"");
  }
  type.derived = texts(object, "derived", false);
  for (const auto& suffix : type.derived)
    if (!check_key("", "X" + suffix)) throw Wrong{"\"derived\" suffixes are made of A-Z, 0-9 and '_'"};
  if (const auto limits = object.find("limits"); limits != object.end()) {
    if (!limits->is_object()) throw Wrong{"\"limits\" must be an object"};
    type.parallel_ops = std::clamp<std::uint32_t>(number(*limits, "parallel_ops", 16), 1, 1024);
  }
  if (const auto schema = object.find("config_schema"); schema != object.end()) {
    if (!schema->is_object()) throw Wrong{"\"config_schema\" must be an object"};
    type.config_schema = schema->dump();
  }
  return type;
}

// One part of a version: numbers by their value, before texts; texts by their bytes.
int compare_parts(std::string_view a, std::string_view b) {
  const auto numeric = [](std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
  };
  if (numeric(a) != numeric(b)) return numeric(a) ? -1 : 1;
  if (numeric(a)) {
    for (std::string_view* s : {&a, &b}) s->remove_prefix(std::min(s->find_first_not_of('0'), s->size()));
    if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  }
  return a.compare(b) < 0 ? -1 : a == b ? 0 : 1;
}

// "1.2" and "1.2.0" are the same where `filler` is "0"; of two lists of which one begins the other the longer is newer.
int compare_dotted(std::string_view a, std::string_view b, std::string_view filler) {
  const auto next = [&](std::string_view& s) {
    const auto dot = s.find('.');
    const std::string_view part = s.substr(0, dot);
    s = dot == std::string_view::npos ? std::string_view() : s.substr(dot + 1);
    return part;
  };
  while (!a.empty() || !b.empty()) {
    if (filler.empty() && (a.empty() || b.empty())) return a.empty() ? -1 : 1;
    const std::string_view left = a.empty() ? filler : next(a), right = b.empty() ? filler : next(b);
    if (const int order = compare_parts(left, right); order != 0) return order;
  }
  return 0;
}

}  // namespace

bool is_plugin_id(std::string_view id) noexcept {
  return !id.empty() && id.size() <= 64 && id.front() >= 'a' && id.front() <= 'z' &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'; });
}

bool is_plugin_version(std::string_view version) noexcept {
  return !version.empty() && version.size() <= 64 && version.front() >= '0' && version.front() <= '9' &&
         std::all_of(version.begin(), version.end(), [](char c) { return alnum(c) || c == '.' || c == '+' || c == '-'; });
}

int compare_versions(std::string_view a, std::string_view b) noexcept {
  // What stands behind '+' names a build and orders nothing; what stands behind '-' comes before the version itself.
  a = a.substr(0, a.find('+'));
  b = b.substr(0, b.find('+'));
  const auto dash_a = a.find('-'), dash_b = b.find('-');
  if (const int order = compare_dotted(a.substr(0, dash_a), b.substr(0, dash_b), "0"); order != 0) return order;
  const bool early_a = dash_a != std::string_view::npos, early_b = dash_b != std::string_view::npos;
  if (early_a != early_b) return early_a ? -1 : 1;
  return early_a ? compare_dotted(a.substr(dash_a + 1), b.substr(dash_b + 1), "") : 0;
}

Result<Manifest> parse_manifest(std::string raw) {
  Manifest manifest;
  try {
    std::vector<std::set<std::string>> open;
    bool twice = false;
    const json root = json::parse(
        raw,
        [&](int depth, json::parse_event_t event, json& parsed) {
          if (depth > 16) throw Wrong{"it is nested too deeply"};
          if (event == json::parse_event_t::object_start) open.emplace_back();
          if (event == json::parse_event_t::object_end) open.pop_back();
          if (event == json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second) twice = true;
          return true;
        },
        true);
    if (twice) throw Wrong{"a member name stands twice"};
    if (!root.is_object()) throw Wrong{"it must be a JSON object"};
    if (number(root, "manifest_version", 0) != 1) throw Wrong{"\"manifest_version\" must be 1"};
    manifest.id = text(root, "id");
    if (!is_plugin_id(manifest.id))
      throw Wrong{"\"id\" must be 1 to 64 characters of a-z, 0-9, '.', '_' and '-' and begin with a letter"};
    manifest.version = text(root, "version");
    if (!is_plugin_version(manifest.version))
      throw Wrong{"\"version\" must be 1 to 64 characters of a-z, A-Z, 0-9, '.', '+' and '-' and begin with a digit"};
    manifest.title = root.contains("title") ? text(root, "title") : manifest.id;
    const json& abi = member(root, "abi");
    if (!abi.is_object()) throw Wrong{"\"abi\" must be an object"};
    manifest.abi_major = static_cast<std::uint16_t>(number(abi, "major", 0));
    manifest.abi_minor = static_cast<std::uint16_t>(number(abi, "minor", 0));
    if (number(abi, "major", 0) > 0xffff || number(abi, "minor", 0) > 0xffff)
      throw Wrong{"\"abi\" versions must be at most 65535"};
    manifest.library = text(root, "library");
    if (manifest.library.find('/') != std::string::npos || manifest.library.front() == '.')
      throw Wrong{"\"library\" must be a plain file name beside the manifest"};
    const json& types = member(root, "types");
    if (!types.is_array() || types.empty()) throw Wrong{"\"types\" must list at least one add-on type"};
    std::set<std::string> ids;
    for (const json& t : types) {
      manifest.types.push_back(read_type(t, manifest.id));
      if (!ids.insert(manifest.types.back().id).second) throw Wrong{"a type id stands twice"};
    }
  } catch (const Wrong& wrong) {
    return fail(Code::bad_request, "The plugin manifest is wrong: " + wrong.what + ".");
  } catch (const json::exception&) {
    return fail(Code::bad_request, "The plugin manifest is not valid JSON.");
  }
  manifest.text = std::move(raw);
  return manifest;
}

}  // namespace via::plugins
