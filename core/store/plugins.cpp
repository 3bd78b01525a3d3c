#include "core/store/plugins.hpp"

#include <string_view>

namespace via::store {
namespace {

Pin pin(const Row& r) {
  return Pin{r.text(0), r.text(1), r.text(2), r.integer(3) != 0, r.integer(4), r.text(5), r.text(6), r.text(7)};
}
constexpr std::string_view kPin =
    "SELECT plugin_id, sha256, file, trusted, decided_at, version, previous, operation FROM trusted_plugins ";

PluginVersion version_of(const Row& r) {
  return PluginVersion{r.text(0), r.text(1), r.text(2), r.text(3), r.text(4), r.text(5), r.text(6), r.integer(7)};
}
constexpr std::string_view kVersion =
    "SELECT plugin_id, version, sha256, digest, file, source, signed_by, installed_at FROM plugin_versions ";

PluginKey key(const Row& r) { return PluginKey{r.text(0), r.text(1), r.text(2), r.integer(3)}; }
constexpr std::string_view kKey = "SELECT name, key, fingerprint, added_at FROM plugin_keys ";

std::string sql(std::string_view select, std::string_view rest) { return std::string(select).append(rest); }

}  // namespace

Result<void> Pins::put(const Pin& p) {
  return db_.run(
      "INSERT INTO trusted_plugins (plugin_id, sha256, file, trusted, decided_at, version, previous, operation) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT (plugin_id) DO UPDATE SET sha256=excluded.sha256, file=excluded.file, "
      "trusted=excluded.trusted, decided_at=excluded.decided_at, version=excluded.version, previous=excluded.previous, "
      "operation=excluded.operation",
      p.plugin_id, p.sha256, p.file, p.trusted, p.decided_at, p.version, p.previous, p.operation);
}

Result<void> Pins::remove(const std::string& id) { return db_.run("DELETE FROM trusted_plugins WHERE plugin_id=?1", id); }

Result<std::optional<Pin>> Pins::find(const std::string& id) { return db_.one(pin, sql(kPin, "WHERE plugin_id=?1"), id); }

Result<std::vector<Pin>> Pins::load() { return db_.all(pin, sql(kPin, "ORDER BY plugin_id")); }

Result<void> PluginVersions::put(const PluginVersion& v) {
  return db_.run(
      "INSERT INTO plugin_versions (plugin_id, version, sha256, digest, file, source, signed_by, installed_at) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT (plugin_id, version) DO UPDATE SET sha256=excluded.sha256, "
      "digest=excluded.digest, file=excluded.file, source=excluded.source, signed_by=excluded.signed_by, "
      "installed_at=excluded.installed_at",
      v.plugin_id, v.version, v.sha256, v.digest, v.file, v.source, v.signed_by, v.installed_at);
}

Result<void> PluginVersions::remove(const std::string& id, const std::string& version) {
  return db_.run("DELETE FROM plugin_versions WHERE plugin_id=?1 AND version=?2", id, version);
}

Result<std::optional<PluginVersion>> PluginVersions::find(const std::string& id, const std::string& version) {
  return db_.one(version_of, sql(kVersion, "WHERE plugin_id=?1 AND version=?2"), id, version);
}

Result<std::vector<PluginVersion>> PluginVersions::of(const std::string& id) {
  return db_.all(version_of, sql(kVersion, "WHERE plugin_id=?1 ORDER BY version"), id);
}

Result<std::vector<PluginVersion>> PluginVersions::all() {
  return db_.all(version_of, sql(kVersion, "ORDER BY plugin_id, version"));
}

Result<void> PluginKeys::insert(const PluginKey& k) {
  return db_.run("INSERT INTO plugin_keys (name, key, fingerprint, added_at) VALUES (?1,?2,?3,?4)", k.name, k.key, k.fingerprint,
                 k.added_at);
}

Result<void> PluginKeys::remove(const std::string& name) { return db_.run("DELETE FROM plugin_keys WHERE name=?1", name); }

Result<std::optional<PluginKey>> PluginKeys::find(const std::string& name) { return db_.one(key, sql(kKey, "WHERE name=?1"), name); }

Result<std::optional<PluginKey>> PluginKeys::find_by_fingerprint(const std::string& fingerprint) {
  return db_.one(key, sql(kKey, "WHERE fingerprint=?1"), fingerprint);
}

Result<std::vector<PluginKey>> PluginKeys::list() { return db_.all(key, sql(kKey, "ORDER BY name")); }

}  // namespace via::store
