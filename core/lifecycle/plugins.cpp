// Plugins: what is there, and the operator's decision to trust a file.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/plugin_change.hpp"
#include "core/lifecycle/views.hpp"
#include "via/plugin.h"

namespace via::lifecycle {

using nlohmann::json;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

}  // namespace

Result<plugins::PluginRecord> ControlPlane::show_plugin(const std::string& id_or_type) const {
  for (auto& plugin : d_.addons.plugins()) {
    if (plugin.manifest.id == id_or_type) return plugin;
    for (const auto& type : plugin.manifest.types)
      if (type.id == id_or_type) return plugin;
  }
  return fail(Code::not_found, "Plugin '" + id_or_type + "' does not exist. See which do: via plugin list");
}

Result<json> ControlPlane::plugin_versions(const std::string& id) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(versions, d_.store.plugin_versions().of(id));
  VIA_TRY_LET(pin, d_.store.pins().find(id));
  std::sort(versions.begin(), versions.end(),
            [](const auto& a, const auto& b) { return plugins::compare_versions(a.version, b.version) > 0; });
  auto out = list_json(versions);
  for (auto& one : out) {
    one["current"] = pin && pin->trusted && pin->version == one["version"];
    one["previous"] = pin && !pin->previous.empty() && pin->previous == one["version"];
  }
  return answer(std::move(out));
}

