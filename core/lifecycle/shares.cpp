// Who reaches the HTTP routes of an add-on without a binding: operators, and capability URLs: made, listed, revoked. A URL is
// told once; what is kept cannot make it.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;
using store::Transaction;

namespace {

constexpr std::int64_t kWeekSeconds = 7 * 86'400, kLongestSeconds = 10LL * 366 * 86'400;
constexpr std::size_t kMostShares = 1000, kMostTextBytes = 200;

Result<void> check_text(std::string_view what, std::string_view text) {
  const bool clean = std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (clean && text.size() <= kMostTextBytes) return {};
  return fail(Code::bad_request, "'" + std::string(what) + "' must be at most 200 bytes without control characters.");
}

Error no_routes(const std::string& type) {
  return fail(Code::unsupported, "Add-ons of type '" + type + "' have no HTTP routes, so there is nothing to reach that way.");
}

}  // namespace

Result<ControlPlane::ShareGrants> ControlPlane::build_shares(std::string_view addon_id) {
  ShareGrants out;
  VIA_TRY_LET(listed, shares_.list(addon_id));
  const auto before = d_.authority.current();
  std::map<std::string, std::shared_ptr<plugins::AddonInstance>> instances;  // null = it cannot be served
  for (const shares::Share& share : listed) {
    if (!share.live(now())) continue;
    auto [found, first] = instances.try_emplace(share.addon_id);
    if (first) {
      VIA_TRY_LET(addon, addons_.find_by_id(share.addon_id));
      if (!addon || addon->state != catalog::AddonState::active) continue;
      auto instance = d_.addons.instance(addon->id, addon->type, addon->config);
      if (instance)
        found->second = std::move(*instance);
      else
        d_.log.warn("shares.addon_not_available", {{"addon", share.addon_id}, {"reason", instance.error().message}});
    }
    const auto type = d_.addons.type(share.type);
    if (!found->second || !type) continue;
    auto grant = std::make_shared<authorization::ShareGrant>();
    grant->id = share.id;
    grant->ulid = ulid_of(share.id);
    grant->hash = share.hash;
    grant->addon_id = share.addon_id;
    grant->type = share.type;
    grant->scopes = (*type)->scopes_for(share.read_only);
    if (!share.database.empty()) grant->limits.emplace_back("db", share.database);
    if (share.query_only) grant->limits.emplace_back("only", "query");
    grant->expires_at = share.expires_at;
    grant->instance = found->second;
    const auto known = before->find_share(share.hash);
    grant->use = known ? known->use : std::make_shared<authorization::ShareUse>(share.rate);
    out.push_back(std::move(grant));
  }
  return out;
}

Result<std::shared_ptr<plugins::AddonInstance>> ControlPlane::reach_addon(const std::string& name_or_id, std::string_view method,
                                                                          const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, std::nullopt));
  if (addon.state != catalog::AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                    ". See why: via addon status " + addon.name);
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  if (type->http.prefix.empty()) return no_routes(addon.type);
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  store::AuditEntry entry;
  entry.at = now();
  entry.actor = actor.name;
  entry.action = "addon.request";
  entry.target = addon.id;
  entry.outcome = "ok";
  entry.details = json{{"addon", addon.name}, {"method", method}}.dump();
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(d_.store.audit().append(std::move(entry)));
  VIA_TRY(change.commit());
  return instance;
}

