// Going back to an earlier release, and what differs between two. A rollback makes a new release with the bindings and the
// command of the old one: releases themselves never change.
#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using releases::ReleaseBinding;
using store::Transaction;

namespace {

std::optional<std::int64_t> number_of(const std::string& text) {
  std::int64_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, problem] = std::from_chars(text.data(), last, number);
  return problem == std::errc() && end == last ? std::optional(number) : std::nullopt;
}

std::uint32_t newest_live(const bindings::Binding& binding) {
  std::uint32_t newest = 0;
  for (const auto& generation : binding.generations)
    if (generation.live) newest = std::max(newest, generation.generation);
  return newest;
}

bool lives(const bindings::Binding& binding, std::uint32_t number) {
  return std::any_of(binding.generations.begin(), binding.generations.end(),
                     [&](const auto& g) { return g.generation == number && g.live; });
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace

Result<json> ControlPlane::rollback_deploy(const RollbackDeploy& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(request.app));
  const auto number = number_of(request.to);
  VIA_TRY_LET(release, number ? releases_.find_release(app.id, *number) : releases_.find_release(request.to));
  if (!release || release->app_id != app.id)
    return fail(Code::not_found, "App '" + app.name + "' has no release '" + request.to +
                                     "'. See which it has: via release list --app " + app.name);
  if (release->status == "current")
    return fail(Code::conflict, "Release " + release->id + " is the current one of app '" + app.name + "' already.");
  if (release->status != "superseded")
    return fail(Code::refused, "Release " + release->id + " never became current (it is " + release->status +
                                   "), so there is no way back to it.");
  VIA_TRY_LET(old, releases_.find_deploy(release->deploy_id));
  if (!old) return fail(Code::internal, "the deploy of a release is missing");
  VIA_TRY_LET(bound, releases_.bindings_of(release->id));

  DeployPlan plan = plan_deploy(app);
  plan.deploy.command = old->command;
  plan.deploy.cwd = old->cwd;
  plan.deploy.replicas = old->replicas;
  plan.deploy.env = old->env;
  plan.deploy.box = old->box;
  plan.rollback_of = release->id;
  std::vector<std::string> gone, warnings;
  json revoked = json::array(), reissues = json::array(), given = json::array();
  for (ReleaseBinding binding : bound) {
    VIA_TRY_LET(addon, addons_.find_by_id(binding.addon_id));
    VIA_TRY_LET(known, bindings_.find(binding.binding_id));
    if (!addon || !known || addon->state != AddonState::active) {
      gone.push_back(binding.binding + " (" + binding.addon + ")");
      continue;
    }
    if (!lives(*known, binding.generation)) {
      revoked.push_back({{"binding", binding.binding}, {"generation", binding.generation}});
      const std::uint32_t newest = newest_live(*known);
      const std::uint32_t next = newest != 0 ? newest : known->newest() + 1;
      reissues.push_back({{"binding", binding.binding}, {"generation", next}, {"fresh", newest == 0}});
      if (request.reissue) {
        plan.reissues.push_back({*addon, *known, next, newest == 0});
        binding.generation = next;
      }
    }
    VIA_TRY_LET(living, bindings_.find_living(app.id, binding.binding));
    if (!living || living->id != binding.binding_id)
      warnings.push_back("Binding " + binding.binding + " was unbound since: the rollback gives access to '" +
                         addon->name + "' again.");
    given.push_back({{"app", app.name}, {"binding", binding.binding}, {"generations", {binding.generation}}});
    plan.bindings.push_back(std::move(binding));
  }
  if (!gone.empty()) warnings.push_back("These add-ons are not active any more: " + joined(gone) + ".");

  VIA_TRY_LET(running, instances_.wanted(app.id));
  json ends = json::array();
  for (const auto& instance : running)
    if (instance.driver == releases::Driver::process) ends.push_back(instance.id);
  VIA_TRY_LET(shown, check_plan({{"action", "deploy.rollback"},
                                 {"target", {{"app", app.name}, {"release", release->id}, {"number", release->number}}},
                                 {"touches",
                                  {{"apps", {app.name}},
                                   {"releases", json::array({app.current_release, release->id})},
                                   {"instances", ends},
                                   {"bindings", given},
                                   {"snapshots", json::array()},
                                   {"bytes", 0}}},
                                 {"revoked", revoked},
                                 {"reissues", request.reissue ? reissues : json::array()},
                                 {"warnings", warnings},
                                 {"ends", ends}},
                                request.plan));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  if (!gone.empty())
    return fail(Code::refused, "Release " + release->id + " needs add-ons that are not active any more: " + joined(gone) +
                                   ". Bring one back: via addon undelete ID");
  if (!revoked.empty() && !request.reissue) {
    std::vector<std::string> names;
    for (const auto& item : revoked)
      names.push_back(item["binding"].get<std::string>() + " generation " + std::to_string(item["generation"].get<std::uint32_t>()));
    Error error = fail(Code::refused, "Release " + release->id + " uses credentials that were revoked: " + joined(names) +
                                          ". Give it living ones in their place: via deploy rollback " + app.name +
                                          " --to " + std::to_string(release->number) + " --reissue");
    error.details = "\"revoked\":" + revoked.dump();
    return error;
  }
  for (const auto& reissue : plan.reissues)
    if (reissue.fresh) VIA_TRY(not_claimed("addon:" + reissue.addon.id));
  return operate_deploy(std::move(lock), std::move(plan), "deploy.rollback", actor, wait);
}

