// The parts of `via addon` that have files of their own. Private to this folder.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

void add_credential_commands(CommandTree& tree, CLI::App& group);  // rotate, revoke
void add_share_commands(CommandTree& tree, CLI::App& group);       // share, shares, unshare
void add_snapshot_commands(CommandTree& tree, CLI::App& group);    // snapshot … import, drain, resume

// What could not be removed where it lies, a line each.
inline void say_left_behind(Output& out, const Json& answer) {
  for (const Json& one : answer.value("left_behind", Json::array()))
    if (one.is_string()) out.line("left behind: " + one.get<std::string>());
}

}  // namespace via::cli