Result<SharedAddon> ControlPlane::share_addon(const ShareAddon& request, const Actor& actor) {
  VIA_TRY(check_text("database", request.database));
  VIA_TRY(check_text("note", request.note));
  const std::int64_t seconds = request.expires_seconds.value_or(kWeekSeconds);
  if (seconds < 0 || seconds > kLongestSeconds)
    return fail(Code::bad_request, "'expires_seconds' must be from 1 to " + std::to_string(kLongestSeconds) + " (ten years), or 0 for never.");
  const std::int64_t rate = request.rate.value_or(shares::kDefaultRate);
  if (rate < 1 || rate > shares::kMaximumRate)
    return fail(Code::bad_request, "'rate' must be from 1 to " + std::to_string(shares::kMaximumRate) + " requests a second.");

  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(request.name, request.app));
  VIA_TRY(not_claimed("addon:" + addon.id));
  if (addon.state != catalog::AddonState::active)
    return fail(Code::conflict, "Add-on '" + addon.name + "' is " + std::string(to_string(addon.state)) +
                                    " and cannot be shared. See why: via addon status " + addon.name);
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  if (type->http.prefix.empty()) return no_routes(addon.type);
  VIA_TRY_LET(others, shares_.list(addon.id));
  if (std::count_if(others.begin(), others.end(), [&](const auto& s) { return s.live(now()); }) >= static_cast<std::ptrdiff_t>(kMostShares))
    return fail(Code::conflict, "Add-on '" + addon.name + "' has " + std::to_string(kMostShares) +
                                    " shares, which is the most. Revoke some first: via addon shares " + addon.name);

  const Secret capability = shares::make_capability(d_.entropy);
  shares::Share share;
  share.id = make_id("share");
  share.addon_id = addon.id;
  share.addon = addon.name;
  share.app = addon.app;
  share.type = addon.type;
  share.hash = *shares::hash_of(capability.reveal());
  share.read_only = request.read_only || request.query_only;
  share.query_only = request.query_only;
  share.database = request.database;
  share.rate = static_cast<std::uint32_t>(rate);
  share.note = request.note;
  share.created_at = now();
  share.expires_at = seconds == 0 ? 0 : now() + seconds * 1000;
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(shares_.insert(share));
  VIA_TRY_LET(operation, record_change("addon.share", addon.id, actor,
                                       {{"share", share.id},
                                        {"addon", addon.name},
                                        {"read_only", share.read_only},
                                        {"query_only", share.query_only},
                                        {"database", share.database},
                                        {"expires_at", time_or_null(share.expires_at)}}));
  VIA_TRY_LET(grants, build_shares(addon.id));
  VIA_TRY(change.commit());
  authorization::Change published;
  published.shares = std::move(grants);
  publish_rights(std::move(published));
  d_.log.info("addon.shared", {{"addon", addon.id}, {"share", share.id}});
  return SharedAddon{std::move(share),
                     Secret(settings_.config_url + "/c/" + std::string(capability.reveal()) + type->http.prefix), operation};
}

Result<std::vector<ShareView>> ControlPlane::list_shares(const std::optional<std::string>& name_or_id,
                                                         const std::optional<std::string>& app) {
  VIA_TRY_LET(lock, control());
  std::string addon_id;
  if (name_or_id) {
    VIA_TRY_LET(addon, need_addon(*name_or_id, app));
    addon_id = addon.id;
  }
  VIA_TRY_LET(listed, shares_.list(addon_id));
  const auto index = d_.authority.current();
  std::vector<ShareView> out;
  for (auto& share : listed) {
    if (app && share.app != *app) continue;
    const auto grant = index->find_share(share.hash);
    const bool expired = !share.live(now());
    out.push_back({std::move(share), expired, grant ? grant->use->last_used_at() : 0});
  }
  return out;
}

ControlPlane::ShareGrants ControlPlane::served(const std::vector<shares::Share>& ended) const {
  ShareGrants out;
  const auto index = d_.authority.current();
  for (const auto& share : ended)
    if (auto grant = index->find_share(share.hash)) out.push_back(std::move(grant));
  return out;
}

Result<json> ControlPlane::unshare_addon(const std::string& id, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(share, shares_.find(id));
  if (!share) return fail(Code::not_found, "Share '" + id + "' does not exist. See which do: via addon shares");
  const auto answer = [&share] {
    return json{{"id", share->id}, {"addon", share->addon}, {"addon_id", share->addon_id}, {"state", "revoked"}};
  };
  json touched = json::array();
  if (share->revoked_at == 0) touched.push_back(id);
  VIA_TRY_LET(shown, check_plan({{"action", "addon.unshare"},
                                 {"target", {{"share", id}, {"addon", share->addon}, {"id", share->addon_id}}},
                                 {"touches", {{"shares", std::move(touched)}}},
                                 {"warnings", json::array()}},
                                request));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  authorization::Change change;
  change.takes_away = true;
  change.unshared = served({*share});
  if (share->revoked_at == 0) {
    VIA_TRY_LET(commit, Transaction::begin(d_.store.db()));
    VIA_TRY(shares_.revoke(id, now()));
    VIA_TRY(record_change("addon.unshare", share->addon_id, actor, {{"share", id}, {"addon", share->addon}}));
    VIA_TRY(commit.commit());
  }
  if (!change.unshared.empty()) publish_rights(std::move(change));
  d_.log.info("addon.unshared", {{"addon", share->addon_id}, {"share", id}});
  return {boost::system::in_place_value, answer()};
}

}  // namespace via::lifecycle
