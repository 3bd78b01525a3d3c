// Destroying an add-on: rights end first, then the data goes, then the name is given back.
#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using store::Transaction;

Result<catalog::Addon> ControlPlane::destroy_addon(const std::string& name_or_id,
                                                   const std::optional<std::string>& app, bool force,
                                                   const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, app));
  if (addon.state == AddonState::destroyed)
    return fail(Code::conflict, "Add-on '" + name_or_id + "' is destroyed already.");
  VIA_TRY_LET(bound, bindings_.of_addon(addon.id));
  VIA_TRY_LET(users, releases_.apps_with_current(addon.id));
  VIA_TRY_LET(instances, instances_.using_addon(addon.id));
  if (!force && addon.state != AddonState::destroying) {
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

  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_state(addon.id, AddonState::destroying, "", now()));
  VIA_TRY(bindings_.revoke_all_of_addon(addon.id, now()));
  VIA_TRY_LET(operation, begin_operation("addon.destroy", addon.id, actor, {{"addon", addon.id}}));
  VIA_TRY(change.commit());

  if (!instances.empty()) {
    VIA_TRY_LET(grants, build_grants({}, addon.id));
    d_.authority.publish({std::move(grants), {}, true});
  }
  VIA_TRY(finish_destroy(addon, operation, actor));
  VIA_TRY_LET(destroyed, addons_.find_by_id(addon.id));
  d_.log.info("addon.destroyed", {{"addon", addon.id}, {"operation", operation}});
  return destroyed.value_or(addon);
}

Result<void> ControlPlane::finish_destroy(const catalog::Addon& addon, const std::string& operation,
                                          const Actor& actor) {
  const auto remove = [&]() -> Result<void> {
    const auto instance = d_.addons.instance(addon.id, addon.type, addon.config);
    if (!instance) {
      // The type may be gone; a record without data needs no plugin to end.
      if (has_data(addon)) return instance.error();
      return {};
    }
    return d_.addons.deprovision(**instance);
  };
  const nlohmann::json details = {{"addon", addon.name}, {"app", addon.app}, {"type", addon.type}};
  if (auto removed = remove(); !removed) {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(addons_.set_state(addon.id, AddonState::destroying, "the data could not be removed", now()));
    VIA_TRY(end_operation(operation, "addon.destroy", addon.id, actor, "failed",
                          std::string(removed.error().wire_name()), details));
    VIA_TRY(change.commit());
    d_.log.warn("addon.destroy_failed", {{"addon", addon.id}, {"reason", removed.error().message}});
    return removed;
  }
  d_.addons.forget(addon.id);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_state(addon.id, AddonState::destroyed, "", now()));
  // A failed record that gave its name back already keeps the name it has.
  if (addon.name.find('#') == std::string::npos)
    VIA_TRY(addons_.rename(addon.id, catalog::tombstone(addon.name, AddonState::destroyed, addon.id), now()));
  VIA_TRY(end_operation(operation, "addon.destroy", addon.id, actor, "done", "ok", details));
  return change.commit();
}

}  // namespace via::lifecycle