// The plugin first, then the rows in one transaction: a generation that has no row was never given to anybody.
Result<void> ControlPlane::reissue(const DeployPlan& plan) {
  std::vector<std::pair<const Reissue*, Described>> made;
  const auto apply = [&]() -> Result<void> {
    for (const auto& item : plan.reissues) {
      if (!item.fresh) {
        VIA_TRY_LET(now_is, bindings_.find(item.binding.id));
        if (!now_is || !lives(*now_is, item.generation))
          return fail(Code::conflict, "Generation " + std::to_string(item.generation) + " of binding " + item.binding.name +
                                          " was revoked meanwhile. Try again.");
        continue;
      }
      VIA_TRY_LET(described, apply_binding(item.addon, {item.binding.id, item.binding.name, item.binding.read_only},
                                           item.generation));
      made.emplace_back(&item, std::move(described));
    }
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    for (const auto& [item, described] : made)
      VIA_TRY(bindings_.add_generation(item->binding.id, item->generation, described.descriptor, described.derived, now()));
    return change.commit();
  };
  if (auto applied = apply(); !applied) {
    for (const auto& item : plan.reissues)
      if (item.fresh) take_back(item);
    return applied;
  }
  for (const auto& [item, described] : made) {
    VIA_TRY_LET(grants, build_grants({}, item->addon.id));
    publish_rights({std::move(grants), {}, false});
  }
  return {};
}

void ControlPlane::take_back(const Reissue& reissue) {
  const auto type = d_.addons.type(reissue.addon.type);
  const auto instance = d_.addons.instance(reissue.addon.id, reissue.addon.type, reissue.addon.config);
  if (type && instance)
    (void)d_.addons.revoke(**instance,
                           {reissue.binding.id, reissue.generation, (*type)->scopes_for(reissue.binding.read_only)});
}

Result<json> ControlPlane::diff_releases(const std::string& from_id, const std::string& to_id) {
  VIA_TRY_LET(lock, control());
  const auto need = [&](const std::string& id) -> Result<releases::Release> {
    VIA_TRY_LET(found, releases_.find_release(id));
    if (!found) return fail(Code::not_found, "Release '" + id + "' does not exist. See which do: via release list");
    return *found;
  };
  VIA_TRY_LET(from, need(from_id));
  VIA_TRY_LET(to, need(to_id));
  if (from.app_id != to.app_id)
    return fail(Code::bad_request, "Release " + from.id + " is of app '" + from.app + "' and release " + to.id +
                                       " of app '" + to.app + "'. Compare two of one app.");
  VIA_TRY_LET(before, releases_.bindings_of(from.id));
  VIA_TRY_LET(after, releases_.bindings_of(to.id));
  std::map<std::string, std::pair<const ReleaseBinding*, const ReleaseBinding*>> both;
  for (const auto& binding : before) both[binding.binding].first = &binding;
  for (const auto& binding : after) both[binding.binding].second = &binding;
  json changes = json::array();
  for (const auto& [name, pair] : both) {
    const auto& [a, b] = pair;
    if (a != nullptr && b != nullptr && a->binding_id == b->binding_id && a->generation == b->generation &&
        a->read_only == b->read_only)
      continue;
    changes.push_back({{"binding", name},
                       {"change", a == nullptr ? "added" : b == nullptr ? "removed" : "changed"},
                       {"from", a == nullptr ? json(nullptr) : to_json(*a)},
                       {"to", b == nullptr ? json(nullptr) : to_json(*b)}});
  }
  VIA_TRY_LET(old_deploy, releases_.find_deploy(from.deploy_id));
  VIA_TRY_LET(new_deploy, releases_.find_deploy(to.deploy_id));
  const auto command = [](const std::optional<releases::Deploy>& d) { return d ? json(d->command) : json(nullptr); };
  return {boost::system::in_place_value,
          json{{"from", to_json(from)},
               {"to", to_json(to)},
               {"bindings", std::move(changes)},
               {"command", {{"from", command(old_deploy)}, {"to", command(new_deploy)}}},
               {"config_version", {{"from", from.config_version}, {"to", to.config_version}}}}};
}

}  // namespace via::lifecycle
