// What a destructive command would touch, as an operator reads it before saying yes, and the hash by which the same plan
// is applied only while it is still true. The bytes in use are shown and not hashed: they move while apps work.
#include <nlohmann/json.hpp>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;

Result<json> ControlPlane::plan_addon(std::string_view action, const catalog::Addon& addon) {
  VIA_TRY_LET(bound, bindings_.of_addon(addon.id));
  VIA_TRY_LET(users, releases_.apps_with_current(addon.id));
  VIA_TRY_LET(instances, instances_.using_addon(addon.id));
  VIA_TRY_LET(snapshots, snapshots_.of_addon(addon.id));
  VIA_TRY_LET(current, d_.store.db().all([](const store::Row& r) { return r.text(0); },
                                         "SELECT rb.release_id FROM release_bindings rb JOIN releases r ON "
                                         "r.id=rb.release_id AND r.status='current' WHERE rb.addon_id=?1 ORDER BY 1",
                                         addon.id));
  auto ids = json::array();
  for (const auto& instance : instances) ids.push_back(instance.id);
  VIA_TRY_LET(shared, shares_.list(addon.id));
  auto shares = json::array();
  for (const auto& share : shared)
    if (share.live(now())) shares.push_back(share.id);
  auto kept = json::array();
  for (const auto& snapshot : snapshots) kept.push_back(snapshot.id);
  return {boost::system::in_place_value,
          json{{"action", action},
               {"target", {{"addon", addon.name}, {"id", addon.id}, {"type", addon.type}, {"state", to_string(addon.state)}}},
               {"touches",
                {{"apps", users},
                 {"releases", current},
                 {"instances", std::move(ids)},
                 {"bindings", touched(bound)},
                 {"shares", std::move(shares)},
                 {"snapshots", std::move(kept)},
                 {"bytes", folder_bytes(storage_of(addon))}}},
               {"warnings", json::array()}}};
}

Result<json> ControlPlane::check_plan(json plan, const PlanRequest& request) {
  json hashed = plan;
  if (hashed.contains("touches")) hashed["touches"].erase("bytes");
  const std::string hash = sha256_hex(hashed.dump(-1, ' ', false, json::error_handler_t::replace));
  if (!request.if_hash.empty() && request.if_hash != hash)
    return fail(Code::precondition_failed,
                "The plan is not true any more: what it would touch has changed. Nothing was done. Look again with --plan.");
  if (!request.only) return {boost::system::in_place_value, json(nullptr)};
  return {boost::system::in_place_value, json{{"plan", std::move(plan)}, {"hash", hash}}};
}

}  // namespace via::lifecycle
