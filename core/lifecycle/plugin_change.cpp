// Changing the build of a plugin under its add-ons: upgrade, the way back, and trust of another build.
//
// All add-ons of its types are drained, copied and closed; the storage of each is brought to the new schema; each is opened
// by the new build and asked for its health. Only when all of them are well one commit makes the new build the one that is
// pinned, with the new schemas, and then they serve again: until that commit everything can be undone without a loss,
// because nothing was written since the copies were made. A crash before it is undone by the next start, which loads the
// old build; a crash after it finds the new one. What goes back restores a copy through the build that made it.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/plugin_change.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::Addon;
using catalog::AddonState;
using catalog::Snapshot;
using nlohmann::json;
using plugins::AddonInstance;
using store::PluginVersion;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

const plugins::AddonType* type_of(const plugins::Manifest& manifest, const std::string& id) {
  for (const auto& type : manifest.types)
    if (type.id == id) return &type;
  return nullptr;
}

json moves_json(const std::vector<PluginMove>& moves) {
  auto out = json::array();
  for (const auto& move : moves)
    out.push_back({{"addon", move.addon.name},
                   {"addon_id", move.addon.id},
                   {"from_schema", move.addon.storage_schema},
                   {"to_schema", move.to_schema},
                   {"safety_snapshot", move.safety.empty() ? json(nullptr) : json(move.safety)},
                   {"restores", move.back ? json(move.back->id) : json(nullptr)}});
  return out;
}

// What recovery reads: whether storage may have begun to change.
json steps_of(const PluginChange& change, bool changing) {
  auto moves = json::array();
  for (const auto& move : change.moves)
    moves.push_back({{"addon", move.addon.id}, {"safety", move.safety}, {"changes", move.changes()}});
  return {{"plugin", change.id}, {"version", change.to.version}, {"writes", change.files.has_value()}, {"changing", changing}, {"moves", std::move(moves)}};
}

bool is_well(const std::string& health) {
  const auto parsed = json::parse(health, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("state") || !parsed["state"].is_string()) return false;
  const auto state = parsed["state"].get<std::string>();
  return state == "ok" || state == "healthy" || state == "ready";
}

}  // namespace

// The build in use, as a version that can be gone back to.
Result<PluginVersion> ControlPlane::version_in_use(const plugins::PluginRecord& record) {
  const std::string& id = record.manifest.id;
  VIA_TRY_LET(known, d_.store.plugin_versions().find(id, record.manifest.version));
  if (known && known->sha256 == record.sha256) return *known;
  PluginVersion out;
  out.plugin_id = id;
  out.version = record.manifest.version;
  out.sha256 = record.sha256;
  out.source = record.source == "bundled" ? "bundled" : "pinned";
  out.file = record.folder;
  out.installed_at = now();
  return out;
}

Result<plugins::Manifest> ControlPlane::manifest_of(const PluginVersion& version) const {
  auto text = read_file(plugin_folder(version.file) / bundle::kManifest, 1U << 20);
  if (!text)
    return fail(Code::not_found, "The files of version " + version.version + " of " + version.plugin_id +
                                     " are not where they were. Give its bundle instead: via plugin upgrade FILE");
  return plugins::parse_manifest(std::move(*text));
}

// Every add-on that the change touches, in the state to be touched; `refused` where one cannot come along.
Result<std::vector<PluginMove>> ControlPlane::plan_moves(const plugins::Manifest& from, const plugins::Manifest& to) {
  std::vector<PluginMove> out;
  for (const auto& type : from.types) {
    const auto* next = type_of(to, type.id);
    VIA_TRY_LET(addons, addons_.of_type(type.id));
    for (const auto& addon : addons) {
      const bool destroyed = addon.state == AddonState::destroyed;
      if (next == nullptr && (!destroyed || !addon.final_snapshot.empty()))
        return fail(Code::refused, "Version " + to.version + " does not bring the add-on type '" + type.id + "', which add-on '" +
                                       addon.name.substr(0, addon.name.find('#')) + "' (" + addon.id + ") is of. Nothing was changed.");
      if (destroyed || addon.state == AddonState::failed) continue;
      if (addon.state != AddonState::active)
        return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                        ". Wait until that has ended: via addon status " + addon.name);
      if (next->storage_schema < type.storage_schema && plugins::compare_versions(to.version, from.version) > 0)
        return fail(Code::refused, "Version " + to.version + " has a lower storage schema of '" + type.id + "' than the one in use.");
      PluginMove move;
      move.addon = addon;
      move.to_schema = next->storage_schema;
      VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
      const bool copies = d_.addons.can_snapshot(*instance);
      if (!copies && move.changes())
        return fail(Code::refused, "Add-on '" + addon.name + "' would change its storage from schema " + std::to_string(addon.storage_schema) +
                                       " to " + std::to_string(move.to_schema) + ", and its type '" + type.id +
                                       "' has no snapshots, so there would be no way back. Nothing was changed.");
      if (copies) move.safety = make_id("snap");
      out.push_back(std::move(move));
    }
  }
  return out;
}

