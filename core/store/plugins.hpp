// What an operator decided about plugins: the build that is to be loaded, the bundles that were installed, the keys whose
// signatures count. Thread: the control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::store {

// The build of a plugin that is loaded when the host starts.
struct Pin {
  std::string plugin_id, sha256;
  std::string file;      // its folder: relative to the state folder when it was installed, else absolute
  bool trusted = true;   // false = explicitly not to be loaded, whatever else would allow it
  std::int64_t decided_at = 0;
  std::string version{};   // empty = pinned by an earlier Via
  std::string previous{};  // the version before this one, for the way back; empty = none
  std::string operation{}; // the upgrade that made it current: its result names the snapshots of the way back
};

class Pins {
 public:
  explicit Pins(Database& db) : db_(db) {}
  Result<void> put(const Pin& pin);  // one row for each plugin id
  Result<void> remove(const std::string& plugin_id);
  Result<std::optional<Pin>> find(const std::string& plugin_id);
  Result<std::vector<Pin>> load();

 private:
  Database& db_;
};

// A version of a plugin that this host has, or had, files of.
struct PluginVersion {
  std::string plugin_id, version;
  std::string sha256;     // of the library
  std::string digest;     // of the whole bundle; empty where there was none
  std::string file;       // as Pin::file
  std::string source;     // "installed", "pinned" (by its path) or "bundled"
  std::string signed_by;  // name of the trusted key, empty = not signed by one
  std::int64_t installed_at = 0;
};

class PluginVersions {
 public:
  explicit PluginVersions(Database& db) : db_(db) {}
  Result<void> put(const PluginVersion& version);
  Result<void> remove(const std::string& plugin_id, const std::string& version);
  Result<std::optional<PluginVersion>> find(const std::string& plugin_id, const std::string& version);
  Result<std::vector<PluginVersion>> of(const std::string& plugin_id);
  Result<std::vector<PluginVersion>> all();

 private:
  Database& db_;
};

struct PluginKey {
  std::string name, key, fingerprint;  // key: base64url of the raw public key
  std::int64_t added_at = 0;
};

class PluginKeys {
 public:
  explicit PluginKeys(Database& db) : db_(db) {}
  Result<void> insert(const PluginKey& key);
  Result<void> remove(const std::string& name);
  Result<std::optional<PluginKey>> find(const std::string& name);
  Result<std::optional<PluginKey>> find_by_fingerprint(const std::string& fingerprint);
  Result<std::vector<PluginKey>> list();

 private:
  Database& db_;
};

}  // namespace via::store
