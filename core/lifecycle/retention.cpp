// Destroying an add-on and what is kept of it. Rights end first; then a final snapshot is taken and moved out of the way
// together with the earlier ones; then the data goes and the name is given back. Until the retention time is over,
// undelete makes the add-on again from its final snapshot.
#include <algorithm>
#include <system_error>
#include <vector>

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

bool there(const fs::path& path) {
  std::error_code ec;
  return fs::exists(fs::symlink_status(path, ec));
}

Result<void> move_folder(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  fs::rename(from, to, ec);
  if (ec) return system_error("move a folder", ec.value());
  VIA_TRY(sync_folder(to.parent_path()));
  return sync_folder(from.parent_path());
}

// What is in `from` goes to `to`, which may hold earlier ones: a crash after an undelete leaves them there.
Result<void> move_into(const fs::path& from, const fs::path& to) {
  if (!there(to)) return move_folder(from, to);
  std::error_code ec;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(from, ec), end; !ec && at != end; at.increment(ec)) entries.push_back(at->path());
  if (ec) return system_error("read a folder", ec.value());
  for (const auto& entry : entries) {
    fs::rename(entry, to / entry.filename(), ec);
    if (ec) return system_error("move a snapshot", ec.value());
  }
  VIA_TRY(sync_folder(to));
  fs::remove(from, ec);
  return sync_folder(from.parent_path());
}

// "db#destroyed#addon_…" -> "db"
std::string name_before_tombstone(const std::string& name) { return name.substr(0, name.find('#')); }

}  // namespace

Result<json> ControlPlane::destroy_addon(const DestroyAddon& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(request.name, request.app));
  if (addon.state == AddonState::destroyed)
    return fail(Code::conflict, "Add-on '" + request.name + "' is destroyed already.");
  if (!request.confirm.empty() && request.confirm != addon.name && request.confirm != addon.id)
    return fail(Code::refused, "'" + request.confirm + "' is not the name of add-on '" + addon.name + "'. Nothing was done.");
  VIA_TRY_LET(plan, plan_addon("addon.destroy", addon));
  if (request.no_final_snapshot) plan["warnings"].push_back("No final snapshot is kept: it cannot be brought back.");
  if (request.forget)
    plan["warnings"].push_back("What cannot be copied or removed, because its server is gone, is left behind where it is and named in the record.");
  if (request.plan.only) return check_plan(plan, request.plan);
  VIA_TRY_LET(bound, bindings_.of_addon(addon.id));
  VIA_TRY_LET(users, releases_.apps_with_current(addon.id));
  VIA_TRY_LET(instances, instances_.using_addon(addon.id));
  if (!request.force && addon.state != AddonState::destroying) {
    if (!bound.empty())
      return fail(Code::refused, "Add-on '" + addon.name + "' is bound to app '" + bound.front().app + "' as " +
                                     bound.front().name + ". Unbind it first: via addon unbind " + bound.front().app +
                                     " " + bound.front().name);
    if (!users.empty())
      return fail(Code::refused, "The current release of app '" + users.front() + "' still uses add-on '" + addon.name +
                                     "'. Replace it first: via deploy create " + users.front());
    if (!instances.empty())
      return fail(Code::refused, "Instance " + instances.front().id + " of app '" + instances.front().app +
                                     "' still uses add-on '" + addon.name + "'. Stop it first: via runtime stop " +
                                     instances.front().id);
  }
  VIA_TRY_LET(agreed, check_plan(plan, request.plan));
  json ended = json::array();
  for (const auto& binding : bound) ended.push_back(binding.id);
  if (addon.state == AddonState::destroying) {
    VIA_TRY_LET(before, ended_by_attempts(addon.id));
    for (const auto& id : before) ended.push_back(id);
  }
  const json steps = {{"addon", addon.id}, {"bindings", ended}, {"keep", !request.no_final_snapshot},
                      {"forget", request.forget}, {"final", make_id("snap")}};
  Work work;
  work.kind = "addon.destroy";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.steps = steps.dump();
  const DestroyHow how{!request.no_final_snapshot, request.forget};
  work.run = [this, addon = addon, how](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("revoke"));
    operation.only_forward();
    {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(addons_.set_state(addon.id, AddonState::destroying, "", now()));
      VIA_TRY(bindings_.revoke_all_of_addon(addon.id, now()));
      VIA_TRY_LET(shared, shares_.list(addon.id));
      VIA_TRY(shares_.revoke_all_of_addon(addon.id, now()));
      VIA_TRY(change.commit());
      auto grants = build_grants({}, addon.id);
      if (!grants) return unknown(grants.error());
      auto unshared = served(shared);
      if (!grants->empty() || !unshared.empty()) publish_rights({std::move(*grants), {}, true, {}, std::move(unshared)});
    }
    return finish_destroy(addon, operation, how);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// The bindings that attempts to destroy it have ended, for undelete to find: what goes on from there has none left to end.
