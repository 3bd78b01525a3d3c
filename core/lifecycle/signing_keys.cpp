// Rotation and revocation of signing keys. The keys live in files, so each change is journaled around theirs.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"
#include "core/releases/material.hpp"

namespace via::lifecycle {

using identity::KeyInfo;
using identity::KeyState;
using nlohmann::json;
using releases::Driver;
using releases::Instance;
using store::Transaction;

namespace {

const KeyInfo* find_key(const std::vector<KeyInfo>& keys, const std::string& kid) {
  const auto at = std::find_if(keys.begin(), keys.end(), [&](const KeyInfo& k) { return k.kid == kid; });
  return at == keys.end() ? nullptr : &*at;
}

std::string active_kid(const std::vector<KeyInfo>& keys) {
  for (const auto& key : keys)
    if (key.state == KeyState::active) return key.kid;
  return {};
}

}  // namespace

Result<KeyInfo> ControlPlane::rotate_keys(const Actor& actor) {
  VIA_TRY_LET(lock, control());
  const std::string before = active_kid(d_.keys.list());
  VIA_TRY_LET(operation, begin_operation("identity.keys.rotate", "identity", actor, {{"active", before}}));
  const auto rotated = d_.keys.rotate();
  if (!rotated && is_unknown(rotated.error())) return rotated;
  const auto close = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation, "identity.keys.rotate", "identity", actor, rotated ? "done" : "failed",
                          rotated ? "ok" : std::string(rotated.error().wire_name()),
                          {{"retiring", before}, {"active", rotated ? json(rotated->kid) : json(nullptr)}}));
    return change.commit();
  };
  if (auto closed = close(); !closed) return unknown(closed.error());
  if (rotated) d_.log.info("keys.rotated", {{"kid", rotated->kid}});
  return rotated;
}

// By the time of their tokens: which key signed a token is in the token only. A second on either side counts, for times
// in tokens have no finer grain.
Result<std::vector<Instance>> ControlPlane::signed_by(const KeyInfo& key) {
  VIA_TRY_LET(wanted, instances_.wanted());
  std::int64_t until = now();
  for (const auto& other : d_.keys.list())
    if (other.activated_at > key.activated_at) until = std::min(until, other.activated_at);
  std::erase_if(wanted, [&](const Instance& i) {
    return i.issued_at == 0 || i.issued_at + 999 < key.activated_at || i.issued_at > until + 999;
  });
  return wanted;
}

Result<json> ControlPlane::revoke_key(const std::string& kid, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  const auto keys = d_.keys.list();
  const KeyInfo* key = find_key(keys, kid);
  if (key == nullptr)
    return fail(Code::not_found, "There is no signing key '" + kid + "'. See which there are: via identity keys list");
  std::vector<Instance> affected;
  if (key->state == KeyState::retiring) {
    VIA_TRY_LET(found, signed_by(*key));
    affected = found;
  }
  json touched = json::array(), ends = json::array(), apps = json::array();
  for (const auto& instance : affected) {
    touched.push_back(instance.id);
    if (instance.driver == Driver::external) ends.push_back(instance.id);
    if (std::find(apps.begin(), apps.end(), instance.app) == apps.end()) apps.push_back(instance.app);
  }
  json plan = {{"action", "identity.keys.revoke"},
               {"target", {{"kid", kid}, {"state", identity::to_string(key->state)}}},
               {"touches",
                {{"apps", apps}, {"releases", json::array()}, {"instances", touched}, {"bindings", json::array()},
                 {"snapshots", json::array()}, {"bytes", 0}}},
               {"warnings", json::array()},
               {"ends", ends}};
  if (!ends.empty())
    plan["warnings"].push_back("The tokens of instances that the host does not supervise end at once. Issue new ones: via runtime issue APP");
  if (key->state == KeyState::active)
    plan["warnings"].push_back("It is the key that signs and cannot be revoked. Rotate first: via identity keys rotate");
  VIA_TRY_LET(shown, check_plan(std::move(plan), request));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  if (key->state == KeyState::active)
    return fail(Code::refused, "Key " + kid + " is the only one that signs. Rotate first: via identity keys rotate");
  if (key->state == KeyState::revoked) return {boost::system::in_place_value, to_json(*key)};

  VIA_TRY_LET(operation, begin_operation("identity.keys.revoke", kid, actor, {{"kid", kid}}));
  // What the host supervises has a token of the new key before the old one ends.
  std::size_t renewed = 0;
  for (auto& instance : affected) {
    if (instance.driver != Driver::process || instance.material.empty()) continue;
    const auto renew = [&]() -> Result<void> {
      VIA_TRY_LET(token, mint(instance, settings_.token_ttl_seconds));
      VIA_TRY(releases::replace_token(instance.material, token, readers_of(instance)));
      return instances_.set_token(instance.id, instance.issued_at, instance.expires_at);
    };
    if (auto done = renew(); !done)
      d_.log.warn("tokens.refresh_failed", {{"instance", instance.id}, {"reason", done.error().message}});
    else
      ++renewed;
  }
  const auto revoked = d_.keys.revoke(kid);
  if (revoked) {
    // New requests see the new key set already; what was let in before has ended when this returns.
    auto built = build_grants();
    if (!built) return unknown(built.error());
    auto& grants = *built;
    std::erase_if(grants, [&](const auto& grant) {
      return std::none_of(affected.begin(), affected.end(), [&](const Instance& i) { return i.id == grant->instance; });
    });
    publish_rights({std::move(grants), {}, true});
  }
  if (!revoked && is_unknown(revoked.error())) return revoked.error();
  const auto close = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_operation(operation, "identity.keys.revoke", kid, actor, revoked ? "done" : "failed",
                          revoked ? "ok" : std::string(revoked.error().wire_name()),
                          {{"kid", kid}, {"renewed", renewed}, {"ended", ends.size()}}));
    return change.commit();
  };
  if (auto closed = close(); !closed) return unknown(closed.error());
  if (!revoked) return revoked.error();
  d_.log.info("keys.revoked", {{"kid", kid}});
  const auto after = d_.keys.list();
  const KeyInfo* ended = find_key(after, kid);
  return {boost::system::in_place_value, to_json(ended == nullptr ? *key : *ended)};
}

std::string ControlPlane::recover_keys(const store::Operation& row) const {
  const json steps = json::parse(row.steps, nullptr, false);
  if (!steps.is_object()) return "undone";
  const auto keys = d_.keys.list();
  if (row.kind == "identity.keys.rotate" && !d_.keys.discard_unlisted()) {
    d_.log.warn("identity.leftover_not_removed", {{"operation", row.id}});
    return "";  // the next start tries it again
  }
  if (row.kind == "identity.keys.rotate") return active_kid(keys) != steps.value("active", "") ? "done" : "undone";
  const KeyInfo* key = find_key(keys, row.target);
  return key != nullptr && key->state == KeyState::revoked ? "done" : "undone";
}

}  // namespace via::lifecycle
