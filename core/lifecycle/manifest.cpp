#include "core/lifecycle/manifest.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include "core/base/ids.hpp"

namespace via::lifecycle {

using nlohmann::json;

namespace {

constexpr std::size_t kMostAddons = 64, kMostKeys = 512, kMostProbes = 64, kMostNesting = 8;

int line_of(const toml::node& node) { return static_cast<int>(node.source().begin.line); }

// Reads one table: each member once, by name and type; what nobody asked for is unknown.
class Members {
 public:
  Members(const toml::table& table, std::string where, std::vector<ManifestProblem>& problems)
      : table_(table), where_(std::move(where)), problems_(problems) {}

  const toml::node* find(const char* name) {
    known_.insert(name);
    return table_.get(name);
  }
  std::string text(const char* name, bool required) {
    const toml::node* node = find(name);
    if (node == nullptr) {
      if (required) problem(line_of(table_), where_ + " needs '" + name + "'.");
      return {};
    }
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty() || value->find('\0') != std::string::npos) {
      problem(line_of(*node), "'" + std::string(name) + "' of " + where_ + " must be a string that is not empty.");
      return {};
    }
    return *value;
  }
  bool flag(const char* name) {
    const toml::node* node = find(name);
    if (node == nullptr) return false;
    const auto value = node->value_exact<bool>();
    if (!value) problem(line_of(*node), "'" + std::string(name) + "' of " + where_ + " must be true or false.");
    return value.value_or(false);
  }
  const toml::table* table(const char* name) {
    const toml::node* node = find(name);
    if (node != nullptr && !node->is_table())
      problem(line_of(*node), "'" + std::string(name) + "' of " + where_ + " must be a table.");
    return node == nullptr ? nullptr : node->as_table();
  }
  const toml::array* array(const char* name) {
    const toml::node* node = find(name);
    if (node != nullptr && !node->is_array())
      problem(line_of(*node), "'" + std::string(name) + "' of " + where_ + " must be an array.");
    return node == nullptr ? nullptr : node->as_array();
  }
  void done() {
    for (const auto& [key, node] : table_) {
      if (known_.contains(key.str())) continue;
      std::string list;
      for (const auto& name : known_) list += (list.empty() ? "" : ", ") + name;
      problem(static_cast<int>(key.source().begin.line),
              "'" + std::string(key.str()).substr(0, 64) + "' is not known in " + where_ + ". Known: " + list + ".");
    }
  }
  void problem(int line, std::string message) { problems_.push_back({line, std::move(message)}); }

