// What `via deploy` and `vary app deploy` share. Private to this folder.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

int render_deploy(Output& out, const Json& deploy);
// Everything of a deploy but the app: what to launch, how often, and what must succeed before it becomes current.
Command& deploy_options(Command& command);

}  // namespace via::cli
