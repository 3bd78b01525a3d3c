#include "core/server_config.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include "core/base/files.hpp"

namespace via {
namespace {

using Setter = std::function<bool(const toml::node&)>;

Setter text(std::string& out) {
  return [&out](const toml::node& n) {
    const auto v = n.value_exact<std::string>();
    if (v) out = *v;
    return v.has_value();
  };
}
Setter path(std::filesystem::path& out) {
  return [&out](const toml::node& n) {
    const auto v = n.value_exact<std::string>();
    if (v) out = *v;
    return v.has_value() && out.is_absolute();
  };
}
Setter flag(bool& out) {
  return [&out](const toml::node& n) {
    const auto v = n.value_exact<bool>();
    if (v) out = *v;
    return v.has_value();
  };
}
template <class N>
Setter number(N& out, std::int64_t low, std::int64_t high) {
  return [&out, low, high](const toml::node& n) {
    const auto v = n.value_exact<std::int64_t>();
    if (!v || *v < low || *v > high) return false;
    out = static_cast<N>(*v);
    return true;
  };
}

Setter choice(bool& out, const char* yes, const char* no) {
  return [&out, yes, no](const toml::node& n) {
    const auto v = n.value_exact<std::string>();
    if (!v || (*v != yes && *v != no)) return false;
    out = *v == yes;
    return true;
  };
}

Setter one_of(std::string& out, std::vector<std::string> known) {
  return [&out, known = std::move(known)](const toml::node& n) {
    const auto v = n.value_exact<std::string>();
    if (!v || std::find(known.begin(), known.end(), *v) == known.end()) return false;
    out = *v;
    return true;
  };
}

Setter level(Level& out) {
  return [&out](const toml::node& n) {
    static const std::map<std::string, Level> kLevels{
        {"trace", Level::trace}, {"debug", Level::debug}, {"info", Level::info}, {"warn", Level::warn}, {"error", Level::error}};
    const auto v = n.value_exact<std::string>();
    if (!v || !kLevels.contains(*v)) return false;
    out = kLevels.at(*v);
    return true;
  };
}

Setter compression(net::Compression& out) {
  return [&out](const toml::node& n) {
    const auto v = n.value_exact<std::string>();
    if (v == "auto") out = net::Compression::automatic;
    else if (v == "on") out = net::Compression::on;
    else if (v == "off") out = net::Compression::off;
    else return false;
    return true;
  };
}

Result<void> read(const toml::table& table, const std::string& prefix, const std::map<std::string, Setter>& known) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const auto* inner = node.as_table()) {
      if (auto done = read(*inner, name + ".", known); !done) return done;
      continue;
    }
    const auto setter = known.find(name);
    if (setter == known.end()) return fail(Code::bad_request, "The configuration has an unknown member '" + name + "'.");
    if (!setter->second(node))
      return fail(Code::bad_request, "The configuration member '" + name + "' has the wrong type or is out of range.");
  }
  return {};
}

// [restart]: the names of its members are those of apps.
Result<void> read_commands(const toml::node& node, std::map<std::string, std::string>& out) {
  const auto* table = node.as_table();
  if (table == nullptr) return fail(Code::bad_request, "The configuration member 'restart' must be a table of app = \"command\".");
  for (const auto& [app, command] : *table) {
    const auto text = command.value_exact<std::string>();
    if (!text || text->empty() || text->find('\0') != std::string::npos)
      return fail(Code::bad_request, "The configuration member 'restart." + std::string(app.str()) +
                                         "' must be a shell command, as a string.");
    out.emplace(app.str(), *text);
  }
  return {};
}

// What JSON has no word for goes as a string: "inf", "-inf", "nan", and dates and times as TOML writes them.
nlohmann::json to_json(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    nlohmann::json out = nlohmann::json::object();
    for (const auto& [key, value] : *table) out[std::string(key.str())] = to_json(value);
    return out;
  }
  if (const auto* array = node.as_array()) {
    nlohmann::json out = nlohmann::json::array();
    for (const auto& value : *array) out.push_back(to_json(value));
    return out;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  if (const auto* number = node.as_floating_point()) {
    if (std::isfinite(number->get())) return number->get();
    return std::isnan(number->get()) ? "nan" : number->get() < 0 ? "-inf" : "inf";
  }
  std::ostringstream text;
  if (const auto* date = node.as_date()) text << date->get();
  else if (const auto* time = node.as_time()) text << time->get();
  else if (const auto* both = node.as_date_time()) text << both->get();
  return text.str();
}

