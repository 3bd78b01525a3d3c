// The operations that change the world, and the owner of everything they change.
//
// Rule of the control plane: changes run one at a time, under one lock that every public function here takes (and
// waits for no longer than Settings::lock_wait_ms). A change is committed to the store first, then published to the
// authorization index, then answered; where it takes rights away the answer waits until nothing runs under them.
// Plugin calls and process launches happen between transactions, never inside one, and are journaled: what a crash
// interrupts, start() finishes or undoes.
// Thread: any; may block. on_process_state() never blocks.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/authorization/authority.hpp"
#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/secret.hpp"
#include "core/bindings/binding.hpp"
#include "core/catalog/addon.hpp"
#include "core/config/values.hpp"
#include "core/identity/keys.hpp"
#include "core/identity/tokens.hpp"
#include "core/lifecycle/actor.hpp"
#include "core/lifecycle/control_lock.hpp"
#include "core/lifecycle/launcher.hpp"
#include "core/lifecycle/plugin_trust.hpp"
#include "core/plugins/addon_host.hpp"
#include "core/releases/records.hpp"
#include "core/store/store.hpp"

namespace via::lifecycle {

struct Settings {
  std::filesystem::path state_dir;
  std::string config_url;  // "http://127.0.0.1:8181": where apps reach the config server
  std::string ca_file;     // for apps, empty = none
  std::string environment = "production";
  std::string version;
  std::int64_t token_ttl_seconds = 3600;  // of supervised instances and of runtime.issue without a ttl
  int stop_grace_ms = 5000;
  int lock_wait_ms = 60'000;
};

struct Dependencies {
  store::Store& store;
  plugins::AddonHost& addons;
  authorization::Authority& authority;
  identity::Keys& keys;
  const identity::TokenIssuer& tokens;
  PluginTrust& trust;
  const Clock& clock;
  Entropy& entropy;
  Logger& log;
};

// What `via status` shows of the server; the one that runs it fills this in.
struct ServerInfo {
  bool running = false;
  int pid = 0;
  std::string listen;
  std::int64_t uptime_seconds = 0;
};

struct Check {
  std::string name;
  bool ok = true;
  std::string detail;
};

struct Status {
  std::string version, state_dir, installation;
  ServerInfo server;
  std::int64_t apps = 0, addons = 0, bindings = 0, releases = 0, instances = 0;
  std::vector<std::string> types;
  std::vector<Check> checks;
};

struct CreateAddon {
  std::string type, name, app;
  std::optional<std::string> bind;
  bool read_only = false;
  std::string config = "{}";
};

struct CreatedAddon {
  catalog::Addon addon;
  std::optional<bindings::Binding> binding;
  std::string operation;
  bool app_created = false;
};

struct AddonStatus {
  catalog::Addon addon;
  std::vector<bindings::Binding> bindings;
  std::vector<Check> layers;  // metadata, binding, storage, release, runtime
};

struct CreateDeploy {
  std::string app;
  std::vector<std::string> command;  // empty = a release without processes of the host
  std::string cwd;                   // empty = "/"
  int replicas = 1;
  std::map<std::string, std::string> env;
};

struct DeployView {
  releases::Deploy deploy;
  std::optional<releases::Release> release;
  std::vector<releases::Instance> instances;
  std::string operation;
};

struct ReleaseView {
  releases::Release release;
  std::vector<releases::ReleaseBinding> bindings;
};

struct AppView {
  releases::App app;
  std::vector<catalog::Addon> addons;
  std::vector<bindings::Binding> bindings;
  std::vector<releases::Instance> instances;
};

struct IssueRuntime {
  std::string app;
  std::string out;                               // empty = <state-dir>/runtimes/<instance>
  std::optional<std::int64_t> ttl_seconds;
};

struct IssueToken {
  identity::Kind kind = identity::Kind::runtime;
  std::string app, subject;
  std::optional<std::int64_t> ttl_seconds;
};

struct IssuedToken {
  Secret token;
  std::int64_t expires_at = 0;  // Unix ms
};

class ControlPlane {
 public:
  ControlPlane(Dependencies dependencies, Settings settings);
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Finishes or undoes what a crash interrupted, sweeps leftovers, loads configuration and publishes every grant; with
  // a launcher (the server has one, the command line in process has none) launches the processes that ought to run.
  Result<void> start(Launcher* launcher = nullptr);
  // Takes the launcher away; instances that ought to run are launched again by the next start. The server stops the
  // runner itself, after this.
  void stop();
  // Called by the server about once a second: tokens past two thirds of their life are minted again and replaced on
  // disk, expired external instances are stopped, reported process states are stored.
  void refresh_tokens();
  // For the Runner's callback. Queues; stored at the next call of anything else.
  void on_process_state(const std::string& instance, releases::ProcessState state, int pid, int exit_status);

