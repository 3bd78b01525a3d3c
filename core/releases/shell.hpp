// One shell command of an operator, run to its end: a deploy's check, an app's own way to restart.
// Thread: worker; blocks until the command ends or its time is over (it and its process group are then killed).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace via::releases {

struct ShellResult {
  int exit_code = 127;  // 128 + the signal that ended it; 124 when its time was over or it was cancelled
  double seconds = 0;
  std::string output;   // the last 4 KiB of what it wrote to standard output and error
};

// `/bin/sh -c command` with these variables and PATH, and nothing else of the host's environment. `cancelled` is asked
// some fifty times a second.
ShellResult run_shell(const std::string& command, int timeout_ms,
                      const std::vector<std::pair<std::string, std::string>>& variables = {},
                      const std::string& working_folder = "/", const std::function<bool()>& cancelled = {});

}  // namespace via::releases
