// Start: finish or undo what a crash interrupted, sweep what is left over, launch what ought to run.
// A failed recovery of one operation is logged and left for the operator; only a broken store stops the start.
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

namespace {

std::string text_at(const json& object, const char* name) {
  if (!object.is_object()) return {};
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace

// The file beside the one that an export or a backup was to become.
void ControlPlane::remove_partial_of(const std::string& file) const {
  if (file.empty()) return;
  const fs::path target(file);
  std::error_code ec;
  fs::remove(target.parent_path() / ("." + target.filename().string() + ".partial"), ec);
  if (ec) d_.log.warn("operation.leftover_not_removed", {{"reason", ec.message()}});
}

Result<void> ControlPlane::recover() {
  VIA_TRY_LET(unfinished, d_.store.journal().unfinished());
  for (const store::Operation& operation : unfinished) {
    d_.log.warn("operation.recovering", {{"operation", operation.id}, {"kind", operation.kind}});
    VIA_TRY_LET(outcome, recover_one(operation));
    VIA_TRY_LET(now_is, d_.store.journal().find(operation.id));
    if (!now_is || now_is->state != "running" || outcome.empty()) continue;
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation.id, operation.kind, operation.target, Actor{operation.actor, 0}, outcome,
                          "after a restart of the host", json::object()));
    VIA_TRY(change.commit());
  }
  // A destroy that failed or whose operation is gone still has its mark.
  VIA_TRY_LET(destroying, addons_.in_state(AddonState::destroying));
  for (const auto& addon : destroying) {
    const Actor actor{"host", 0};
    VIA_TRY_LET(ended, ended_by_attempts(addon.id));
    VIA_TRY_LET(id, begin_operation("addon.destroy", addon.id, actor,
                                    {{"addon", addon.id}, {"bindings", ended}, {"keep", true}, {"final", make_id("snap")}}));
    Operation operation(*this, std::make_shared<RunningOperation>(id), "addon.destroy", addon.id, actor, true);
    if (auto done = finish_destroy(addon, operation, {}); !done)
      d_.log.warn("addon.destroy_failed", {{"addon", addon.id}, {"reason", done.error().message}});
  }
  return {};
}

// Answers the state to give the operation when it did not get one on the way; empty = it stays open for the next start.
Result<std::string> ControlPlane::recover_one(const store::Operation& operation) {
  const Actor actor{operation.actor, 0};
  const json steps = json::parse(operation.steps, nullptr, false);
  const json plan = steps.is_object() ? steps.value("binding", json::object()) : json::object();
  const bool read_only = plan.is_object() && plan.contains("read_only") && plan["read_only"] == true;

  if (operation.kind == "addon.create" || operation.kind == "addon.destroy" || operation.kind == "addon.bind") {
    VIA_TRY_LET(addon, addons_.find_by_id(operation.target));
    if (!addon) return std::string("undone");
    if (operation.kind == "addon.create") {
      if (addon->state != AddonState::provisioning) return std::string("undone");
      std::optional<PlannedBinding> binding;
      if (!text_at(plan, "id").empty())
        binding = PlannedBinding{text_at(plan, "id"), text_at(plan, "name"), read_only};
      // Ends the operation, one way or the other; unless the store cannot be written: that stops the start.
      if (auto done = finish_create(*addon, operation.id, binding, actor); !done && is_unknown(done.error())) return done.error();
      return std::string("failed");
    }
    if (operation.kind == "addon.destroy") {
      VIA_TRY(undo_snapshot(operation));  // of the final one, what was not committed
      if (addon->state != AddonState::destroying) return std::string("undone");
      Operation going_on(*this, std::make_shared<RunningOperation>(operation.id), operation.kind, operation.target, actor, true);
      DestroyHow how;
      if (steps.is_object()) how = {steps.value("keep", true), steps.value("forget", false)};
      if (auto done = finish_destroy(*addon, going_on, how); !done) {
        VIA_TRY_LET(row, d_.store.journal().find(operation.id));
        if (row && row->state == "running") return done.error();
      }
      return std::string("failed");
    }
    // A bind that was not committed is taken back: nobody was told of it.
    VIA_TRY_LET(committed, bindings_.find(text_at(plan, "id")));
    if (committed) return std::string("done");
    const auto type = d_.addons.type(addon->type);
    const auto instance = d_.addons.instance(addon->id, addon->type, addon->config);
    if (type && instance)
      (void)d_.addons.revoke(**instance, {text_at(plan, "id"), 1, (*type)->scopes_for(read_only)});
    return std::string("undone");
  }
  if (operation.kind == "addon.snapshot" || operation.kind == "addon.export") {
    VIA_TRY(undo_snapshot(operation));
    remove_partial_of(text_at(steps, "file"));
    return std::string("undone");
  }
  if (operation.kind == "backup.create") {
    remove_partial_of(text_at(steps, "file"));
    return std::string("undone");
  }
  if (operation.kind == "addon.restore" || operation.kind == "addon.import") return recover_restore(operation);
  if (operation.kind == "addon.rotate-credentials" || operation.kind == "addon.revoke-credentials")
    return recover_rotation(operation);
  if (operation.kind == "addon.undelete") {
    VIA_TRY_LET(addon, addons_.find_by_id(operation.target));
    if (!addon || addon->state != AddonState::destroyed) return std::string("done");
    if (const auto instance = d_.addons.instance(addon->id, addon->type, addon->config)) (void)d_.addons.deprovision(**instance);
    d_.addons.forget(addon->id);
    return std::string("undone");
  }
  if (operation.kind == "plugin.install") return recover_install(operation);
  if (operation.kind == "plugin.remove") return recover_remove(operation);
  if (operation.kind == "plugin.upgrade" || operation.kind == "plugin.rollback" || operation.kind == "plugin.trust") return recover_change(operation);
  if (operation.kind == "deploy.create" || operation.kind == "deploy.rollback") return recover_deploy(operation);
  if (operation.kind == "identity.keys.rotate" || operation.kind == "identity.keys.revoke") return recover_keys(operation);
  return std::string("undone");
}

