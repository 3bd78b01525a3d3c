// `via kit TYPE`: the HTTP routes of an add-on type over a plain folder, at a bare address. No add-on, no app, no token.
// Thread: the command's main thread.
#pragma once

#include <filesystem>
#include <string>

namespace via {

struct KitOptions {
  std::string type = "sqlite";
  std::filesystem::path folder;  // of the databases; made when missing, one kit at a time
  std::string listen;            // "127.0.0.1:8080"; port 0 = any
  bool any_absolute_path = false;
  bool allow_public = false;     // another address than loopback
  bool json = false;             // the line that says where it listens
};

// Serves until SIGTERM or SIGINT; the process's exit code.
int run_kit(const KitOptions& options);

}  // namespace via
