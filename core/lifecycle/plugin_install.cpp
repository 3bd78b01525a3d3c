// Bundles of plugins: taking one in, installing it, removing it, and the keys whose signatures count.
//
// A bundle is checked whole before anything of it is written. Its files have their name only when all of them are synced,
// its types are enabled only when its pin is committed, and a start after a crash removes files without a row.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/base64.hpp"
#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/plugin_change.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using store::PluginVersion;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

bool is_archive(const fs::path& file) {
  std::error_code ec;
  return fs::is_regular_file(file, ec) && file.extension() == bundle::kExtension;
}

std::string folder_name(const std::string& id, const std::string& version) { return "plugins/" + id + "/" + version; }

}  // namespace

fs::path ControlPlane::plugin_folder(const std::string& file) const {
  return fs::path(file).is_absolute() ? fs::path(file) : settings_.state_dir / file;
}

// The name of the trusted key that signed it; empty when none did and none must.
Result<std::string> ControlPlane::signer_of(const std::optional<bundle::Signature>& signature) {
  if (!signature) {
    if (settings_.require_plugin_signature)
      return fail(Code::refused, "The plugin is not signed, and this host takes only what a trusted key signed "
                                 "(require_plugin_signature). Ask its author for a signed bundle: via plugin pack FOLDER --sign KEYFILE");
    return std::string();
  }
  const std::string fingerprint = bundle::fingerprint(signature->key);
  VIA_TRY_LET(key, d_.store.plugin_keys().find_by_fingerprint(fingerprint));
  if (key) return key->name;
  if (settings_.require_plugin_signature)
    return fail(Code::refused, "The plugin is signed by a key that this host does not trust (fingerprint " + fingerprint +
                                   "). If it is its author's, trust it: via plugin keys add NAME FILE.pub");
  return std::string();
}

