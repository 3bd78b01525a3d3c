// Destructive commands: showing what would be touched, and asking before it is. Thread: one; may wait for a person.
#pragma once

#include <string>

#include "cli/command.hpp"

namespace via::cli {

// The plan of the admin API as a person reads it.
void render_plan(Output& out, const Json& answer);
// Shows the plan on standard error and asks to retype `name`. True when they match.
bool ask_to_retype(Session& session, const Json& plan, const std::string& name);

// A question on standard error that is answered with y or yes. Anything else is no.
bool ask(Session& session, const std::string& question);

}  // namespace via::cli
