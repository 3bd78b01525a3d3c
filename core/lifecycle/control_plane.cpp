#include "core/lifecycle/control_plane.hpp"

#include <nlohmann/json.hpp>

namespace via::lifecycle {

namespace {
constexpr std::string_view kProcessStates[] = {"starting", "running", "exited", "failed"};  // releases::ProcessState
}

using releases::InstanceState;

ControlPlane::ControlPlane(Dependencies dependencies, Settings settings)
    : d_(dependencies),
      settings_(std::move(settings)),
      sealer_(d_.secrets),
      addons_(d_.store.db()),
      snapshots_(d_.store.db()),
      bindings_(d_.store.db()),
      shares_(d_.store.db()),
      apps_(d_.store.db()),
      releases_(d_.store.db()),
      instances_(d_.store.db()),
      value_table_(d_.store.db()) {}

ControlPlane::~ControlPlane() {
  finish_background();
  end_operations();
}

void ControlPlane::finish_background() {
  if (settler_.joinable()) settler_.join();
}

Result<ControlPlane::Lock> ControlPlane::control() {
  Lock lock(control_, std::chrono::milliseconds(settings_.lock_wait_ms));
  if (!lock.owns_lock())
    return fail(Code::unavailable, "Another operation is still running. Try again when it has ended.");
  store_process_states();
  return lock;
}

void ControlPlane::publish_rights(authorization::Change change) {
  auto ended = d_.authority.publish(std::move(change));
  if (ended.empty()) return;
  control_.after_unlock([this, ended = std::move(ended)] { d_.authority.quiesce(ended); });
}

Result<void> ControlPlane::start(Launcher* launcher) {
  VIA_TRY_LET(lock, control());
  launcher_ = launcher;
  VIA_TRY(note_schemas());
  VIA_TRY(recover());
  VIA_TRY(sweep());
  VIA_TRY_LET(all, value_table_.load_all());
  values_.replace_all(std::move(all));
  VIA_TRY_LET(grants, build_grants());
  VIA_TRY_LET(shares, build_shares());
  d_.authority.replace_all(std::move(grants), std::move(shares));
  VIA_TRY_LET(living, addons_.list());
  for (const auto& addon : living) {
    if (!addon.drained) continue;
    // Nothing is in flight yet: this only closes the gate.
    if (auto instance = d_.addons.instance(addon.id, addon.type, addon.config))
      (void)d_.addons.drain(**instance, 0, {});
  }
  // A revocation may not have reached a server before the host ended: that is looked at once, when it serves.
  for (const auto& addon : living) {
    const auto type = d_.addons.type(addon.type);
    if (type && (*type)->credentials == "plugin-applied") unsettled_[addon.id];
  }
  return launch_all();
}

void ControlPlane::stop() {
  {
    const std::lock_guard lock(control_);
    stopping_ = true;
  }
  end_operations();
  const std::lock_guard lock(control_);
  launcher_ = nullptr;
}

void ControlPlane::on_process_state(const std::string& instance, releases::ProcessState state, int pid,
                                    int exit_status, const std::string& reason) {
  const std::lock_guard lock(reports_mutex_);
  if (ending_.contains(instance)) return;
  reports_.push_back({instance, state, pid, exit_status, reason});
}

void ControlPlane::store_process_states() {
  std::deque<Report> reports;
  {
    const std::lock_guard lock(reports_mutex_);
    reports.swap(reports_);
  }
  if (stopping_) return;  // processes end because the host does; they ought to run again after it
  for (const Report& report : reports) {
    const auto found = instances_.find(report.instance);
    if (!found) {
      d_.log.error("instance.state_not_stored", {{"instance", report.instance}, {"reason", found.error().message}});
      continue;
    }
    if (!*found || !(*found)->wanted) continue;  // it was ended by us: the report comes after the fact
    Result<void> stored{};
    switch (report.state) {
      case releases::ProcessState::starting:
        stored = instances_.set_state(report.instance, InstanceState::starting, report.pid);
        break;
      case releases::ProcessState::running:
        stored = instances_.set_state(report.instance, InstanceState::running, report.pid);
        break;
      case releases::ProcessState::failed:  // the runner starts it again after a pause
        stored = instances_.set_state(report.instance, InstanceState::failed, 0);
        if (stored) stored = instances_.set_reason(report.instance, report.reason);
        break;
      case releases::ProcessState::exited:
        stored = end_instances({**found}, InstanceState::stopped);
        break;
    }
    if (!stored)
      d_.log.error("instance.state_not_stored", {{"instance", report.instance}, {"reason", stored.error().message}});
    d_.log.info("instance.state", {{"instance", report.instance},
                                   {"state", kProcessStates[static_cast<std::size_t>(report.state)]},
                                   {"pid", report.pid},
                                   {"exit_status", report.exit_status}});
  }
}

Result<releases::App> ControlPlane::need_app(const std::string& name) {
  VIA_TRY(check_name("The app's name", name));
  VIA_TRY_LET(app, apps_.find(name));
  if (!app) return fail(Code::not_found, "App '" + name + "' does not exist. Create it: via app create " + name);
  return *app;
}

Result<catalog::Addon> ControlPlane::need_addon(const std::string& name_or_id, const std::optional<std::string>& app) {
  VIA_TRY_LET(addon, name_or_id.starts_with("addon_") ? addons_.find_by_id(name_or_id)
                                                      : addons_.find_by_name(name_or_id));
  if (addon && (!app || addon->app == *app)) return *addon;
  if (app)
    return fail(Code::not_found, "App '" + *app + "' has no add-on '" + name_or_id +
                                     "'. See what it has: via addon list --app " + *app);
  return fail(Code::not_found, "Add-on '" + name_or_id + "' does not exist. See which do: via addon list");
}

}  // namespace via::lifecycle
