// What support asks for: an app's records, and a redacted report of them with the end of its logs.
#include <nlohmann/json.hpp>

#include "core/lifecycle/app_health.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

// Names only: values may be anything.
json names_of(const json& object) {
  auto out = json::array();
  if (object.is_object())
    for (const auto& [name, value] : object.items()) out.push_back(name);
  return out;
}

// Without results: they are for who asked and may name files.
json short_operation(const store::Operation& operation) {
  json out = to_json(operation);
  for (const char* member : {"result", "progress", "cancellable"}) out.erase(member);
  return out;
}

constexpr int kOperations = 20, kAudit = 50, kTailLines = 100, kReleases = 10;

}  // namespace

Result<json> ControlPlane::inspect_of(const releases::App& app) {
  VIA_TRY_LET(releases, releases_.list_releases(app.id));
  if (releases.size() > kReleases) releases.resize(kReleases);
  VIA_TRY_LET(addons, addons_.list(app.id));
  VIA_TRY_LET(bound, bindings_.of_app(app.id));
  VIA_TRY_LET(instances, instances_.wanted(app.id));
  VIA_TRY_LET(operations, d_.store.journal().list(kOperations, {}, app.id));
  auto shown_addons = json::array();
  for (const auto& addon : addons) {
    json one = to_json(addon);
    one["config"] = names_of(one["config"]);
    shown_addons.push_back(std::move(one));
  }
  auto keys = json::array();
  if (const auto config = values_.find(app.name))
    for (const auto& value : config->values)
      keys.push_back({{"key", value.key},
                      {"secret", value.secret()},
                      {"generation", value.generation},
                      {"updated_at", format_time(value.updated_at)}});
  auto recent = json::array();
  for (const auto& operation : operations) recent.push_back(short_operation(operation));
  json out = to_json(app);
  out["releases"] = list_json(releases);
  out["addons"] = std::move(shown_addons);
  out["bindings"] = list_json(bound);
  out["instances"] = list_json(instances);
  out["configuration"] = std::move(keys);
  out["operations"] = std::move(recent);
  return answer(std::move(out));
}

Result<json> ControlPlane::inspect_app(const std::string& name) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  return inspect_of(app);
}

// Everything that the operator gave the app as a value, so that it is found in whatever the app printed.
Result<Redactor> ControlPlane::redactor_of(const releases::App& app) {
  Redactor out(settings_.state_dir.string());
  VIA_TRY_LET(deploys, releases_.list_deploys(app.id));
  for (const auto& deploy : deploys)
    for (const auto& [key, value] : deploy.env) out.hide(value);
  VIA_TRY_LET(config, value_table_.load(app.id));
  for (const auto& value : config->values) {
    if (!value.secret()) {
      out.hide(value.value);
      continue;
    }
    if (const auto opened = sealer_.unseal(app.id, value)) out.hide(std::string(opened->reveal()));
  }
  return out;
}

Result<json> ControlPlane::debug_bundle(const std::string& name) {
  VIA_TRY_LET(storages, ask_storages_of(name));
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  VIA_TRY_LET(redactor, redactor_of(app));
  VIA_TRY_LET(status, app_status_of(app, storages));
  VIA_TRY_LET(doctor, app_doctor_of(app, storages));
  VIA_TRY_LET(inspect, inspect_of(app));
  VIA_TRY_LET(instances, instances_.list(app.id));
  VIA_TRY_LET(addons, addons_.list(app.id));
  VIA_TRY_LET(deploys, releases_.list_deploys(app.id));
  std::vector<std::string> targets = {app.id};
  for (const auto& addon : addons) targets.push_back(addon.id);
  for (std::size_t i = 0; i < deploys.size() && i < 5; ++i) targets.push_back(deploys[i].id);

  auto operations = json::array(), audit = json::array(), versions = json::array();
  for (const auto& target : targets) {
    VIA_TRY_LET(some, d_.store.journal().list(kOperations, {}, target));
    for (const auto& operation : some) operations.push_back(short_operation(operation));
    VIA_TRY_LET(entries, d_.store.audit().list(0, kAudit, target));
    for (const auto& entry : entries) audit.push_back(to_json(entry));
  }
  for (const auto& plugin : d_.addons.plugins())
    versions.push_back({{"id", plugin.manifest.id},
                        {"version", plugin.manifest.version},
                        {"title", plugin.manifest.title},
                        {"loaded", plugin.loaded}});
  const json report = {{"app", app.name},
                       {"made_at", format_time(now())},
                       {"via", settings_.version},
                       {"plugins", std::move(versions)},
                       {"status", std::move(status)},
                       {"doctor", std::move(doctor)},
                       {"inspect", std::move(inspect)},
                       {"operations", std::move(operations)},
                       {"audit", std::move(audit)},
                       {"logs", last_lines(instances, kTailLines, redactor)}};
  return answer(redactor.all(report));
}

}  // namespace via::lifecycle
