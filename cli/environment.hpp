// Everything a command may touch of the outside world: streams, terminal, clock, environment variables, and
// the ways to reach a host or a data API. main.cpp makes the real one; tests make their own, so that a command is a
// pure function of its arguments and of what the host answers. Thread: one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "cli/admin_client.hpp"
#include "core/base/error.hpp"

namespace via::cli {

struct ServeRequest {
  std::filesystem::path state_dir;
  std::filesystem::path config_file;  // empty = the default places
  std::string listen;                 // empty = from the configuration
};

struct KitRequest {
  std::filesystem::path databases;
  std::string listen;
  bool any_absolute_path = false, allow_public = false, json = false;
};

// A backup archive into a state folder: local work, as no host runs there yet.
struct RestoreBackupRequest {
  std::filesystem::path file;
  std::filesystem::path state_dir;
  std::filesystem::path config_file{};  // empty = that of the folder, or of the machine
  std::string passphrase;  // empty = none given
  bool replace = false;    // the operator agreed to lose what the folder holds
  std::function<void(std::uint64_t done, std::uint64_t total)> progress{};
};

// One request to an HTTP server, for the data commands.
struct HttpRequest {
  std::string url;     // "http://127.0.0.1:8080/api/v1/sqlite"
  std::string method;  // GET, HEAD, PUT, POST, DELETE
  std::string target;  // below the URL, percent-encoded
  std::string body, content_type;
  std::string socket{};  // not empty: over this Unix socket; `url` is the path that the target comes behind
};

struct HttpAnswer {
  int status = 0;
  std::string body, content_type;
};

struct Environment {
  std::ostream& out;      // data
  std::ostream& err;      // hints, progress, errors
  bool terminal = false;  // `out` is a terminal: colours, relative times, tables that fit
  int width = 0;          // columns of the terminal; 0 = do not truncate
  std::int64_t now_ms = 0;
  std::function<std::string(const char*)> variable{};  // environment variable, empty when unset
  // `may_make`: where there is no host, one is made; else that is Code::not_found, and nothing is made.
  std::function<Result<std::unique_ptr<AdminTransport>>(const std::filesystem::path& state_dir, bool may_make)> open_admin{};
  std::function<int(const ServeRequest&)> serve{};
  std::function<int(const KitRequest&)> kit{};
  std::istream* in = nullptr;
  bool input_terminal = false;  // somebody can be asked
  bool error_terminal = false;  // `err` is a terminal: progress
  int error_width = 0;
  std::function<void(int milliseconds)> sleep{};
  // One line typed at the terminal after `prompt`, not shown while it is typed.
  std::function<std::string(const std::string& prompt)> read_hidden{};
  std::function<Result<nlohmann::json>(const RestoreBackupRequest&)> restore_backup{};
  std::function<Result<HttpAnswer>(const HttpRequest&)> http{};
  // Shows an address in the person's browser; false when there is none.
  std::function<bool(const std::string& url)> open_browser{};
  // Whether Ctrl-C was pressed since the last look. The first look begins to catch it; a second press ends the program.
  std::function<bool()> interrupted{};
};

// The whole command line: parses, calls the host, renders, and returns the exit code (docs of `via --help`):
// 0 done, 1 failed, 2 usage, 3 not found, 4 conflict or refused, 5 not allowed, 6 timed out, 7 degraded,
// 130 interrupted while waiting. arguments[0] is the program's name: it selects the tree of commands.
int run(const std::vector<std::string>& arguments, Environment& environment);

// Where the host's state is when --state-dir is not given: $VIA_STATE_DIR; /var/lib/via for root and for
// everyone who may enter that folder (its owner, the operator group); else $XDG_STATE_HOME/via or
// ~/.local/state/via.
std::filesystem::path default_state_dir(const Environment& environment);

}  // namespace via::cli
