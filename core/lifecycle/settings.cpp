// Plain configuration values of apps.
#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using store::Transaction;

Result<config::SetResult> ControlPlane::set_config(const std::string& app_name,
                                                   const std::map<std::string, std::string>& values,
                                                   const Actor& actor) {
  constexpr std::size_t kMaximumValueBytes = 64U << 10;
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  if (values.empty()) return fail(Code::bad_request, "'values' must have at least one key.");
  VIA_TRY_LET(taken, bindings_.taken_names(app.id));
  for (const auto& [key, value] : values) {
    VIA_TRY(check_key("A configuration key", key));
    if (value.size() > kMaximumValueBytes)
      return fail(Code::bad_request, "The value of " + key + " is longer than 64 KiB.");
    for (const auto& name : taken)
      if (name.name == key)
        return fail(Code::conflict, key + " is a name of the binding " + name.binding + " of app '" + app_name +
                                        "'. Choose another key, or unbind it: via addon unbind " + app_name + " " +
                                        name.binding);
  }
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(result, value_table_.set(app.id, values, now()));
  if (!result.changed) return result;
  auto keys = nlohmann::json::array();
  for (const auto& [key, generation] : result.keys) keys.push_back({{"key", key}, {"generation", generation}});
  VIA_TRY(record_change("config.set", app.id, actor,
                        {{"app", app_name}, {"profile_version", result.profile_version}, {"keys", keys}}));
  VIA_TRY_LET(snapshot, value_table_.load(app.id));
  VIA_TRY(change.commit());
  values_.set(std::move(snapshot));
  return result;
}

Result<std::int64_t> ControlPlane::unset_config(const std::string& app_name, const std::string& key,
                                                const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY(check_key("A configuration key", key));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  auto version = value_table_.unset(app.id, key, now());
  if (!version && version.error().code == Code::not_found)
    return fail(Code::not_found, "App '" + app_name + "' has no configuration value " + key +
                                     ". See what it has: via config list " + app_name);
  if (!version) return version;
  VIA_TRY(record_change("config.unset", app.id, actor,
                        {{"app", app_name}, {"profile_version", *version}, {"key", key}}));
  VIA_TRY_LET(snapshot, value_table_.load(app.id));
  VIA_TRY(change.commit());
  values_.set(std::move(snapshot));
  return version;
}

Result<std::shared_ptr<const config::AppConfig>> ControlPlane::list_config(const std::string& app_name) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  return value_table_.load(app.id);
}

}  // namespace via::lifecycle
