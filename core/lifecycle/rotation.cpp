// Credential generations: rotate makes the next one beside those that live; revoke ends one, and returns only when nothing
// can be authorised under it any more.
#include <algorithm>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using bindings::Binding;
using catalog::Addon;
using catalog::AddonState;
using nlohmann::json;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

json credential(const Binding& binding, std::uint32_t generation, std::string_view status, const std::string& operation) {
  return {{"app", binding.app},           {"addon", binding.addon},   {"binding", binding.name},
          {"generation", generation}, {"status", status}, {"operation", operation}};
}

}  // namespace

Result<std::pair<Addon, Binding>> ControlPlane::need_binding(const std::string& name_or_id, const std::string& app_name,
                                                             const std::string& binding_name) {
  VIA_TRY_LET(app, need_app(app_name));
  VIA_TRY_LET(addon, need_addon(name_or_id, std::nullopt));
  VIA_TRY_LET(binding, bindings_.find_living(app.id, binding_name));
  if (!binding || binding->addon_id != addon.id)
    return fail(Code::not_found, "App '" + app_name + "' has no binding '" + binding_name + "' of add-on '" + addon.name +
                                     "'. See what it has: via app show " + app_name);
  return std::pair(addon, *binding);
}

Result<json> ControlPlane::rotate_credentials(const std::string& name_or_id, const std::string& app_name,
                                              const std::string& binding_name, const std::string& key, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(found, need_binding(name_or_id, app_name, binding_name));
  const auto& [addon, binding] = found;
  if (key.size() > 200) return fail(Code::bad_request, "'idempotency_key' must be at most 200 bytes long.");
  if (!key.empty()) {
    VIA_TRY_LET(earlier, d_.store.journal().find_by_key("addon.rotate-credentials", key));
    if (earlier) {
      const json result = json::parse(earlier->result, nullptr, false);
      if (earlier->target != binding.id || !result.is_object())
        return fail(Code::conflict, "This idempotency key was used for another rotation, or for one that failed. Choose another.");
      return answer(result);
    }
  }
  VIA_TRY(not_claimed("addon:" + addon.id));
  if (addon.state != AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                    ". See why: via addon status " + addon.name);
  const std::uint32_t generation = binding.newest() + 1;
  store::Operation row;
  row.id = make_id("op");
  row.kind = "addon.rotate-credentials";
  row.target = binding.id;
  row.actor = actor.name;
  row.state = "running";
  row.steps = json{{"binding", binding.id}, {"generation", generation}, {"read_only", binding.read_only}}.dump();
  row.created_at = now();
  row.idempotency_key = key;
  VIA_TRY(d_.store.journal().add(row));
  VIA_TRY(note_step(row.id, "apply"));
  const json details = {{"app", binding.app}, {"addon", addon.name}, {"binding", binding.name}, {"generation", generation}};
  const auto described = apply_binding(addon, {binding.id, binding.name, binding.read_only}, generation);
  if (!described) {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(row.id, row.kind, row.target, actor, "failed", std::string(described.error().wire_name()), details));
    VIA_TRY(change.commit());
    return described.error();
  }
  const json result = credential(binding, generation, "live", row.id);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(bindings_.add_generation(binding.id, generation, described->descriptor, described->derived, now()));
  VIA_TRY(end_operation(row.id, row.kind, row.target, actor, "done", "ok", details, result.dump()));
  VIA_TRY(change.commit());
  auto grants = build_grants({}, addon.id);
  if (!grants) return unknown(grants.error());
  publish_rights({std::move(*grants), {}, false});
  d_.log.info("credentials.rotated", {{"addon", addon.id}, {"app", binding.app}, {"binding", binding.name}, {"generation", generation}});
  return answer(result);
}

std::vector<BindingUse> ControlPlane::uses_of(const std::vector<releases::Instance>& instances, const std::string& addon_id) {
  std::vector<BindingUse> out;
  for (const auto& instance : instances) {
    const auto known = uses_.find(instance.id);
    const auto bound = releases_.bindings_of(instance.release);
    if (!bound) continue;
    for (const auto& binding : *bound) {
      if (binding.addon_id != addon_id) continue;
      BindingUse use{instance.id, instance.app, binding.binding, 0, 0};
      if (known != uses_.end())
        if (const auto cell = known->second.find(binding.binding_id); cell != known->second.end()) {
          use.generation = cell->second->generation();
          use.last_used_at = cell->second->unix_seconds() * 1000;
        }
      out.push_back(std::move(use));
    }
  }
  return out;
}