// [types.ID]: where its plugin runs; the settings are the plugin's own and are not looked into.
Result<void> read_types(const toml::node& node, std::map<std::string, TypeConfig>& out) {
  const auto* types = node.as_table();
  if (types == nullptr) return fail(Code::bad_request, "The configuration member 'types' must be a table of add-on types.");
  for (const auto& [id, entry] : *types) {
    const std::string name = "types." + std::string(id.str());
    const auto* type = entry.as_table();
    if (type == nullptr) return fail(Code::bad_request, "The configuration member '" + name + "' must be a table.");
    TypeConfig& config = out[std::string(id.str())];
    for (const auto& [key, value] : *type) {
      const std::string member = name + "." + std::string(key.str());
      if (key.str() == "isolation") {
        const auto kind = value.value_exact<std::string>();
        if (!kind || (*kind != "process" && *kind != "none"))
          return fail(Code::bad_request, "The configuration member '" + member + "' must be \"process\" or \"none\".");
        config.isolated = *kind == "process";
        continue;
      }
      if (key.str() == "memory_mb" || key.str() == "grace_seconds") {
        const bool good = key.str() == "memory_mb" ? number(config.memory_mb, 16, 1 << 20)(value)
                                                    : number(config.grace_seconds, 1, 3600)(value);
        if (!good)
          return fail(Code::bad_request, "The configuration member '" + member + "' has the wrong type or is out of range.");
        continue;
      }
      if (key.str() != "settings") return fail(Code::bad_request, "The configuration has an unknown member '" + member + "'.");
      const auto* settings = value.as_table();
      if (settings == nullptr) return fail(Code::bad_request, "The configuration member '" + name + ".settings' must be a table.");
      config.settings_json = to_json(*settings).dump();
    }
  }
  return {};
}

}  // namespace

