// Restore: a checked copy is made ready beside the data, operations are drained, and the plugin puts the copy in place.
// Until that one step the old data is what opens; after it, the new.
//
// The safety snapshot is what was replaced, where the plugin exchanges (swap, keep: two renames; its hash is taken when the
// add-on serves again), else a copy that is taken before the drain. From the commit of {"phase":"swap"} on a crash is
// finished by the next start: the hash of what is staged tells whether the exchange was made.
#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/views.hpp"
#include "core/releases/shell.hpp"

namespace via::lifecycle {

using catalog::Addon;
using catalog::AddonState;
using catalog::Snapshot;
using nlohmann::json;
using releases::Driver;
using releases::Instance;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

fs::path staging_of(const fs::path& storage, const std::string& operation) { return storage / (".restore-" + operation); }

json ids_of(const std::vector<Instance>& instances) {
  auto out = json::array();
  for (const auto& instance : instances) out.push_back(instance.id);
  return out;
}

}  // namespace

Result<void> ControlPlane::check_flow(const Addon& addon, const RestoreAddon& request, std::string_view command) const {
  if (request.force_after_timeout && (*request.force_after_timeout < 0 || *request.force_after_timeout > 86'400))
    return fail(Code::bad_request, "'force_after_timeout' must be from 0 to 86400 seconds.");
  if (request.drain_timeout_seconds < 0 || request.drain_timeout_seconds > 86'400)
    return fail(Code::bad_request, "'drain_timeout_seconds' must be from 0 to 86400.");
  if (addon.state == AddonState::destroyed || addon.state == AddonState::destroying)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is destroyed. Bring it back: via addon undelete " + addon.id);
  if (addon.state == AddonState::provisioning)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is still being made. Look at it: via addon status " + addon.name);
  if (addon.state != AddonState::active || request.force_after_timeout || (request.drain && request.restart_bound_apps))
    return {};
  const std::string line = "via addon " + std::string(command);
  return fail(Code::refused, "Add-on '" + addon.name + "' is active: replacing its data needs an explicit safety flow. Let "
                             "operations end and restart the apps that use it: " + line +
                             " --drain --restart-bound-apps; or, in an emergency, cancel what still runs after some seconds: " +
                             line + " --force-after-timeout 30");
}

// A snapshot of before an upgrade that changed the storage is of no use to the build of after it. (Of one that says nothing
// of its schema, or that of another numbering, the plugin's own restore decides.)
Result<void> ControlPlane::check_schema(const Snapshot& snapshot, std::uint32_t storage_schema, const std::string& plugin) {
  if (snapshot.storage_schema == 0 || storage_schema == 0 || snapshot.storage_schema >= storage_schema) return {};
  return fail(Code::refused, "Snapshot " + snapshot.id + " has storage schema " + std::to_string(snapshot.storage_schema) +
                                 ", and the version of the plugin that is in use has " + std::to_string(storage_schema) +
                                 ". Go back to the version that it is of first: via plugin rollback " + plugin);
}

Result<json> ControlPlane::restore_addon(const RestoreAddon& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(request.name, request.app));
  VIA_TRY_LET(snapshot, need_snapshot(request.snapshot, addon));
  VIA_TRY(check_schema(snapshot, addon.storage_schema, addon.type));
  VIA_TRY_LET(plan, plan_addon("addon.restore", addon));
  plan["target"]["snapshot"] = snapshot.id;
  if (request.plan.only) return check_plan(plan, request.plan);
  VIA_TRY(check_flow(addon, request, "restore " + addon.name + " --snapshot " + snapshot.id));
  VIA_TRY_LET(agreed, check_plan(plan, request.plan));
  VIA_TRY_LET(users, instances_.using_addon(addon.id));
  Work work;
  work.kind = "addon.restore";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  for (const auto& user : users)
    if (const std::string claim = "app:" + user.app_id; std::find(work.claims.begin(), work.claims.end(), claim) == work.claims.end())
      work.claims.push_back(claim);
  work.steps = json{{"addon", addon.id}, {"snapshot", snapshot.id}}.dump();
  work.run = [this, addon = addon, snapshot = snapshot, request](Operation& operation) {
    return run_restore(operation, addon, snapshot, request);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_restore(Operation& operation, const Addon& addon, const Snapshot& snapshot,
                                       const RestoreAddon& request) {
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  const fs::path staging = staging_of(storage_of(addon), operation.id());
  const fs::path folder = storage_of(addon) / "snapshots";
  const bool serves = addon.state == AddonState::active && (addon.drained || ask_storage(addon).storage.ok);
  const bool exchange = has_data(addon) && d_.addons.exchanges_on_restore(*instance);
  bool drained = false, in_staging = false;
  json safety = nullptr;
  Sealed replaced;
  const auto prepare = [&]() -> Result<void> {
    VIA_TRY(operation.step("verify"));
    VIA_TRY(stage(folder_of(addon, snapshot), snapshot, staging, operation.watch(), [&] {
      return d_.addons.verify_snapshot(*instance, snapshot.id, snapshot.format, staging, operation.watch());
    }));
    if (exchange) {
      VIA_TRY_LET(lock, operation.control());
      safety = make_id("snap");
    } else if (has_data(addon)) {
      VIA_TRY(operation.step("safety_snapshot"));
      std::string id;
      {
        VIA_TRY_LET(lock, operation.control());
        id = make_id("snap");
      }
      json steps = {{"addon", addon.id}, {"snapshot", snapshot.id}, {"safety", id}};
      VIA_TRY(operation.remember(steps));
      auto taken = copy_storage(operation, addon, "safety", "before restoring " + snapshot.id, id);
      if (!taken) {
        // What no plugin can serve any more cannot be copied either; then there is nothing to lose by a restore. A disk that is full, a
        // server that is away or somebody else's work says nothing of the data.
        const Code why = taken.error().code;
        if (serves || why == Code::disk_full || why == Code::unavailable || why == Code::conflict || why == Code::queue_full) return taken.error();
        d_.log.warn("restore.no_safety_snapshot", {{"addon", addon.id}, {"reason", taken.error().message}});
      } else {
        VIA_TRY_LET(lock, operation.control());
        VIA_TRY(snapshots_.insert(*taken));
        safety = id;
      }
    }
    VIA_TRY(operation.step("drain"));
    drained = true;
    const std::int64_t limit = request.force_after_timeout.value_or(request.drain_timeout_seconds);
    VIA_TRY_LET(quiet, d_.addons.drain(*instance, static_cast<int>(limit * 1000), operation.watch()));
    if (!quiet) {
      if (!request.force_after_timeout)
        return fail(Code::deadline_exceeded, "Operations still ran " + std::to_string(limit) +
                                                 " s after the add-on was drained. Nothing was changed and it serves again. "
                                                 "Wait longer with --drain-timeout, or cancel them with --force-after-timeout.");
      VIA_TRY(operation.step("cancel"));
      VIA_TRY(d_.addons.cancel_running(*instance));
    }
    VIA_TRY(operation.step("suspend"));
    operation.only_forward();
    VIA_TRY(d_.addons.suspend(*instance));
    VIA_TRY(operation.remember(
        {{"addon", addon.id}, {"snapshot", snapshot.id}, {"safety", safety}, {"phase", "swap"}, {"exchange", exchange}}));
    VIA_TRY(operation.step("swap"));
    if (!exchange) return d_.addons.restore_snapshot(*instance, snapshot.id, snapshot.format, staging, operation.watch());
    VIA_TRY(make_private_folder(folder));
    const auto swap = [&]() -> Result<void> {
      VIA_TRY(d_.addons.restore_snapshot(*instance, snapshot.id, snapshot.format, staging, operation.watch()));
      VIA_TRY(operation.step("keep"));
      VIA_TRY_LET(names, unsealed(staging));
      replaced = names;
      if (!replaced.files.empty()) return publish(staging, replaced, folder, safety);
      safety = nullptr;  // somebody had taken it away: nothing was replaced
      return {};
    };
    auto swapped = swap();
    if (swapped) return {};
    // What was there goes back. Where even that fails, it stays in the staging folder, which nothing removes then.
    std::error_code ec;
    if (!replaced.files.empty() && fs::exists(published(folder, safety, replaced.files), ec)) {
      // Its folder could not be synced, which a crash of the machine could undo; both sets of data are there now.
      d_.log.warn("restore.safety_snapshot_not_synced", {{"addon", addon.id}, {"reason", swapped.error().message}});
      return {};
    }
    if (!holds(staging, snapshot)) {
      if (auto back = d_.addons.restore_snapshot(*instance, snapshot.id, snapshot.format, staging, {}); !back) {
        in_staging = !holds(staging, snapshot);
        Error error = swapped.error();
        error.message += "; outcome unknown";
        return error;
      }
    }
    return swapped;
  };
  if (auto prepared = prepare(); !prepared) {
    if (!in_staging) (void)remove_tree(staging);
    if (drained && !addon.drained) (void)d_.addons.resume(*instance);
    return prepared.error();
  }
  if (auto removed = remove_tree(staging); !removed)
    d_.log.warn("restore.staging_not_removed", {{"addon", addon.id}, {"reason", removed.error().message}});

  operation.stands();
  // A server that was made anew has none of them. The data are restored in any case.
  std::string credentials;
  if (auto applied = apply_credentials(operation, addon); !applied) {
    d_.log.warn("restore.credentials_not_applied", {{"addon", addon.id}, {"reason", applied.error().message}});
    credentials = "could not be applied. Do it again: via addon repair " + addon.name;
  }
  Restarted users;
  VIA_TRY(operation.step("restart"));
  const auto restart = request.restart_bound_apps ? restart_users(operation, addon) : Result<Restarted>(Restarted{});
  if (restart) users = *restart;
  VIA_TRY(operation.step("resume"));
  if (!addon.drained) VIA_TRY(d_.addons.resume(*instance));
  if (!restart) return restart.error();

  std::optional<Snapshot> kept;
  if (exchange && !safety.is_null()) {
    VIA_TRY(operation.step("seal"));
    auto sealed = seal_published(folder, safety, replaced.files, {});
    if (!sealed)
      return fail(Code::internal, "the add-on was restored, but what it replaced cannot be read: " + sealed.error().message);
    kept = safety_snapshot(addon, snapshot, safety, *sealed, operation.id());
  }
  json result = {{"addon", addon.name},
                       {"addon_id", addon.id},
                       {"snapshot", snapshot.id},
                       {"safety_snapshot", safety},
                       {"restarted", ids_of(users.restarted)},
                       {"not_restarted", ids_of(users.left)},
                       {"operation", operation.id()}};
  if (!credentials.empty()) result["credentials"] = credentials;
  VIA_TRY_LET(lock, operation.control());
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
  if (kept) VIA_TRY(snapshots_.insert(*kept));
  VIA_TRY(end_done(operation, result,
                   {{"addon", addon.name}, {"snapshot", snapshot.id}, {"safety_snapshot", safety},
                    {"flow", request.force_after_timeout ? "force" : "drain"}, {"restarted", users.restarted.size()}}));
  VIA_TRY(change.commit());
  d_.log.info("addon.restored", {{"addon", addon.id}, {"snapshot", snapshot.id}});
  return answer(result);
}

Snapshot ControlPlane::safety_snapshot(const Addon& addon, const Snapshot& restored, const std::string& id, const Sealed& sealed,
                                       const std::string& operation) const {
  Snapshot out;
  out.id = id;
  out.addon_id = addon.id;
  out.addon = addon.name;
  out.kind = "safety";
  out.note = "before restoring " + restored.id;
  out.created_at = now();
  out.bytes = sealed.bytes;
  out.sha256 = sealed.sha256;
  out.format = restored.format;
  out.storage_schema = restored.storage_schema;
  out.files = sealed.files;
  out.operation = operation;
  return out;
}

Result<ControlPlane::Restarted> ControlPlane::restart_users(Operation& operation, const Addon& addon) {
  Restarted out;
  std::vector<Instance> users;
  {
    VIA_TRY_LET(lock, operation.control());
    VIA_TRY_LET(found, instances_.using_addon(addon.id));
    users = found;
  }
  std::map<std::string, bool> ran;  // app -> its command worked
  for (auto& instance : users) {
    if (instance.driver == Driver::process) {
      VIA_TRY_LET(lock, operation.control());
      if (launcher_ == nullptr) continue;  // nothing runs; the next start launches it
      VIA_TRY_LET(restarted, restart_process(operation, std::move(lock), instance));
      if (restarted) out.restarted.push_back(instance);
      continue;
    }
    const auto command = settings_.restart_commands.find(instance.app);
    if (command == settings_.restart_commands.end()) {
      out.left.push_back(instance);
      continue;
    }
    auto [known, first] = ran.try_emplace(instance.app, false);
    if (first) known->second = releases::run_shell(command->second, 60'000).exit_code == 0;
    (known->second ? out.restarted : out.left).push_back(instance);
  }
  return out;
}

// A restore that a crash interrupted: before the swap it never happened; from then on it is finished.
Result<std::string> ControlPlane::recover_restore(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  VIA_TRY_LET(addon, addons_.find_by_id(row.target));
  if (!addon || !steps.is_object()) return std::string("undone");
  if (addon->state == AddonState::destroyed || addon->state == AddonState::destroying) return std::string("undone");
  const fs::path staging = staging_of(storage_of(*addon), row.id);
  std::error_code ec;
  if (steps.value("phase", "") != "swap") {
    VIA_TRY(undo_snapshot(row));
    VIA_TRY(remove_tree(staging));
    return std::string("undone");
  }
  if (steps.value("exchange", false)) return finish_exchange(*addon, steps, row);
  if (fs::exists(staging, ec) && !fs::is_empty(staging, ec)) {
    VIA_TRY_LET(instance, d_.addons.instance(addon->id, addon->type, addon->config));
    VIA_TRY_LET(known, snapshots_.find(steps.value("snapshot", "")));
    const std::string format = known ? known->format : "";
    if (auto done = d_.addons.restore_snapshot(*instance, steps.value("snapshot", ""), format, staging, {}); !done) {
      d_.log.warn("restore.not_finished", {{"addon", addon->id}, {"reason", done.error().message}});
      VIA_TRY(remove_tree(staging));
      return std::string("failed");
    }
    (void)d_.addons.resume(*instance);
  }
  VIA_TRY(remove_tree(staging));
  if (auto again = reapply_bindings(d_.addons, bindings_, *addon); !again)
    d_.log.warn("restore.credentials_not_applied", {{"addon", addon->id}, {"reason", again.error().message}});
  VIA_TRY(addons_.set_state(addon->id, AddonState::active, "", now()));
  return std::string("done");
}

// An exchange that a crash interrupted: made if it was not, then what was replaced is published, sealed and recorded.
Result<std::string> ControlPlane::finish_exchange(const Addon& addon, const json& steps, const store::Operation& row) {
  const fs::path staging = staging_of(storage_of(addon), row.id), folder = storage_of(addon) / "snapshots";
  const std::string safety = steps.value("safety", "");
  VIA_TRY_LET(restored, snapshots_.find(steps.value("snapshot", "")));
  if (!restored) return std::string("undone");
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  std::error_code ec;
  if (fs::exists(staging, ec) && holds(staging, *restored)) {
    if (auto done = d_.addons.restore_snapshot(*instance, restored->id, restored->format, staging, {}); !done) {
      d_.log.warn("restore.not_finished", {{"addon", addon.id}, {"reason", done.error().message}});
      if (holds(staging, *restored)) {
        VIA_TRY(remove_tree(staging));
        return std::string("failed");
      }
      // It was made; what could not be done is the plugin's to end, at the next open.
    }
    (void)d_.addons.resume(*instance);
  }
  // Somebody had taken the data away: it was made, and replaced nothing.
  const bool of_nothing = fs::exists(staging, ec) && fs::is_empty(staging, ec);
  if (fs::exists(staging, ec) && !fs::is_empty(staging, ec)) {
    VIA_TRY(make_private_folder(folder));
    VIA_TRY_LET(names, unsealed(staging));
    VIA_TRY(publish(staging, names, folder, safety));
  }
  VIA_TRY(remove_tree(staging));
  std::vector<catalog::SnapshotFile> files;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
    const fs::path path = at->path();
    if (path.filename() == safety) {
      VIA_TRY_LET(names, unsealed(path));
      files = names.files;
    } else if (path.stem() == safety) {
      // A single file has the extension of its own name; that name is what the snapshot that was restored calls it.
      for (const auto& file : restored->files)
        if (fs::path(file.name).extension() == path.extension()) files = {{file.name, 0, {}}};
    }
  }
  VIA_TRY_LET(known, snapshots_.find(safety));  // a start before this one may have come as far
  // An exchange leaves what it replaced; there is none where the restore gave up, and what was there stands.
  if (!known && files.empty() && of_nothing) {
    VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
    return std::string("done");
  }
  if (!known && files.empty()) return std::string("failed");
  if (!known) {
    VIA_TRY_LET(sealed, seal_published(folder, safety, files, {}));
    VIA_TRY(snapshots_.insert(safety_snapshot(addon, *restored, safety, sealed, row.id)));
  }
  VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
  return std::string("done");
}

Result<json> ControlPlane::import_addon(const RestoreAddon& request, const std::string& file, const Actor& actor,
                                        bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(request.name, request.app));
  if (!fs::path(file).is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  VIA_TRY_LET(plan, plan_addon("addon.import", addon));
  if (request.plan.only) return check_plan(plan, request.plan);
  VIA_TRY(check_flow(addon, request, "import " + addon.name + " FILE"));
  VIA_TRY_LET(agreed, check_plan(plan, request.plan));
  VIA_TRY_LET(users, instances_.using_addon(addon.id));
  const std::string id = make_id("snap");
  Work work;
  work.kind = "addon.import";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  for (const auto& user : users)
    if (const std::string claim = "app:" + user.app_id; std::find(work.claims.begin(), work.claims.end(), claim) == work.claims.end())
      work.claims.push_back(claim);
  work.steps = json{{"addon", addon.id}, {"snapshot", id}}.dump();
  work.run = [this, addon = addon, request, file, id](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("read"));
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    const fs::path folder = storage_of(addon) / "snapshots", partial = folder / ("." + id + ".partial");
    VIA_TRY(make_private_folder(folder));
    VIA_TRY(remove_tree(partial));
    VIA_TRY(make_private_folder(partial));
    Snapshot snapshot;
    const auto take_in = [&]() -> Result<void> {
      // The plugin's own name for its file is that of any snapshot it takes: ask it by taking what is there now.
      VIA_TRY_LET(facts, d_.addons.take_snapshot(*instance, id, partial, operation.watch()));
      std::vector<fs::path> names;
      for (const auto& entry : fs::directory_iterator(partial)) names.push_back(entry.path());
      if (names.size() != 1) return fail(Code::unsupported, "This add-on is more than one file and cannot be imported from one.");
      auto copied = copy_file(file, names.front(), operation.watch(), true);
      if (!copied) {
        if (copied.error().code == Code::not_found) return fail(Code::not_found, "The file to import does not exist.");
        return copied.error();
      }
      VIA_TRY(d_.addons.verify_snapshot(*instance, id, facts.format, partial, operation.watch()));
      VIA_TRY_LET(sealed, seal(partial, operation.watch()));
      VIA_TRY(publish(partial, sealed, folder, id));
      snapshot = {id, addon.id, addon.name, "import", "", 0, sealed.bytes, sealed.sha256, facts.format, facts.schema,
                  sealed.files, 0, 0, operation.id()};
      VIA_TRY_LET(held, operation.control());
      snapshot.created_at = now();
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(snapshots_.insert(snapshot));
      return change.commit();
    };
    if (auto taken = take_in(); !taken) {
      (void)remove_tree(partial);
      if (!snapshot.id.empty() && !is_unknown(taken.error())) (void)remove_published(folder, snapshot);
      return taken.error();
    }
    return run_restore(operation, addon, snapshot, request);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::drain_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                       std::int64_t timeout_seconds, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  if (timeout_seconds < 0 || timeout_seconds > 86'400) return fail(Code::bad_request, "'timeout_seconds' must be from 0 to 86400.");
  if (addon.state != AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) + " and serves nothing.");
  Work work;
  work.kind = "addon.drain";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.steps = json{{"addon", addon.id}}.dump();
  work.run = [this, addon = addon, timeout_seconds](Operation& operation) -> Result<json> {
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    VIA_TRY(operation.step("drain"));
    auto quiet = d_.addons.drain(*instance, static_cast<int>(timeout_seconds * 1000), operation.watch());
    if (!quiet || !*quiet) {
      if (!addon.drained) (void)d_.addons.resume(*instance);
      if (!quiet) return quiet.error();
      return fail(Code::deadline_exceeded, "Operations still ran after " + std::to_string(timeout_seconds) +
                                               " s. The add-on serves again. Try once more with a longer --timeout.");
    }
    operation.only_forward();
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(addons_.set_drained(addon.id, true, now()));
    VIA_TRY_LET(after, addons_.find_by_id(addon.id));
    json result = to_json(after.value_or(addon));
    result["in_flight"] = d_.addons.in_flight(*instance);
    result["operation"] = operation.id();
    VIA_TRY(end_done(operation, result, {{"addon", addon.name}}));
    VIA_TRY(change.commit());
    return answer(std::move(result));
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<Addon> ControlPlane::resume_addon(const std::string& name_or_id, const std::optional<std::string>& app,
                                         const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  VIA_TRY(not_claimed("addon:" + addon.id));
  if (!addon.drained) return addon;
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_drained(addon.id, false, now()));
  VIA_TRY(record_change("addon.resume", addon.id, actor, {{"addon", addon.name}}));
  VIA_TRY(change.commit());
  VIA_TRY(d_.addons.resume(*instance));
  VIA_TRY_LET(after, addons_.find_by_id(addon.id));
  return after.value_or(addon);
}

}  // namespace via::lifecycle
