// Snapshots: take, list, delete, export. The bytes come from the plugin, are hashed and synced here and become visible by
// one rename; the row that names them is committed after that.
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::Addon;
using catalog::AddonState;
using catalog::Snapshot;
using nlohmann::json;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

json with_operation(json object, const Operation& operation) {
  object["operation"] = operation.id();
  return object;
}

}  // namespace

fs::path ControlPlane::storage_of(const Addon& addon) const {
  return settings_.state_dir / "addons" / addon.type / addon.id;
}

fs::path ControlPlane::retained_of(const std::string& addon_id) const {
  return settings_.state_dir / "retained" / addon_id;
}

// The snapshots of a destroyed add-on were moved out of the way of its data.
fs::path ControlPlane::folder_of(const Addon& addon, const Snapshot& snapshot) const {
  const fs::path beside = storage_of(addon) / "snapshots";
  std::error_code ec;
  if (fs::exists(fs::symlink_status(published(beside, snapshot.id, snapshot.files), ec))) return beside;
  const fs::path retained = retained_of(addon.id);
  return fs::exists(fs::symlink_status(retained, ec)) ? retained : beside;
}

Result<Snapshot> ControlPlane::copy_storage(Operation& operation, const Addon& addon, const std::string& kind,
                                            const std::string& note, const std::string& snapshot_id) {
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  const fs::path folder = storage_of(addon) / "snapshots";
  const fs::path partial = folder / ("." + snapshot_id + ".partial");
  VIA_TRY(make_private_folder(folder));
  VIA_TRY(remove_tree(partial));
  const auto take = [&]() -> Result<Snapshot> {
    VIA_TRY(make_private_folder(partial));
    VIA_TRY_LET(facts, d_.addons.take_snapshot(*instance, snapshot_id, partial, operation.watch()));
    VIA_TRY(operation.step("seal"));
    VIA_TRY_LET(sealed, seal(partial, operation.watch()));
    VIA_TRY(operation.step("publish"));
    VIA_TRY(publish(partial, sealed, folder, snapshot_id));
    Snapshot snapshot;
    snapshot.id = snapshot_id;
    snapshot.addon_id = addon.id;
    snapshot.addon = addon.name;
    snapshot.kind = kind;
    snapshot.note = note;
    snapshot.created_at = now();
    snapshot.bytes = sealed.bytes;
    snapshot.sha256 = sealed.sha256;
    snapshot.format = facts.format;
    snapshot.storage_schema = facts.schema;
    snapshot.files = std::move(sealed.files);
    snapshot.operation = operation.id();
    return snapshot;
  };
  auto taken = take();
  if (!taken) (void)remove_tree(partial);
  return taken;
}

Result<json> ControlPlane::snapshot_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                          const std::string& note, const Actor& actor, bool wait) {
  constexpr std::size_t kMaximumNote = 1000;
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  if (note.size() > kMaximumNote) return fail(Code::bad_request, "'note' must be at most 1000 bytes long.");
  if (addon.state != AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                    " and has nothing to take a snapshot of. See: via addon status " + addon.name);
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  if (!d_.addons.can_snapshot(*instance))
    return fail(Code::unsupported, "Add-ons of type '" + addon.type + "' have no snapshots.");
  const std::string id = make_id("snap");
  Work work;
  work.kind = "addon.snapshot";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.steps = json{{"addon", addon.id}, {"snapshot", id}}.dump();
  work.run = [this, addon = addon, note, id](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("copy"));
    VIA_TRY_LET(snapshot, copy_storage(operation, addon, "manual", note, id));
    operation.only_forward();
    const json result = to_json(snapshot);
    VIA_TRY_LET(held, operation.control());
    const auto commit = [&]() -> Result<void> {
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(snapshots_.insert(snapshot));
      VIA_TRY(end_done(operation, result, {{"addon", addon.name}, {"snapshot", id}, {"bytes", snapshot.bytes}}));
      return change.commit();
    };
    if (auto committed = commit(); !committed) {
      if (!is_unknown(committed.error())) (void)remove_published(storage_of(addon) / "snapshots", snapshot);
      return committed.error();
    }
    d_.log.info("addon.snapshot_taken", {{"addon", addon.id}, {"snapshot", id}, {"bytes", snapshot.bytes}});
    return answer(result);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<void> ControlPlane::remove_unrecorded(const Addon& addon, const std::string& id) {
  if (id.empty()) return {};
  VIA_TRY_LET(known, snapshots_.find(id));
  if (known) return {};
  std::vector<fs::path> leftovers;
  std::error_code ec;
  for (fs::directory_iterator at(storage_of(addon) / "snapshots", ec), end; !ec && at != end; at.increment(ec)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(id) || name.starts_with("." + id)) leftovers.push_back(at->path());
  }
  for (const auto& leftover : leftovers) VIA_TRY(remove_tree(leftover));
  return {};
}

