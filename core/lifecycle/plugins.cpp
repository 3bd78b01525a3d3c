// Plugins: what is there, and the operator's decision to trust a file.
#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using store::Transaction;

Result<plugins::PluginRecord> ControlPlane::show_plugin(const std::string& id_or_type) const {
  for (auto& plugin : d_.addons.plugins()) {
    if (plugin.manifest.id == id_or_type) return plugin;
    for (const auto& type : plugin.manifest.types)
      if (type.id == id_or_type) return plugin;
  }
  return fail(Code::not_found, "Plugin '" + id_or_type + "' does not exist. See which do: via plugin list");
}

Result<nlohmann::json> ControlPlane::verify_plugin(const std::string& file) {
  VIA_TRY_LET(lock, control());
  if (!std::filesystem::path(file).is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  return d_.trust.verify(file);
}

Result<plugins::PluginRecord> ControlPlane::trust_plugin(const std::string& file, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  if (!std::filesystem::path(file).is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  VIA_TRY_LET(plugin, d_.trust.trust(file));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.pins().put({plugin.manifest.id, plugin.sha256, file, true, now()}));
  VIA_TRY(record_change("plugin.trust", plugin.manifest.id, actor, {{"sha256", plugin.sha256}}));
  VIA_TRY(change.commit());
  d_.log.info("plugin.trusted", {{"plugin", plugin.manifest.id}, {"sha256", plugin.sha256}});
  return plugin;
}

Result<plugins::PluginRecord> ControlPlane::untrust_plugin(const std::string& id_or_type, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(plugin, show_plugin(id_or_type));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.pins().put({plugin.manifest.id, plugin.sha256, "", false, now()}));
  VIA_TRY(record_change("plugin.untrust", plugin.manifest.id, actor, {{"sha256", plugin.sha256}}));
  VIA_TRY(change.commit());
  VIA_TRY(d_.trust.untrust(plugin.manifest.id));
  d_.log.info("plugin.untrusted", {{"plugin", plugin.manifest.id}});
  plugin.trusted = false;
  if (auto after = show_plugin(plugin.manifest.id)) plugin = *after;
  plugin.trusted = false;
  return plugin;
}

}  // namespace via::lifecycle
