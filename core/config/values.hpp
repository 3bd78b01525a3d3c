// Configuration values and secrets of apps: the rows, and the immutable snapshot of each app that the request path reads.
// A secret is in the rows and in the snapshot only as its sealed box (sealer.hpp).
//
// Every change of an app's values raises its profile version by one; every change of one key raises that key's
// generation by one, and generations go on counting after an unset. Setting a value that is there already changes
// nothing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::config {

struct Value {
  std::string key, value;
  std::uint32_t generation = 1;
  std::int64_t updated_at = 0;
  std::string sealed = {};  // of a secret: its box, base64url; `value` is then empty
  bool secret() const noexcept { return !sealed.empty(); }
};

// Never changed once made. Keys ascending.
struct AppConfig {
  std::string app;
  std::int64_t profile_version = 0;
  std::vector<Value> values;
  std::string app_id = {};
  const Value* find(std::string_view key) const noexcept;
};

// The current snapshot of every app that has values or ever had.
// Thread: find() any, takes a shared lock for one hash look-up; set()/replace_all() the control thread.
class Values {
 public:
  // Null when the app has no configuration: profile version 0, no values.
  std::shared_ptr<const AppConfig> find(std::string_view app) const;
  void set(std::shared_ptr<const AppConfig> config);
  void forget(std::string_view app);
  void replace_all(std::vector<std::shared_ptr<const AppConfig>> all);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const AppConfig>, Hash, std::equal_to<>> apps_;
};

struct SetResult {
  std::int64_t profile_version = 0;
  std::vector<std::pair<std::string, std::uint32_t>> keys;  // with their generations
  bool changed = false;
};

// The rows. Thread: the control thread. Callers hold a transaction.
class ValueTable {
 public:
  explicit ValueTable(store::Database& db) : db_(db) {}
  Result<SetResult> set(const std::string& app_id, const std::map<std::string, std::string>& values,
                        std::int64_t now_ms);
  // not_found when the key has no value, or one of the other kind.
  Result<std::int64_t> unset(const std::string& app_id, const std::string& key, std::int64_t now_ms, bool secret = false);
  // The generation that the key's next value will have: a box is bound to it.
  Result<std::uint32_t> next_generation(const std::string& app_id, const std::string& key);
  // `generation` is next_generation() in the same transaction.
  Result<SetResult> set_sealed(const std::string& app_id, const std::string& key, const std::string& sealed,
                               std::uint32_t generation, std::int64_t now_ms);
  // Plain values and secrets.
  Result<std::vector<Value>> list(const std::string& app_id);
  // Living apps only, one query.
  Result<std::vector<std::shared_ptr<const AppConfig>>> load_all();
  Result<std::shared_ptr<const AppConfig>> load(const std::string& app_id);

 private:
  Result<std::int64_t> raise_profile_version(const std::string& app_id);
  store::Database& db_;
};

}  // namespace via::config
