// Add-ons: create (with its binding), list, status.
#include <system_error>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/doctor.hpp"
#include "core/lifecycle/unknown.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using store::Transaction;

bool ControlPlane::has_data(const catalog::Addon& addon) const {
  std::error_code ec;
  const fs::path folder = settings_.state_dir / "addons" / addon.type / addon.id;
  if (!fs::exists(fs::symlink_status(folder, ec))) return false;
  for (fs::recursive_directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
    if (!at->is_directory(ec) && (!at->is_regular_file(ec) || at->file_size(ec) > 0)) return true;
  return static_cast<bool>(ec);  // what cannot be looked at is taken for data
}

// In the caller's transaction: the name is free, or an empty failed record gives it back.
Result<void> ControlPlane::free_name(const std::string& name) {
  VIA_TRY_LET(holder, addons_.find_by_name(name));
  if (!holder) return {};
  if (holder->state != AddonState::failed)
    return fail(Code::conflict, "Add-on '" + name + "' exists already (app '" + holder->app +
                                    "'). Look at it: via addon status " + name);
  if (has_data(*holder))
    return fail(Code::conflict, "Add-on '" + name +
                                    "' failed earlier and still has data on disk. Repair it (via addon repair " + name +
                                    "), or save what is needed and give the name back: via addon destroy " + name);
  return addons_.rename(holder->id, catalog::tombstone(name, AddonState::failed, holder->id), now());
}

Result<CreatedAddon> ControlPlane::create_addon(const CreateAddon& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY(check_name("The add-on's name", request.name));
  VIA_TRY(check_name("The app's name", request.app));
  VIA_TRY_LET(type, d_.addons.type(request.type));
  VIA_TRY(not_claimed("plugin:" + type->plugin_id));  // its version is being changed
  VIA_TRY(d_.addons.check_config(*type, request.config));
  VIA_TRY_LET(existing, apps_.find(request.app));

  catalog::Addon addon;
  addon.id = make_id("addon");
  addon.name = request.name;
  addon.app = request.app;
  addon.type = request.type;
  addon.config = request.config;
  addon.storage_schema = type->storage_schema;
  addon.created_at = addon.updated_at = now();
  std::optional<PlannedBinding> plan;
  json steps = {{"addon", addon.id}};
  if (request.bind) {
    VIA_TRY(check_binding_name(existing ? existing->id : std::string(), request.app, *request.bind, *type));
    plan = PlannedBinding{make_id("bind"), *request.bind, request.read_only};
    steps["binding"] = {{"id", plan->id}, {"name", plan->name}, {"read_only", plan->read_only}};
  }

  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(free_name(request.name));
  if (existing) {
    addon.app_id = existing->id;
  } else {
    VIA_TRY_LET(made, insert_app(request.app, actor));
    addon.app_id = made.id;
  }
  VIA_TRY(addons_.insert(addon));
  VIA_TRY_LET(operation, begin_operation("addon.create", addon.id, actor, steps));
  VIA_TRY(change.commit());
  d_.addons.record_schema(addon.id, addon.storage_schema);
  d_.addons.record_owner(addon.id, addon.app_id);

  VIA_TRY_LET(created, finish_create(addon, operation, plan, actor));
  created.app_created = !existing;
  d_.log.info("addon.created", {{"addon", addon.id}, {"type", addon.type}, {"operation", operation}});
  return created;
}

Result<CreatedAddon> ControlPlane::finish_create(const catalog::Addon& addon, const std::string& operation,
                                                 const std::optional<PlannedBinding>& plan, const Actor& actor) {
  const auto provision = [&]() -> Result<Described> {
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    VIA_TRY(d_.addons.provision(*instance));
    if (!plan) return Described{};
    return apply_binding(addon, *plan, 1);
  };
  json details = {{"addon", addon.name}, {"app", addon.app}, {"type", addon.type}};
  const auto described = provision();
  if (!described) {
    const Error& error = described.error();
    // What was half made goes; when that fails too, the record says that there is data (has_data).
    if (auto instance = d_.addons.instance(addon.id, addon.type, addon.config)) (void)d_.addons.deprovision(**instance);
    d_.addons.forget(addon.id);
    const std::string problem(error.http_status() >= 500 ? "provisioning failed" : error.message);
    const auto close = [&]() -> Result<void> {
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(addons_.set_state(addon.id, AddonState::failed, problem, now()));
      VIA_TRY(end_operation(operation, "addon.create", addon.id, actor, "failed", std::string(error.wire_name()),
                            details));
      return change.commit();
    };
    if (auto closed = close(); !closed) return unknown(closed.error());  // the next start provisions it
    d_.log.warn("addon.create_failed", {{"addon", addon.id}, {"code", error.wire_name()}, {"reason", error.message}});
    return error;
  }

  CreatedAddon out;
  out.operation = operation;
  const auto finish = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
    if (plan) {
      bindings::Binding binding;
      binding.id = plan->id;
      binding.app_id = addon.app_id;
      binding.addon_id = addon.id;
      binding.name = plan->name;
      binding.read_only = plan->read_only;
      binding.created_at = now();
      VIA_TRY(bindings_.insert(binding, described->descriptor, described->derived));
      details["binding"] = plan->name;
    }
    VIA_TRY(end_operation(operation, "addon.create", addon.id, actor, "done", "ok", details));
    VIA_TRY_LET(made, addons_.find_by_id(addon.id));
    if (plan) {
      VIA_TRY_LET(bound, bindings_.find(plan->id));
      out.binding = std::move(bound);
    }
    out.addon = made.value_or(addon);
    return change.commit();
  };
  if (auto finished = finish(); !finished) return unknown(finished.error());  // the next start does it
  return out;
}