Result<json> ControlPlane::ended_by_attempts(const std::string& addon_id) {
  constexpr int kAttempts = 1000;
  VIA_TRY_LET(attempts, d_.store.journal().list(kAttempts, "failed", addon_id));
  VIA_TRY_LET(undeleted, d_.store.journal().last("addon.undelete", addon_id));
  json out = json::array();
  for (const auto& one : attempts) {
    if (undeleted && one.created_at <= undeleted->created_at) continue;  // of a life before: what was unbound since stays so
    const json steps = one.kind == "addon.destroy" ? json::parse(one.steps, nullptr, false) : json();
    if (!steps.is_object()) continue;
    const json known = steps.value("bindings", json::array());
    for (const auto& id : known)
      if (std::find(out.begin(), out.end(), id) == out.end()) out.push_back(id);
  }
  return answer(std::move(out));
}

// From "rights have ended" on; safe to run again after a crash at any point.
Result<json> ControlPlane::finish_destroy(const Addon& addon, Operation& operation, DestroyHow how) {
  const auto instance = d_.addons.instance(addon.id, addon.type, addon.config);
  std::string final_id;
  bool told = false;       // the error says what stands and what to do
  bool at_plugin = false;  // and is the plugin's, of data that it could not reach
  // A snapshot in the add-on's folder goes where it is kept until its time is over.
  const auto retain = [&](const std::string& id) -> Result<void> {
    final_id = id;
    const fs::path snapshots = storage_of(addon) / "snapshots";
    VIA_TRY(make_private_folder(settings_.state_dir / "retained"));
    return there(snapshots) ? move_into(snapshots, retained_of(addon.id)) : Result<void>();
  };
  const auto remove = [&]() -> Result<void> {
    // The type may be gone; a record without data needs no plugin to end.
    if (!instance) return has_data(addon) ? Result<void>(instance.error()) : Result<void>();
    std::optional<store::Operation> row;
    {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(found, d_.store.journal().find(operation.id()));
      row = found;
    }
    const json steps = json::parse(row ? row->steps : "{}", nullptr, false);
    const std::string wanted = steps.is_object() ? steps.value("final", "") : "";
    std::optional<Snapshot> final;
    if (!wanted.empty()) {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(found, snapshots_.find(wanted));
      final = found;
      // An attempt before this one may have got as far.
      VIA_TRY_LET(taken, snapshots_.of_addon(addon.id));
      for (const auto& one : taken)
        if (!final && one.kind == "final" && addon.state == AddonState::destroying) final = one;
    }
    if (how.keep && !final && !wanted.empty() && addon.state != AddonState::provisioning && has_data(addon) &&
        d_.addons.can_snapshot(**instance)) {
      VIA_TRY(operation.step("final_snapshot"));
      auto taken = copy_storage(operation, addon, "final", "when it was destroyed", wanted);
      if (!taken) {
        const bool full = taken.error().code == Code::disk_full, away = taken.error().code == Code::unavailable;
        told = true;
        at_plugin = !left_behind_of(taken.error()).empty();
        Error error = fail(full ? Code::disk_full : away ? Code::unavailable : Code::conflict,
                           "The final snapshot of add-on '" + addon.name + "' could not be taken (" +
                               (full ? "the disk is full" : taken.error().http_status() == 500 ? "the host's log says why" : taken.error().message) +
                               "), so its data is still there; nobody has rights to it any more. " + (full ? "Free some space" : "Mend that") +
                               " and run it again (the next start of the host tries it, too), or give the data up: via addon destroy " + addon.id +
                               " --no-final-snapshot" + (away ? ". Where it is gone for good: via addon destroy " + addon.id + " --forget" : ""));
        error.details = taken.error().details;
        return error;
      }
      VIA_TRY_LET(held, operation.control());
      taken->expires_at = now() + settings_.retain_ms;
      VIA_TRY(snapshots_.insert(*taken));
      final = *taken;
    }
    VIA_TRY(operation.step("remove"));
    // Nobody has rights to it any more: this closes the gate and meets nothing.
    VIA_TRY_LET(quiet, d_.addons.drain(**instance, 0, {}));
    if (!quiet) VIA_TRY(d_.addons.cancel_running(**instance));
    VIA_TRY(d_.addons.suspend(**instance));
    if (how.keep && final) VIA_TRY(retain(final->id));
    auto removed = d_.addons.deprovision(**instance);
    at_plugin = !removed && removed.error().code != Code::disk_full;
    if (!removed && removed.error().http_status() == 503) {
      told = true;
      Error error = removed.error();
      error.message = "The data of add-on '" + addon.name + "' could not be removed (" + error.message +
                      "); nobody has rights to it any more. Run it again when that is mended (the next start of the host tries it, too). Where it is gone for "
                      "good: via addon destroy " + addon.id + " --forget";
      return error;
    }
    return removed;
  };
  std::vector<std::string> left_behind;
  if (auto removed = remove(); !removed) {
    // A full disk, an operation that does not end or a host that is busy is no reason to leave data behind.
    const Error why = removed.error();
    if (!how.forget || (instance && !at_plugin)) return destroy_failed(addon, operation, removed.error(), told);
    VIA_TRY_LET(left, leave_behind(addon, operation, removed.error()));
    left_behind = std::move(left);
    if (how.keep && final_id.empty()) {
      // The newest of those that were taken before is what it can be brought back from.
      std::vector<Snapshot> kept;
      {
        VIA_TRY_LET(held, operation.control());
        VIA_TRY_LET(found, snapshots_.of_addon(addon.id));
        kept = std::move(found);
      }
      if (!kept.empty()) VIA_TRY(retain(std::max_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.created_at < b.created_at; })->id));
    }
    // Where the plugin says what lies elsewhere, nothing but its own notes is here.
    if (!left_behind_of(removed.error()).empty())
      if (auto gone = remove_tree(storage_of(addon)); !gone) d_.log.warn("addon.notes_not_removed", {{"addon", addon.id}, {"reason", gone.error().message}});
  }
  d_.addons.forget(addon.id);
  auto ended = end_destroy(addon, operation, final_id, left_behind);
  if (!ended) return unknown(ended.error());
  return ended;
}

