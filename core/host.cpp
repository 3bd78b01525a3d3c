#include "core/host.hpp"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include <nlohmann/json.hpp>

#include "core/bundled.hpp"
#include "core/identity/master_key.hpp"
#include "core/isolation/isolated_library.hpp"

namespace via {

using nlohmann::json;

namespace {

// Secrets are in memory: no core file, no reading by other processes of this user.
void harden_process() {
  ::umask(077);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
}

// The state folder is nobody else's; with an admin group its members may go through it, to the socket (mode 0710). What else is in
// it is private by itself. True when an empty one was open to others, and is closed now.
Result<bool> make_state_folder(const fs::path& folder, const std::string& admin_group) {
  if (admin_group.empty()) return take_private_folder(folder);
  const struct group* group = ::getgrnam(admin_group.c_str());
  if (group == nullptr) return fail(Code::bad_request, "The admin group '" + admin_group + "' does not exist. Create it (groupadd), or change admin_group in the configuration.");
  struct stat st {};
  if (::lstat(folder.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == ::geteuid() && st.st_gid == group->gr_gid &&
      (st.st_mode & 07777) == 0710)
    return false;
  const auto taken = take_private_folder(folder);
  if (!taken) return taken;
  if (::chown(folder.c_str(), static_cast<uid_t>(-1), group->gr_gid) != 0 || ::chmod(folder.c_str(), 0710) != 0)
    return system_error("let the admin group through", errno);
  return taken;
}

}  // namespace

Host::Host(fs::path state_dir, const ServerConfig& config, Logger::Target log_target)
    : state_dir_(std::move(state_dir)), config_(config), log_(std::make_unique<Logger>(log_target, config.log_level)) {}

Host::~Host() {
  if (plane_) plane_->stop();
  admin_.reset();
  plane_.reset();
  authority_.replace_all({});
  plugins_.reset();
  executor_.reset();
}

Result<std::unique_ptr<Host>> Host::open(const fs::path& given, const ServerConfig& config, Logger::Target log_target) {
  std::error_code ec;
  const fs::path state_dir = fs::absolute(given, ec).lexically_normal();
  if (ec) return fail(Code::bad_request, "The state folder is not a path.");
  std::unique_ptr<Host> host(new Host(state_dir, config, log_target));  // private constructor
  if (auto ready = host->prepare(); !ready) return ready.error();
  return host;
}

Result<void> Host::prepare() {
  harden_process();
  log_->hide_folder(state_dir_.string());
  const auto taken = make_state_folder(state_dir_, config_.admin_group);
  if (!taken) {
    Error error = taken.error();
    if (error.code == Code::bad_request) return error;  // the configuration's
    error.message = "The state folder cannot be used: " + error.message + ". (--state-dir names another one.)";
    return error;
  }
  if (*taken) log_->warn("state_folder_closed", {{"what", "the empty state folder was open to other users; its mode is 0700 now"}});
  auto lock = StateLock::take(state_dir_);
  if (!lock) return lock.error();
  lock_.emplace(std::move(*lock));
  reserve_.emplace(state_dir_);
  if (reserve_->is_full() && reserve_->give_up())
    log_->error("disk_full", {{"what", "the disk of the state folder is full; the host's reserve was given up for this start"}});
  auto store = store::Store::open(state_dir_, clock_, entropy_);
  if (!store) return store.error();
  store_ = std::move(*store);
  for (const char* part : {"keys", "addons", "runtimes", "logs", "plugins", "apps"})
    if (auto made = make_private_folder(state_dir_ / part); !made) {
      Error error = made.error();
      error.message = std::string("The folder '") + part + "' in the state folder cannot be used: " + error.message + ".";
      return error;
    }
  auto keys = identity::Keys::open(state_dir_ / "keys", true, clock_, entropy_);
  if (!keys) return keys.error();
  keys_ = std::move(*keys);
  auto master = identity::open_master_key(state_dir_ / "keys", entropy_);
  if (!master) return master.error();
  const std::string issuer = "via:" + store_->meta().installation + ":" + std::to_string(store_->meta().epoch);
  issuer_ = std::make_unique<identity::TokenIssuer>(*keys_, issuer, clock_, entropy_);
  verifier_ = std::make_unique<identity::TokenVerifier>(*keys_, issuer, clock_);
  executor_ = std::make_unique<plugins::Executor>(clock_, config_.workers);
  secrets_ = std::make_unique<plugins::SecretBox>(std::move(*master), entropy_);
  std::map<std::string, std::string> settings;
  for (const auto& [type, configured] : config_.types) settings.emplace(type, configured.settings_json);
  services_.reset(new plugins::Services{clock_, *log_, *executor_, metrics_, *secrets_, std::move(settings)});
  plugins_ = std::make_unique<plugins::PluginHost>(*services_, state_dir_ / "addons",
                                                   [this](plugins::Image image) { return load_library(std::move(image)); });
  return load_plugins();
}

// A plugin of which one type shall run in a process of its own is never loaded into this one.
Result<std::shared_ptr<plugins::Library>> Host::load_library(plugins::Image image) {
  const TypeConfig* isolated = nullptr;
  for (const plugins::AddonType& type : image.manifest.types)
    if (const auto config = config_.types.find(type.id); config != config_.types.end() && config->second.isolated)
      isolated = &config->second;
  if (isolated == nullptr) return plugins::Library::load(std::move(image));
  isolation::Options options;
  options.program = program_beside("via-plugin-runner");
  options.memory_mb = isolated->memory_mb;
  options.grace_ms = static_cast<int>(isolated->grace_seconds) * 1000;
  options.workers = config_.workers;
  return isolation::isolate(*services_, std::move(image), options);
}

Result<void> Host::load_plugins() {
  auto pins = store_->load_pins();
  if (!pins) return pins.error();
  std::map<std::string, bool> decided;  // plugin id -> trusted
  for (const store::Pin& pin : *pins) {
    decided[pin.plugin_id] = pin.trusted;
    // A refusal is kept for `plugin list`; the host serves what it can.
    // What was installed is named relative to the state folder, which may have moved (a restored backup).
    const bool installed = !fs::path(pin.file).is_absolute();
    std::error_code ec;
    fs::path folder = installed ? state_dir_ / pin.file : fs::path(pin.file);
    if (fs::is_regular_file(folder, ec)) folder = folder.parent_path();  // of an earlier Via: the library or the manifest
    if (pin.trusted) {
      (void)plugins_->load(folder, pin.sha256, installed ? "installed" : "pinned");
    } else if (!pin.file.empty()) {
      const plugins::Inspection seen = plugins::inspect(folder);
      if (seen.manifest.id == pin.plugin_id)
        plugins_->note({seen.manifest, seen.sha256, installed ? "installed" : "pinned", false, false, "not trusted by the operator", folder.string()});
    }
  }
  for (const auto& [folder, sha256] : bundled_plugins(bundled_folder(config_.plugins))) {
    const plugins::Inspection seen = plugins::inspect(folder);
    const auto decision = decided.find(seen.manifest.id);
    if (decision != decided.end() && decision->second) continue;  // the operator pinned a build of it
    if (decision != decided.end()) {
      plugins_->note({seen.manifest, seen.sha256, "bundled", false, false, "not trusted by the operator"});
      continue;
    }
    (void)plugins_->load(folder, sha256, "bundled");
  }
  return {};
}

void Host::wire(const std::string& config_url) {
  lifecycle::Settings settings;
  settings.state_dir = state_dir_;
  settings.config_url = config_url;
  settings.ca_file = config_.tls_ca.string();
  settings.environment = config_.environment;
  settings.version = VIA_VERSION;
  settings.token_ttl_seconds = config_.token_ttl_seconds;
  settings.retain_ms = config_.retain_days * 24 * 3600 * 1000;
  settings.check_timeout_seconds = config_.check_timeout_seconds;
  settings.restart_commands = config_.restart_commands;
  settings.require_plugin_signature = config_.require_plugin_signature;
  const AppsConfig& apps = config_.apps;
  settings.sandbox = {config_.sandbox, ::geteuid() == 0, apps.first_uid, apps.last_uid, apps.network,
                      {apps.memory_mb << 20, apps.cpu_percent, apps.pids, apps.files}};
  settings.logs = config_.logs;
  plane_ = std::make_unique<lifecycle::ControlPlane>(
      lifecycle::Dependencies{*store_, *plugins_, authority_, *keys_, *issuer_, *this, *secrets_, clock_, entropy_, *log_, &*reserve_},
      std::move(settings));
  admin_ = std::make_unique<api::AdminApi>(*plane_);
}

Result<json> Host::verify(const std::string& file) {
  const plugins::Inspection seen = plugins::inspect(file);
  json checks = json::array();
  for (const auto& check : seen.checks) checks.push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  json out{{"file", file}, {"ok", seen.ok()}, {"checks", std::move(checks)}, {"sha256", seen.sha256}};
  // json converts to anything, so the result must be told which of its two sides it is.
  return Result<json>(boost::system::in_place_value, std::move(out));
}

Result<plugins::PluginRecord> Host::load(const std::string& folder, const std::string& sha256, const std::string& source) {
  std::string pin = sha256;
  if (pin.empty()) {
    const plugins::Inspection seen = plugins::inspect(folder);
    if (!seen.ok()) return fail(Code::refused, "The plugin is not fit to be trusted: " + seen.problem() + ".");
    pin = seen.sha256;
  }
  return plugins_->prepare(folder, pin, source);
}

Result<void> Host::untrust(const std::string& plugin_id) {
  plugins_->disable(plugin_id);
  return {};
}

void Host::removed(const std::string& plugin_id) { plugins_->drop(plugin_id); }

}  // namespace via