Result<std::vector<catalog::Addon>> ControlPlane::list_addons(const std::optional<std::string>& app) {
  VIA_TRY_LET(lock, control());
  if (!app) return addons_.list();
  VIA_TRY_LET(owner, need_app(*app));
  return addons_.list(owner.id);
}

Result<AddonStatus> ControlPlane::addon_status(const std::string& name_or_id, const std::optional<std::string>& app) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  VIA_TRY_LET(before, bindings_.all_of_addon(addon.id));
  lock.unlock();
  const AskedStorage asked = ask_storage(addon);
  VIA_TRY_LET(held, control());
  AddonStatus out;
  VIA_TRY_LET(bound, bindings_.of_addon(addon.id));
  VIA_TRY_LET(all, bindings_.all_of_addon(addon.id));
  VIA_TRY_LET(users, releases_.apps_with_current(addon.id));
  VIA_TRY_LET(instances, instances_.using_addon(addon.id));
  const bool active = addon.state == AddonState::active;

  out.layers.push_back({"metadata", active, std::string(to_string(addon.state)) +
                                                (addon.problem.empty() ? "" : ": " + addon.problem)});
  std::string names;
  for (const auto& b : bound)
    names += (names.empty() ? "" : ", ") + b.name + " in " + b.app + " (generation " + std::to_string(b.newest()) + ")";
  out.layers.push_back({"binding", !bound.empty(),
                        bound.empty() ? "not bound. Bind it: via addon bind " + addon.app + " " + addon.name +
                                            " --binding NAME"
                                      : names});
  out.layers.push_back(asked.storage);
  if (asked.applied) out.layers.push_back(credentials_layer(addon, before, all, *asked.applied));
  names.clear();
  for (const auto& user : users) names += (names.empty() ? "" : ", ") + user;
  out.layers.push_back({"release", !users.empty(),
                        users.empty() ? "in no current release. Make one: via deploy create " + addon.app : names});
  out.layers.push_back({"runtime", !instances.empty(), std::to_string(instances.size()) + " instance(s)"});
  out.usage = uses_of(instances, addon.id);
  VIA_TRY_LET(snapshots, snapshots_.of_addon(addon.id));
  out.snapshots = snapshots.size();
  VIA_TRY_LET(shares, shares_.list(addon.id));
  out.shares = static_cast<std::size_t>(std::count_if(shares.begin(), shares.end(), [&](const auto& s) { return s.live(now()); }));
  out.addon = std::move(addon);
  out.bindings = std::move(bound);
  return out;
}

}  // namespace via::lifecycle
