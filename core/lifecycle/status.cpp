// What `via status` answers.
#include <algorithm>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

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
  VIA_TRY_LET(unfinished, d_.store.journal().unfinished());
  out.checks.push_back({"operations", unfinished.empty(), std::to_string(unfinished.size()) + " unfinished"});
  return out;
}

}  // namespace via::lifecycle
