// The hosts that an app developer names with --target, and the data APIs named with --container: a small TOML file,
//
//   default = "prod"
//   [targets.prod]
//   state_dir = "/var/lib/via"
//   [containers.dev]
//   url = "http://127.0.0.1:8080"
//
// at $VARY_TARGETS, $XDG_CONFIG_HOME/vary/targets.toml or ~/.config/vary/targets.toml. Keys that this version does not
// know are left alone, so that a newer file serves an older program. Thread: any.
#pragma once

#include <filesystem>
#include <string>

#include "cli/environment.hpp"

namespace via::cli {

struct Target {
  std::string name;
  std::filesystem::path state_dir;
};

// Where the file is looked for; it need not exist. Empty when neither variable nor home folder is known.
std::filesystem::path targets_file(const Environment& environment);
// The target `name`, or for an empty name the default, or the only one, or where none is known the host of this machine
// (default_state_dir(); a target without a name). Code::not_found names the targets that there are and the file to write; Code::bad_request when the file cannot be understood.
Result<Target> find_target(const Environment& environment, const std::string& name);

// The address of the container `name`; errors as of find_target.
Result<std::string> find_container(const Environment& environment, const std::string& name);

}  // namespace via::cli
