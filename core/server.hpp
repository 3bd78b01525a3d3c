// The whole host, wired: every part gets what it needs from here and from nowhere else.
//
// Two ways in, one set of handlers: run_server() owns a state folder and serves it; open_in_process() takes the same
// lock for one command when no server does. Thread: the command's main thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"

namespace via {

struct ServeOptions {
  std::filesystem::path state_dir;
  std::filesystem::path config_file;  // empty = look in the usual places
  std::string listen;                 // empty = from the configuration
};

// Serves until SIGTERM or SIGINT; the process's exit code. Prints one line on standard output when it is ready.
int run_server(const ServeOptions& options);

class InProcessHost {
 public:
  virtual ~InProcessHost() = default;
  virtual Result<nlohmann::json> call(std::string_view command, const nlohmann::json& args) = 0;
};

// A folder without a host: a command that begins one makes it there, any other makes nothing at all.
enum class IfMissing { refuse, make };

// conflict when a server (or another command) holds the state folder, not_found when there is no host and none shall be made.
Result<std::unique_ptr<InProcessHost>> open_in_process(const std::filesystem::path& state_dir, IfMissing missing);

struct RestoreOptions {
  std::filesystem::path file, state_dir;
  std::filesystem::path config_file;  // empty = that of the folder, or of the machine
  std::string passphrase;  // empty = none
  bool replace = false;    // the folder may hold a host; it is kept beside the new one
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
};

// Makes a state folder from a backup archive, all or nothing: {state_dir, addons, epoch, keys, origin, replaced, todo}.
// conflict when a host runs on the folder, refused for what is wrong with the archive.
Result<nlohmann::json> restore_backup(const RestoreOptions& options);

// `via kit TYPE`: the HTTP routes of an add-on type over a plain folder, at a bare address. No add-on, no app, no token.
struct KitOptions {
  std::string type;              // of the plugins beside the program
  std::filesystem::path folder;  // of the data; made when missing, one kit at a time
  std::string listen;            // "127.0.0.1:8080"; port 0 = any
  bool any_absolute_path = false;
  bool allow_public = false;     // another address than loopback
  bool json = false;             // the line that says where it listens
};

// Serves until SIGTERM or SIGINT; the process's exit code.
int run_kit(const KitOptions& options);

// One request to an HTTP server, for the data commands; errors as of net::HttpProbe::send.
struct FetchRequest {
  std::string url, method, target, content_type, body;
  std::string socket;  // not empty: the host's admin socket, and `url` is the path that the target comes behind
};
struct FetchAnswer {
  int status = 0;
  std::string body, content_type;
};
Result<FetchAnswer> fetch(const FetchRequest& request);

}  // namespace via
