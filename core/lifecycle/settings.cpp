// Plain configuration values and secrets of apps. A secret is opened only to see whether a new value is another one.
#include <array>

#include <openssl/crypto.h>

#include <nlohmann/json.hpp>

#include "core/base/base64.hpp"
#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using store::Transaction;

namespace {

constexpr std::size_t kMaximumValueBytes = 64U << 10;

}  // namespace

// A key names one thing of an app: a binding, a plain value or a secret.
Result<void> ControlPlane::check_free_key(const releases::App& app, const std::string& key, bool secret) {
  VIA_TRY(check_key(secret ? "A secret's key" : "A configuration key", key));
  VIA_TRY_LET(taken, bindings_.taken_names(app.id));
  for (const auto& name : taken)
    if (name.name == key)
      return fail(Code::conflict, key + " is a name of the binding " + name.binding + " of app '" + app.name +
                                      "'. Choose another key, or unbind it: via addon unbind " + app.name + " " +
                                      name.binding);
  VIA_TRY_LET(values, value_table_.list(app.id));
  for (const auto& value : values) {
    if (value.key != key || value.secret() == secret) continue;
    return secret ? fail(Code::conflict, key + " is a plain configuration value of app '" + app.name +
                                             "'. Choose another key, or remove it: via config unset " + app.name + " " + key)
                  : fail(Code::conflict, key + " is a secret of app '" + app.name +
                                             "'. Choose another key, or remove it: via secret unset " + app.name + " " + key);
  }
  return {};
}

Result<config::SetResult> ControlPlane::set_config(const std::string& app_name,
                                                   const std::map<std::string, std::string>& values,
                                                   const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  if (values.empty()) return fail(Code::bad_request, "'values' must have at least one key.");
  for (const auto& [key, value] : values) {
    VIA_TRY(check_free_key(app, key, false));
    if (value.size() > kMaximumValueBytes)
      return fail(Code::bad_request, "The value of " + key + " is longer than 64 KiB.");
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

Result<config::SetResult> ControlPlane::set_secret(const std::string& app_name, const std::string& key,
                                                   const Secret& value, bool rotating, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY(check_free_key(app, key, true));
  if (value.empty()) return fail(Code::bad_request, "The value of " + key + " is empty.");
  if (value.reveal().size() > kMaximumValueBytes)
    return fail(Code::bad_request, "The value of " + key + " is longer than 64 KiB.");
  VIA_TRY_LET(before, value_table_.load(app.id));
  const config::Value* known = before->find(key);
  if (rotating && known == nullptr)
    return fail(Code::not_found, "App '" + app_name + "' has no secret " + key + " yet. Set it: via secret set " +
                                     app_name + " " + key);
  if (known != nullptr)
    if (const auto opened = sealer_.unseal(app.id, *known); opened && *opened == value)
      return config::SetResult{before->profile_version, {{key, known->generation}}, false};

  const std::string kind = rotating ? "secret.rotate" : "secret.set";
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(generation, value_table_.next_generation(app.id, key));
  VIA_TRY_LET(sealed, sealer_.seal(app.id, key, generation, value));
  VIA_TRY_LET(result, value_table_.set_sealed(app.id, key, sealed, generation, now()));
  VIA_TRY(record_change(kind, app.id, actor,
                        {{"app", app_name},
                         {"profile_version", result.profile_version},
                         {"keys", {{{"key", key}, {"generation", generation}}}}}));
  VIA_TRY_LET(snapshot, value_table_.load(app.id));
  VIA_TRY(change.commit());
  values_.set(std::move(snapshot));
  return result;
}

Result<config::SetResult> ControlPlane::generate_secret(const std::string& app, const std::string& key,
                                                        std::int64_t bytes, const Actor& actor) {
  std::array<std::uint8_t, 256> random{};
  if (bytes < 16 || bytes > static_cast<std::int64_t>(random.size()))
    return fail(Code::bad_request, "'generate' must be from 16 to 256 bytes.");
  const std::span<std::uint8_t> wanted(random.data(), static_cast<std::size_t>(bytes));
  d_.entropy.fill(wanted);
  const Secret value(base64url_encode(std::span<const std::uint8_t>(wanted)));
  OPENSSL_cleanse(random.data(), random.size());
  return set_secret(app, key, value, true, actor);
}

Result<nlohmann::json> ControlPlane::unset_config(const std::string& app, const std::string& key, const PlanRequest& plan,
                                                  const Actor& actor) {
  return unset_value(app, key, false, plan, actor);
}

Result<nlohmann::json> ControlPlane::unset_secret(const std::string& app, const std::string& key, const PlanRequest& plan,
                                                  const Actor& actor) {
  return unset_value(app, key, true, plan, actor);
}

Result<nlohmann::json> ControlPlane::unset_value(const std::string& app_name, const std::string& key, bool secret,
                                                 const PlanRequest& request, const Actor& actor) {
  const std::string command = secret ? "secret" : "config";
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY(check_key(secret ? "A secret's key" : "A configuration key", key));
  VIA_TRY_LET(before, value_table_.load(app.id));
  const config::Value* known = before->find(key);
  if (known == nullptr || known->secret() != secret)
    return fail(Code::not_found, "App '" + app_name + "' has no " + (secret ? "secret " : "configuration value ") + key +
                                     ". See what it has: via " + command + " list " + app_name);
  VIA_TRY_LET(running, instances_.wanted(app.id));
  auto instances = nlohmann::json::array();
  for (const auto& instance : running) instances.push_back(instance.id);
  VIA_TRY_LET(shown, check_plan({{"action", command + ".unset"},
                                 {"target", {{"app", app_name}, {"key", key}, {"generation", known->generation}}},
                                 {"touches", {{"apps", {app_name}}, {"instances", std::move(instances)}}},
                                 {"warnings", nlohmann::json::array()}},
                                request));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(version, value_table_.unset(app.id, key, now(), secret));
  VIA_TRY(record_change(command + ".unset", app.id, actor,
                        {{"app", app_name}, {"profile_version", version}, {"key", key}}));
  VIA_TRY_LET(snapshot, value_table_.load(app.id));
  VIA_TRY(change.commit());
  values_.set(std::move(snapshot));
  return {boost::system::in_place_value, nlohmann::json{{"app", app_name}, {"profile_version", version}}};
}

Result<std::shared_ptr<const config::AppConfig>> ControlPlane::list_config(const std::string& app_name) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  return value_table_.load(app.id);
}

}  // namespace via::lifecycle
