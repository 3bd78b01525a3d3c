// The manifest's schema was checked by the host; the settings are the operator's own text, so every member is named in a refusal.
#include "plugins/postgres/settings.hpp"

#include <nlohmann/json.hpp>

namespace via::postgres {
namespace {

using nlohmann::json;

Failure wrong_settings(const std::string& why) {
  return {VIA_E_PRECONDITION, "conflict", "The host's configuration of type postgres is not usable: " + why + ". Correct [types.postgres.settings] and restart the host."};
}

}  // namespace

Failure parse_settings(std::string_view text, std::map<std::string, Server>& out) {
  out.clear();
  const json all = json::parse(text, nullptr, false);
  if (!all.is_object()) return wrong_settings("it is no table");
  const json servers = all.value("servers", json::object());
  if (!servers.is_object()) return wrong_settings("'servers' is no table");
  for (const auto& [name, given] : servers.items()) {
    if (!given.is_object()) return wrong_settings("'servers." + name + "' is no table");
    Server server;
    server.name = name;
    const std::map<std::string, std::string Server::*> texts{
        {"host", &Server::host},           {"user", &Server::user},         {"database", &Server::database},
        {"sslmode", &Server::sslmode},     {"app_host", &Server::app_host}, {"sslrootcert", &Server::sslrootcert},
        {"tools", &Server::tools},         {"port", &Server::port},         {"app_port", &Server::app_port},
        {"app_sslmode", &Server::app_sslmode}, {"password_file", &Server::password_file}};
    for (const auto& [key, value] : given.items()) {
      const auto known = texts.find(key);
      if (known == texts.end()) return wrong_settings("'servers." + name + "." + key + "' is not known");
      if (value.is_number_integer() && key.ends_with("port")) server.*known->second = std::to_string(value.get<int>());
      else if (value.is_string()) server.*known->second = value.get<std::string>();
      else return wrong_settings("'servers." + name + "." + key + "' has the wrong type");
      if ((server.*known->second).find('\0') != std::string::npos) return wrong_settings("'servers." + name + "." + key + "' holds a NUL");
    }
    if (server.app_host.empty()) server.app_host = server.host;
    if (server.app_port.empty()) server.app_port = server.port;
    if (server.app_sslmode.empty()) server.app_sslmode = server.sslmode;
    out.emplace(name, std::move(server));
  }
  return {};
}

Failure parse_config(std::string_view text, Limits& out) {
  out = {};
  const json config = text.empty() ? json::object() : json::parse(text, nullptr, false);
  if (!config.is_object()) return sqlwire::bad_request("the configuration is no JSON object");
  try {
    out.server = config.value("server", out.server);
    out.quota_bytes = config.value("quota_bytes", out.quota_bytes);
    out.max_rows = config.value("max_rows", out.max_rows);
    out.max_result_bytes = config.value("max_result_bytes", out.max_result_bytes);
    out.timeout_ms = config.value("timeout_ms", out.timeout_ms);
    out.connections = config.value("connections", out.connections);
    out.direct_connections = config.value("direct_connections", out.direct_connections);
  } catch (const json::exception&) {
    return sqlwire::bad_request("a member of the configuration has the wrong type");
  }
  if (out.connections == 0 || out.connections > 64) return sqlwire::bad_request("'connections' must be from 1 to 64");
  return {};
}

Failure choose(const std::map<std::string, Server>& servers, const Limits& limits, Server& out) {
  if (servers.empty())
    return {VIA_E_PRECONDITION, "conflict", "No PostgreSQL server is configured. Name one in the host's configuration, [types.postgres.settings.servers.NAME], and restart the host."};
  if (limits.server.empty()) {
    if (servers.size() > 1)
      return {VIA_E_INVALID, "bad_request", "There is more than one PostgreSQL server. Say which: --config '{\"server\":\"" + servers.begin()->first + "\"}'"};
    out = servers.begin()->second;
    return {};
  }
  const auto known = servers.find(limits.server);
  if (known == servers.end()) return {VIA_E_INVALID, "bad_request", "The host's configuration names no PostgreSQL server '" + limits.server + "'."};
  out = known->second;
  return {};
}

}  // namespace via::postgres
