// Applying via.app.toml: everything is checked against the host first; only then the app, its add-ons, bindings and
// configuration are made, by the operations an operator would use. What is there already is left alone, so a run that was
// interrupted is finished by the next one.
#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/manifest.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

constexpr std::size_t kMaximumValueBytes = 64U << 10;

Error refused(Code code, const std::vector<ManifestProblem>& problems) {
  const auto& first = problems.front();
  std::string message = (first.line == 0 ? std::string() : "Line " + std::to_string(first.line) + ": ") + first.message;
  if (problems.size() > 1) message += " (and " + std::to_string(problems.size() - 1) + " more)";
  return fail(code, message + " Nothing was changed. See all of it: via app manifest validate --file FILE");
}

}  // namespace

struct ControlPlane::ManifestPlan {
  std::optional<releases::App> app;
  std::vector<ManifestProblem> problems;
  json changes = json::array();
  std::vector<std::string> missing_secrets;
  std::vector<CreateAddon> create;
  std::vector<const ManifestAddon*> bind;
  std::map<std::string, std::string> set;
  bool sandbox = false;  // to be set
};

Result<ControlPlane::ManifestPlan> ControlPlane::plan_manifest(const AppManifest& manifest) {
  ManifestPlan out;
  const auto problem = [&](int line, std::string message) { out.problems.push_back({line, std::move(message)}); };
  VIA_TRY_LET(app, apps_.find(manifest.app));
  out.app = app;
  const std::string app_id = app ? app->id : std::string();
  if (!app) out.changes.push_back({{"change", "app.create"}, {"app", manifest.app}});

  std::vector<bindings::Binding> living;
  std::vector<config::Value> values;
  if (app) {
    VIA_TRY_LET(bound, bindings_.of_app(app_id));
    living = std::move(bound);
    VIA_TRY_LET(have, value_table_.list(app_id));
    values = std::move(have);
  }
  std::map<std::string, std::string> names;                 // taken by the manifest's own bindings -> binding
  std::map<std::string, const plugins::AddonType*> usable;  // binding -> type
  for (const auto& binding : living)
    if (const auto type = d_.addons.type(binding.type)) usable[binding.name] = *type;

  for (const auto& wanted : manifest.addons) {
    const auto type = d_.addons.type(wanted.type);
    if (!type) {
      problem(wanted.line, type.error().message);
      continue;
    }
    if (!wanted.binding.empty()) {
      usable[wanted.binding] = *type;
      std::vector<std::string> taken = {wanted.binding};
      for (const auto& suffix : (*type)->derived) taken.push_back(wanted.binding + suffix);
      for (const auto& name : taken) {
        const auto [at, free] = names.emplace(name, wanted.binding);
        if (!free && at->second != wanted.binding)
          problem(wanted.line, "The name " + name + " of binding " + wanted.binding + " is taken by binding " + at->second + ".");
        if (manifest.config.contains(name))
          problem(wanted.line, "The name " + name + " of binding " + wanted.binding + " is a key of [config] as well.");
      }
    }
    const auto held = std::find_if(living.begin(), living.end(), [&](const auto& b) { return b.name == wanted.binding; });
    VIA_TRY_LET(addon, addons_.find_by_name(wanted.name));
    const bool fresh = !addon || (addon->state == AddonState::failed && !has_data(*addon));
    const auto binds = [&] {
      if (wanted.binding.empty()) return;
      if (held != living.end() && !fresh && held->addon_id == addon->id) {
        if (held->read_only != wanted.read_only)
          problem(wanted.line, "Binding " + wanted.binding + " exists with other access. Unbind it first: via addon unbind " +
                                   manifest.app + " " + wanted.binding);
        return;
      }
      if (auto ok = check_binding_name(app_id, manifest.app, wanted.binding, **type); !ok)
        return problem(wanted.line, ok.error().message);
      out.changes.push_back({{"change", "addon.bind"}, {"addon", wanted.name}, {"binding", wanted.binding}});
      if (!fresh) out.bind.push_back(&wanted);
    };
    if (fresh) {
      if (auto ok = d_.addons.check_config(**type, wanted.config); !ok) problem(wanted.line, ok.error().message);
      out.changes.push_back({{"change", "addon.create"}, {"addon", wanted.name}, {"type", wanted.type}});
      CreateAddon request{wanted.type, wanted.name, manifest.app, std::nullopt, wanted.read_only, wanted.config};
      if (!wanted.binding.empty()) request.bind = wanted.binding;
      out.create.push_back(std::move(request));
    } else if (addon->type != wanted.type || addon->app != manifest.app) {
      problem(wanted.line, "Add-on '" + wanted.name + "' exists as type '" + addon->type + "' of app '" + addon->app + "'.");
      continue;
    } else if (addon->state != AddonState::active) {
      problem(wanted.line, "Add-on '" + wanted.name + "' is " + std::string(to_string(addon->state)) +
                               ". Look at it: via addon status " + wanted.name);
      continue;
    } else if (json::parse(addon->config, nullptr, false) != json::parse(wanted.config, nullptr, false)) {
      problem(wanted.line, "Add-on '" + wanted.name + "' exists with another configuration, which cannot be changed.");
    }
    binds();
  }

  for (const auto& [key, value] : manifest.config) {
    if (app)
      if (auto ok = check_free_key(*app, key, false); !ok) {
        problem(0, ok.error().message);
        continue;
      }
    if (value.size() > kMaximumValueBytes) problem(0, "The value of " + key + " is longer than 64 KiB.");
    const auto have = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.key == key; });
    if (have != values.end() && have->value == value) continue;
    out.set[key] = value;
    out.changes.push_back({{"change", "config.set"}, {"key", key}});
  }
  if (manifest.sandbox && (!app || app->box != *manifest.sandbox)) {
    out.sandbox = true;
    out.changes.push_back({{"change", "sandbox.set"}, {"app", manifest.app}});
  }
  for (const auto& key : manifest.secrets) {
    const auto have = std::find_if(values.begin(), values.end(), [&](const auto& v) { return v.key == key; });
    if (have == values.end())
      out.missing_secrets.push_back(key);
    else if (!have->secret())
      problem(0, "Key " + key + " of [secrets] is a plain configuration value. Remove it: via config unset " + manifest.app + " " + key);
  }
  for (const auto& probe : manifest.probes) {
    const auto type = usable.find(probe.binding);
    if (type == usable.end()) {
      problem(0, "The health check of binding " + probe.binding + ": there is no such binding.");
      continue;
    }
    const auto& operations = type->second->ops;
    if (std::none_of(operations.begin(), operations.end(), [&](const auto& o) { return o.name == probe.operation; }))
      problem(0, "The health check of binding " + probe.binding + ": type '" + type->second->id + "' has no operation '" +
                     probe.operation + "'.");
  }
  std::stable_sort(out.problems.begin(), out.problems.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
  return out;
}

