// Bindings: bind and unbind. Both act on future releases only.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using nlohmann::json;
using store::Transaction;

Result<void> ControlPlane::check_binding_name(const std::string& app_id, const std::string& app,
                                              const std::string& binding, const plugins::AddonType& type) {
  VIA_TRY(check_key("The binding's name", binding));
  std::vector<std::string> names = {binding};
  for (const auto& suffix : type.derived) names.push_back(binding + suffix);
  for (const auto& name : names) VIA_TRY(check_key("A key derived from the binding's name", name));
  if (app_id.empty()) return {};
  VIA_TRY_LET(taken, bindings_.taken_names(app_id));
  VIA_TRY_LET(values, value_table_.list(app_id));
  for (const auto& name : names) {
    for (const auto& other : taken)
      if (other.name == name)
        return fail(Code::conflict, "App '" + app + "' uses the name " + name + " for its binding " + other.binding +
                                        " already. Choose another, or free it: via addon unbind " + app + " " +
                                        other.binding);
    for (const auto& value : values)
      if (value.key == name)
        return fail(Code::conflict, "App '" + app + "' has a " + (value.secret() ? "secret " : "configuration value ") + name +
                                        ". Choose another name, or remove it: via " +
                                        (value.secret() ? "secret" : "config") + " unset " + app + " " + name);
  }
  return {};
}

Result<bindings::Binding> ControlPlane::bind_addon(const std::string& app_name, const std::string& name_or_id,
                                                   const std::string& binding_name, bool read_only,
                                                   const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY_LET(addon, need_addon(name_or_id, std::nullopt));
  VIA_TRY(not_claimed("addon:" + addon.id));
  if (addon.state != catalog::AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                    " and cannot be bound. See why: via addon status " + addon.name);
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  VIA_TRY(check_binding_name(app.id, app.name, binding_name, *type));

  const PlannedBinding plan{make_id("bind"), binding_name, read_only};
  VIA_TRY_LET(operation, begin_operation("addon.bind", addon.id, actor,
                                         {{"addon", addon.id}, {"binding", {{"id", plan.id}, {"read_only", read_only}}}}));
  const json details = {{"app", app.name}, {"addon", addon.name}, {"binding", binding_name}, {"read_only", read_only}};
  const auto described = apply_binding(addon, plan, 1);
  if (!described) {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation, "addon.bind", addon.id, actor, "failed",
                          std::string(described.error().wire_name()), details));
    VIA_TRY(change.commit());
    return described.error();
  }
  bindings::Binding binding;
  binding.id = plan.id;
  binding.app_id = app.id;
  binding.addon_id = addon.id;
  binding.name = binding_name;
  binding.read_only = read_only;
  binding.created_at = now();
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(bindings_.insert(binding, described->descriptor, described->derived));
  VIA_TRY(end_operation(operation, "addon.bind", addon.id, actor, "done", "ok", details));
  VIA_TRY_LET(made, bindings_.find(plan.id));
  VIA_TRY(change.commit());
  d_.log.info("addon.bound", {{"addon", addon.id}, {"app", app.name}, {"binding", binding_name}});
  return made.value_or(binding);
}

Result<std::vector<bindings::Binding>> ControlPlane::unbind_addon(const std::string& app_name,
                                                                  const std::string& target, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY_LET(bound, bindings_.of_app(app.id));
  std::erase_if(bound, [&](const bindings::Binding& b) {
    return b.name != target && b.addon != target && b.addon_id != target;
  });
  if (bound.empty())
    return fail(Code::not_found, "App '" + app_name + "' has no binding '" + target +
                                     "'. See what it has: via app show " + app_name);
  for (const auto& binding : bound) VIA_TRY(not_claimed("addon:" + binding.addon_id));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  for (auto& binding : bound) {
    binding.removed_at = now();
    VIA_TRY(bindings_.remove(binding.id, now()));
    VIA_TRY(record_change("addon.unbind", binding.addon_id, actor,
                          {{"app", app.name}, {"addon", binding.addon}, {"binding", binding.name}}));
  }
  VIA_TRY(change.commit());
  for (const auto& binding : bound)
    d_.log.info("addon.unbound", {{"addon", binding.addon_id}, {"app", app.name}, {"binding", binding.name}});
  return bound;
}

}  // namespace via::lifecycle