// After a crash: the row is the snapshot; without it, what is on disk goes.
Result<void> ControlPlane::undo_snapshot(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  if (!steps.is_object()) return {};
  VIA_TRY_LET(addon, addons_.find_by_id(steps.value("addon", "")));
  if (!addon) return {};
  for (const char* member : {"snapshot", "safety", "final"}) VIA_TRY(remove_unrecorded(*addon, steps.value(member, "")));
  return {};
}

Result<std::vector<Snapshot>> ControlPlane::list_snapshots(const std::string& name_or_id,
                                                           const std::optional<std::string>& app) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  return snapshots_.of_addon(addon.id);
}

Result<Snapshot> ControlPlane::need_snapshot(const std::string& id, const Addon& addon) {
  VIA_TRY_LET(snapshot, snapshots_.find(id));
  if (!snapshot || snapshot->addon_id != addon.id || snapshot->deleted_at != 0)
    return fail(Code::not_found, "Add-on '" + addon.name + "' has no snapshot '" + id +
                                     "'. See what it has: via addon snapshots " + addon.name);
  return *snapshot;
}

Result<json> ControlPlane::delete_snapshot(const std::string& name_or_id, const std::optional<std::string>& app,
                                           const std::string& id, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  VIA_TRY_LET(snapshot, need_snapshot(id, addon));
  VIA_TRY(not_claimed("addon:" + addon.id));
  json plan = {{"action", "addon.snapshot.delete"},
               {"target", {{"addon", addon.name}, {"id", addon.id}, {"snapshot", id}}},
               {"touches", {{"snapshots", {id}}, {"bytes", snapshot.bytes}}},
               {"warnings", json::array()}};
  if (addon.final_snapshot == id)
    plan["warnings"].push_back("It is the final snapshot of a destroyed add-on, which cannot be brought back without it.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return answer(shown);
  // The row first: a file without a row is a leftover, a row without its file would be a promise broken.
  const fs::path folder = folder_of(addon, snapshot);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(snapshots_.set_deleted(id, now()));
  VIA_TRY_LET(operation, record_change("addon.snapshot.delete", addon.id, actor, {{"addon", addon.name}, {"snapshot", id}}));
  VIA_TRY(change.commit());
  json out = to_json(snapshot);
  out["operation"] = operation;
  if (auto removed = remove_published(folder, snapshot); !removed) {
    d_.log.warn("snapshot.files_not_removed", {{"snapshot", id}, {"reason", removed.error().message}});
    // Of no use to anybody: each start of the host tries to remove it.
    out["left_behind"] = {"the files of snapshot " + id + " (" + std::to_string(snapshot.bytes) + " bytes)"};
    const auto record = [&]() -> Result<void> {
      VIA_TRY_LET(left, Transaction::begin(d_.store.db()));
      VIA_TRY(record_change("addon.snapshot.leave-behind", addon.id, actor, {{"addon", addon.name}, {"snapshot", id}, {"left_behind", out["left_behind"]}}));
      return left.commit();
    };
    // The snapshot is gone in any case.
    if (auto recorded = record(); !recorded) d_.log.warn("snapshot.leftover_not_recorded", {{"snapshot", id}, {"reason", recorded.error().message}});
  }
  return answer(std::move(out));
}

Result<json> ControlPlane::export_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                        const std::string& file, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  const fs::path target(file);
  if (!target.is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  std::error_code ec;
  if (fs::exists(fs::symlink_status(target, ec)))
    return fail(Code::conflict, "The file is there already. Name another, or remove it first.");
  if (addon.state != AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) + " and has nothing to export.");
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  if (!d_.addons.can_snapshot(*instance))
    return fail(Code::unsupported, "Add-ons of type '" + addon.type + "' have no snapshots and cannot be exported.");
  Work work;
  work.kind = "addon.export";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  const std::string id = make_id("snap");
  work.steps = json{{"addon", addon.id}, {"snapshot", id}, {"file", target.string()}}.dump();
  work.run = [this, addon = addon, target, id](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("copy"));
    VIA_TRY_LET(snapshot, copy_storage(operation, addon, "manual", "", id));
    const fs::path folder = storage_of(addon) / "snapshots";
    const auto write = [&]() -> Result<void> {
      VIA_TRY(operation.step("write"));
      if (snapshot.files.size() != 1)
        return fail(Code::unsupported, "This add-on is more than one file. Use: via backup create");
      VIA_TRY_LET(copied, copy_file(published(folder, id, snapshot.files), target, operation.watch()));
      return {};
    };
    auto written = write();
    (void)remove_published(folder, snapshot);
    if (!written) {
      if (written.error().code == Code::not_found || written.error().code == Code::internal)
        return fail(Code::not_allowed, "The file could not be written: does its folder exist, and may the host write there?");
      return written.error();
    }
    return answer(with_operation({{"addon", addon.name}, {"file", target.string()}, {"bytes", snapshot.bytes},
                                  {"sha256", snapshot.sha256}}, operation));
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

}  // namespace via::lifecycle