json ControlPlane::change_plan(const PluginChange& change) const {
  auto addons = json::array();
  for (const auto& move : change.moves) {
    json one = {{"addon", move.addon.name}, {"app", move.addon.app}, {"from_schema", move.addon.storage_schema}, {"to_schema", move.to_schema}};
    if (move.back) one["restores"] = move.back->id;
    addons.push_back(std::move(one));
  }
  return {{"action", change.kind},
          {"target", {{"plugin", change.id}, {"from", change.from.version}, {"to", change.to.version}, {"sha256", change.to.sha256}}},
          {"touches", {{"addons", std::move(addons)}, {"signed_by", change.to.signed_by}}},
          {"warnings", json::array()}};
}

Result<json> ControlPlane::upgrade_plugin(const ChangePlugin& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  if (request.drain_timeout_seconds < 0 || request.drain_timeout_seconds > 86'400)
    return fail(Code::bad_request, "'drain_timeout_seconds' must be from 0 to 86400.");
  IncomingPlugin incoming;
  if (!request.file.empty()) {
    if (!request.plugin.empty() || !request.to.empty()) return fail(Code::bad_request, "Give a file, or a plugin and the version 'to', not both.");
    VIA_TRY_LET(taken, take_in_plugin(request.file));
    incoming = std::move(taken);
  } else {
    VIA_TRY_LET(known, d_.store.plugin_versions().find(request.plugin, request.to));
    if (!known)
      return fail(Code::not_found, "Version '" + request.to + "' of plugin '" + request.plugin + "' is not here. Give its bundle: via plugin upgrade FILE");
    if (known->signed_by.empty()) VIA_TRY(signer_of(std::nullopt));  // where signatures are required
    VIA_TRY_LET(manifest, manifest_of(*known));
    incoming.manifest = std::move(manifest);
    incoming.version = *known;
  }
  const std::string id = incoming.version.plugin_id;
  VIA_TRY(not_claimed("plugin:" + id));
  const auto record = known_plugin(id);
  if (!record || !record->loaded || !record->trusted)
    return fail(Code::not_found, "Plugin '" + id + "' is not in use here. Install it: via plugin install FILE");
  const int order = plugins::compare_versions(incoming.version.version, record->manifest.version);
  if (record->sha256 == incoming.version.sha256)
    return fail(Code::conflict, "Version " + record->manifest.version + " of " + id + " is in use already, this very build.");
  if (order == 0)
    return fail(Code::conflict, "Another build of version " + record->manifest.version + " of " + id +
                                    " is in use. Give the new build a higher version, or, while it is being developed, trust its folder: via plugin trust FOLDER");
  if (order < 0)
    return fail(Code::refused, "Version " + incoming.version.version + " of " + id + " is older than " + record->manifest.version +
                                   ", which is in use. Go back to the version before: via plugin rollback " + id);
  VIA_TRY_LET(known, d_.store.plugin_versions().find(id, incoming.version.version));
  if (known && known->sha256 != incoming.version.sha256)
    return fail(Code::conflict, "Another build of version " + known->version + " of " + id + " is known here. Remove that one first: via plugin remove " +
                                    id + " --version " + known->version);
  if (known && incoming.files) {
    // It was here before (and was gone back from): its files are used as they are.
    const auto there = bundle::read_unpacked(plugin_folder(known->file));
    if (!there || there->digest != incoming.version.digest)
      return fail(Code::conflict, "The files of version " + known->version + " of " + id + " that are here are not those of this bundle. Remove them first: "
                                      "via plugin remove " + id + " --version " + known->version);
    incoming.files.reset();
  }
  PluginChange change;
  change.kind = "plugin.upgrade";
  change.id = id;
  change.drain_timeout_seconds = request.drain_timeout_seconds;
  VIA_TRY_LET(from, version_in_use(*record));
  change.from = from;
  change.previous = change.from.version;
  change.to = incoming.version;
  VIA_TRY_LET(moves, plan_moves(record->manifest, incoming.manifest));
  change.moves = std::move(moves);
  json plan = change_plan(change);
  if (change.to.signed_by.empty())
    plan["warnings"].push_back(incoming.signer.empty() ? "It is not signed." : "It is signed by a key that this host does not trust.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request.plan));
  if (!shown.is_null()) return answer(shown);
  change.files = std::move(incoming.files);
  return begin_change(std::move(lock), std::move(change), actor, wait);
}

Result<json> ControlPlane::rollback_plugin(const ChangePlugin& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  if (request.drain_timeout_seconds < 0 || request.drain_timeout_seconds > 86'400)
    return fail(Code::bad_request, "'drain_timeout_seconds' must be from 0 to 86400.");
  VIA_TRY_LET(record, show_plugin(request.plugin));
  const std::string id = record.manifest.id;
  VIA_TRY(not_claimed("plugin:" + id));
  VIA_TRY_LET(pin, d_.store.pins().find(id));
  if (!pin || pin->previous.empty() || !record.loaded)
    return fail(Code::refused, "Plugin '" + id + "' was not upgraded here, so there is no version to go back to. See: via plugin show " + id);
  VIA_TRY_LET(target, d_.store.plugin_versions().find(id, pin->previous));
  if (!target) return fail(Code::not_found, "Version " + pin->previous + " of " + id + " was removed. Install another: via plugin upgrade FILE");
  VIA_TRY_LET(manifest, manifest_of(*target));

  PluginChange change;
  change.kind = "plugin.rollback";
  change.id = id;
  change.drain_timeout_seconds = request.drain_timeout_seconds;
  VIA_TRY_LET(from, version_in_use(record));
  change.from = from;
  change.to = *target;
  change.unpin = target->source == "bundled";
  VIA_TRY_LET(moves, plan_moves(record.manifest, manifest));
  change.moves = std::move(moves);
  // The copies that the upgrade made, by add-on.
  VIA_TRY_LET(upgrade, d_.store.journal().find(pin->operation));
  const json made = json::parse(upgrade ? upgrade->result : "{}", nullptr, false);
  const json copies = made.is_object() ? made.value("addons", json::array()) : json::array();
  bool loses = false;
  json warnings = json::array();
  for (auto& move : change.moves) {
    if (!move.changes()) continue;
    std::string copied;
    for (const auto& copy : copies)
      if (copy.value("addon_id", "") == move.addon.id && copy.contains("safety_snapshot") && copy["safety_snapshot"].is_string())
        copied = copy["safety_snapshot"].get<std::string>();
    VIA_TRY_LET(snapshot, snapshots_.find(copied));
    if (copied.empty() || !snapshot || snapshot->deleted_at != 0)
      return fail(Code::refused, "Add-on '" + move.addon.name + "' has no snapshot of storage schema " + std::to_string(move.to_schema) +
                                     (copied.empty() ? " (it was made after the upgrade)" : " (it was deleted)") +
                                     ", so it cannot go back. Save its data if you need it, destroy it, and ask again: via addon destroy " + move.addon.name);
    loses = true;
    move.back = *snapshot;
    warnings.push_back("What was written to '" + move.addon.name + "' since " + format_time(snapshot->created_at) + " is taken away from it; it is kept in a snapshot of schema " +
                       std::to_string(move.addon.storage_schema) + ", which version " + change.from.version + " can restore.");
  }
  json plan = change_plan(change);
  plan["warnings"] = std::move(warnings);
  if (loses && !request.plan.only && !request.yes && request.plan.if_hash.empty())
    return fail(Code::refused, "Going back to version " + change.to.version + " restores what the add-ons held before the upgrade, and what was written since "
                               "is taken away from them. Look at it (via plugin rollback " + id + " --plan), then say --yes.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request.plan));
  if (!shown.is_null()) return answer(shown);
  return begin_change(std::move(lock), std::move(change), actor, wait);
}

Result<json> ControlPlane::begin_change(Lock lock, PluginChange change, const Actor& actor, bool wait) {
  Work work;
  work.kind = change.kind;
  work.target = change.id;
  work.claims = {"plugin:" + change.id};
  for (const auto& move : change.moves) work.claims.push_back("addon:" + move.addon.id);
  work.steps = steps_of(change, false).dump();
  work.run = [this, change = std::make_shared<PluginChange>(std::move(change))](Operation& operation) { return run_change(operation, *change); };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// Puts what a snapshot holds in the place of a closed instance's storage. Again is fine: the snapshot stays.
Result<void> ControlPlane::put_back(const Addon& addon, const Snapshot& snapshot, AddonInstance& instance, const std::string& operation,
                                    const plugins::Watch& watch) {
  const fs::path staging = storage_of(addon) / (".restore-" + operation);
  VIA_TRY(stage(folder_of(addon, snapshot), snapshot, staging, watch,
                [&] { return d_.addons.verify_snapshot(instance, snapshot.id, snapshot.format, staging, watch); }));
  auto restored = d_.addons.restore_snapshot(instance, snapshot.id, snapshot.format, staging, watch);
  if (auto removed = remove_tree(staging); !removed && restored)
    d_.log.warn("plugin.staging_not_removed", {{"addon", addon.id}, {"reason", removed.error().message}});
  return restored;
}

Result<json> ControlPlane::run_change(Operation& operation, PluginChange& change) {
  struct Moving {
    std::shared_ptr<AddonInstance> old, fresh;
    std::optional<Snapshot> safety;
  };
  std::vector<Moving> moving(change.moves.size());
  std::size_t drained = 0, changed = 0;
  const std::string named = "version " + change.to.version + " of " + change.id;
  const auto about = [](const PluginMove& move, Error error) {
    if (error.http_status() == 500) return error;
    // What a plugin says of a request is here said of the version.
    if (error.code == Code::bad_request || error.code == Code::not_found || error.code == Code::unsupported) {
      error.code = Code::refused;
      error.name.clear();
      error.details.clear();
    }
    if (!error.message.ends_with('.')) error.message += '.';
    error.message = "Add-on '" + move.addon.name + "': " + error.message;
    return error;
  };

  const auto prepare = [&]() -> Result<void> {
    if (change.files) {
      VIA_TRY(operation.step("write"));
      VIA_TRY(write_plugin(change.to, *change.files));
    }
    VIA_TRY(operation.step("load"));
    VIA_TRY_LET(loaded, d_.trust.load(plugin_folder(change.to.file).string(), change.to.sha256, change.to.source));
    VIA_TRY(operation.step("drain"));
    for (std::size_t i = 0; i < moving.size(); ++i) {
      const PluginMove& move = change.moves[i];
      VIA_TRY_LET(old, d_.addons.instance(move.addon.id, move.addon.type, move.addon.config));
      moving[i].old = old;
      drained = i + 1;
      auto quiet = d_.addons.drain(*old, static_cast<int>(change.drain_timeout_seconds * 1000), operation.watch());
      if (!quiet) return about(move, quiet.error());
      if (!*quiet)
        return fail(Code::deadline_exceeded, "Operations of add-on '" + move.addon.name + "' still ran " + std::to_string(change.drain_timeout_seconds) +
                                                 " s after it was drained. Nothing was changed. Wait longer with --drain-timeout.");
    }
    VIA_TRY(operation.step("safety_snapshot"));
    for (std::size_t i = 0; i < moving.size(); ++i) {
      const PluginMove& move = change.moves[i];
      if (move.safety.empty()) continue;
      auto taken = copy_storage(operation, move.addon, "safety", "before " + change.kind + " to " + change.id + " " + change.to.version, move.safety);
      if (!taken) return about(move, taken.error());
      VIA_TRY_LET(lock, operation.control());
      VIA_TRY(snapshots_.insert(*taken));
      moving[i].safety = std::move(*taken);
    }
    VIA_TRY(operation.step("suspend"));
    operation.only_forward();
    for (std::size_t i = 0; i < moving.size(); ++i)
      if (auto closed = d_.addons.suspend(*moving[i].old); !closed) return about(change.moves[i], closed.error());
    VIA_TRY(operation.step("change"));
    for (std::size_t i = 0; i < moving.size(); ++i) {
      const PluginMove& move = change.moves[i];
      const bool migrates = move.changes() && !move.back;
      VIA_TRY_LET(fresh, d_.addons.detached(move.addon.id, move.addon.type, move.addon.config,
                                            migrates ? move.addon.storage_schema : move.to_schema, change.to.sha256));
      moving[i].fresh = fresh;
      if (migrates)
        if (auto planned = d_.addons.plan_migration(*fresh, move.addon.storage_schema, move.to_schema); !planned) return about(move, planned.error());
    }
    VIA_TRY(operation.remember(steps_of(change, true)));
    for (std::size_t i = 0; i < moving.size(); ++i) {
      const PluginMove& move = change.moves[i];
      if (!move.changes()) continue;
      changed = i + 1;
      auto done = move.back ? put_back(move.addon, *move.back, *moving[i].fresh, operation.id(), operation.watch())
                            : d_.addons.migrate(*moving[i].fresh, move.addon.storage_schema, move.to_schema, operation.watch());
      if (!done) return about(move, done.error());
    }
    VIA_TRY(operation.step("open"));
    for (std::size_t i = 0; i < moving.size(); ++i) {
      const PluginMove& move = change.moves[i];
      if (auto opened = d_.addons.open(*moving[i].fresh); !opened) return about(move, opened.error());
      VIA_TRY_LET(health, d_.addons.health(*moving[i].fresh));
      if (!is_well(health))
        return fail(Code::refused, "Add-on '" + move.addon.name + "' is not well under " + named + ": its health is " + health.substr(0, 200) + ".");
      if (auto closed = d_.addons.suspend(*moving[i].fresh); !closed) return about(move, closed.error());
    }
    return {};
  };
  // Back to where everything was. What cannot be put back keeps its gate closed and its journal row open: the next start
  // tries again.
  const auto undo = [&](Error why) -> Error {
    std::string lost;
    for (std::size_t i = 0; i < drained; ++i) {
      const PluginMove& move = change.moves[i];
      if (moving[i].fresh) (void)d_.addons.suspend(*moving[i].fresh);
      if (i < changed && move.changes())
        if (auto back = put_back(move.addon, *moving[i].safety, *moving[i].old, operation.id(), {}); !back) {
          d_.log.error("plugin.not_put_back", {{"addon", move.addon.id}, {"reason", back.error().message}});
          lost += (lost.empty() ? "" : ", ") + move.addon.name;
          continue;
        }
      if (!move.addon.drained && moving[i].old) (void)d_.addons.resume(*moving[i].old);
    }
    if (change.files) (void)remove_plugin_files(change.id, change.to.version);
    // A copy that got its name but no row; what cannot be removed now is for the sweep of the next start.
    if (auto lock = operation.control())
      for (std::size_t i = 0; i < drained; ++i)
        if (!moving[i].safety) (void)remove_unrecorded(change.moves[i].addon, change.moves[i].safety);
    if (!lost.empty()) {
      why.message += "; the data of " + lost + " could not be put back yet";
      return unknown(why);
    }
    if (why.http_status() != 500)
      why.message += " Version " + change.from.version + " of " + change.id + " serves again; no data was lost.";
    return why;
  };
  if (auto prepared = prepare(); !prepared) return undo(prepared.error());

  const json result = {{"plugin", change.id},
                       {"from", change.from.version},
                       {"to", change.to.version},
                       {"sha256", change.to.sha256},
                       {"signed_by", change.to.signed_by.empty() ? json(nullptr) : json(change.to.signed_by)},
                       {"addons", moves_json(change.moves)},
                       {"operation", operation.id()}};
  const auto commit = [&]() -> Result<void> {
    VIA_TRY_LET(transaction, Transaction::begin(d_.store.db()));
    PluginVersion to = change.to;
    if (to.installed_at == 0) to.installed_at = now();
    VIA_TRY(d_.store.plugin_versions().put(change.from));
    VIA_TRY(d_.store.plugin_versions().put(to));
    if (change.unpin) {
      VIA_TRY(d_.store.pins().remove(change.id));
    } else {
      VIA_TRY(d_.store.pins().put({change.id, to.sha256, to.file, true, now(), to.version, change.previous,
                                   change.previous.empty() ? std::string() : operation.id()}));
    }
    for (const auto& move : change.moves) VIA_TRY(addons_.set_schema(move.addon.id, move.to_schema, now()));
    VIA_TRY(end_done(operation, result,
                     {{"from", change.from.version}, {"to", to.version}, {"sha256", to.sha256}, {"addons", change.moves.size()}}));
    return transaction.commit();
  };
  auto held = operation.control();
  if (!held) return undo(held.error());
  if (auto committed = commit(); !committed) {
    if (is_unknown(committed.error()) || committed.error().message.find("outcome unknown") != std::string::npos) return unknown(committed.error());
    held->unlock();
    return undo(committed.error());
  }
  operation.stands();
  VIA_TRY(d_.addons.use_build(change.id, change.to.sha256));
  for (std::size_t i = 0; i < moving.size(); ++i) {
    const Addon& addon = change.moves[i].addon;
    d_.addons.record_schema(addon.id, change.moves[i].to_schema);
    d_.addons.adopt(addon.id, moving[i].fresh);
    VIA_TRY_LET(grants, build_grants({}, addon.id));
    VIA_TRY_LET(shares, build_shares(addon.id));
    // The old instance is drained and closed: nothing runs under what this replaces, and nobody need wait.
    publish_rights({std::move(grants), {}, false, std::move(shares)});
    if (!addon.drained) VIA_TRY(d_.addons.resume(*moving[i].fresh));
  }
  d_.log.info("plugin.changed", {{"plugin", change.id}, {"from", change.from.version}, {"to", change.to.version}});
  return answer(result);
}

// A change that was not committed, after a crash: the old build is loaded, and what had begun to change is put back.
Result<std::string> ControlPlane::recover_change(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  if (!steps.is_object() || !steps.value("moves", json()).is_array()) return std::string("undone");
  const bool changing = steps.value("changing", false);
  std::string outcome = "undone";
  for (const auto& move : steps["moves"]) {
    VIA_TRY_LET(addon, addons_.find_by_id(move.value("addon", "")));
    if (!addon || addon->state == AddonState::destroyed) continue;
    const std::string safety = move.value("safety", "");
    VIA_TRY(remove_unrecorded(*addon, safety));
    if (!changing || !move.value("changes", false)) continue;
    const auto put = [&]() -> Result<void> {
      VIA_TRY_LET(snapshot, snapshots_.find(safety));
      if (!snapshot) return fail(Code::internal, "its safety snapshot is not on record");
      VIA_TRY_LET(instance, d_.addons.instance(addon->id, addon->type, addon->config));
      return put_back(*addon, *snapshot, *instance, row.id, {});
    };
    if (auto back = put(); !back) {
      d_.log.error("plugin.not_put_back", {{"addon", addon->id}, {"reason", back.error().message}});
      VIA_TRY(addons_.set_state(addon->id, AddonState::failed,
                                "a change of its plugin's version was interrupted and its data could not be put back: via addon restore " + addon->name +
                                    " --snapshot " + safety,
                                now()));
      outcome = "failed";
    }
  }
  if (steps.value("writes", false)) {
    const std::string id = steps.value("plugin", ""), version = steps.value("version", "");
    VIA_TRY_LET(known, d_.store.plugin_versions().find(id, version));
    if (!known) VIA_TRY(remove_plugin_files(id, version));
  }
  return outcome;
}

}  // namespace via::lifecycle