// The rights are gone; the data goes when it is asked for again, or at the next start.
Error ControlPlane::destroy_failed(const Addon& addon, Operation& operation, Error error, bool told) {
  if ((error.http_status() == 500 || (error.code == Code::disk_full && !told)) && !is_unknown(error)) error = unknown(std::move(error));
  const auto close = [&]() -> Result<void> {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(addons_.set_state(addon.id, AddonState::destroying,
                              "the data could not be removed" + (error.code == Code::unavailable ? ": what holds it cannot be reached" : std::string()), now()));
    VIA_TRY(end_operation(operation.id(), operation.kind(), operation.target(), operation.actor(), "failed", std::string(error.wire_name()),
                          {{"addon", addon.name}, {"app", addon.app}, {"type", addon.type}}, {},
                          json{{"code", error.wire_name()},
                               {"message", error.http_status() == 500 ? std::string(kInternalMessage) : error.message}}
                              .dump(-1, ' ', false, json::error_handler_t::replace)));
    return change.commit();
  };
  if (auto closed = close(); !closed) return unknown(closed.error());
  d_.log.warn("addon.destroy_failed", {{"addon", addon.id}, {"reason", error.message}});
  return error;
}

// What an add-on that is let go leaves where it is. `why` = what its plugin, or the want of one, answered.
Result<std::vector<std::string>> ControlPlane::leave_behind(const Addon& addon, Operation& operation, const Error& why) {
  VIA_TRY(operation.step("leave_behind"));
  std::vector<std::string> left = left_behind_of(why);
  if (left.empty() && has_data(addon))
    left.push_back("addons/" + addon.type + "/" + addon.id + " (" + std::to_string(folder_bytes(storage_of(addon))) + " bytes) in the host's state folder");
  d_.log.warn("addon.left_behind", {{"addon", addon.id}, {"reason", why.message}});
  return left;
}