Result<json> ControlPlane::revoke_credentials(const RevokeCredentials& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(found, need_binding(request.name, request.app, request.binding));
  const auto& [addon, binding] = found;
  const auto generation = std::find_if(binding.generations.begin(), binding.generations.end(),
                                       [&](const auto& g) { return g.generation == request.generation; });
  if (generation == binding.generations.end())
    return fail(Code::not_found, "Binding " + binding.name + " has no generation " + std::to_string(request.generation) +
                                     ". See which it has: via addon status " + addon.name);
  if (request.when_unused_seconds && (*request.when_unused_seconds < 0 || *request.when_unused_seconds > 86'400))
    return fail(Code::bad_request, "'when_unused_seconds' must be from 0 to 86400.");
  const auto in_use = [this, addon = addon, name = binding.name, app = binding.app,
                       number = request.generation]() -> Result<std::vector<BindingUse>> {
    VIA_TRY_LET(instances, instances_.using_addon(addon.id));
    auto uses = uses_of(instances, addon.id);
    std::erase_if(uses, [&](const BindingUse& u) { return u.generation != number || u.binding != name || u.app != app; });
    return uses;
  };
  VIA_TRY_LET(users, in_use());
  const auto live = std::count_if(binding.generations.begin(), binding.generations.end(), [](const auto& g) { return g.live; });
  json plan = {{"action", "addon.revoke-credentials"},
               {"target", {{"addon", addon.name}, {"id", addon.id}}},
               {"touches",
                {{"apps", {binding.app}},
                 {"instances", json::array()},
                 {"bindings", {{{"app", binding.app}, {"binding", binding.name}, {"generations", {request.generation}}}}}}},
               {"warnings", json::array()}};
  for (const auto& user : users) plan["touches"]["instances"].push_back(user.instance);
  if (generation->live && live == 1)
    plan["warnings"].push_back("It is the only generation that lives: the app loses its access until the next rotation.");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request.plan));
  if (!shown.is_null()) return answer(shown);
  if (generation->live && !users.empty() && !request.yes && !request.when_unused_seconds) {
    json list = json::array();
    for (const auto& user : users) list.push_back(to_json(user));
    Error error = fail(Code::refused, "Generation " + std::to_string(request.generation) + " of binding " + binding.name +
                                          " is in use: instance " + users.front().instance + " of app '" + users.front().app +
                                          "'" + (users.size() > 1 ? " and " + std::to_string(users.size() - 1) + " more" : "") +
                                          " used it last. Revoke it anyway with --yes, or wait until it is unused with --when-unused.");
    error.details = "\"in_use\":" + list.dump();
    return error;
  }
  Work work;
  work.kind = "addon.revoke-credentials";
  work.target = binding.id;
  work.claims = {"addon:" + addon.id};
  work.steps = json{{"binding", binding.id}, {"generation", request.generation}, {"read_only", binding.read_only}}.dump();
  // The rows and the grants that follow from them, in one transaction: what cannot be published is not revoked either. They
  // are published under the same lock, so that nothing changes between the two.
  const auto grants = std::make_shared<Grants>();
  const auto revoke = [this, id = binding.id, addon_id = addon.id, number = request.generation,
                       grants](const std::string& operation) -> Result<void> {
    VIA_TRY(note_step(operation, "revoke"));
    VIA_TRY(bindings_.revoke_generation(id, number, now()));
    VIA_TRY_LET(built, build_grants({}, addon_id));
    *grants = std::move(built);
    return {};
  };
  const auto publish = [this, grants] { publish_rights({std::move(*grants), {}, true}); };
  if (!request.when_unused_seconds) {
    work.first = revoke;
    work.then = publish;
  }
  work.run = [this, addon = addon, binding = binding, request, in_use, revoke, publish](Operation& operation) -> Result<json> {
    if (request.when_unused_seconds) {
      VIA_TRY(operation.step("wait_until_unused"));
      const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(*request.when_unused_seconds);
      for (;;) {
        {
          VIA_TRY_LET(held, operation.control());
          VIA_TRY_LET(still, in_use());
          if (still.empty()) break;
          if (std::chrono::steady_clock::now() >= until)
            return fail(Code::deadline_exceeded, "Generation " + std::to_string(request.generation) +
                                                     " is still in use by instance " + still.front().instance + " of app '" +
                                                     still.front().app + "'. It was not revoked.");
        }
        if (operation.cancelled()) return fail(Code::cancelled, "The operation was cancelled; nothing was changed.");
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    }
    operation.only_forward();
    json result = credential(binding, request.generation, "revoked", operation.id());
    if (request.when_unused_seconds) {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(revoke(operation.id()));
      VIA_TRY(change.commit());
      publish();
    }
    // Durable, then seen by every thread, then (the lock has been let go) nothing of before still runs; only then is it said to
    // be done. The plugin may ask a server about it, so nobody waits for the lock meanwhile; the claim keeps others away.
    json details = {{"app", binding.app}, {"addon", addon.name}, {"binding", binding.name}, {"generation", request.generation}};
    const auto at_plugin = [&]() -> Result<void> {
      VIA_TRY_LET(type, d_.addons.type(addon.type));
      VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
      return d_.addons.revoke(*instance, {binding.id, request.generation, type->scopes_for(binding.read_only)});
    };
    if (auto ended = at_plugin(); !ended) {
      auto left = left_behind_of(ended.error());
      if (left.empty() && request.forget) left.push_back("the credential, wherever add-on type '" + addon.type + "' keeps it");
      if (!left.empty()) details["left_behind"] = result["left_behind"] = left;
      if (!request.forget) return revoked_here_only(operation, request, addon, binding.id, ended.error(), details);
      d_.log.warn("credentials.left_behind", {{"addon", addon.id}, {"binding", binding.name}, {"reason", ended.error().message}});
    }
    const auto finish = [&]() -> Result<void> {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
      VIA_TRY(end_done(operation, result, details));
      return change.commit();
    };
    if (auto finished = finish(); !finished) return unknown(finished.error());  // it is revoked; the rest comes at the next start
    d_.log.info("credentials.revoked",
                {{"addon", addon.id}, {"app", binding.app}, {"binding", binding.name}, {"generation", request.generation}});
    return answer(result);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// The host serves nothing under the generation any more; where the data lies it could not be ended. It is tried again when the
// server is back (settle_credentials).
Error ControlPlane::revoked_here_only(Operation& operation, const RevokeCredentials& request, const Addon& addon, const std::string& binding_id,
                                      const Error& why, const json& details) {
  if (why.http_status() == 500) return unknown(why);  // the next start does it
  Error error = fail(Code::unavailable, "Generation " + std::to_string(request.generation) + " of binding " + request.binding +
                                            " is revoked: the host serves nothing under it any more. Where the data lies it could not be ended (" +
                                            why.message +
                                            "), so who kept its credential may still log in there. The host ends it when it can; where the server is gone for "
                                            "good, let it go: via addon revoke-credentials " + addon.name + " --app " + request.app + " --binding " +
                                            request.binding + " --generation " + std::to_string(request.generation) + " --forget");
  error.details = why.details;
  d_.log.warn("credentials.not_ended", {{"addon", addon.id}, {"binding", request.binding}, {"reason", why.message}});
  const auto close = [&]() -> Result<void> {
    VIA_TRY_LET(held, operation.control());
    unsettled_[addon.id].owed.insert({binding_id, request.generation});
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation.id(), operation.kind(), operation.target(), operation.actor(), "failed", std::string(error.wire_name()), details, {},
                          json{{"code", error.wire_name()}, {"message", error.message}}.dump(-1, ' ', false, json::error_handler_t::replace)));
    return change.commit();
  };
  if (auto closed = close(); !closed) return unknown(closed.error());
  return error;
}

// What was committed counts: a rotation without its row is taken back, a revocation with it is finished in the plugin.
Result<std::string> ControlPlane::recover_rotation(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  if (!steps.is_object()) return std::string("undone");
  VIA_TRY_LET(binding, bindings_.find(steps.value("binding", "")));
  if (!binding) return std::string("undone");
  const auto number = steps.value("generation", 0U);
  const auto known = std::find_if(binding->generations.begin(), binding->generations.end(),
                                  [&](const auto& g) { return g.generation == number; });
  const bool rotating = row.kind == "addon.rotate-credentials";
  const bool exists = known != binding->generations.end();
  if (rotating && exists) return std::string("done");
  if (!rotating && (!exists || known->live)) return std::string("undone");
  // A generation nobody was told of, or one that the plugin may not have ended yet.
  VIA_TRY_LET(addon, addons_.find_by_id(binding->addon_id));
  if (!addon) return std::string("undone");
  const auto type = d_.addons.type(addon->type);
  const auto instance = d_.addons.instance(addon->id, addon->type, addon->config);
  if (!type || !instance) return std::string(rotating ? "undone" : "failed");
  // Where its server is away, settle_credentials() does it.
  const auto ended = d_.addons.revoke(**instance, {binding->id, number, (*type)->scopes_for(binding->read_only)});
  return std::string(rotating ? "undone" : ended ? "done" : "failed");
}

}  // namespace via::lifecycle
