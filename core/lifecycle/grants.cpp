// From rows to grants: three queries whatever the number of add-ons, bindings and instances.
#include <map>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {
namespace {

using authorization::BindingGrant;
using authorization::InstanceGrant;

// What all generations of one binding come to.
struct Credentials {
  std::vector<std::uint32_t> live;
  std::uint32_t newest = 0;
  std::string descriptor, derived;  // of the newest live one
};

Result<std::unordered_map<std::string, Credentials>> load_credentials(store::Database& db, std::string_view app_id,
                                                                      std::string_view addon_id) {
  std::unordered_map<std::string, Credentials> out;
  auto rows = db.query(
      "SELECT g.binding_id, g.generation, g.status='live', g.descriptor, g.derived FROM generations g "
      "WHERE g.binding_id IN (SELECT rb.binding_id FROM release_bindings rb WHERE rb.release_id IN "
      "(SELECT i.release_id FROM instances i WHERE i.wanted=1 AND (?1='' OR i.app_id=?1)) AND (?2='' OR rb.release_id "
      "IN (SELECT release_id FROM release_bindings WHERE addon_id=?2))) ORDER BY g.binding_id, g.generation",
      app_id, addon_id);
  while (rows.next()) {
    const store::Row row = rows.row();
    Credentials& c = out[row.text(0)];
    c.newest = static_cast<std::uint32_t>(row.integer(1));
    if (row.integer(2) == 0) continue;
    c.live.push_back(c.newest);
    c.descriptor = row.text(3);
    c.derived = row.text(4);
  }
  VIA_TRY(rows.end());
  return out;
}

using Derived = std::vector<std::pair<std::string, std::string>>;  // suffix and template

Derived parse_derived(const std::string& text) {
  Derived out;
  const auto derived = nlohmann::json::parse(text, nullptr, false);
  if (!derived.is_object()) return out;
  for (const auto& item : derived.items())
    if (item.value().is_string()) out.emplace_back(item.key(), item.value().get<std::string>());
  return out;
}

}  // namespace

Result<ControlPlane::Grants> ControlPlane::build_grants(std::string_view app_id, std::string_view addon_id) {
  store::Database& db = d_.store.db();
  VIA_TRY_LET(credentials, load_credentials(db, app_id, addon_id));

  std::unordered_map<std::string, std::vector<std::shared_ptr<const BindingGrant>>> by_release;
  std::map<std::string, const plugins::AddonType*> types;  // null = not enabled
  std::unordered_map<std::string, Derived> derived;        // by stored text: nearly all bindings of a type share it
  auto rows = db.query(
      "SELECT rb.release_id, rb.binding, rb.binding_id, rb.addon_id, rb.type, rb.read_only, rb.generation, a.config "
      "FROM release_bindings rb JOIN addons a ON a.id=rb.addon_id AND a.state='active' "
      "WHERE rb.release_id IN (SELECT i.release_id FROM instances i WHERE i.wanted=1 AND (?1='' OR i.app_id=?1)) "
      "AND (?2='' OR rb.release_id IN (SELECT release_id FROM release_bindings WHERE addon_id=?2)) "
      "ORDER BY rb.release_id, rb.binding",
      app_id, addon_id);
  while (rows.next()) {
    const store::Row row = rows.row();
    auto grant = std::make_shared<BindingGrant>();
    const std::string release = row.text(0);
    grant->binding = row.text(1);
    grant->binding_id = row.text(2);
    grant->binding_ulid = ulid_of(grant->binding_id);
    grant->addon_id = row.text(3);
    grant->type = row.text(4);
    grant->read_only = row.integer(5) != 0;
    grant->snapshot_generation = static_cast<std::uint32_t>(row.integer(6));
    auto [type, first] = types.try_emplace(grant->type, nullptr);
    if (first) {
      if (const auto found = d_.addons.type(grant->type))
        type->second = *found;
      else
        d_.log.warn("grants.type_not_enabled", {{"type", grant->type}});
    }
    if (type->second == nullptr) continue;
    auto instance = d_.addons.instance(grant->addon_id, grant->type, row.text(7));
    if (!instance) {
      d_.log.warn("grants.addon_not_available", {{"addon", grant->addon_id}, {"reason", instance.error().message}});
      continue;
    }
    grant->instance = std::move(*instance);
    grant->scopes = type->second->scopes_for(grant->read_only);
    if (const auto c = credentials.find(grant->binding_id); c != credentials.end()) {
      for (const std::uint32_t generation : c->second.live)
        if (generation >= grant->snapshot_generation) grant->live_generations.push_back(generation);
      grant->newest_generation = c->second.newest;
      grant->descriptor = c->second.descriptor;
      const auto [templates, unseen] = derived.try_emplace(c->second.derived);
      if (unseen) templates->second = parse_derived(c->second.derived);
      for (const auto& [suffix, text] : templates->second) grant->derived.emplace_back(grant->binding + suffix, text);
    }
    by_release[release].push_back(std::move(grant));
  }
  VIA_TRY(rows.end());

  Grants out;
  auto instances = db.query(
      "SELECT i.id, p.name, i.deploy_id, i.release_id FROM instances i JOIN apps p ON p.id=i.app_id "
      "WHERE i.wanted=1 AND (?1='' OR i.app_id=?1) AND (?2='' OR i.release_id IN "
      "(SELECT release_id FROM release_bindings WHERE addon_id=?2))",
      app_id, addon_id);
  while (instances.next()) {
    const store::Row row = instances.row();
    auto grant = std::make_shared<InstanceGrant>();
    grant->instance = row.text(0);
    grant->app = row.text(1);
    grant->deploy = row.text(2);
    grant->release = row.text(3);
    grant->env = settings_.environment;
    if (const auto bound = by_release.find(grant->release); bound != by_release.end()) grant->bindings = bound->second;
    for (const auto& binding : grant->bindings) {
      auto& use = uses_[grant->instance][binding->binding_id];
      if (!use) use = std::make_shared<authorization::GenerationUse>();
      grant->uses.push_back(use);
    }
    out.push_back(std::move(grant));
  }
  VIA_TRY(instances.end());
  return out;
}

}  // namespace via::lifecycle
