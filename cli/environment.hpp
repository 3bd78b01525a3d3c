// Everything a command may touch of the outside world: streams, terminal, clock, environment variables, and
// the two ways to reach the host. main.cpp makes the real one; tests make their own, so that a command is a
// pure function of its arguments and of what the host answers. Thread: one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

#include "cli/admin_client.hpp"
#include "core/base/error.hpp"

namespace via::cli {

struct ServeRequest {
  std::filesystem::path state_dir;
  std::filesystem::path config_file;  // empty = the default places
  std::string listen;                 // empty = from the configuration
};

struct Environment {
  std::ostream& out;      // data
  std::ostream& err;      // hints, progress, errors
  bool terminal = false;  // `out` is a terminal: colours, relative times, tables that fit
  int width = 0;          // columns of the terminal; 0 = do not truncate
  std::int64_t now_ms = 0;
  std::function<std::string(const char*)> variable{};  // environment variable, empty when unset
  std::function<Result<std::unique_ptr<AdminTransport>>(const std::filesystem::path& state_dir)> open_admin{};
  std::function<int(const ServeRequest&)> serve{};
};

// The whole command line: parses, calls the host, renders, and returns the exit code (docs of `via --help`):
// 0 done, 1 failed, 2 usage, 3 not found, 4 conflict or refused, 5 not allowed, 6 timed out, 7 degraded.
// arguments[0] is the program's name.
int run(const std::vector<std::string>& arguments, Environment& environment);

// Where the host's state is when --state-dir is not given: $VIA_STATE_DIR; /var/lib/via for root and for
// everyone who may enter that folder (its owner, the operator group); else $XDG_STATE_HOME/via or
// ~/.local/state/via.
std::filesystem::path default_state_dir(const Environment& environment);

}  // namespace via::cli