Result<json> ControlPlane::validate_manifest(const std::string& text) {
  VIA_TRY_LET(lock, control());
  auto read = read_app_manifest(text);
  const AppManifest& manifest = read.manifest;
  auto addons = json::array(), bound = json::array(), keys = json::array();
  for (const auto& addon : manifest.addons) {
    addons.push_back({{"type", addon.type}, {"name", addon.name}});
    if (!addon.binding.empty())
      bound.push_back({{"binding", addon.binding},
                       {"addon", addon.name},
                       {"access", addon.read_only ? "read_only" : "read_write"}});
  }
  for (const auto& [key, value] : manifest.config) keys.push_back(key);
  json changes = json::array(), missing = json::array();
  // What is wrong in itself is told first; comparing it with the host would only repeat that.
  if (read.problems.empty()) {
    VIA_TRY_LET(plan, plan_manifest(manifest));
    read.problems = std::move(plan.problems);
    changes = std::move(plan.changes);
    missing = plan.missing_secrets;
  }
  return answer({{"app", manifest.app.empty() ? json(nullptr) : json(manifest.app)},
                 {"ok", read.problems.empty()},
                 {"addons", std::move(addons)},
                 {"bindings", std::move(bound)},
                 {"config", std::move(keys)},
                 {"health", {{"smoke", manifest.probes.size()}, {"command", !manifest.command.empty()}}},
                 {"changes", std::move(changes)},
                 {"missing_secrets", std::move(missing)},
                 {"problems", list_json(read.problems)}});
}

Result<json> ControlPlane::apply_manifest(const std::string& text, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  const auto read = read_app_manifest(text);
  if (!read.problems.empty()) return refused(Code::bad_request, read.problems);
  VIA_TRY_LET(plan, plan_manifest(read.manifest));
  if (!plan.problems.empty()) return refused(Code::conflict, plan.problems);
  Work work;
  work.kind = "app.manifest.apply";
  work.target = plan.app ? plan.app->id : read.manifest.app;
  work.claims = {"manifest:" + read.manifest.app};
  if (plan.app) work.claims.push_back("app:" + plan.app->id);
  work.run = [this, manifest = read.manifest](Operation& operation) { return run_apply(operation, manifest); };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_apply(Operation& operation, const AppManifest& manifest) {
  VIA_TRY(operation.step("check"));
  ManifestPlan plan;
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(now_is, plan_manifest(manifest));
    plan = std::move(now_is);
  }
  if (!plan.problems.empty()) return refused(Code::conflict, plan.problems);
  const Actor& actor = operation.actor();
  VIA_TRY(operation.step("app"));
  if (!plan.app && (plan.create.empty() || !plan.set.empty() || plan.sandbox)) VIA_TRY(create_app(manifest.app, actor));
  if (!plan.create.empty() || !plan.bind.empty()) {
    VIA_TRY(operation.step("addons"));
    for (const auto& request : plan.create) {
      if (operation.cancelled()) return fail(Code::cancelled, "The operation was cancelled; what it made stays.");
      VIA_TRY(create_addon(request, actor));
    }
    for (const auto* wanted : plan.bind)
      VIA_TRY(bind_addon(manifest.app, wanted->name, wanted->binding, wanted->read_only, actor));
  }
  if (plan.sandbox) {
    VIA_TRY(operation.step("sandbox"));
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(app, need_app(manifest.app));
    VIA_TRY_LET(change, store::Transaction::begin(d_.store.db()));
    VIA_TRY(apps_.set_box(app.id, *manifest.sandbox));
    VIA_TRY(record_change("app.sandbox.set", app.id, actor, {{"app", app.name}, {"sandbox", to_json(*manifest.sandbox)}}));
    VIA_TRY(change.commit());
  }
  if (!plan.set.empty()) {
    VIA_TRY(operation.step("config"));
    VIA_TRY(set_config(manifest.app, plan.set, actor));
  }
  return answer({{"app", manifest.app},
                 {"changes", std::move(plan.changes)},
                 {"missing_secrets", plan.missing_secrets},
                 {"operation", operation.id()}});
}

Result<json> ControlPlane::smoke_manifest(const std::string& text, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  auto read = read_app_manifest(text);
  if (!read.problems.empty()) return refused(Code::bad_request, read.problems);
  VIA_TRY_LET(app, need_app(read.manifest.app));
  return start_smoke(std::move(lock), app, std::make_shared<const AppManifest>(std::move(read.manifest)), actor, wait);
}

}  // namespace via::lifecycle
