// The parts of `via addon` that have files of their own. Private to this folder.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

void add_credential_commands(CommandTree& tree, CLI::App& group);  // rotate, revoke
void add_share_commands(CommandTree& tree, CLI::App& group);       // share, shares, unshare
void add_snapshot_commands(CommandTree& tree, CLI::App& group);    // snapshot … import, drain, resume

}  // namespace via::cli