Result<IncomingPlugin> ControlPlane::take_in_plugin(const std::string& file) {
  if (!fs::path(file).is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  std::error_code ec;
  IncomingPlugin out;
  fs::path folder = fs::is_directory(file, ec) ? fs::path(file) : fs::path(file).parent_path();
  const bool archive = is_archive(file);
  const bool unpacked = !archive && fs::exists(folder / bundle::kSignature, ec);
  VIA_TRY_LET(read, archive ? bundle::read_archive(file) : unpacked ? bundle::read_unpacked(folder) : bundle::gather(folder, nullptr));
  VIA_TRY_LET(signer, signer_of(read.signature));
  if (read.signature) out.signer = bundle::fingerprint(read.signature->key);
  out.version.plugin_id = read.manifest.id;
  out.version.version = read.manifest.version;
  out.version.sha256 = read.library_sha256;
  out.version.digest = read.digest;
  out.version.signed_by = signer;
  out.version.source = archive ? "installed" : "pinned";
  out.version.file = archive ? folder_name(read.manifest.id, read.manifest.version) : folder.lexically_normal().string();
  if (archive) out.files = std::move(read.files);
  out.manifest = std::move(read.manifest);
  return out;
}

// All or nothing, and durable: a folder of the version's name is whole.
Result<void> ControlPlane::write_plugin(const PluginVersion& version, const bundle::Files& files) const {
  const fs::path folder = plugin_folder(version.file), parent = folder.parent_path();
  const fs::path partial = parent / ("." + folder.filename().string() + ".partial");
  VIA_TRY(make_private_folder(parent.parent_path()));
  VIA_TRY(make_private_folder(parent));
  VIA_TRY(remove_tree(partial));
  const auto write = [&]() -> Result<void> {
    VIA_TRY(make_private_folder(partial));
    for (const auto& [name, bytes] : files) VIA_TRY(write_file_atomic(partial / name, bytes));
    VIA_TRY(remove_tree(folder));
    std::error_code ec;
    fs::rename(partial, folder, ec);
    if (ec) return system_error("rename the plugin's folder", ec.value());
    return sync_folder(parent);
  };
  auto written = write();
  if (!written) (void)remove_tree(partial);
  return written;
}

Result<void> ControlPlane::remove_plugin_files(const std::string& id, const std::string& version) const {
  if (!plugins::is_plugin_id(id) || !plugins::is_plugin_version(version)) return {};
  const fs::path folder = settings_.state_dir / folder_name(id, version);
  std::error_code ec;
  if (!fs::exists(fs::symlink_status(folder.parent_path(), ec))) return {};
  VIA_TRY(remove_tree(folder.parent_path() / ("." + version + ".partial")));
  VIA_TRY(remove_tree(folder));
  fs::remove(folder.parent_path(), ec);  // when it is empty now
  return sync_folder(settings_.state_dir / "plugins");
}

std::optional<plugins::PluginRecord> ControlPlane::known_plugin(const std::string& id) const {
  for (auto& plugin : d_.addons.plugins())
    if (plugin.manifest.id == id) return plugin;
  return std::nullopt;
}

Result<json> ControlPlane::install_plugin(const std::string& file, const PlanRequest& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  std::error_code ec;
  if (fs::path(file).is_absolute() && fs::exists(file, ec) && !is_archive(file))
    return fail(Code::bad_request, "That is no bundle. Make one of the plugin's folder, and install that: via plugin pack FOLDER");
  VIA_TRY_LET(incoming, take_in_plugin(file));
  PluginVersion& version = incoming.version;
  const std::string named = "version " + version.version + " of " + version.plugin_id;
  VIA_TRY_LET(known, d_.store.plugin_versions().find(version.plugin_id, version.version));
  VIA_TRY_LET(pin, d_.store.pins().find(version.plugin_id));
  const bool same = known && known->digest == version.digest && known->source == "installed";
  // The very library may have been pinned by its path before.
  if (known && !same && (known->source == "installed" || known->sha256 != version.sha256))
    return fail(Code::conflict, "Another build of " + named + " is known here. Give the new build a version of its own, or remove that one: "
                                "via plugin remove " + version.plugin_id + " --version " + version.version);
  const auto loaded = known_plugin(version.plugin_id);
  if (loaded && loaded->loaded && loaded->trusted && loaded->sha256 != version.sha256)
    return fail(Code::conflict, "Version " + loaded->manifest.version + " of " + version.plugin_id +
                                    " is in use. Change over to this one: via plugin upgrade FILE");
  json plan = {{"action", "plugin.install"},
               {"target", {{"plugin", version.plugin_id}, {"version", version.version}, {"sha256", version.sha256}}},
               {"touches", {{"types", json::array()}, {"signed_by", version.signed_by}, {"signer", incoming.signer}}},
               {"warnings", json::array()}};
  for (const auto& type : incoming.manifest.types) plan["touches"]["types"].push_back(type.id);
  if (version.signed_by.empty())
    plan["warnings"].push_back(incoming.signer.empty() ? "It is not signed." : "It is signed by a key that this host does not trust.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return answer(shown);

  Work work;
  work.kind = "plugin.install";
  work.target = version.plugin_id;
  work.claims = {"plugin:" + version.plugin_id};
  work.steps = json{{"plugin", version.plugin_id}, {"version", version.version}}.dump();
  const bool already = same && pin && pin->trusted && pin->version == version.version;
  work.run = [this, incoming = std::make_shared<IncomingPlugin>(std::move(incoming)), already](Operation& operation) {
    return run_install(operation, *incoming, already);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_install(Operation& operation, const IncomingPlugin& incoming, bool already) {
  PluginVersion version = incoming.version;
  const fs::path folder = plugin_folder(version.file);
  const auto bring_in = [&]() -> Result<plugins::PluginRecord> {
    VIA_TRY(operation.step("write"));
    const auto there = bundle::read_unpacked(folder);
    if (!there || there->files != *incoming.files) VIA_TRY(write_plugin(version, *incoming.files));
    VIA_TRY(operation.step("load"));
    return d_.trust.load(folder.string(), version.sha256, "installed");
  };
  auto loaded = bring_in();
  if (!loaded) {
    if (!already) (void)remove_plugin_files(version.plugin_id, version.version);
    return loaded.error();
  }
  operation.only_forward();
  VIA_TRY_LET(held, operation.control());
  version.installed_at = now();
  json result = to_json(*loaded);
  result["signed_by"] = version.signed_by.empty() ? json(nullptr) : json(version.signed_by);
  result["signer"] = incoming.signer.empty() ? json(nullptr) : json(incoming.signer);
  result["digest"] = version.digest;
  result["already"] = already;
  result["operation"] = operation.id();
  const auto commit = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(d_.store.plugin_versions().put(version));
    if (!already) VIA_TRY(d_.store.pins().put({version.plugin_id, version.sha256, version.file, true, now(), version.version}));
    VIA_TRY(end_done(operation, result,
                     {{"version", version.version}, {"sha256", version.sha256}, {"signed_by", version.signed_by}, {"signer", incoming.signer}}));
    return change.commit();
  };
  if (auto committed = commit(); !committed) return unknown(committed.error());
  VIA_TRY(d_.addons.use_build(version.plugin_id, version.sha256));
  d_.log.info("plugin.installed", {{"plugin", version.plugin_id}, {"version", version.version}, {"sha256", version.sha256}});
  return answer(std::move(result));
}

// After a crash: the rows are the plugin; without them, its files go.
Result<std::string> ControlPlane::recover_install(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  if (!steps.is_object()) return std::string("undone");
  const std::string id = steps.value("plugin", ""), version = steps.value("version", "");
  VIA_TRY_LET(known, d_.store.plugin_versions().find(id, version));
  if (known) return std::string("undone");  // it was installed before
  VIA_TRY(remove_plugin_files(id, version));
  return std::string("undone");
}

// The add-ons that cannot be without this plugin.
Result<void> ControlPlane::check_unused(const plugins::Manifest& manifest) {
  for (const auto& type : manifest.types) {
    VIA_TRY_LET(addons, addons_.of_type(type.id));
    for (const auto& addon : addons) {
      if (addon.state != AddonState::destroyed)
        return fail(Code::refused, "Add-on '" + addon.name + "' of app '" + addon.app + "' is of its type '" + type.id +
                                       "'. Destroy it first (via addon destroy " + addon.name + "), or change to another version: via plugin upgrade FILE");
      if (addon.final_snapshot.empty()) continue;
      VIA_TRY_LET(snapshot, snapshots_.find(addon.final_snapshot));
      if (!snapshot || snapshot->deleted_at != 0) continue;
      return fail(Code::refused, "The destroyed add-on " + addon.id + " (" + addon.name.substr(0, addon.name.find('#')) +
                                     ") can be brought back until its final snapshot expires, and only with this plugin. Bring it back (via "
                                     "addon undelete " + addon.id + "), or give up its data: via addon snapshot-delete " + addon.id + " --snapshot " + snapshot->id);
    }
  }
  return {};
}

Result<json> ControlPlane::remove_plugin(const std::string& id_or_type, const std::string& version, const PlanRequest& request,
                                         const Actor& actor) {
  VIA_TRY_LET(lock, control());
  std::string id = id_or_type;
  auto record = known_plugin(id);
  if (!record)
    if (auto found = show_plugin(id_or_type)) {
      record = *found;
      id = found->manifest.id;
    }
  VIA_TRY(not_claimed("plugin:" + id));
  VIA_TRY_LET(versions, d_.store.plugin_versions().of(id));
  VIA_TRY_LET(pin, d_.store.pins().find(id));
  if (!record && versions.empty() && !pin) return fail(Code::not_found, "Plugin '" + id_or_type + "' does not exist. See which do: via plugin list");
  const std::string current = pin && !pin->version.empty() ? pin->version : record ? record->manifest.version : std::string();
  const bool bundled = record && record->source == "bundled";
  std::vector<PluginVersion> gone;
  for (const auto& one : versions)
    if (version.empty() || one.version == version) gone.push_back(one);
  if (!version.empty() && gone.empty()) {
    std::string known;
    for (const auto& one : versions) known += (known.empty() ? "" : ", ") + one.version;
    return fail(Code::not_found, "Version " + version + " of " + id + " is not installed" + (known.empty() ? "." : " (there are: " + known + ").") +
                                     " See: via plugin show " + id);
  }
  const bool all = version.empty() || (pin && version == current && versions.size() == 1);
  if (!all && version == current)
    return fail(Code::refused, "Version " + version + " of " + id + " is in use. Change to another first (via plugin upgrade FILE, or via plugin rollback " +
                                   id + "), or remove the plugin: via plugin remove " + id);
  if (all && bundled && !pin)
    return fail(Code::refused, "Plugin " + id + " came with the program and is no bundle that was installed. To keep it from being loaded: "
                               "via plugin untrust " + id);
  if (all && record) VIA_TRY(check_unused(record->manifest));
  json plan = {{"action", "plugin.remove"},
               {"target", {{"plugin", id}, {"version", all ? json(nullptr) : json(version)}}},
               {"touches", {{"versions", json::array()}}},
               {"warnings", json::array()}};
  for (const auto& one : gone) plan["touches"]["versions"].push_back(one.version);
  if (!all && pin && pin->previous == version)
    plan["warnings"].push_back("It is the way back from version " + current + ": via plugin rollback " + id + " will not work any more.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return answer(shown);

  json steps = {{"plugin", id}, {"versions", json::array()}};
  for (const auto& one : gone)
    if (one.source == "installed") steps["versions"].push_back(one.version);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(operation, begin_operation("plugin.remove", id, actor, steps));
  for (const auto& one : gone) VIA_TRY(d_.store.plugin_versions().remove(id, one.version));
  if (all) {
    VIA_TRY(d_.store.pins().remove(id));
  } else if (pin && pin->previous == version) {
    store::Pin without = *pin;
    without.previous.clear();
    VIA_TRY(d_.store.pins().put(without));
  }
  VIA_TRY(change.commit());
  if (all) d_.trust.removed(id);
  const auto end = [&]() -> Result<json> {
    for (const auto& one : steps["versions"]) VIA_TRY(remove_plugin_files(id, one.get<std::string>()));
    const json result = {{"id", id}, {"removed", steps["versions"]}, {"operation", operation}};
    VIA_TRY_LET(ending, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation, "plugin.remove", id, actor, "done", "ok", {{"versions", steps["versions"]}}, result.dump()));
    VIA_TRY(ending.commit());
    d_.log.info("plugin.removed", {{"plugin", id}});
    return answer(result);
  };
  auto ended = end();
  if (!ended) return unknown(ended.error());  // the next start removes what is left
  return ended;
}

Result<std::string> ControlPlane::recover_remove(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  if (steps.is_object() && steps.value("versions", json()).is_array())
    for (const auto& version : steps["versions"])
      if (version.is_string()) VIA_TRY(remove_plugin_files(steps.value("plugin", ""), version.get<std::string>()));
  return std::string("done");
}

Result<json> ControlPlane::add_plugin_key(const std::string& name, const std::string& pem, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY(check_name("The key's name", name));
  VIA_TRY_LET(raw, bundle::read_public_key(pem));
  store::PluginKey key{name, base64url_encode(raw), bundle::fingerprint(raw), now()};
  VIA_TRY_LET(named, d_.store.plugin_keys().find(name));
  VIA_TRY_LET(known, d_.store.plugin_keys().find_by_fingerprint(key.fingerprint));
  if (known && known->name == name) return answer(to_json(*known));
  if (named)
    return fail(Code::conflict, "Another key is named '" + name + "'. Give this one another name, or remove that one: via plugin keys remove " + name);
  if (known) return fail(Code::conflict, "This key is trusted already, as '" + known->name + "'.");
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.plugin_keys().insert(key));
  VIA_TRY(record_change("plugin.keys.add", name, actor, {{"fingerprint", key.fingerprint}}));
  VIA_TRY(change.commit());
  return answer(to_json(key));
}

Result<json> ControlPlane::list_plugin_keys() {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(keys, d_.store.plugin_keys().list());
  return answer({{"items", list_json(keys)}});
}

Result<json> ControlPlane::remove_plugin_key(const std::string& name, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(key, d_.store.plugin_keys().find(name));
  if (!key) return fail(Code::not_found, "No key is named '" + name + "'. See which are trusted: via plugin keys list");
  VIA_TRY_LET(versions, d_.store.plugin_versions().all());
  json plan = {{"action", "plugin.keys.remove"},
               {"target", {{"key", name}, {"fingerprint", key->fingerprint}}},
               {"touches", {{"plugins", json::array()}}},
               {"warnings", json::array()}};
  for (const auto& one : versions)
    if (one.signed_by == name) plan["touches"]["plugins"].push_back(one.plugin_id + " " + one.version);
  if (!plan["touches"]["plugins"].empty())
    plan["warnings"].push_back("What it signed and is installed stays and is loaded by its pin. Remove it if the key was stolen: via plugin remove ID");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return answer(shown);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.plugin_keys().remove(name));
  VIA_TRY(record_change("plugin.keys.remove", name, actor, {{"fingerprint", key->fingerprint}}));
  VIA_TRY(change.commit());
  return answer(to_json(*key));
}

}  // namespace via::lifecycle
