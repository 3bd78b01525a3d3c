// The host's own configuration: a small TOML file, every member optional, unknown members refused by name.
// The reference is docs/operator.md, "Configuration". Thread: any (values).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/logs/files.hpp"
#include "core/net/limits.hpp"

namespace via {

// What an operator says of one add-on type ([types.ID]).
struct TypeConfig {
  bool isolated = false;        // isolation = "process": its plugin runs in a process of its own
  unsigned memory_mb = 0;       // most data of that process, without its threads' stacks; 0 = no limit
  unsigned grace_seconds = 10;  // how long after its deadline a call in it may end
  std::string settings_json = "{}";  // [types.ID.settings], handed to the plugin as it is (via.host.settings/1)
  bool operator==(const TypeConfig&) const = default;
};

// What apps get that do not ask for something else ([apps]).
struct AppsConfig {
  std::int64_t memory_mb = 1024, cpu_percent = 0, pids = 512, files = 1024;  // 0 = no limit
  std::string network = "host";
  std::uint32_t first_uid = 61184, last_uid = 65519;
  bool operator==(const AppsConfig&) const = default;
};

struct ServerConfig {
  std::string listen = "127.0.0.1:8181";
  std::string public_url;    // how apps reach the config server; empty = from the listen address
  std::string environment = "production";
  std::string admin_group;   // members of this group may use the admin socket
  unsigned threads = 1;
  unsigned workers = 64;  // at most; they are started when work waits
  bool allow_plaintext = false;
  bool sandbox = true;  // around every launched process; sandbox = "off" without
  AppsConfig apps;
  bool require_plugin_signature = false;  // `plugin install` and `plugin trust` take only what a trusted key signed
  std::filesystem::path tls_certificate, tls_key, tls_ca;
  std::filesystem::path plugins;  // folder of bundled plugins; empty = beside the executable
  std::int64_t token_ttl_seconds = 3600;
  std::int64_t retain_days = 7;             // the final snapshot of a destroyed add-on
  std::int64_t check_timeout_seconds = 60;  // of a deploy's check
  std::map<std::string, std::string> restart_commands;  // by app
  std::map<std::string, TypeConfig> types;              // by the id of the type
  Level log_level = Level::info;
  logs::Limits logs;  // of apps
  net::Limits limits;
};

// `file` empty = <state_dir>/config.toml, else /etc/via/server.toml, else the defaults.
Result<ServerConfig> load_server_config(const std::filesystem::path& file, const std::filesystem::path& state_dir);
Result<ServerConfig> parse_server_config(std::string_view toml);

// The members in which `wanted` differs from what runs and which a running host does not take up. It does take up log.level,
// limits.*, tls.certificate and tls.key (server.cpp, `reload`), but does not begin or end TLS.
std::vector<std::string> what_needs_restart(const ServerConfig& running, const ServerConfig& wanted);

}  // namespace via