  // What resolve and refresh read. Thread: any.
  const config::Values& values() const { return values_; }
  const Settings& settings() const { return settings_; }
  void set_server_info(std::function<ServerInfo()> info) { server_info_ = std::move(info); }

  Result<Status> status();

  Result<releases::App> create_app(const std::string& name, const Actor& actor);
  Result<std::vector<releases::App>> list_apps();
  Result<AppView> show_app(const std::string& name);
  Result<void> delete_app(const std::string& name, const Actor& actor);

  Result<CreatedAddon> create_addon(const CreateAddon& request, const Actor& actor);
  Result<std::vector<catalog::Addon>> list_addons(const std::optional<std::string>& app);
  Result<AddonStatus> addon_status(const std::string& name_or_id, const std::optional<std::string>& app);
  Result<bindings::Binding> bind_addon(const std::string& app, const std::string& name_or_id,
                                       const std::string& binding, bool read_only, const Actor& actor);
  Result<std::vector<bindings::Binding>> unbind_addon(const std::string& app, const std::string& target,
                                                      const Actor& actor);
  Result<catalog::Addon> destroy_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                       bool force, const Actor& actor);

  Result<DeployView> create_deploy(const CreateDeploy& request, const Actor& actor);
  Result<std::vector<releases::Deploy>> list_deploys(const std::string& app);
  Result<DeployView> show_deploy(const std::string& id);
  Result<std::vector<releases::Release>> list_releases(const std::optional<std::string>& app);
  Result<ReleaseView> show_release(const std::string& id);

  Result<std::vector<releases::Instance>> list_instances(const std::optional<std::string>& app);
  Result<releases::Instance> issue_runtime(const IssueRuntime& request, const Actor& actor);
  Result<releases::Instance> stop_instance(const std::string& id, const Actor& actor);

  Result<config::SetResult> set_config(const std::string& app, const std::map<std::string, std::string>& values,
                                       const Actor& actor);
  Result<std::int64_t> unset_config(const std::string& app, const std::string& key, const Actor& actor);
  Result<std::shared_ptr<const config::AppConfig>> list_config(const std::string& app);

  std::vector<identity::KeyInfo> list_keys() const { return d_.keys.list(); }
  Result<IssuedToken> issue_token(const IssueToken& request, const Actor& actor);

  std::vector<plugins::PluginRecord> list_plugins() const { return d_.addons.plugins(); }
  Result<plugins::PluginRecord> show_plugin(const std::string& id_or_type) const;
  Result<nlohmann::json> verify_plugin(const std::string& file);
  Result<plugins::PluginRecord> trust_plugin(const std::string& file, const Actor& actor);
  Result<plugins::PluginRecord> untrust_plugin(const std::string& id_or_type, const Actor& actor);

 private:
  using Lock = std::unique_lock<ControlLock>;
  // Every public function starts here: the lock, then what the runner reported meanwhile.
  Result<Lock> control();

  // control_plane.cpp
  std::int64_t now() const { return d_.clock.unix_ms(); }
  std::string make_id(std::string_view prefix) { return new_id(prefix, d_.clock, d_.entropy); }
  void store_process_states();
  Result<releases::App> need_app(const std::string& name);
  Result<catalog::Addon> need_addon(const std::string& name_or_id, const std::optional<std::string>& app);

