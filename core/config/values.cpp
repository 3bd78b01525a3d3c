#include "core/config/values.hpp"

#include <algorithm>
#include <mutex>

namespace via::config {

const Value* AppConfig::find(std::string_view key) const noexcept {
  const auto at = std::lower_bound(values.begin(), values.end(), key,
                                   [](const Value& v, std::string_view k) { return std::string_view(v.key) < k; });
  return at != values.end() && at->key == key ? &*at : nullptr;
}

std::shared_ptr<const AppConfig> Values::find(std::string_view app) const {
  const std::shared_lock lock(mutex_);
  const auto at = apps_.find(app);
  return at == apps_.end() ? nullptr : at->second;
}

void Values::set(std::shared_ptr<const AppConfig> config) {
  const std::unique_lock lock(mutex_);
  auto& slot = apps_[config->app];
  slot.swap(config);  // what was there ends outside the look-up path, with `config`
}

void Values::forget(std::string_view app) {
  const std::unique_lock lock(mutex_);
  if (const auto at = apps_.find(app); at != apps_.end()) apps_.erase(at);
}

void Values::replace_all(std::vector<std::shared_ptr<const AppConfig>> all) {
  decltype(apps_) next;
  for (auto& config : all) next[config->app] = std::move(config);
  const std::unique_lock lock(mutex_);
  apps_.swap(next);
}

Result<std::int64_t> ValueTable::raise_profile_version(const std::string& app_id) {
  VIA_TRY_LET(version, db_.one([](const store::Row& r) { return r.integer(0); },
                               "UPDATE apps SET profile_version = profile_version + 1 WHERE id=?1 "
                               "RETURNING profile_version",
                               app_id));
  return version.value_or(0);
}

Result<SetResult> ValueTable::set(const std::string& app_id, const std::map<std::string, std::string>& values,
                                  std::int64_t now_ms) {
  SetResult out;
  for (const auto& [key, value] : values) {
    // Nothing comes back when the value is there already.
    VIA_TRY_LET(changed, db_.one([](const store::Row& r) { return r.integer(0); },
                                 "INSERT INTO config_values (app_id, key, value, generation, updated_at) "
                                 "VALUES (?1,?2,?3,1,?4) ON CONFLICT (app_id, key) DO UPDATE SET "
                                 "value=excluded.value, generation=generation+1, updated_at=excluded.updated_at "
                                 "WHERE value IS NOT excluded.value RETURNING generation",
                                 app_id, key, value, now_ms));
    if (changed) {
      out.changed = true;
      out.keys.emplace_back(key, static_cast<std::uint32_t>(*changed));
      continue;
    }
    VIA_TRY_LET(same, db_.one([](const store::Row& r) { return r.integer(0); },
                              "SELECT generation FROM config_values WHERE app_id=?1 AND key=?2", app_id, key));
    out.keys.emplace_back(key, static_cast<std::uint32_t>(same.value_or(0)));
  }
  if (out.changed) {
    VIA_TRY_LET(version, raise_profile_version(app_id));
    out.profile_version = version;
  } else {
    VIA_TRY_LET(version, db_.one([](const store::Row& r) { return r.integer(0); },
                                 "SELECT profile_version FROM apps WHERE id=?1", app_id));
    out.profile_version = version.value_or(0);
  }
  return out;
}

Result<std::int64_t> ValueTable::unset(const std::string& app_id, const std::string& key, std::int64_t now_ms,
                                       bool secret) {
  VIA_TRY(db_.run(
      "UPDATE config_values SET value=NULL, sealed='', generation=generation+1, updated_at=?3 WHERE app_id=?1 AND "
      "key=?2 AND CASE ?4 WHEN 1 THEN sealed <> '' ELSE value IS NOT NULL END",
      app_id, key, now_ms, secret));
  if (db_.changes() == 0)
    return fail(Code::not_found, std::string("The app has no ") + (secret ? "secret '" : "configuration value '") + key + "'.");
  return raise_profile_version(app_id);
}

Result<std::uint32_t> ValueTable::next_generation(const std::string& app_id, const std::string& key) {
  VIA_TRY_LET(last, db_.one([](const store::Row& r) { return r.integer(0); },
                            "SELECT generation FROM config_values WHERE app_id=?1 AND key=?2", app_id, key));
  return static_cast<std::uint32_t>(last.value_or(0) + 1);
}

Result<SetResult> ValueTable::set_sealed(const std::string& app_id, const std::string& key, const std::string& sealed,
                                         std::uint32_t generation, std::int64_t now_ms) {
  VIA_TRY(db_.run(
      "INSERT INTO config_values (app_id, key, value, generation, updated_at, sealed) VALUES (?1,?2,NULL,?3,?4,?5) "
      "ON CONFLICT (app_id, key) DO UPDATE SET value=NULL, sealed=excluded.sealed, generation=excluded.generation, "
      "updated_at=excluded.updated_at",
      app_id, key, generation, now_ms, sealed));
  VIA_TRY_LET(version, raise_profile_version(app_id));
  return SetResult{version, {{key, generation}}, true};
}

Result<std::vector<Value>> ValueTable::list(const std::string& app_id) {
  return db_.all(
      [](const store::Row& r) {
        return Value{r.text(0), r.text(1), static_cast<std::uint32_t>(r.integer(2)), r.integer(3), r.text(4)};
      },
      "SELECT key, value, generation, updated_at, sealed FROM config_values WHERE app_id=?1 AND "
      "(value IS NOT NULL OR sealed <> '') ORDER BY key",
      app_id);
}

Result<std::shared_ptr<const AppConfig>> ValueTable::load(const std::string& app_id) {
  VIA_TRY_LET(head, db_.one([](const store::Row& r) { return std::pair(r.text(0), r.integer(1)); },
                            "SELECT name, profile_version FROM apps WHERE id=?1", app_id));
  if (!head) return fail(Code::not_found, "The app does not exist.");
  VIA_TRY_LET(values, list(app_id));
  auto config = std::make_shared<AppConfig>();
  config->app = head->first;
  config->app_id = app_id;
  config->profile_version = head->second;
  config->values = std::move(values);
  return std::shared_ptr<const AppConfig>(std::move(config));
}

Result<std::vector<std::shared_ptr<const AppConfig>>> ValueTable::load_all() {
  std::vector<std::shared_ptr<const AppConfig>> out;
  std::shared_ptr<AppConfig> current;
  auto rows = db_.query(
      "SELECT p.name, p.profile_version, v.key, v.value, v.generation, v.updated_at, v.sealed, p.id FROM apps p "
      "LEFT JOIN config_values v ON v.app_id=p.id AND (v.value IS NOT NULL OR v.sealed <> '') "
      "WHERE p.deleted_at=0 AND p.profile_version > 0 ORDER BY p.name, v.key");
  while (rows.next()) {
    const store::Row row = rows.row();
    std::string app = row.text(0);
    if (current == nullptr || current->app != app) {
      current = std::make_shared<AppConfig>();
      current->app = std::move(app);
      current->app_id = row.text(7);
      current->profile_version = row.integer(1);
      out.push_back(current);
    }
    if (!row.is_null(2))
      current->values.push_back(
          Value{row.text(2), row.text(3), static_cast<std::uint32_t>(row.integer(4)), row.integer(5), row.text(6)});
  }
  VIA_TRY(rows.end());
  return out;
}

}  // namespace via::config