Result<void> ControlPlane::sweep() {
  VIA_TRY_LET(wanted, instances_.wanted());
  VIA_TRY_LET(superseded, instances_.of_superseded());
  std::unordered_set<std::string> old;
  for (const auto& id : superseded) old.insert(id);
  std::vector<Instance> ended;
  std::unordered_set<std::string> kept;
  for (const auto& instance : wanted) {
    const bool expired = instance.driver == Driver::external && instance.expires_at <= now();
    // Killed while its material was written: nobody was told of it, and no token of it can be found.
    std::error_code ignored;
    const bool undelivered = instance.driver == Driver::external && !instance.material.empty() &&
                             fs::path(instance.material) == own_material(instance.id) &&
                             !fs::exists(own_material(instance.id) / "token", ignored);
    if (expired || undelivered || (instance.driver == Driver::process && old.contains(instance.id)))
      ended.push_back(instance);
    else  // by its folder: an instance may have taken over that of one before it
      kept.insert(instance.material.empty() ? instance.id : fs::path(instance.material).filename().string());
  }
  VIA_TRY(end_instances(ended, InstanceState::stopped));
  VIA_TRY(instances_.reset_processes());

  std::error_code ec;
  std::vector<fs::path> leftovers;
  for (fs::directory_iterator at(settings_.state_dir / "runtimes", ec), end; !ec && at != end; at.increment(ec))
    if (!kept.contains(at->path().filename().string())) leftovers.push_back(at->path());
  for (const auto& folder : leftovers)
    if (auto removed = remove_tree(folder); !removed)
      d_.log.warn("runtimes.leftover_not_removed", {{"reason", removed.error().message}});

  VIA_TRY(sweep_apps());

  // A snapshot has its name on disk before its row is committed, and loses its row before its files. Where that commit
  // failed there is no row (rows of deleted ones stay) and nobody was told of it. Only what an operation in our own journal
  // was about to make is removed: beside a control plane of another day, a file without a row is somebody's data.
  leftovers.clear();
  const auto look = [&](const fs::path& folder, const std::string& addon_id) -> Result<void> {
    std::error_code none;
    for (fs::directory_iterator at(folder, none), end; !none && at != end; at.increment(none)) {
      const std::string name = at->path().filename().string();
      const std::size_t first = name.starts_with('.') ? 1 : 0;
      const std::string id = name.substr(first, name.find('.', first) - first);
      if (!id.starts_with("snap_")) continue;
      VIA_TRY_LET(known, snapshots_.find(id));
      const bool partial = first == 1 && name.ends_with(".partial");
      if (known && known->deleted_at == 0 && !partial) continue;
      VIA_TRY_LET(ours, d_.store.journal().mentions(addon_id, id));
      if (known || ours) leftovers.push_back(at->path());
    }
    return {};
  };
  VIA_TRY_LET(addons, addons_.list());
  for (const auto& addon : addons) {
    VIA_TRY(look(storage_of(addon) / "snapshots", addon.id));
    // The folder that a restore worked in: of no use when it was done or never happened; after a failure it may be what is
    // left of the data.
    ec.clear();
    constexpr std::string_view kStaging = ".restore-";
    for (fs::directory_iterator at(storage_of(addon), ec), end; !ec && at != end; at.increment(ec)) {
      const std::string name = at->path().filename().string();
      if (!name.starts_with(kStaging)) continue;
      VIA_TRY_LET(row, d_.store.journal().find(name.substr(kStaging.size())));
      if (row && (row->state == "done" || row->state == "undone")) leftovers.push_back(at->path());
    }
  }
  ec.clear();
  for (fs::directory_iterator at(settings_.state_dir / "retained", ec), end; !ec && at != end; at.increment(ec))
    VIA_TRY(look(at->path(), at->path().filename().string()));
  ec.clear();
  for (fs::directory_iterator at(settings_.state_dir / "backups", ec), end; !ec && at != end; at.increment(ec)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(".staging-op_") || name.starts_with(".verify-op_") || (name.starts_with('.') && name.ends_with(".backup.partial")))
      leftovers.push_back(at->path());
  }
  for (const auto& leftover : leftovers)
    if (auto removed = remove_tree(leftover); !removed)
      d_.log.warn("sweep.leftover_not_removed", {{"reason", removed.error().message}});
  return {};
}

Result<void> ControlPlane::launch_all() {
  if (launcher_ == nullptr) return {};
  VIA_TRY_LET(wanted, instances_.wanted());
  std::unordered_map<std::string, releases::Deploy> deploys;
  for (auto& instance : wanted) {
    if (instance.driver != Driver::process) continue;
    auto at = deploys.find(instance.deploy);
    if (at == deploys.end()) {
      VIA_TRY_LET(deploy, releases_.find_deploy(instance.deploy));
      if (!deploy) continue;
      at = deploys.emplace(instance.deploy, std::move(*deploy)).first;
    }
    if (auto launched = launch(instance, at->second); !launched) {
      d_.log.error("instance.launch_failed", {{"instance", instance.id}, {"reason", launched.error().message}});
      VIA_TRY(instances_.set_state(instance.id, InstanceState::failed, 0));
    }
  }
  return {};
}

}  // namespace via::lifecycle
