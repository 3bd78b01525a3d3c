// The operations that change the world, and the owner of everything they change.
//
// Rule of the control plane: changes run one at a time, under one lock that every public function here takes (and
// waits for no longer than Settings::lock_wait_ms; what may not happen under it is said in control_lock.hpp). A change is
// committed to the store first, then published to the authorization index, then answered; where it takes rights away the
// answer waits until nothing runs under them.
// Plugin calls and process launches happen between transactions, never inside one, and are journaled: what a crash
// interrupts, start() finishes or undoes. What may take long is an Operation (operation.hpp): it claims what it works on
// and holds the lock for its transactions only, so that status, `op wait` and `op cancel` answer meanwhile.
// Thread: any; may block. on_process_state() never blocks.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/authorization/authority.hpp"
#include "core/base/clock.hpp"
#include "core/base/disk_reserve.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/secret.hpp"
#include "core/bindings/binding.hpp"
#include "core/bundle/bundle.hpp"
#include "core/catalog/addon.hpp"
#include "core/catalog/snapshot.hpp"
#include "core/config/sealer.hpp"
#include "core/config/values.hpp"
#include "core/identity/keys.hpp"
#include "core/identity/tokens.hpp"
#include "core/lifecycle/actor.hpp"
#include "core/lifecycle/applied_binding.hpp"
#include "core/lifecycle/control_lock.hpp"
#include "core/lifecycle/launcher.hpp"
#include "core/lifecycle/operation.hpp"
#include "core/lifecycle/plugin_trust.hpp"
#include "core/lifecycle/prober.hpp"
#include "core/lifecycle/requests.hpp"
#include "core/logs/files.hpp"
#include "core/plugins/addon_host.hpp"
#include "core/releases/material.hpp"
#include "core/shares/share.hpp"
#include "core/store/store.hpp"

namespace via::backup {
struct SourceFile;
}

namespace via::lifecycle {

struct Sealed;  // snapshot_files.hpp

struct SandboxSettings {
  bool on = false;
  bool own_users = false;  // the host is root: each app is a user of its own, else all are the host's in user namespaces
  std::uint32_t first_uid = 61184, last_uid = 65519;  // systemd's range of dynamic users
  std::string network = "host";
  sandbox::Limits defaults;
};

struct Settings {
  std::filesystem::path state_dir;
  std::string config_url;  // "http://127.0.0.1:8181": where apps reach the config server
  std::string ca_file;     // for apps, empty = none
  std::string environment = "production";
  std::string version;
  std::int64_t token_ttl_seconds = 3600;  // of supervised instances and of runtime.issue without a ttl
  int stop_grace_ms = 5000;
  int lock_wait_ms = 60'000;
  std::int64_t retain_ms = 7LL * 24 * 3600 * 1000;  // of the final snapshot of a destroyed add-on
  // By app: a shell command that restarts processes the host does not supervise (systemd, docker).
  std::map<std::string, std::string> restart_commands;
  std::int64_t check_timeout_seconds = 60;  // of a deploy's check that names none
  bool require_plugin_signature = false;    // take in only plugins that a trusted key signed
  logs::Limits logs;
  SandboxSettings sandbox;
};

// What the host found to make sandboxes with; for doctor and status.
struct SandboxInfo {
  bool on = false;
  std::string missing, remedy;
  std::string limits_by;  // "cgroup v2", "cgroup v1", "rlimits"
  bool landlock = false;
};

struct Dependencies {
  store::Store& store;
  plugins::AddonHost& addons;
  authorization::Authority& authority;
  identity::Keys& keys;
  const identity::TokenIssuer& tokens;
  PluginTrust& trust;
  const plugins::SecretBox& secrets;
  const Clock& clock;
  Entropy& entropy;
  Logger& log;
  DiskReserve* reserve = nullptr;  // none: nothing is kept back for a full disk
};

class Redactor;
struct IncomingPlugin;  // plugin_change.hpp
struct PluginChange;
struct PluginMove;
struct AppManifest;
struct DoctorCheck;
struct Finding;

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
  void on_process_state(const std::string& instance, releases::ProcessState state, int pid, int exit_status, const std::string& reason = {});