Result<json> ControlPlane::verify_plugin(const std::string& file) {
  VIA_TRY_LET(lock, control());
  const fs::path path(file);
  if (!path.is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  std::error_code ec;
  if (!fs::is_regular_file(path, ec) || path.extension() != bundle::kExtension) return d_.trust.verify(file);
  auto checks = json::array();
  const auto note = [&](const char* name, bool ok, const std::string& detail) { checks.push_back({{"name", name}, {"ok", ok}, {"detail", detail}}); };
  const auto read = bundle::read_archive(path);
  note("bundle", read.has_value(), read ? "well-formed, its SHA256SUMS are those of its files" : read.error().message);
  bool ok = read.has_value();
  if (read) {
    note("manifest", true, read->manifest.id + " " + read->manifest.version);
    const bool speaks = read->manifest.abi_major == VIA_ABI_MAJOR;
    note("abi", speaks, "ABI " + std::to_string(read->manifest.abi_major) + "." + std::to_string(read->manifest.abi_minor));
    const std::string fingerprint = read->signature ? bundle::fingerprint(read->signature->key) : std::string();
    VIA_TRY_LET(key, d_.store.plugin_keys().find_by_fingerprint(fingerprint));
    const bool trusted = key.has_value() || !settings_.require_plugin_signature;
    note("signature", trusted,
         key                  ? "signed by '" + key->name + "'"
         : fingerprint.empty() ? "not signed"
                               : "signed by a key that is not trusted here (fingerprint " + fingerprint + ")");
    ok = speaks && trusted;
  }
  return answer({{"file", file}, {"ok", ok}, {"checks", std::move(checks)}, {"sha256", read ? read->library_sha256 : ""}});
}

Result<plugins::PluginRecord> ControlPlane::trust_plugin(const std::string& file, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  const fs::path path(file);
  if (!path.is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  std::error_code ec;
  if (path.extension() == bundle::kExtension && fs::is_regular_file(path, ec))
    return fail(Code::bad_request, "That is a bundle. Install it: via plugin install FILE");
  const fs::path folder = fs::is_directory(path, ec) ? path : path.parent_path();
  store::PluginVersion version;
  version.source = "pinned";
  version.file = folder.lexically_normal().string();
  std::string pin;
  if (settings_.require_plugin_signature) {
    if (!fs::exists(folder / bundle::kSignature, ec)) {
      VIA_TRY(signer_of(std::nullopt));
    }
    VIA_TRY_LET(read, bundle::read_unpacked(folder));
    VIA_TRY_LET(signer, signer_of(read.signature));
    version.signed_by = signer;
    version.digest = read.digest;
    pin = read.library_sha256;  // what was signed is what is loaded
  }
  const auto loaded = d_.trust.load(folder.string(), pin, "pinned");
  if (!loaded) return loaded.error();
  const std::string id = loaded->manifest.id;
  VIA_TRY(not_claimed("plugin:" + id));
  version.plugin_id = id;
  version.version = loaded->manifest.version;
  version.sha256 = loaded->sha256;
  const auto record = known_plugin(id);
  PluginChange change;
  if (record && record->loaded && record->sha256 != loaded->sha256) {
    VIA_TRY_LET(moves, plan_moves(record->manifest, loaded->manifest));
    change.moves = std::move(moves);
    for (const auto& move : change.moves)
      if (move.changes())
        return fail(Code::refused, "This build has storage schema " + std::to_string(move.to_schema) + " and add-on '" + move.addon.name + "' has " +
                                       std::to_string(move.addon.storage_schema) + ". Change its storage with a way back: via plugin upgrade FOLDER");
  }
  if (!change.moves.empty()) {
    // Add-ons are open under another build: they change over to this one together.
    change.kind = "plugin.trust";
    change.id = id;
    VIA_TRY_LET(from, version_in_use(*record));
    change.from = from;
    change.to = version;
    if (change.from.version != version.version) change.previous = change.from.version;
    VIA_TRY_LET(changed, begin_change(std::move(lock), std::move(change), actor, true));
    return show_plugin(id);
  }
  version.installed_at = now();
  VIA_TRY_LET(transaction, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.plugin_versions().put(version));
  VIA_TRY(d_.store.pins().put({id, version.sha256, version.file, true, now(), version.version}));
  VIA_TRY(record_change("plugin.trust", id, actor, {{"sha256", version.sha256}, {"signed_by", version.signed_by}}));
  VIA_TRY(transaction.commit());
  VIA_TRY(d_.addons.use_build(id, version.sha256));
  d_.log.info("plugin.trusted", {{"plugin", id}, {"sha256", version.sha256}});
  return *loaded;
}

Result<plugins::PluginRecord> ControlPlane::untrust_plugin(const std::string& id_or_type, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(plugin, show_plugin(id_or_type));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(not_claimed("plugin:" + plugin.manifest.id));
  VIA_TRY_LET(pin, d_.store.pins().find(plugin.manifest.id));
  VIA_TRY(d_.store.pins().put({plugin.manifest.id, plugin.sha256, pin ? pin->file : "", false, now(), pin ? pin->version : ""}));
  VIA_TRY(record_change("plugin.untrust", plugin.manifest.id, actor, {{"sha256", plugin.sha256}}));
  VIA_TRY(change.commit());
  VIA_TRY(d_.trust.untrust(plugin.manifest.id));
  d_.log.info("plugin.untrusted", {{"plugin", plugin.manifest.id}});
  plugin.trusted = false;
  if (auto after = show_plugin(plugin.manifest.id)) plugin = *after;
  plugin.trusted = false;
  return plugin;
}

Result<void> ControlPlane::note_schemas() {
  VIA_TRY_LET(living, addons_.list());
  std::vector<catalog::Addon*> unknown;
  for (auto& addon : living) {
    if (addon.storage_schema == 0) {
      // Of an earlier Via, which knew one build at a time: it has what that build has.
      const auto type = d_.addons.type(addon.type);
      if (!type) continue;
      addon.storage_schema = (*type)->storage_schema;
      unknown.push_back(&addon);
    }
    d_.addons.record_schema(addon.id, addon.storage_schema);
    d_.addons.record_owner(addon.id, addon.app_id);
  }
  if (unknown.empty()) return {};
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  for (const auto* addon : unknown) VIA_TRY(addons_.set_schema(addon->id, addon->storage_schema, addon->updated_at));
  return change.commit();
}

}  // namespace via::lifecycle
