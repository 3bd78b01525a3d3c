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

Result<Targets> read_targets(const std::filesystem::path& file) {
  Targets targets;
  std::error_code problem;
  if (file.empty() || !std::filesystem::exists(file, problem)) return targets;
  // People keep such files as links into a repository of theirs.
  const auto real = std::filesystem::canonical(file, problem);
  auto text = read_file(problem ? file : real, 1U << 20);
  if (!text) return text.error();
  toml::table table;
  try {
    table = toml::parse(*text);
  } catch (const toml::parse_error& error) {
    return malformed(file, "line " + std::to_string(error.source().begin.line) + ": " +
                               std::string(error.description()) + ".");
  }
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

}  // namespace via::cli
