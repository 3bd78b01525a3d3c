// What the plugin is told: the servers of the operator's configuration ([types.postgres.settings]) and the configuration of one
// add-on. Thread: any (values).
#pragma once

#include "plugins/postgres/errors.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace via::postgres {

// One server, as [types.postgres.settings.servers.NAME] describes it.
struct Server {
  std::string name;
  std::string host = "127.0.0.1", port = "5432", user = "postgres", database = "postgres";
  std::string password_file;                    // read at each connection; empty = none is needed
  std::string sslmode = "prefer", sslrootcert;  // of the host's own connections
  std::string app_host, app_port, app_sslmode;  // what DATABASE_URL says; default: the same
  std::string tools;                            // folder of pg_dump and pg_restore; empty = found by PATH and Debian's places
};

struct Limits {
  std::string server;  // empty = the only one
  std::uint64_t quota_bytes = 0;  // 0 = none
  std::uint64_t max_rows = 100'000;
  std::uint64_t max_result_bytes = 16ull << 20;
  std::uint64_t timeout_ms = 30'000;
  std::uint32_t connections = 8;          // of each kind (reading, writing, of read-only bindings)
  std::uint32_t direct_connections = 16;  // of each generation that an app uses by DATABASE_URL
};

Failure parse_settings(std::string_view json, std::map<std::string, Server>& out);
Failure parse_config(std::string_view json, Limits& out);
// The server that an add-on of this configuration is on.
Failure choose(const std::map<std::string, Server>& servers, const Limits& limits, Server& out);

}  // namespace via::postgres