  // What resolve and refresh read. Thread: any.
  const config::Values& values() const { return values_; }
  const config::Sealer& sealer() const { return sealer_; }
  // What a command needs of the disk before it begins: `disk_full` when it needs room and there is none. What frees space or takes
  // rights away has the reserve.
  enum class DiskNeed { none, room, reserve };
  Result<void> check_disk(DiskNeed need);
  // Called by the server now and then: the reserve is made again when there is room.
  void keep_reserve();
  const Settings& settings() const { return settings_; }
  void set_server_info(std::function<ServerInfo()> info) { server_info_ = std::move(info); }
  // Before start().
  void set_sandbox_info(SandboxInfo info) { sandbox_info_ = std::move(info); }
  // What smoke tests go through; before start(), and for as long as this lives.
  void set_prober(Prober* prober) { prober_ = prober; }

  Result<Status> status();

  Result<releases::App> create_app(const std::string& name, const Actor& actor);
  Result<std::vector<releases::App>> list_apps();
  Result<AppView> show_app(const std::string& name);
  // These and the other destructive ones answer the plan when only that is asked for.
  Result<nlohmann::json> delete_app(const std::string& name, const PlanRequest& plan, const Actor& actor);

  // The app's side, and the host's own: answers as docs/admin-api.md has them.
  Result<nlohmann::json> app_status(const std::string& name);
  Result<nlohmann::json> app_doctor(const std::string& name);
  Result<nlohmann::json> inspect_app(const std::string& name);
  Result<nlohmann::json> smoke_app(const std::string& name, const Actor& actor, bool wait);
  Result<nlohmann::json> repair_app(const std::string& name, const Actor& actor, bool wait);
  Result<nlohmann::json> app_logs(const AppLogs& request);
  Result<nlohmann::json> debug_bundle(const std::string& name);
  Result<nlohmann::json> validate_manifest(const std::string& text);
  Result<nlohmann::json> apply_manifest(const std::string& text, const Actor& actor, bool wait);
  Result<nlohmann::json> smoke_manifest(const std::string& text, const Actor& actor, bool wait);
  Result<nlohmann::json> doctor(bool fix, const Actor& actor);

