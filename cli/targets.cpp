// See targets.hpp.
#include "cli/targets.hpp"

#include <map>

#include <toml++/toml.h>

#include "core/base/files.hpp"

namespace via::cli {
namespace {

struct Targets {
  std::map<std::string, std::filesystem::path> by_name;
  std::string chosen;  // the `default` of the file
};

Error malformed(const std::filesystem::path& file, const std::string& what) {
  return fail(Code::bad_request, file.string() + ": " + what);
}

// Empty when there is no such file.
Result<toml::table> read_table(const std::filesystem::path& file) {
  std::error_code problem;
  if (file.empty() || !std::filesystem::exists(file, problem)) return toml::table();
  // People keep such files as links into a repository of theirs.
  const auto real = std::filesystem::canonical(file, problem);
  auto text = read_file(problem ? file : real, 1U << 20);
  if (!text) return text.error();
  try {
    return toml::parse(*text);
  } catch (const toml::parse_error& error) {
    return malformed(file, "line " + std::to_string(error.source().begin.line) + ": " +
                               std::string(error.description()) + ".");
  }
}

Result<Targets> read_targets(const std::filesystem::path& file) {
  Targets targets;
  auto read = read_table(file);
  if (!read) return read.error();
  const toml::table& table = *read;
  if (const auto* node = table.get("default")) {
    const auto name = node->value_exact<std::string>();
    if (!name) return malformed(file, "default must be the name of a target in quotes.");
    targets.chosen = *name;
  }
  const toml::table* listed = table["targets"].as_table();
  if (listed == nullptr) return targets;
  for (const auto& [key, node] : *listed) {
    const std::string name(key.str());
    const toml::table* entry = node.as_table();
    const auto folder = entry == nullptr ? std::optional<std::string>()
                                         : (*entry)["state_dir"].value_exact<std::string>();
    if (!folder || !folder->starts_with('/')) {
      return malformed(file, "targets." + name + " needs state_dir = \"/an/absolute/folder\".");
    }
    targets.by_name[name] = *folder;
  }
  return targets;
}

}  // namespace

std::filesystem::path targets_file(const Environment& environment) {
  if (const std::string set = environment.variable("VARY_TARGETS"); !set.empty()) return set;
  if (const std::string config = environment.variable("XDG_CONFIG_HOME"); config.starts_with('/')) {
    return std::filesystem::path(config) / "vary/targets.toml";
  }
  if (const std::string home = environment.variable("HOME"); home.starts_with('/')) {
    return std::filesystem::path(home) / ".config/vary/targets.toml";
  }
  return {};
}

Result<Target> find_target(const Environment& environment, const std::string& name) {
  const std::filesystem::path file = targets_file(environment);
  auto targets = read_targets(file);
  if (!targets) return targets.error();
  std::string wanted = name.empty() ? targets->chosen : name;
  if (wanted.empty() && targets->by_name.size() == 1) wanted = targets->by_name.begin()->first;
  if (const auto found = targets->by_name.find(wanted); found != targets->by_name.end()) {
    return Target{found->first, found->second};
  }
  if (wanted.empty() && targets->by_name.empty()) return Target{"", default_state_dir(environment)};
  std::string known;
  for (const auto& [each, _] : targets->by_name) known += (known.empty() ? "" : ", ") + each;
  const std::string place = file.empty() ? "the file that $VARY_TARGETS names" : file.string();
  const std::string entry = wanted.empty() ? "NAME" : wanted;
  std::string message = wanted.empty() ? "Which target? Say it with --target."
                                       : "There is no target '" + wanted + "'.";
  message += known.empty() ? " None is known yet." : " Known: " + known + ".";
  message += " To add one, write [targets." + entry + "] and state_dir = \"/var/lib/via\" into " + place + ".";
  return fail(Code::not_found, message);
}

Result<std::string> find_container(const Environment& environment, const std::string& name) {
  const std::filesystem::path file = targets_file(environment);
  auto read = read_table(file);
  if (!read) return read.error();
  std::string known;
  if (const toml::table* listed = (*read)["containers"].as_table()) {
    for (const auto& [key, node] : *listed) {
      if (key.str() != name) {
        known += (known.empty() ? "" : ", ") + std::string(key.str());
        continue;
      }
      const toml::table* entry = node.as_table();
      const auto url = entry == nullptr ? std::optional<std::string>() : (*entry)["url"].value_exact<std::string>();
      if (!url) return malformed(file, "containers." + name + " needs url = \"http://127.0.0.1:8080\".");
      return *url;
    }
  }
  return fail(Code::not_found, "There is no container '" + name + "'." +
                                   (known.empty() ? " None is known yet." : " Known: " + known + ".") + " To add one, write [containers." +
                                   name + "] and url = \"http://127.0.0.1:8080\" into " +
                                   (file.empty() ? "the file that $VARY_TARGETS names" : file.string()) + ".");
}

}  // namespace via::cli
