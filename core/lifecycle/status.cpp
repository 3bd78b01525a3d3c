// What `via status` answers.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/doctor.hpp"

namespace via::lifecycle {

std::string degraded_text(const plugins::DegradedAddon& degraded) {
  std::string out = "degraded: " + std::to_string(degraded.given_up) + " operation(s) were given up because they did not end";
  if (degraded.stuck > 0) out += ", " + std::to_string(degraded.stuck) + " of them still run. A restart of the host ends them";
  return out;
}

Check ControlPlane::sandbox_check(bool in_detail) const {
  if (!settings_.sandbox.on) return {"sandbox", false, "off: an app can read all that the host can, its keys too. In the configuration: sandbox = \"on\""};
  const SandboxInfo& info = sandbox_info_;
  if (!info.missing.empty()) return {"sandbox", false, "none can be made, so no command is launched: " + info.missing + ". To mend: " + info.remedy};
  if (info.limits_by.empty() || !in_detail) return {"sandbox", true, "on"};
  return {"sandbox", true, std::string("on; limits by ") + info.limits_by +
                               (info.limits_by == "rlimits" ? " (memory for each process alone, no processor limit)" : "") +
                               (info.landlock ? "; Landlock" : "; this kernel has no Landlock")};
}

Check ControlPlane::degraded_check() {
  std::vector<std::string> names;
  for (const auto& degraded : d_.addons.degraded()) {
    const auto addon = addons_.find_by_id(degraded.addon_id);
    names.push_back("'" + (addon && *addon ? (*addon)->name : degraded.addon_id) + "' (" + std::to_string(degraded.given_up) + " given up, " +
                    std::to_string(degraded.stuck) + " still run)");
  }
  return {"stuck_operations", names.empty(), names.empty() ? "none" : some_of(names) + ". See: via addon status NAME"};
}

Result<Status> ControlPlane::status() {
  VIA_TRY_LET(lock, control());
  Status out;
  out.version = settings_.version;
  out.state_dir = settings_.state_dir.string();
  out.installation = d_.store.meta().installation;
  if (server_info_) out.server = server_info_();
  VIA_TRY_LET(apps, apps_.count());
  VIA_TRY_LET(addons, addons_.count());
  VIA_TRY_LET(bound, bindings_.count());
  VIA_TRY_LET(made, releases_.count());
  VIA_TRY_LET(instances, instances_.count());
  out.apps = apps;
  out.addons = addons;
  out.bindings = bound;
  out.releases = made;
  out.instances = instances;

  out.checks.push_back({"control_plane", true, "open"});
  const auto keys = d_.keys.list();
  const auto active = std::count_if(keys.begin(), keys.end(),
                                    [](const auto& key) { return key.state == identity::KeyState::active; });
  out.checks.push_back({"signing_key", active == 1, std::to_string(active) + " active of " + std::to_string(keys.size())});

  std::string problems;
  for (const auto& plugin : d_.addons.plugins()) {
    if (plugin.loaded)
      for (const auto& type : plugin.manifest.types) out.types.push_back(type.id);
    else
      problems += (problems.empty() ? "" : "; ") + plugin.manifest.id + ": " + plugin.problem;
  }
  std::sort(out.types.begin(), out.types.end());
  out.checks.push_back({"plugins", problems.empty(),
                        problems.empty() ? std::to_string(out.types.size()) + " type(s) enabled" : problems});

  std::int64_t bad = 0;
  for (const auto state : {catalog::AddonState::failed, catalog::AddonState::destroying}) {
    VIA_TRY_LET(found, addons_.in_state(state));
    bad += static_cast<std::int64_t>(found.size());
  }
  out.checks.push_back({"addons", bad == 0, bad == 0 ? "all in order" : std::to_string(bad) + " need attention"});
  out.checks.push_back(degraded_check());
  out.checks.push_back(sandbox_check(false));
  VIA_TRY_LET(unfinished, d_.store.journal().unfinished());
  std::vector<std::string> running_ids, dead;
  for (const auto& operation : unfinished)
    (running(operation.id) == nullptr ? dead : running_ids).push_back(operation.id + " (" + operation.kind + ")");
  // One that runs is no trouble; one that nobody works on is.
  std::string detail = std::to_string(running_ids.size()) + " running";
  if (!running_ids.empty()) detail += ": " + some_of(running_ids);
  if (!dead.empty()) detail += "; nobody works on " + some_of(dead) + ". The next start finishes or undoes it";
  out.checks.push_back({"operations", dead.empty(), std::move(detail)});

  VIA_TRY_LET(living, addons_.list());
  std::vector<std::string> drained;
  for (const auto& addon : living)
    if (addon.drained) drained.push_back(addon.name);
  out.checks.push_back({"drained", drained.empty(), drained.empty() ? "none" : some_of(drained) + ". Serve again: via addon resume NAME"});

  VIA_TRY_LET(newest, d_.store.db().one([](const store::Row& r) { return r.integer(0); }, "SELECT max(created_at) FROM backups"));
  const std::int64_t backed_up = newest.value_or(0);
  out.checks.push_back({"backup", true, backed_up == 0 ? "never. Make one: via backup create"
                                                  : "last one " + format_time(backed_up) + " (" +
                                                        std::to_string(std::max<std::int64_t>(0, now() - backed_up) / 3'600'000) + " h ago)"});
  out.checks.push_back(disk_check());
  return out;
}

}  // namespace via::lifecycle