Result<ServerConfig> parse_server_config(std::string_view source) {
  ServerConfig c;
  toml::table table;
  try {
    table = toml::parse(source);
  } catch (const toml::parse_error& wrong) {
    return fail(Code::bad_request, "The configuration is not valid TOML (line " +
                                       std::to_string(wrong.source().begin.line) + "): " +
                                       std::string(wrong.description()) + ".");
  }
  constexpr std::int64_t kHour = 3'600'000;
  const std::map<std::string, Setter> known{
      {"listen", text(c.listen)},
      {"public_url", text(c.public_url)},
      {"environment", text(c.environment)},
      {"admin_group", text(c.admin_group)},
      {"threads", number(c.threads, 1, 256)},
      {"workers", number(c.workers, 2, 512)},
      {"allow_plaintext", flag(c.allow_plaintext)},
      {"plugins", path(c.plugins)},
      {"sandbox", choice(c.sandbox, "on", "off")},
      {"apps.memory_mb", number(c.apps.memory_mb, 0, 1 << 24)},
      {"apps.cpu_percent", number(c.apps.cpu_percent, 0, 100'000)},
      {"apps.pids", number(c.apps.pids, 0, 1'000'000)},
      {"apps.files", number(c.apps.files, 0, 1'000'000)},
      {"apps.network", one_of(c.apps.network, {"host", "none"})},
      {"apps.first_uid", number(c.apps.first_uid, 1000, 4'000'000'000)},
      {"apps.last_uid", number(c.apps.last_uid, 1000, 4'000'000'000)},
      {"require_plugin_signature", flag(c.require_plugin_signature)},
      {"token_ttl_seconds", number(c.token_ttl_seconds, 60, 86'400)},
      {"retain_days", number(c.retain_days, 0, 3650)},
      {"check_timeout_seconds", number(c.check_timeout_seconds, 1, 3600)},
      {"tls.certificate", path(c.tls_certificate)},
      {"tls.key", path(c.tls_key)},
      {"tls.ca", path(c.tls_ca)},
      {"log.level", level(c.log_level)},
      {"logs.max_bytes", number(c.logs.max_bytes, 256 << 10, 1LL << 30)},
      {"logs.files", number(c.logs.files, 2, 100)},
      {"logs.max_age_hours", number(c.logs.max_age_hours, 1, 87'600)},
      {"logs.app_bytes", number(c.logs.app_bytes, 4 << 20, 1LL << 40)},
      {"logs.burst_lines_per_s", number(c.logs.burst_lines_per_s, 1, 10'000'000)},
      {"logs.burst_bytes_per_s", number(c.logs.burst_bytes_per_s, 64 << 10, 1LL << 30)},
      {"limits.header_bytes", number(c.limits.max_header_bytes, 1024, 1 << 20)},
      {"limits.fields", number(c.limits.max_fields, 8, 10'000)},
      {"limits.body_bytes", number(c.limits.max_body_bytes, 1024, 1LL << 30)},
      {"limits.connections", number(c.limits.max_connections, 1, 1'000'000)},
      {"limits.memory_bytes", number(c.limits.memory_bytes, 1 << 20, 1LL << 50)},
      {"limits.memory_per_app_bytes", number(c.limits.memory_per_app_bytes, 1 << 20, 1LL << 50)},
      {"limits.pipelined_burst", number(c.limits.max_pipelined_burst, 1, 1'000'000)},
      {"limits.header_timeout_ms", number(c.limits.header_timeout_ms, 100, kHour)},
      {"limits.idle_timeout_ms", number(c.limits.idle_timeout_ms, 100, kHour)},
      {"limits.body_timeout_ms", number(c.limits.body_timeout_ms, 100, kHour)},
      {"limits.write_timeout_ms", number(c.limits.write_timeout_ms, 100, kHour)},
      {"limits.operation_timeout_ms", number(c.limits.operation_timeout_ms, 10, kHour)},
      {"limits.compression", compression(c.limits.compression)},
      {"limits.drain_timeout_ms", number(c.limits.drain_timeout_ms, 10, kHour)},
  };
  if (const auto* restart = table.get("restart")) {
    if (auto done = read_commands(*restart, c.restart_commands); !done) return done.error();
    table.erase("restart");
  }
  if (const auto* types = table.get("types")) {
    if (auto done = read_types(*types, c.types); !done) return done.error();
    table.erase("types");
  }
  if (auto done = read(table, "", known); !done) return done.error();
  if (c.apps.first_uid > c.apps.last_uid)
    return fail(Code::bad_request, "The configuration's apps.first_uid must not be above apps.last_uid.");
  if (c.tls_certificate.empty() != c.tls_key.empty())
    return fail(Code::bad_request, "The configuration needs both tls.certificate and tls.key, or neither.");
  return c;
}

Result<ServerConfig> load_server_config(const std::filesystem::path& file, const std::filesystem::path& state_dir) {
  const bool named = !file.empty();
  const char* test_root = std::getenv("VIA_TEST_ROOT");  // NOLINT(concurrency-mt-unsafe): nothing in Via calls setenv
  const auto of_machine = system_path("/etc/via/server.toml", test_root != nullptr ? test_root : "");
  for (const auto& candidate : named ? std::vector<std::filesystem::path>{file}
                                     : std::vector<std::filesystem::path>{state_dir / "config.toml", of_machine}) {
    auto text = read_file(candidate, 1U << 20);
    if (!text) {
      if (!named && text.error().code == Code::not_found) continue;
      return fail(Code::bad_request, "The configuration file cannot be read: " + text.error().message + ".");
    }
    return parse_server_config(*text);
  }
  return ServerConfig{};
}

std::vector<std::string> what_needs_restart(const ServerConfig& running, const ServerConfig& wanted) {
  std::vector<std::string> out;
  const auto look = [&](const char* name, bool same) {
    if (!same) out.emplace_back(name);
  };
  const auto look_into = [&](const std::string& name, const auto& before, const auto& after) {
    for (const auto& [key, value] : before)
      if (const auto now = after.find(key); now == after.end() || now->second != value) out.push_back(name + "." + key);
    for (const auto& [key, value] : after)
      if (!before.contains(key)) out.push_back(name + "." + key);
  };
  const ServerConfig &a = running, &b = wanted;
  look("listen", a.listen == b.listen);
  look("public_url", a.public_url == b.public_url);
  look("environment", a.environment == b.environment);
  look("admin_group", a.admin_group == b.admin_group);
  look("threads", a.threads == b.threads);
  look("workers", a.workers == b.workers);
  look("allow_plaintext", a.allow_plaintext == b.allow_plaintext);
  look("plugins", a.plugins == b.plugins);
  look("require_plugin_signature", a.require_plugin_signature == b.require_plugin_signature);
  look("token_ttl_seconds", a.token_ttl_seconds == b.token_ttl_seconds);
  look("retain_days", a.retain_days == b.retain_days);
  look("check_timeout_seconds", a.check_timeout_seconds == b.check_timeout_seconds);
  look("sandbox", a.sandbox == b.sandbox);
  look("apps", a.apps == b.apps);
  look("logs", a.logs == b.logs);
  look_into("restart", a.restart_commands, b.restart_commands);
  look_into("types", a.types, b.types);
  look("tls.certificate", a.tls_certificate.empty() == b.tls_certificate.empty());
  look("tls.ca", a.tls_ca == b.tls_ca);
  return out;
}

}  // namespace via
