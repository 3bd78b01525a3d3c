// via.app.toml: what an app needs of a host, in one file that is applied again and again (docs/formats.md, "App manifest").
// Reading it is pure and reports every problem with its line; applying it is ControlPlane's. Thread: any (values).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"
#include "core/releases/records.hpp"

namespace via::lifecycle {

struct ManifestAddon {
  std::string type, name, binding;  // binding empty = none
  bool read_only = false;
  std::string config = "{}";  // JSON object
  int line = 0;
};

// One operation of a binding that must answer 200.
struct ManifestProbe {
  std::string binding, operation, body = "{}";
};

struct AppManifest {
  std::string app;
  std::vector<ManifestAddon> addons;
  std::map<std::string, std::string> config;
  std::vector<std::string> secrets;  // keys that must have a value before the app runs
  std::vector<ManifestProbe> probes;
  std::optional<releases::Box> sandbox;  // what its deploys get that do not ask for something else
  std::string command;  // a shell command that must succeed; empty = none
  std::int64_t command_timeout_seconds = 60;
};

struct ManifestProblem {
  int line = 0;  // 0 = of the whole file
  std::string message;
};

struct ReadManifest {
  AppManifest manifest;
  std::vector<ManifestProblem> problems;  // of the text alone; ascending lines
};

inline constexpr std::size_t kMaximumManifestBytes = 256U << 10;

ReadManifest read_app_manifest(std::string_view text);
nlohmann::json to_json(const ManifestProblem& problem);

}  // namespace via::lifecycle