Result<json> ControlPlane::end_destroy(const Addon& addon, Operation& operation, const std::string& final_id,
                                       const std::vector<std::string>& left_behind) {
  VIA_TRY(operation.step("tombstone"));
  VIA_TRY_LET(held, operation.control());
  VIA_TRY_LET(snapshots, snapshots_.of_addon(addon.id));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  json details = {{"addon", addon.name}, {"app", addon.app}, {"type", addon.type}};
  std::string problem;
  for (const auto& one : left_behind) problem += (problem.empty() ? "left behind: " : "; ") + one;
  if (!left_behind.empty()) details["left_behind"] = left_behind;
  VIA_TRY(addons_.set_state(addon.id, AddonState::destroyed, problem, now()));
  VIA_TRY(addons_.set_destroyed(addon.id, now(), final_id));
  for (const auto& snapshot : snapshots) {
    if (final_id.empty())
      VIA_TRY(snapshots_.set_deleted(snapshot.id, now()));
    else
      VIA_TRY(snapshots_.set_expiry(snapshot.id, now() + settings_.retain_ms));
  }
  // A failed record that gave its name back already keeps the name it has.
  if (addon.name.find('#') == std::string::npos)
    VIA_TRY(addons_.rename(addon.id, catalog::tombstone(addon.name, AddonState::destroyed, addon.id), now()));
  VIA_TRY_LET(after, addons_.find_by_id(addon.id));
  json result = to_json(after.value_or(addon));
  result["final_snapshot"] = final_id.empty() ? json(nullptr) : json(final_id);
  if (!left_behind.empty()) result["left_behind"] = left_behind;
  result["operation"] = operation.id();
  VIA_TRY(end_done(operation, result, details));
  VIA_TRY(change.commit());
  d_.log.info("addon.destroyed", {{"addon", addon.id}, {"operation", operation.id()}});
  return answer(std::move(result));
}

