// How the health of an app is shown, by `vary app` and by `via app manifest smoke`. Private to this folder.
#pragma once

#include "cli/command.hpp"

namespace via::cli {

inline constexpr int kDegraded = 7;

// Shows `problems` with what to do about each; whether there are any.
bool render_problems(Output& out, const Json& answer);
// {ok, checks, problems} of doctor and smoke; the exit code.
int render_health(Output& out, const Json& answer);

}  // namespace via::cli
