// The parts of `via plugin`, one file each. Thread: one.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

void add_plugin_new_command(CommandTree& tree, CLI::App& group);
void add_plugin_bundle_commands(CommandTree& tree, CLI::App& group);
void add_plugin_pack_commands(CommandTree& tree, CLI::App& group);

}  // namespace via::cli
