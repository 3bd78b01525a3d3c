// The host's configuration file: every member, every way it can be wrong, and its reference in docs/operator.md.
#include "core/server_config.hpp"

#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/fakes.hpp"

namespace via {
namespace {

TEST(ServerConfig, EveryMemberIsRead) {
  const auto c = parse_server_config(R"(
listen = "0.0.0.0:9000"
public_url = "https://via.example"
environment = "staging"
admin_group = "ops"
threads = 2
workers = 32
allow_plaintext = true
plugins = "/opt/via/plugins"
token_ttl_seconds = 600
retain_days = 30
check_timeout_seconds = 90
[restart]
api = "systemctl restart api"
[types.acme-mail.settings]
relay = "smtp.example"
port = 25
tls = true
allow = ["a", "b"]
retry = {times = 3}
[types.plain]
[tls]
certificate = "/etc/via/cert.pem"
key = "/etc/via/key.pem"
ca = "/etc/via/ca.pem"
[log]
level = "warn"
[logs]
max_bytes = 300000
files = 7
max_age_hours = 24
app_bytes = 5000000
burst_lines_per_s = 10
burst_bytes_per_s = 70000
[limits]
header_bytes = 2048
fields = 20
body_bytes = 4096
connections = 7
pipelined_burst = 8
header_timeout_ms = 101
idle_timeout_ms = 102
body_timeout_ms = 103
write_timeout_ms = 104
operation_timeout_ms = 105
drain_timeout_ms = 106
compression = "on"
)");
  ASSERT_TRUE(c) << c.error().message;
  EXPECT_EQ(c->listen, "0.0.0.0:9000");
  EXPECT_EQ(c->logs.max_bytes, 300'000U);
  EXPECT_EQ(c->logs.files, 7);
  EXPECT_EQ(c->logs.max_age_hours, 24);
  EXPECT_EQ(c->logs.app_bytes, 5'000'000U);
  EXPECT_EQ(c->logs.burst_lines_per_s, 10U);
  EXPECT_EQ(c->logs.burst_bytes_per_s, 70'000U);
  EXPECT_EQ(c->public_url, "https://via.example");
  EXPECT_EQ(c->environment, "staging");
  EXPECT_EQ(c->admin_group, "ops");
  EXPECT_EQ(c->threads, 2U);
  EXPECT_EQ(c->workers, 32U);
  EXPECT_TRUE(c->allow_plaintext);
  EXPECT_EQ(c->plugins, "/opt/via/plugins");
  EXPECT_EQ(c->token_ttl_seconds, 600);
  EXPECT_EQ(c->retain_days, 30);
  EXPECT_EQ(c->check_timeout_seconds, 90);
  EXPECT_EQ(c->restart_commands, (std::map<std::string, std::string>{{"api", "systemctl restart api"}}));
  ASSERT_EQ(c->types.size(), 2U);
  EXPECT_EQ(nlohmann::json::parse(c->types.at("acme-mail").settings_json),
            nlohmann::json::parse(R"({"relay":"smtp.example","port":25,"tls":true,"allow":["a","b"],"retry":{"times":3}})"));
  EXPECT_EQ(c->types.at("plain").settings_json, "{}");
  EXPECT_EQ(c->tls_certificate, "/etc/via/cert.pem");
  EXPECT_EQ(c->tls_key, "/etc/via/key.pem");
  EXPECT_EQ(c->tls_ca, "/etc/via/ca.pem");
  EXPECT_EQ(c->log_level, Level::warn);
  EXPECT_EQ(c->limits.max_header_bytes, 2048U);
  EXPECT_EQ(c->limits.max_fields, 20U);
  EXPECT_EQ(c->limits.max_body_bytes, 4096U);
  EXPECT_EQ(c->limits.max_connections, 7U);
  EXPECT_EQ(c->limits.max_pipelined_burst, 8U);
  EXPECT_EQ(c->limits.header_timeout_ms, 101U);
  EXPECT_EQ(c->limits.idle_timeout_ms, 102U);
  EXPECT_EQ(c->limits.body_timeout_ms, 103U);
  EXPECT_EQ(c->limits.write_timeout_ms, 104U);
  EXPECT_EQ(c->limits.operation_timeout_ms, 105U);
  EXPECT_EQ(c->limits.drain_timeout_ms, 106U);
  EXPECT_EQ(c->limits.compression, net::Compression::on);
}

TEST(ServerConfig, SettingsOfATypeAreJsonWhateverTomlCanSay) {
  const auto c = parse_server_config(
      "[types.mail.settings]\na = inf\nb = -inf\nc = nan\nd = 2026-11-24\ne = 07:32:00\nf = 0xff\n"
      "g = \"\\u0001 \\\" \u00e9\"\nh = 1e3\ni = []\nj = [{k = 1}]\n\"odd key\" = ''\n");
  ASSERT_TRUE(c) << c.error().message;
  const auto settings = nlohmann::json::parse(c->types.at("mail").settings_json, nullptr, false);
  ASSERT_FALSE(settings.is_discarded()) << c->types.at("mail").settings_json;
  EXPECT_EQ(settings["d"], "2026-11-24");
  EXPECT_EQ(settings["f"], 255);
  EXPECT_EQ(settings["g"], "\x01 \" \u00e9");
}

TEST(ServerConfig, AnEmptyFileIsTheDefaults) {
  const auto c = parse_server_config("");
  ASSERT_TRUE(c);
  EXPECT_EQ(c->listen, "127.0.0.1:8181");
  EXPECT_EQ(c->environment, "production");
  EXPECT_FALSE(c->allow_plaintext);
}

TEST(ServerConfig, WhatIsWrongIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"lisen = \"x\"", "'lisen'"},
      {"[limits]\nheader = 1", "'limits.header'"},
      {"[tlss]\nkey = \"/k\"", "'tlss.key'"},
      {"limits = 5", "'limits'"},
      {"listen = 8181", "'listen'"},
      {"threads = 0", "'threads'"},
      {"threads = 257", "'threads'"},
      {"threads = 1.5", "'threads'"},
      {"threads = \"2\"", "'threads'"},
      {"workers = 1", "'workers'"},
      {"allow_plaintext = 1", "'allow_plaintext'"},
      {"plugins = \"relative/path\"", "'plugins'"},
      {"token_ttl_seconds = 59", "'token_ttl_seconds'"},
      {"token_ttl_seconds = 86401", "'token_ttl_seconds'"},
      {"retain_days = -1", "'retain_days'"},
      {"check_timeout_seconds = 0", "'check_timeout_seconds'"},
      {"restart = \"x\"", "'restart'"},
      {"[restart]\napi = 5", "'restart.api'"},
      {"[restart]\napi = \"\"", "'restart.api'"},
      {"types = 1", "'types'"},
      {"[types]\nmail = 1", "'types.mail'"},
      {"[types.mail]\nsettings = \"x\"", "'types.mail.settings'"},
      {"[types.mail]\nisolation = \"thread\"", "'types.mail.isolation'"},
      {"[types.mail]\nisolation = true", "'types.mail.isolation'"},
      {"[types.mail]\nmemory_mb = 1", "'types.mail.memory_mb'"},
      {"[types.mail]\ngrace_seconds = 0", "'types.mail.grace_seconds'"},
      {"[types.mail]\ncolour = 1", "'types.mail.colour'"},
      {"[log]\nlevel = \"loud\"", "'log.level'"},
      {"[log]\nlevel = 3", "'log.level'"},
      {"[limits]\nbody_bytes = 1023", "'limits.body_bytes'"},
      {"[limits]\nbody_bytes = -1", "'limits.body_bytes'"},
      {"[limits]\nheader_bytes = 1048577", "'limits.header_bytes'"},
      {"[limits]\nfields = 7", "'limits.fields'"},
      {"[limits]\nconnections = 0", "'limits.connections'"},
      {"[limits]\nidle_timeout_ms = 99", "'limits.idle_timeout_ms'"},
      {"[limits]\ndrain_timeout_ms = 3600001", "'limits.drain_timeout_ms'"},
      {"[tls]\ncertificate = \"cert.pem\"\nkey = \"/k\"", "'tls.certificate'"},
      {"[tls]\ncertificate = \"/c\"", "tls.key"},
      {"[tls]\nkey = \"/k\"", "tls.certificate"},
      {"listen = ", "line 1"},
      {"a = 1\na = 2", "TOML"},
  };
  for (const auto& [text, named] : cases) {
    const auto c = parse_server_config(text);
    ASSERT_FALSE(c) << text;
    EXPECT_EQ(c.error().code, Code::bad_request) << text;
    EXPECT_NE(c.error().message.find(named), std::string::npos) << text << ": " << c.error().message;
  }
}

TEST(ServerConfig, ANamedFileMustBeThereAndTheDefaultOneNeedNot) {
  via::test::TemporaryFolder state;
  EXPECT_TRUE(load_server_config({}, state.path()));
  EXPECT_FALSE(load_server_config(state.path() / "missing.toml", state.path()));
  std::ofstream(state.path() / "config.toml") << "environment = \"from-state\"\n";
  EXPECT_EQ(load_server_config({}, state.path())->environment, "from-state");
  std::ofstream(state.path() / "other.toml") << "environment = \"named\"\n";
  EXPECT_EQ(load_server_config(state.path() / "other.toml", state.path())->environment, "named");
  std::ofstream(state.path() / "config.toml") << "broken";
  EXPECT_FALSE(load_server_config({}, state.path())) << "a broken file is an error, not the defaults";
}

// docs/operator.md, "Configuration", says which these are.
TEST(ServerConfig, EveryMemberIsTakenUpByAReloadOrNamedAsNeedingARestart) {
  const ServerConfig running;
  const std::pair<const char*, const char*> named[] = {
      {"listen = \"127.0.0.1:1\"", "listen"}, {"public_url = \"http://a\"", "public_url"}, {"environment = \"e\"", "environment"},
      {"admin_group = \"g\"", "admin_group"}, {"threads = 3", "threads"}, {"workers = 3", "workers"},
      {"allow_plaintext = true", "allow_plaintext"}, {"plugins = \"/p\"", "plugins"},
      {"require_plugin_signature = true", "require_plugin_signature"}, {"token_ttl_seconds = 61", "token_ttl_seconds"},
      {"retain_days = 1", "retain_days"}, {"check_timeout_seconds = 1", "check_timeout_seconds"},
      {"[restart]\napi = \"x\"", "restart.api"}, {"[types.mail]\nisolation = \"process\"", "types.mail"},
      {"[types.mail]\nmemory_mb = 99", "types.mail"}, {"[types.mail.settings]\nkey = 1", "types.mail"},
      {"[tls]\nca = \"/c\"", "tls.ca"}, {"[tls]\ncertificate = \"/c\"\nkey = \"/k\"", "tls.certificate"}};
  for (const auto& [text, name] : named) {
    const auto wanted = parse_server_config(text);
    ASSERT_TRUE(wanted) << text;
    EXPECT_EQ(what_needs_restart(running, *wanted), std::vector<std::string>{name}) << text;
    EXPECT_EQ(what_needs_restart(*wanted, running), std::vector<std::string>{name}) << "taken out: " << text;
    EXPECT_TRUE(what_needs_restart(*wanted, *wanted).empty());
  }
  const auto taken = parse_server_config("[log]\nlevel = \"debug\"\n[limits]\nfields = 9\nconnections = 9\nmemory_bytes = 9999999\n");
  EXPECT_TRUE(what_needs_restart(running, *taken).empty());
}

// Every line is commented out, so that a default that changes with an upgrade counts; what stands there is the default.
TEST(ServerConfig, ThePackagesConfigurationIsTheDefaults) {
  std::ifstream in(std::string(VIA_DOCS) + "/../packaging/server.toml");
  ASSERT_TRUE(in);
  std::string text;
  bool example = false;  // of tables that have no defaults
  for (std::string line; std::getline(in, line);) {
    ASSERT_TRUE(line.empty() || line[0] == '#') << line;
    if (line.starts_with("#[")) example = line == "#[tls]" || line == "#[restart]";
    if (!example && line.size() > 1 && line[1] != ' ') text += line.substr(1) + "\n";
  }
  const auto shown = parse_server_config(text);
  ASSERT_TRUE(shown) << shown.error().message;
  EXPECT_EQ(shown->types.at("sqlite"), TypeConfig());
  ServerConfig defaults;
  defaults.types.emplace("sqlite", TypeConfig());
  EXPECT_EQ(what_needs_restart(defaults, *shown), std::vector<std::string>());
  EXPECT_EQ(shown->log_level, defaults.log_level);
  EXPECT_EQ(shown->limits, defaults.limits);
}

// Rows of the reference look like: | `limits.fields` | 100 | … |
TEST(ServerConfig, TheReferenceNamesEveryMemberAndItsDefaultParses) {
  std::ifstream in(std::string(VIA_DOCS) + "/operator.md");
  ASSERT_TRUE(in);
  std::set<std::string> seen;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) inside = line == "## Configuration";
    if (!inside || !line.starts_with("| `")) continue;
    const auto end = line.find("` | ");
    ASSERT_NE(end, std::string::npos) << line;
    const std::string name = line.substr(3, end - 3);
    const auto after = line.find(" | ", end + 3);
    std::string value = line.substr(end + 4, after - end - 4);
    seen.insert(name);
    if (value == "-") continue;
    std::erase(value, '`');
    const auto dot = name.find('.');
    const std::string text =
        dot == std::string::npos ? name + " = " + value : "[" + name.substr(0, dot) + "]\n" + name.substr(dot + 1) + " = " + value;
    const auto c = parse_server_config(text);
    EXPECT_TRUE(c) << text << ": " << (c ? "" : c.error().message);
  }
  const std::set<std::string> all{
      "sandbox", "apps.memory_mb", "apps.cpu_percent", "apps.pids", "apps.files", "apps.network", "apps.first_uid", "apps.last_uid", "limits.compression",
      "listen", "public_url", "environment", "admin_group", "threads", "workers", "allow_plaintext", "plugins", "require_plugin_signature",
      "token_ttl_seconds", "retain_days", "check_timeout_seconds", "restart.APP", "types.TYPE.settings", "types.TYPE.isolation", "types.TYPE.memory_mb", "types.TYPE.grace_seconds", "tls.certificate", "tls.key", "tls.ca", "log.level", "logs.max_bytes", "logs.files", "logs.max_age_hours", "logs.app_bytes", "logs.burst_lines_per_s", "logs.burst_bytes_per_s", "limits.header_bytes", "limits.fields",
      "limits.body_bytes", "limits.connections", "limits.memory_bytes", "limits.memory_per_app_bytes", "limits.pipelined_burst", "limits.header_timeout_ms",
      "limits.idle_timeout_ms", "limits.body_timeout_ms", "limits.write_timeout_ms", "limits.operation_timeout_ms",
      "limits.drain_timeout_ms"};
  EXPECT_EQ(seen, all);
}

}  // namespace
}  // namespace via
