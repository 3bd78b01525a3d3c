// The options and the work of `via logs` and `vary app logs`, which are one command. Thread: one.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

// `lines_flag` is what the number of last lines is called.
Command& logs_command(Command& command, const std::string& lines_flag);
// `via logs`.
void add_logs_commands(CommandTree& tree);

}  // namespace via::cli
