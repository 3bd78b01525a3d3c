// What the tree of commands says about itself, in the parts that the help, the man pages and the completion share.
// Thread: one.
#pragma once

#include <string>
#include <vector>

#include "cli/command.hpp"

namespace via::cli {

// "via addon create"
std::string path_of(const CLI::App& app);
// "NAME" of the type "NAME:FILE" or "SHELL:{bash,zsh}".
std::string shown_type(const CLI::Option& option);
// "--app APP", "--quiet, -q"
std::string flag_text(const CLI::Option& option);
// "via addon create TYPE NAME --app APP [--bind BINDING]"
std::string usage_line(const CommandTree& tree, const CLI::App& app);
// Not shown anywhere: it is there to be refused.
bool is_hidden(const CLI::Option& option);
// An option that the command has by itself, and not --help.
bool is_own_flag(const CLI::Option& option);
// Of a command its own; of a group the first of each command below it.
std::vector<std::string> examples_of(const CommandTree& tree, const CLI::App& app);

struct ExitStatus {
  int code;
  const char* meaning;
};
const std::vector<ExitStatus>& exit_statuses();

}  // namespace via::cli