 private:
  const toml::table& table_;
  std::string where_;
  std::vector<ManifestProblem>& problems_;
  std::set<std::string, std::less<>> known_;
};

// TOML to JSON; a date, a number JSON cannot write and too much nesting are problems.
json json_of(const toml::node& node, std::vector<ManifestProblem>& problems, std::size_t depth = 0) {
  if (depth > kMostNesting) {
    problems.push_back({line_of(node), "This is nested too deep."});
    return nullptr;
  }
  if (const auto* table = node.as_table()) {
    json out = json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = json_of(value, problems, depth + 1);
    return out;
  }
  if (const auto* array = node.as_array()) {
    json out = json::array();
    for (const auto& value : *array) out.push_back(json_of(value, problems, depth + 1));
    return out;
  }
  if (const auto value = node.value_exact<std::string>()) return *value;
  if (const auto value = node.value_exact<bool>()) return *value;
  if (const auto value = node.value_exact<std::int64_t>()) return *value;
  if (const auto value = node.value_exact<double>(); value && std::isfinite(*value)) return *value;
  problems.push_back({line_of(node), "This value has no JSON form (a date, or a number that is not finite)."});
  return nullptr;
}

void check(const Result<void>& result, int line, std::vector<ManifestProblem>& problems) {
  if (!result) problems.push_back({line, result.error().message});
}

void read_addons(const toml::array& addons, AppManifest& out, std::vector<ManifestProblem>& problems) {
  if (addons.size() > kMostAddons)
    return problems.push_back({line_of(addons), "More than " + std::to_string(kMostAddons) + " add-ons."});
  std::set<std::string> names, bindings;
  for (const auto& node : addons) {
    const auto* table = node.as_table();
    if (table == nullptr) {
      problems.push_back({line_of(node), "Every one of 'addons' must be a table: write [[addons]]."});
      continue;
    }
    Members members(*table, "[[addons]]", problems);
    ManifestAddon addon;
    addon.line = line_of(*table);
    addon.type = members.text("type", true);
    addon.name = members.text("name", true);
    addon.binding = members.text("bind", false);
    addon.read_only = members.flag("read_only");
    if (const auto* config = members.table("config")) addon.config = json_of(*config, problems).dump();
    members.done();
    if (!addon.name.empty()) check(check_name("The add-on's name", addon.name), addon.line, problems);
    if (!addon.binding.empty()) check(check_key("The binding's name", addon.binding), addon.line, problems);
    if (addon.read_only && addon.binding.empty())
      problems.push_back({addon.line, "'read_only' of [[addons]] needs 'bind' beside it."});
    if (!addon.name.empty() && !names.insert(addon.name).second)
      problems.push_back({addon.line, "Add-on '" + addon.name + "' stands here twice."});
    if (!addon.binding.empty() && !bindings.insert(addon.binding).second)
      problems.push_back({addon.line, "Binding " + addon.binding + " stands here twice."});
    out.addons.push_back(std::move(addon));
  }
}

void read_config(const toml::table& config, AppManifest& out, std::vector<ManifestProblem>& problems) {
  if (config.size() > kMostKeys)
    return problems.push_back({line_of(config), "More than " + std::to_string(kMostKeys) + " keys in [config]."});
  for (const auto& [key, node] : config) {
    const std::string name(key.str());
    const int line = static_cast<int>(key.source().begin.line);
    check(check_key("A key of [config]", name), line, problems);
    const auto value = node.value_exact<std::string>();
    if (!value || value->find('\0') != std::string::npos)
      problems.push_back({line, "'" + name.substr(0, 128) + "' of [config] must be a string."});
    else
      out.config[name] = *value;
  }
}

void read_secrets(const toml::table& table, AppManifest& out, std::vector<ManifestProblem>& problems) {
  Members members(table, "[secrets]", problems);
  if (const auto* required = members.array("required"))
    for (const auto& node : *required) {
      const auto key = node.value_exact<std::string>();
      if (!key) {
        problems.push_back({line_of(node), "'required' of [secrets] must be an array of keys."});
        continue;
      }
      check(check_key("A key of [secrets]", *key), line_of(node), problems);
      if (std::find(out.secrets.begin(), out.secrets.end(), *key) == out.secrets.end()) out.secrets.push_back(*key);
    }
  members.done();
}

void read_sandbox(const toml::table& table, AppManifest& out, std::vector<ManifestProblem>& problems) {
  Members members(table, "[sandbox]", problems);
  releases::Box box;
  const auto number = [&](const char* name, std::int64_t low, std::int64_t high, std::int64_t unit = 1) {
    const toml::node* node = members.find(name);
    if (node == nullptr) return std::int64_t{0};
    const auto value = node->value_exact<std::int64_t>();
    if (value && *value >= low && *value <= high) return *value * unit;
    problems.push_back({line_of(*node), "'" + std::string(name) + "' of [sandbox] must be from " + std::to_string(low) + " to " + std::to_string(high) + "."});
    return std::int64_t{0};
  };
  box.fs = members.flag("fs");
  box.network = members.text("network", false);
  if (!box.network.empty() && box.network != "host" && box.network != "none")
    problems.push_back({line_of(table), "'network' of [sandbox] must be \"host\" or \"none\"."});
  box.memory_bytes = number("memory_mb", 8, 1 << 24, 1 << 20);
  box.cpu_percent = number("cpu_percent", 1, 100'000);
  box.pids = number("pids", 2, 1'000'000);
  box.files = number("files", 16, 1'000'000);
  members.done();
  out.sandbox = std::move(box);
}

void read_health(const toml::table& table, AppManifest& out, std::vector<ManifestProblem>& problems) {
  Members members(table, "[health]", problems);
  out.command = members.text("command", false);
  if (const auto* node = members.find("timeout_seconds")) {
    const auto seconds = node->value_exact<std::int64_t>();
    if (!seconds || *seconds < 1 || *seconds > 3600)
      problems.push_back({line_of(*node), "'timeout_seconds' of [health] must be from 1 to 3600."});
    else
      out.command_timeout_seconds = *seconds;
  }
  if (const auto* smoke = members.array("smoke")) {
    if (smoke->size() > kMostProbes)
      problems.push_back({line_of(*smoke), "More than " + std::to_string(kMostProbes) + " health checks."});
    for (const auto& node : *smoke) {
      const auto* one = node.as_table();
      if (one == nullptr) {
        problems.push_back({line_of(node), "Every one of 'smoke' must be a table with binding and operation."});
        continue;
      }
      Members check_of(*one, "a health check", problems);
      ManifestProbe probe;
      probe.binding = check_of.text("binding", true);
      probe.operation = check_of.text("operation", true);
      if (const auto* body = check_of.table("body")) probe.body = json_of(*body, problems).dump();
      check_of.done();
      if (!probe.binding.empty()) check(check_key("The binding's name", probe.binding), line_of(*one), problems);
      // It becomes part of a request path.
      if (probe.operation.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") != std::string::npos || probe.operation.size() > 64)
        problems.push_back({line_of(*one), "'operation' of a health check must be made of a-z, 0-9, '_' and '-'."});
      out.probes.push_back(std::move(probe));
    }
  }
  members.done();
}

}  // namespace

json to_json(const ManifestProblem& problem) {
  return {{"line", problem.line == 0 ? json(nullptr) : json(problem.line)}, {"message", problem.message}};
}

ReadManifest read_app_manifest(std::string_view text) {
  ReadManifest out;
  auto& problems = out.problems;
  if (text.size() > kMaximumManifestBytes) {
    problems.push_back({0, "The manifest is larger than 256 KiB."});
    return out;
  }
  toml::table root;
  try {
    root = toml::parse(text);
  } catch (const toml::parse_error& problem) {
    problems.push_back({static_cast<int>(problem.source().begin.line), "This is not TOML: " + std::string(problem.description()) + "."});
    return out;
  }
  Members members(root, "the manifest", problems);
  if (const auto* app = members.table("app")) {
    Members of_app(*app, "[app]", problems);
    out.manifest.app = of_app.text("name", true);
    of_app.done();
    if (!out.manifest.app.empty()) check(check_name("The app's name", out.manifest.app), line_of(*app), problems);
  } else {
    problems.push_back({0, "The manifest needs [app] with the app's name."});
  }
  if (const auto* addons = members.array("addons")) read_addons(*addons, out.manifest, problems);
  if (const auto* config = members.table("config")) read_config(*config, out.manifest, problems);
  if (const auto* secrets = members.table("secrets")) read_secrets(*secrets, out.manifest, problems);
  if (const auto* sandbox = members.table("sandbox")) read_sandbox(*sandbox, out.manifest, problems);
  if (const auto* health = members.table("health")) read_health(*health, out.manifest, problems);
  members.done();
  for (const auto& key : out.manifest.secrets)
    if (out.manifest.config.contains(key))
      problems.push_back({0, "Key " + key + " stands in [config] and in [secrets]. A secret's value is set with: via secret set " +
                                 (out.manifest.app.empty() ? "APP" : out.manifest.app) + " " + key});
  std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  return out;
}

}  // namespace via::lifecycle