  // operations.cpp. A change of one transaction: a finished operation and its audit row, in the caller's transaction.
  Result<std::string> record_change(std::string_view kind, const std::string& target, const Actor& actor,
                                    const nlohmann::json& details);
  // A change of several steps: the journal row that recovery reads, and its end.
  Result<std::string> begin_operation(std::string_view kind, const std::string& target, const Actor& actor,
                                      const nlohmann::json& steps);
  Result<void> end_operation(const std::string& id, std::string_view kind, const std::string& target,
                             const Actor& actor, std::string_view state, const std::string& outcome,
                             const nlohmann::json& details);

  // apps.cpp
  Result<releases::App> insert_app(const std::string& name, const Actor& actor);

  // addons.cpp, bind.cpp, destroy.cpp
  struct Described {
    std::string descriptor, derived;  // as the generations table keeps them
  };
  struct PlannedBinding {
    std::string id, name;
    bool read_only = false;
  };
  Result<void> free_name(const std::string& name);
  // plugin bind and describe; what the app will be told is made here, once for each generation.
  Result<Described> apply_binding(const catalog::Addon& addon, const PlannedBinding& plan, std::uint32_t generation);
  Result<void> check_binding_name(const std::string& app_id, const std::string& app, const std::string& binding,
                                  const plugins::AddonType& type);
  // provision, bind, commit; on failure the record becomes `failed`. Safe to run again after a crash at any point.
  Result<CreatedAddon> finish_create(const catalog::Addon& addon, const std::string& operation,
                                     const std::optional<PlannedBinding>& plan, const Actor& actor);
  Result<void> finish_destroy(const catalog::Addon& addon, const std::string& operation, const Actor& actor);
  bool has_data(const catalog::Addon& addon) const;
  Check storage_layer(const catalog::Addon& addon);

  // grants.cpp
  using Grants = std::vector<std::shared_ptr<const authorization::InstanceGrant>>;
  // For every live instance, or those of one app or one add-on. A fixed number of queries.
  Result<Grants> build_grants(std::string_view app_id = {}, std::string_view addon_id = {});

  // runtimes.cpp
  // An instance of the app's current release that the host does not launch; not stored yet.
  Result<releases::Instance> new_external(const std::string& app);
  Result<Secret> mint(releases::Instance& instance, std::int64_t ttl_seconds);
  // Token, bootstrap and binding claims in the instance's folder; stores the token's times.
  Result<void> deliver_material(releases::Instance& instance, std::int64_t ttl_seconds);
  void discard_material(const releases::Instance& instance);
  std::filesystem::path own_material(const std::string& instance) const;
  // Commits that they ended, then withdraw().
  Result<void> end_instances(const std::vector<releases::Instance>& instances, releases::InstanceState state);
  // After the commit: no operation runs under their rights any more, no process runs, the material is gone.
  void withdraw(const std::vector<releases::Instance>& instances);
  void stop_processes(const std::vector<releases::Instance>& instances);
  Result<void> publish_new(const std::vector<releases::Instance>& instances);

  // deploys.cpp
  Result<void> launch(releases::Instance& instance, const releases::Deploy& deploy);
  Result<void> undo_deploy(const DeployView& view, const std::string& previous_release, const Error& reason,
                           const Actor& actor);

  // recovery.cpp
  Result<void> recover();
  Result<std::string> recover_one(const store::Operation& operation);
  Result<void> sweep();
  Result<void> launch_all();

  Dependencies d_;
  Settings settings_;
  config::Values values_;
  Launcher* launcher_ = nullptr;
  bool stopping_ = false;
  std::function<ServerInfo()> server_info_;
  ControlLock control_;

  struct Report {
    std::string instance;
    releases::ProcessState state;
    int pid, exit_status;
  };
  std::mutex reports_mutex_;  // leaf: never held while another lock is taken
  std::deque<Report> reports_;

  catalog::Addons addons_;
  bindings::Bindings bindings_;
  releases::Apps apps_;
  releases::Releases releases_;
  releases::Instances instances_;
  config::ValueTable value_table_;
};

}  // namespace via::lifecycle