  Result<CreatedAddon> create_addon(const CreateAddon& request, const Actor& actor);
  Result<std::vector<catalog::Addon>> list_addons(const std::optional<std::string>& app);
  Result<AddonStatus> addon_status(const std::string& name_or_id, const std::optional<std::string>& app);
  Result<bindings::Binding> bind_addon(const std::string& app, const std::string& name_or_id,
                                       const std::string& binding, bool read_only, const Actor& actor);
  Result<std::vector<bindings::Binding>> unbind_addon(const std::string& app, const std::string& target,
                                                      const Actor& actor);
  // The long ones below answer their result as docs/admin-api.md has it; with wait = false as soon as they are begun.
  Result<nlohmann::json> destroy_addon(const DestroyAddon& request, const Actor& actor, bool wait = true);
  Result<nlohmann::json> undelete_addon(const std::string& id, const std::string& name, const Actor& actor, bool wait);
  Result<nlohmann::json> repair_addon(const std::string& name_or_id, const Actor& actor, bool wait);
  Result<nlohmann::json> snapshot_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                        const std::string& note, const Actor& actor, bool wait);
  Result<std::vector<catalog::Snapshot>> list_snapshots(const std::string& name_or_id,
                                                        const std::optional<std::string>& app);
  Result<nlohmann::json> delete_snapshot(const std::string& name_or_id, const std::optional<std::string>& app,
                                         const std::string& snapshot, const PlanRequest& plan, const Actor& actor);
  Result<nlohmann::json> restore_addon(const RestoreAddon& request, const Actor& actor, bool wait);
  Result<nlohmann::json> export_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                      const std::string& file, const Actor& actor, bool wait);
  // `request.snapshot` is empty; the file becomes a snapshot of kind import first.
  Result<nlohmann::json> import_addon(const RestoreAddon& request, const std::string& file, const Actor& actor, bool wait);
  Result<nlohmann::json> drain_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                     std::int64_t timeout_seconds, const Actor& actor, bool wait);
  Result<catalog::Addon> resume_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                      const Actor& actor);
  Result<nlohmann::json> rotate_credentials(const std::string& name_or_id, const std::string& app,
                                            const std::string& binding, const std::string& idempotency_key,
                                            const Actor& actor);
  Result<nlohmann::json> revoke_credentials(const RevokeCredentials& request, const Actor& actor, bool wait);

  // An add-on for an operator's own request to its HTTP routes; that it was asked is in the audit record.
  Result<std::shared_ptr<plugins::AddonInstance>> reach_addon(const std::string& name_or_id, std::string_view method, const Actor& actor);

  // Capability URLs.
  Result<SharedAddon> share_addon(const ShareAddon& request, const Actor& actor);
  Result<std::vector<ShareView>> list_shares(const std::optional<std::string>& name_or_id, const std::optional<std::string>& app);
  // Returns when nothing runs under it any more. Of one that was revoked already it answers the same.
  Result<nlohmann::json> unshare_addon(const std::string& share, const PlanRequest& plan, const Actor& actor);

  // Archives of the whole host (core/backup/). An empty file = a new one in <state-dir>/backups/.
  Result<nlohmann::json> create_backup(const std::string& file, Secret passphrase, const Actor& actor, bool wait);
  Result<nlohmann::json> verify_backup(const std::string& file, Secret passphrase, const Actor& actor, bool wait);
  Result<nlohmann::json> list_backups();
  Result<std::vector<store::Operation>> list_operations(int limit, const std::string& state, const std::string& target);
  Result<nlohmann::json> show_operation(const std::string& id);
  Result<nlohmann::json> wait_operation(const std::string& id, std::int64_t timeout_seconds);
  Result<nlohmann::json> cancel_operation(const std::string& id);
  Result<std::vector<store::AuditEntry>> list_audit(const Since& since, int limit, const std::string& target);
  Result<nlohmann::json> verify_audit();
  // Called by the server now and then: retained data whose time is over goes, and so do logs.
  void expire_retained();
  void trim_logs();
  // Ends credentials that a plugin could not end when they were revoked, in a thread of its own.
  void settle_credentials();
  // Behind stop(): returns when nothing of it runs any more. Before the plugins are closed.
  void finish_background();

  Result<nlohmann::json> create_deploy(const CreateDeploy& request, const Actor& actor, bool wait = true);
  Result<nlohmann::json> rollback_deploy(const RollbackDeploy& request, const Actor& actor, bool wait);
  // What changed from one release of an app to another.
  Result<nlohmann::json> diff_releases(const std::string& from, const std::string& to);
  Result<std::vector<releases::Deploy>> list_deploys(const std::string& app);
  Result<DeployView> show_deploy(const std::string& id);
  Result<std::vector<releases::Release>> list_releases(const std::optional<std::string>& app);
  Result<ReleaseView> show_release(const std::string& id);

  Result<std::vector<releases::Instance>> list_instances(const std::optional<std::string>& app);
  Result<releases::Instance> issue_runtime(const IssueRuntime& request, const Actor& actor);
  Result<nlohmann::json> stop_instance(const std::string& id, const PlanRequest& plan, const Actor& actor);

  Result<config::SetResult> set_config(const std::string& app, const std::map<std::string, std::string>& values,
                                       const Actor& actor);
  Result<nlohmann::json> unset_config(const std::string& app, const std::string& key, const PlanRequest& plan,
                                      const Actor& actor);
  // Plain values and secrets; what a secret is stays sealed.
  Result<std::shared_ptr<const config::AppConfig>> list_config(const std::string& app);
  // `rotating`: not_found when the key has no secret yet.
  Result<config::SetResult> set_secret(const std::string& app, const std::string& key, const Secret& value,
                                       bool rotating, const Actor& actor);
  // A random value of so many bytes, as URL-safe text.
  Result<config::SetResult> generate_secret(const std::string& app, const std::string& key, std::int64_t bytes,
                                            const Actor& actor);
  Result<nlohmann::json> unset_secret(const std::string& app, const std::string& key, const PlanRequest& plan,
                                      const Actor& actor);

  std::vector<identity::KeyInfo> list_keys() const { return d_.keys.list(); }
  Result<identity::KeyInfo> rotate_keys(const Actor& actor);
  Result<nlohmann::json> revoke_key(const std::string& kid, const PlanRequest& plan, const Actor& actor);
  Result<IssuedToken> issue_token(const IssueToken& request, const Actor& actor);

  std::vector<plugins::PluginRecord> list_plugins() const { return d_.addons.plugins(); }
  Result<plugins::PluginRecord> show_plugin(const std::string& id_or_type) const;
  Result<nlohmann::json> verify_plugin(const std::string& file);
  Result<plugins::PluginRecord> trust_plugin(const std::string& file, const Actor& actor);
  Result<plugins::PluginRecord> untrust_plugin(const std::string& id_or_type, const Actor& actor);
  // The versions of it that this host has, newest first.
  Result<nlohmann::json> plugin_versions(const std::string& id);
  Result<nlohmann::json> install_plugin(const std::string& file, const PlanRequest& plan, const Actor& actor, bool wait);
  Result<nlohmann::json> upgrade_plugin(const ChangePlugin& request, const Actor& actor, bool wait);
  // Back to the version before the upgrade.
  Result<nlohmann::json> rollback_plugin(const ChangePlugin& request, const Actor& actor, bool wait);
  // An empty version = all of it.
  Result<nlohmann::json> remove_plugin(const std::string& id_or_type, const std::string& version, const PlanRequest& plan, const Actor& actor);
  // Keys whose signatures of bundles count.
  Result<nlohmann::json> add_plugin_key(const std::string& name, const std::string& pem, const Actor& actor);
  Result<nlohmann::json> list_plugin_keys();
  Result<nlohmann::json> remove_plugin_key(const std::string& name, const PlanRequest& plan, const Actor& actor);

 private:
  friend class Operation;
  using Lock = std::unique_lock<ControlLock>;
  // Every public function starts here: the lock, then what the runner reported meanwhile.
  Result<Lock> control();

  // control_plane.cpp
  // Under the control lock, after the commit. What may still run under rights that ended is waited for when the lock is let go.
  void publish_rights(authorization::Change change);
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
                             const nlohmann::json& details, const std::string& result = {},
                             const std::string& error = {});

  // operation.cpp
  Result<void> note_step(const std::string& operation, std::string_view name);
  Result<void> note_plan(const std::string& operation, const std::string& steps);
  Result<void> not_claimed(const std::string& claim) const;
  // Journals, claims, lets go of the lock and runs: here, or on a thread of its own when `wait` is false.
  Result<nlohmann::json> operate(Lock lock, Work work, const Actor& actor, bool wait);
  Result<nlohmann::json> perform(const std::shared_ptr<RunningOperation>& running, const Work& work, const Actor& actor);
  Result<void> close_operation(const Operation& operation, const Result<nlohmann::json>& out);
  // In the caller's transaction: the operation is done with this result.
  Result<void> end_done(const Operation& operation, const nlohmann::json& result, const nlohmann::json& details);
  void end_operations();  // cancels what may be cancelled and waits for all
  bool settle(store::Operation& row) const;
  std::shared_ptr<RunningOperation> running(const std::string& id) const;

  // plans.cpp
  Result<nlohmann::json> plan_addon(std::string_view action, const catalog::Addon& addon);
  // The answer to a request for the plan; null when the command is to go on.
  Result<nlohmann::json> check_plan(nlohmann::json plan, const PlanRequest& request);

  // snapshots.cpp, restore.cpp
  std::filesystem::path storage_of(const catalog::Addon& addon) const;
  std::filesystem::path retained_of(const std::string& addon_id) const;
  std::filesystem::path folder_of(const catalog::Addon& addon, const catalog::Snapshot& snapshot) const;
  catalog::Snapshot safety_snapshot(const catalog::Addon& addon, const catalog::Snapshot& restored, const std::string& id,
                                    const Sealed& sealed, const std::string& operation) const;
  Result<std::string> finish_exchange(const catalog::Addon& addon, const nlohmann::json& steps, const store::Operation& row);
  Result<catalog::Snapshot> copy_storage(Operation& operation, const catalog::Addon& addon, const std::string& kind,
                                         const std::string& note, const std::string& snapshot_id);
  Result<catalog::Snapshot> need_snapshot(const std::string& id, const catalog::Addon& addon);
  Result<nlohmann::json> run_restore(Operation& operation, const catalog::Addon& addon, const catalog::Snapshot& snapshot,
                                     const RestoreAddon& request);
  Result<void> check_flow(const catalog::Addon& addon, const RestoreAddon& request, std::string_view command) const;
  struct Restarted {
    std::vector<releases::Instance> restarted, left;  // left: no process of ours and no command for the app
  };
  Result<Restarted> restart_users(Operation& operation, const catalog::Addon& addon);
  Result<void> undo_snapshot(const store::Operation& operation);
  // What is on disk of a snapshot that has no row.
  Result<void> remove_unrecorded(const catalog::Addon& addon, const std::string& snapshot_id);
  Result<std::string> recover_restore(const store::Operation& operation);
  static Result<void> check_schema(const catalog::Snapshot& snapshot, std::uint32_t storage_schema, const std::string& plugin);

  // backup.cpp
  Result<nlohmann::json> run_backup(Operation& operation, const std::vector<catalog::Addon>& addons,
                                    const std::filesystem::path& target, const Secret& passphrase);
  Result<nlohmann::json> run_verify(Operation& operation, const std::filesystem::path& file, const Secret& passphrase);

  // retention.cpp
  Result<nlohmann::json> run_undelete(Operation& operation, const catalog::Addon& addon, const catalog::Snapshot& snapshot,
                                      const std::string& name, const std::vector<std::string>& bindings);
  // rotation.cpp
  Result<std::pair<catalog::Addon, bindings::Binding>> need_binding(const std::string& name_or_id, const std::string& app,
                                                                    const std::string& binding);
  std::vector<BindingUse> uses_of(const std::vector<releases::Instance>& instances, const std::string& addon_id);
  Error revoked_here_only(Operation& operation, const RevokeCredentials& request, const catalog::Addon& addon, const std::string& binding_id,
                          const Error& why, const nlohmann::json& details);
  Result<std::string> recover_rotation(const store::Operation& operation);

  // settings.cpp
  Result<void> check_free_key(const releases::App& app, const std::string& key, bool secret);
  Result<nlohmann::json> unset_value(const std::string& app, const std::string& key, bool secret, const PlanRequest& plan,
                                     const Actor& actor);

  // app_health.cpp
  struct InstanceIdentity {
    releases::Instance instance;
    std::string state;            // ok, missing, expired, invalid, not_supervised
    std::int64_t expires_at = 0;  // of the token that is there; Unix ms
  };
  InstanceIdentity identity_of(const releases::Instance& instance) const;
  Result<std::vector<InstanceIdentity>> identities_of(const std::string& app_id);
  using StorageChecks = std::map<std::string, Check>;  // by add-on id
  Result<std::vector<Finding>> findings_of(const releases::App& app, const std::vector<InstanceIdentity>& identities, const StorageChecks& storages);
  Result<nlohmann::json> app_status_of(const releases::App& app, const StorageChecks& storages);
  Result<nlohmann::json> app_doctor_of(const releases::App& app, const StorageChecks& storages);
  Result<nlohmann::json> repair_instance(Operation& operation, const releases::App& app, const InstanceIdentity& one);
  // app_inspect.cpp, app_smoke.cpp
  Result<nlohmann::json> inspect_of(const releases::App& app);
  Result<Redactor> redactor_of(const releases::App& app);
  Result<nlohmann::json> start_smoke(Lock lock, const releases::App& app, std::shared_ptr<const AppManifest> manifest,
                                     const Actor& actor, bool wait);
  Result<nlohmann::json> run_smoke(Operation& operation, const releases::App& app, const AppManifest* manifest);
  // app_logs.cpp
  std::filesystem::path logs_folder() const;
  Result<std::vector<releases::Instance>> logged_instances(const std::string& name, const std::string& instance);
  nlohmann::json last_lines(const std::vector<releases::Instance>& instances, int lines, const Redactor& redactor) const;
  void remove_logs(const std::vector<releases::Instance>& instances) const;
  // doctor.cpp
  Result<void> examine_store(std::vector<DoctorCheck>& out);
  Result<void> examine_storage(std::vector<DoctorCheck>& out);
  void examine_keys(std::vector<DoctorCheck>& out);
  Result<void> examine_leftovers(std::vector<DoctorCheck>& out, const std::vector<std::filesystem::path>& temporary, bool fix);
  Check disk_check() const;
  Check degraded_check();
  Check sandbox_check(bool in_detail) const;
  // apply.cpp
  struct ManifestPlan;
  Result<ManifestPlan> plan_manifest(const AppManifest& manifest);
  Result<nlohmann::json> run_apply(Operation& operation, const AppManifest& manifest);

  // signing_keys.cpp
  Result<std::vector<releases::Instance>> signed_by(const identity::KeyInfo& key);
  std::string recover_keys(const store::Operation& operation) const;

  // apps.cpp
  Result<releases::App> insert_app(const std::string& name, const Actor& actor);

  // addons.cpp, bind.cpp, destroy.cpp
  Result<void> free_name(const std::string& name);
  Result<Described> apply_binding(const catalog::Addon& addon, const PlannedBinding& plan, std::uint32_t generation) {
    return lifecycle::apply_binding(d_.addons, addon, plan, generation);
  }
  Result<void> check_binding_name(const std::string& app_id, const std::string& app, const std::string& binding,
                                  const plugins::AddonType& type);
  // provision, bind, commit; on failure the record becomes `failed`. Safe to run again after a crash at any point.
  Result<CreatedAddon> finish_create(const catalog::Addon& addon, const std::string& operation,
                                     const std::optional<PlannedBinding>& plan, const Actor& actor);
  struct DestroyHow {
    bool keep = true;     // a final snapshot
    bool forget = false;  // what cannot be removed is left behind
  };
  Result<nlohmann::json> finish_destroy(const catalog::Addon& addon, Operation& operation, DestroyHow how);
  Result<nlohmann::json> ended_by_attempts(const std::string& addon_id);
  Error destroy_failed(const catalog::Addon& addon, Operation& operation, Error error, bool told);
  Result<std::vector<std::string>> leave_behind(const catalog::Addon& addon, Operation& operation, const Error& why);
  Result<nlohmann::json> end_destroy(const catalog::Addon& addon, Operation& operation, const std::string& final_id,
                                     const std::vector<std::string>& left_behind);
  bool has_data(const catalog::Addon& addon) const;

  // repair.cpp. What asks a plugin is not called under the control lock.
  AskedStorage ask_storage(const catalog::Addon& addon) const;
  // By add-on id, of the app's current release.
  Result<std::map<std::string, Check>> ask_storages_of(const std::string& app_name);
  Result<std::vector<DoctorCheck>> ask_plugins();
  Check credentials_layer(const catalog::Addon& addon, const std::vector<bindings::Binding>& before, const std::vector<bindings::Binding>& after,
                          const std::vector<plugins::AppliedCredential>& applied) const;
  Result<nlohmann::json> run_repair(Operation& operation, const catalog::Addon& addon);
  Result<nlohmann::json> apply_credentials(Operation& operation, const catalog::Addon& addon);
  // An add-on whose plugin may still have credentials that were revoked: those it is known to owe the end of, and when it is asked next.
  struct Unsettled {
    std::set<std::pair<std::string, std::uint32_t>> owed;  // binding id, generation
    std::int64_t not_before_ms = 0, pause_ms = 0;
  };
  enum class Settled { all, later, unreachable };
  Settled settle_one(const catalog::Addon& addon, const Unsettled& what);

  // grants.cpp
  using Grants = std::vector<std::shared_ptr<const authorization::InstanceGrant>>;
  // For every live instance, or those of one app or one add-on. A fixed number of queries.
  Result<Grants> build_grants(std::string_view app_id = {}, std::string_view addon_id = {});

  // shares.cpp
  using ShareGrants = std::vector<std::shared_ptr<const authorization::ShareGrant>>;
  // For every live share, or those of one add-on. What counts their use goes on counting.
  Result<ShareGrants> build_shares(std::string_view addon_id = {});
  ShareGrants served(const std::vector<shares::Share>& shares) const;  // those of them that are served now

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
  // After the commit: nothing is authorised under their rights any more, and when the control lock is let go nothing runs
  // under them. The material of those without a process is gone; for the others end_processes() comes next.
  void withdraw(const std::vector<releases::Instance>& instances);
  bool has_process(const releases::Instance& instance) const;
  // Lets go of the lock and returns when the processes are gone; what they report meanwhile is told by their stop. The
  // second removes their material as well, of instances that ended.
  void stop_processes(Lock lock, const std::vector<releases::Instance>& instances);
  void end_processes(Lock lock, const std::vector<releases::Instance>& instances);
  // Stops its process and starts another in its place; false when the instance was ended meanwhile.
  Result<bool> restart_process(Operation& operation, Lock lock, releases::Instance& instance);
  Result<void> publish_new(const std::vector<releases::Instance>& instances);

  // deploys.cpp
  // A generation that a rollback is to use in the place of a revoked one.
  struct Reissue {
    catalog::Addon addon;
    bindings::Binding binding;
    std::uint32_t generation = 0;
    bool fresh = false;  // it is yet to be made
  };
  struct DeployPlan {
    releases::App app;
    releases::Deploy deploy;
    std::int64_t check_timeout_seconds = 0;
    std::string rollback_of;                         // empty = the app's bindings of the moment
    std::vector<releases::ReleaseBinding> bindings;  // of a rollback
    std::vector<Reissue> reissues;
  };
  DeployPlan plan_deploy(const releases::App& app) const;
  Result<nlohmann::json> operate_deploy(Lock lock, DeployPlan plan, std::string_view kind, const Actor& actor, bool wait);
  Result<nlohmann::json> run_deploy(Operation& operation, const DeployPlan& plan);
  Result<nlohmann::json> finish_deploy(Operation& operation, const DeployPlan& plan, DeployView& view,
                                       const std::vector<releases::Instance>& previous);
  // Everything before the switch: nothing of it is seen by the current release.
  Result<void> prepare_deploy(Operation& operation, const DeployPlan& plan, DeployView& view);
  Result<void> reissue(const DeployPlan& plan);
  void take_back(const Reissue& reissue);
  Result<void> launch(releases::Instance& instance, releases::Deploy deploy);
  std::filesystem::path app_folder(const std::string& app_id) const;
  sandbox::Plan sandbox_of(const releases::Instance& instance, const releases::Deploy& deploy) const;
  // The app's uid, given to it now where it has none (`known` 0) and the host gives any.
  Result<std::uint32_t> need_uid(const std::string& app_id, std::uint32_t known);
  releases::Readers readers_of(const releases::Instance& instance);
  Result<void> make_data(const releases::Deploy& deploy);
  Result<void> add_app_data(Operation& operation, const std::filesystem::path& scratch, std::vector<backup::SourceFile>& files);
  void forget_app_files(const std::string& app_id, std::uint32_t uid);
  Result<void> sweep_apps();
  // Of a deploy that did not become current: the release fails, its instances end, and so do the generations that were
  // made for it.
  Result<void> undo_deploy(Lock lock, const std::string& deploy_id, const std::vector<Reissue>& reissued);
  releases::ProcessSpec spec_of(const releases::Instance& instance, const releases::Deploy& deploy) const;
  Result<std::string> recover_deploy(const store::Operation& operation);
  // checks.cpp: gives the check an instance of its own under the pending release; `refused` when it failed.
  Result<void> run_check(Operation& operation, const DeployPlan& plan);

  // plugins.cpp, plugin_install.cpp
  std::optional<plugins::PluginRecord> known_plugin(const std::string& id) const;
  std::filesystem::path plugin_folder(const std::string& file) const;
  Result<std::string> signer_of(const std::optional<bundle::Signature>& signature);
  // A bundle or a plugin's folder, checked; `refused` when this host takes only signed ones and it is not.
  Result<IncomingPlugin> take_in_plugin(const std::string& file);
  Result<void> write_plugin(const store::PluginVersion& version, const bundle::Files& files) const;
  Result<void> remove_plugin_files(const std::string& id, const std::string& version) const;
  Result<nlohmann::json> run_install(Operation& operation, const IncomingPlugin& incoming, bool already);
  Result<void> check_unused(const plugins::Manifest& manifest);
  Result<std::string> recover_install(const store::Operation& operation);
  Result<std::string> recover_remove(const store::Operation& operation);
  // The storage schemas on record, told to the add-on host; those that are not known are what the types have now.
  Result<void> note_schemas();
  // plugin_change.cpp
  Result<plugins::Manifest> manifest_of(const store::PluginVersion& version) const;
  Result<store::PluginVersion> version_in_use(const plugins::PluginRecord& record);
  Result<std::vector<PluginMove>> plan_moves(const plugins::Manifest& from, const plugins::Manifest& to);
  nlohmann::json change_plan(const PluginChange& change) const;
  Result<nlohmann::json> begin_change(Lock lock, PluginChange change, const Actor& actor, bool wait);
  Result<nlohmann::json> run_change(Operation& operation, PluginChange& change);
  Result<void> put_back(const catalog::Addon& addon, const catalog::Snapshot& snapshot, plugins::AddonInstance& instance,
                        const std::string& operation, const plugins::Watch& watch);
  Result<std::string> recover_change(const store::Operation& operation);

  // recovery.cpp
  Result<void> recover();
  void remove_partial_of(const std::string& file) const;
  Result<std::string> recover_one(const store::Operation& operation);
  Result<void> sweep();
  Result<void> launch_all();

  Dependencies d_;
  Settings settings_;
  config::Values values_;
  config::Sealer sealer_;
  Launcher* launcher_ = nullptr;
  bool stopping_ = false;
  std::function<ServerInfo()> server_info_;
  SandboxInfo sandbox_info_;
  Prober* prober_ = nullptr;
  ControlLock control_;
  std::map<std::string, Unsettled> unsettled_;  // by add-on id; guarded by control_
  bool settling_ = false;                       // guarded by control_
  std::thread settler_;                         // made by settle_credentials(), joined by it and by finish_background()
  std::map<std::string, std::string> claims_;  // what an operation works on -> its id; guarded by control_
  // By instance, then binding id; guarded by control_. The cells are shared with the grants.
  std::map<std::string, std::map<std::string, std::shared_ptr<authorization::GenerationUse>>> uses_;

  mutable std::mutex operations_mutex_;  // leaf
  std::condition_variable operations_idle_;
  std::map<std::string, std::shared_ptr<RunningOperation>> running_;  // guarded by operations_mutex_
  int active_operations_ = 0;                                         // guarded by operations_mutex_

  struct Report {
    std::string instance;
    releases::ProcessState state;
    int pid, exit_status;
    std::string reason;
  };
  std::mutex reports_mutex_;  // leaf: never held while another lock is taken
  std::deque<Report> reports_;
  std::multiset<std::string, std::less<>> ending_;  // whose processes are being stopped; guarded by reports_mutex_

  catalog::Addons addons_;
  catalog::Snapshots snapshots_;
  bindings::Bindings bindings_;
  shares::Shares shares_;
  releases::Apps apps_;
  releases::Releases releases_;
  releases::Instances instances_;
  config::ValueTable value_table_;
};

}  // namespace via::lifecycle