Result<json> ControlPlane::undelete_addon(const std::string& id, const std::string& new_name, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(id, std::nullopt));
  if (addon.state != AddonState::destroyed)
    return fail(Code::conflict, "Add-on '" + id + "' is not destroyed but " + std::string(to_string(addon.state)) + ".");
  const std::string name = new_name.empty() ? name_before_tombstone(addon.name) : new_name;
  VIA_TRY(check_name("The add-on's name", name));
  VIA_TRY_LET(holder, addons_.find_by_name(name));
  if (holder)
    return fail(Code::conflict, "The name '" + name + "' is taken by another add-on. Give it another: via addon undelete " +
                                    addon.id + " --name NAME");
  VIA_TRY_LET(owner, apps_.find(addon.app));
  if (!owner) return fail(Code::conflict, "Its app was deleted. Create an app of that name and import the data there.");
  VIA_TRY_LET(snapshot, snapshots_.find(addon.final_snapshot));
  if (!snapshot || snapshot->deleted_at != 0)
    return fail(Code::not_found, "Nothing was kept of add-on '" + id + "', or its retention time is over.");
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  VIA_TRY(not_claimed("plugin:" + type->plugin_id));
  VIA_TRY(check_schema(*snapshot, type->storage_schema, type->plugin_id));
  d_.addons.record_schema(addon.id, type->storage_schema);
  d_.addons.record_owner(addon.id, addon.app_id);
  VIA_TRY_LET(destroyed, d_.store.journal().last("addon.destroy", addon.id));
  std::vector<std::string> bindings;
  const json steps = json::parse(destroyed ? destroyed->steps : "{}", nullptr, false);
  if (steps.is_object())
    for (const auto& binding : steps.value("bindings", json::array())) bindings.push_back(binding.get<std::string>());
  Work work;
  work.kind = "addon.undelete";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.steps = json{{"addon", addon.id}}.dump();
  work.run = [this, addon = addon, snapshot = *snapshot, name, bindings](Operation& operation) -> Result<json> {
    auto out = run_undelete(operation, addon, snapshot, name, bindings);
    if (!out && !is_unknown(out.error())) {  // what may be its data now is left for the next start to judge
      if (auto instance = d_.addons.instance(addon.id, addon.type, addon.config)) (void)d_.addons.deprovision(**instance);
      d_.addons.forget(addon.id);
    }
    return out;
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_undelete(Operation& operation, const Addon& addon, const Snapshot& snapshot,
                                        const std::string& name, const std::vector<std::string>& bindings) {
  VIA_TRY(operation.step("provision"));
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  VIA_TRY(d_.addons.provision(*instance));
  VIA_TRY(operation.step("verify"));
  const fs::path staging = storage_of(addon) / (".restore-" + operation.id());
  VIA_TRY(stage(folder_of(addon, snapshot), snapshot, staging, operation.watch(), [&] {
    return d_.addons.verify_snapshot(*instance, snapshot.id, snapshot.format, staging, operation.watch());
  }));
  VIA_TRY(operation.step("swap"));
  VIA_TRY_LET(quiet, d_.addons.drain(*instance, 0, {}));
  VIA_TRY(d_.addons.suspend(*instance));
  VIA_TRY(d_.addons.restore_snapshot(*instance, snapshot.id, snapshot.format, staging, operation.watch()));
  VIA_TRY(d_.addons.resume(*instance));
  VIA_TRY(remove_tree(staging));
  VIA_TRY(operation.step("bind"));
  operation.only_forward();
  VIA_TRY_LET(held, operation.control());
  std::vector<std::pair<bindings::Binding, Described>> revived;
  json made = json::array();
  for (const auto& id : bindings) {
    VIA_TRY_LET(binding, bindings_.find(id));
    if (!binding || binding->removed_at == 0) continue;
    VIA_TRY_LET(taken, bindings_.find_living(binding->app_id, binding->name));
    if (taken) continue;
    VIA_TRY_LET(described, apply_binding(addon, {id, binding->name, binding->read_only}, binding->newest() + 1));
    revived.emplace_back(*binding, described);
  }
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
  VIA_TRY(addons_.set_destroyed(addon.id, 0, ""));
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  VIA_TRY(addons_.set_schema(addon.id, type->storage_schema, now()));
  VIA_TRY(addons_.rename(addon.id, name, now()));
  VIA_TRY_LET(kept, snapshots_.of_addon(addon.id));
  for (const auto& one : kept) VIA_TRY(snapshots_.set_expiry(one.id, 0));
  for (const auto& [binding, described] : revived) {
    VIA_TRY(bindings_.revive(binding.id));
    VIA_TRY(bindings_.add_generation(binding.id, binding.newest() + 1, described.descriptor, described.derived, now()));
    VIA_TRY_LET(now_is, bindings_.find(binding.id));
    if (now_is) made.push_back(to_json(*now_is));
  }
  VIA_TRY_LET(after, addons_.find_by_id(addon.id));
  json result = to_json(after.value_or(addon));
  result["bindings"] = made;
  result["operation"] = operation.id();
  VIA_TRY(end_done(operation, result, {{"addon", name}, {"snapshot", snapshot.id}, {"bindings", made.size()}}));
  VIA_TRY(change.commit());
  // A crash before this leaves them where folder_of() also looks.
  const fs::path back = storage_of(addon) / "snapshots";
  if (there(retained_of(addon.id)))
    if (auto moved = move_into(retained_of(addon.id), back); !moved)
      d_.log.warn("undelete.snapshots_not_moved", {{"addon", addon.id}, {"reason", moved.error().message}});
  // It is committed: from here on nothing may fail the operation, which would take the data away again.
  if (auto grants = build_grants({}, addon.id))
    publish_rights({std::move(*grants), {}, false});
  else
    d_.log.error("undelete.not_published", {{"addon", addon.id}, {"reason", grants.error().message}});
  d_.log.info("addon.undeleted", {{"addon", addon.id}, {"operation", operation.id()}});
  return answer(std::move(result));
}

void ControlPlane::expire_retained() {
  const auto lock = control();
  if (!lock) return;
  const auto expired = snapshots_.expired(now());
  if (!expired) return;
  for (const auto& snapshot : *expired) {
    const auto addon = addons_.find_by_id(snapshot.addon_id);
    if (!addon || !*addon) continue;
    const fs::path folder = folder_of(**addon, snapshot);
    const auto mark = [&]() -> Result<void> {
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(snapshots_.set_deleted(snapshot.id, now()));
      VIA_TRY_LET(operation, record_change("addon.snapshot.expire", snapshot.addon_id, Actor{"host", 0},
                                           {{"addon", snapshot.addon}, {"snapshot", snapshot.id}}));
      return change.commit();
    };
    if (auto marked = mark(); !marked) {
      d_.log.warn("retention.not_recorded", {{"snapshot", snapshot.id}, {"reason", marked.error().message}});
      return;
    }
    if (auto removed = remove_published(folder, snapshot); !removed)
      d_.log.warn("snapshot.files_not_removed", {{"snapshot", snapshot.id}, {"reason", removed.error().message}});
    std::error_code ec;
    if (folder == retained_of(snapshot.addon_id)) fs::remove(folder, ec);  // when it is empty
  }
}

}  // namespace via::lifecycle
