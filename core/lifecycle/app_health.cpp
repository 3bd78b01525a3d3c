// How an app's side of the host is: the identity of its instances, its processes, the add-ons of its release; and repair,
// which gives every instance whose token is missing or has expired a new one.
#include "core/lifecycle/app_health.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/identity/key_set.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;
using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

constexpr std::string_view kIdentityExpired = "runtime_identity_expired";

std::string repair_line(const std::string& app) { return "vary app repair " + app + " --target {target}"; }

std::string sentence_of(const std::string& state) {
  if (state == "missing") return "its runtime token is missing";
  if (state == "expired") return "its runtime token has expired";
  if (state == "invalid") return "its runtime token cannot be used";
  if (state == "not_supervised") return "its token was printed and is not kept by the host";
  return "its runtime token is good";
}

// One layer of `status` out of the findings of that kind.
Check layer(std::string name, const std::vector<Finding>& findings, std::string_view prefix, std::string when_none) {
  Check out{std::move(name), true, {}};
  std::size_t seen = 0, good = 0;
  for (const auto& finding : findings) {
    if (finding.name != prefix && !finding.name.starts_with(std::string(prefix) + " ")) continue;
    ++seen;
    good += finding.ok ? 1 : 0;
    if (!finding.ok && out.ok) {
      out.ok = false;
      out.detail = finding.detail;
    }
  }
  if (seen == 0)
    out.detail = std::move(when_none);
  else if (out.ok)
    out.detail = std::to_string(good) + " in order";
  return out;
}

}  // namespace

json to_json(const Finding& f) {
  const auto text = [](const std::string& t) { return t.empty() ? json(nullptr) : json(t); };
  return {{"name", f.name}, {"ok", f.ok}, {"detail", f.detail}, {"code", text(f.code)}, {"recommend", text(f.recommend)}};
}

json problems_of(const std::vector<Finding>& findings) {
  auto out = json::array();
  std::set<std::pair<std::string, std::string>> told;
  for (const auto& finding : findings)
    if (!finding.ok && !finding.code.empty() && told.insert({finding.code, finding.detail}).second)
      out.push_back({{"code", finding.code}, {"message", finding.detail}, {"recommend", finding.recommend}});
  return out;
}

// What the token file of an instance is worth right now, and until when.
ControlPlane::InstanceIdentity ControlPlane::identity_of(const Instance& instance) const {
  InstanceIdentity out{instance, "ok", instance.expires_at};
  if (!instance.wanted) {
    out.state = "expired";
    return out;
  }
  if (instance.material.empty()) {
    out.state = instance.expires_at <= now() ? "expired" : "not_supervised";
    return out;
  }
  auto text = releases::read_token(instance.material, identity::kMaximumTokenBytes);
  if (!text) {
    out.state = text.error().code == Code::not_found ? "missing" : "invalid";
    return out;
  }
  const Secret token(std::move(*text));
  const auto claims = identity::verify_token(token.reveal(), *d_.keys.current(), d_.tokens.issuer(), now());
  if (!claims)
    out.state = claims.error().code == Code::runtime_identity_expired ? "expired" : "invalid";
  else if (claims->instance != instance.id)
    out.state = "invalid";
  else
    out.expires_at = claims->expires_at * 1000;
  return out;
}

// Of every instance that ought to run. When none is left and the app's last one was an external one that ended because its
// token did: that one, with the others of its release that ended so.
Result<std::vector<ControlPlane::InstanceIdentity>> ControlPlane::identities_of(const std::string& app_id) {
  std::vector<InstanceIdentity> out;
  VIA_TRY_LET(wanted, instances_.wanted(app_id));
  for (const auto& instance : wanted) out.push_back(identity_of(instance));
  if (!out.empty()) return out;
  VIA_TRY_LET(all, instances_.list(app_id));
  // One that could not be given its material, by a repair before this, took nobody's place.
  std::erase_if(all, [](const Instance& i) { return i.driver == Driver::external && i.state == InstanceState::failed; });
  if (all.empty()) return out;
  VIA_TRY_LET(ids, d_.store.db().all([](const store::Row& r) { return r.text(0); },
                                     "SELECT id FROM instances WHERE app_id=?1 AND wanted=0 AND driver='external' AND "
                                     "expires_at>0 AND ended_at>=expires_at",
                                     app_id));
  const std::set<std::string> expired(ids.begin(), ids.end());
  if (!expired.contains(all.front().id)) return out;
  std::set<std::string> folders;
  for (const auto& instance : all) {
    if (instance.release != all.front().release || !expired.contains(instance.id)) continue;
    const bool newest = instance.id == all.front().id;
    if (newest || (!instance.material.empty() && !folders.contains(instance.material))) out.push_back(identity_of(instance));
    folders.insert(instance.material);
  }
  return out;
}

Result<std::vector<Finding>> ControlPlane::findings_of(const releases::App& app,
                                                       const std::vector<InstanceIdentity>& identities, const StorageChecks& storages) {
  std::vector<Finding> out;
  out.push_back({"release", !app.current_release.empty(),
                 app.current_release.empty() ? "App '" + app.name + "' was never deployed." : app.current_release,
                 app.current_release.empty() ? "not_deployed" : "",
                 app.current_release.empty() ? "via deploy create " + app.name : ""});
  const bool serving = launcher_ != nullptr;
  for (const auto& one : identities) {
    const Instance& instance = one.instance;
    const bool good = one.state == "ok" || one.state == "not_supervised";
    Finding identity{"identity " + instance.id, good, "Instance " + instance.id + ": " + sentence_of(one.state) + ".", {}, {}};
    if (!good) {
      identity.code = kIdentityExpired;
      identity.recommend = repair_line(app.name);
    }
    out.push_back(std::move(identity));
    if (!instance.wanted) continue;
    Finding runtime{"runtime " + instance.id, true, std::string(to_string(instance.state)), {}, {}};
    if (instance.driver == Driver::process && !serving) {
      runtime = {runtime.name, false, "The host is not running, so instance " + instance.id + " is not either.",
                 "host_not_running", "via serve"};
    } else if (instance.driver == Driver::process && instance.state == InstanceState::failed) {
      runtime = {runtime.name, false, "The process of instance " + instance.id + " ends with a failure and is started again and again.",
                 "instance_failing", "vary app logs " + app.name + " --target {target}"};
    } else if (instance.driver == Driver::process && !launcher_->supervises(instance.id)) {
      runtime = {runtime.name, false, "The process of instance " + instance.id + " does not run.", "instance_not_running",
                 repair_line(app.name)};
    }
    out.push_back(std::move(runtime));
  }
  if (app.current_release.empty()) return out;
  VIA_TRY_LET(bound, releases_.bindings_of(app.current_release));
  for (const auto& binding : bound) {
    VIA_TRY_LET(addon, addons_.find_by_id(binding.addon_id));
    Finding finding{"binding " + binding.binding, true, {}, {}, {}};
    const auto bad = [&](const char* code, std::string detail, std::string recommend) {
      finding.ok = false;
      finding.code = code;
      finding.detail = "Binding " + binding.binding + ": " + std::move(detail);
      finding.recommend = std::move(recommend);
    };
    if (!addon || addon->state == catalog::AddonState::destroyed) {
      bad("addon_destroyed", "its add-on was destroyed.", "via deploy create " + app.name);
    } else if (addon->state != catalog::AddonState::active) {
      bad("addon_not_ready", "its add-on is " + std::string(to_string(addon->state)) + ".", "via addon status " + addon->name);
    } else if (addon->drained) {
      bad("addon_drained", "its add-on is drained and answers nothing.", "via addon resume " + addon->name);
    } else {
      VIA_TRY_LET(record, bindings_.find(binding.binding_id));
      bool live = false;
      if (record)
        for (const auto& g : record->generations) live = live || (g.live && g.generation >= binding.generation);
      const auto asked = storages.find(addon->id);
      const Check storage = asked == storages.end() ? Check{"storage", true, "not asked"} : asked->second;
      if (!live)
        bad("generation_revoked", "every credential generation of this release is revoked.", "via deploy create " + app.name);
      else if (!storage.ok)
        bad("addon_unhealthy", "its storage: " + storage.detail + ".", "via addon status " + addon->name);
      else
        finding.detail = "add-on '" + addon->name + "', generation " + std::to_string(binding.generation) + ", storage " + storage.detail;
    }
    out.push_back(std::move(finding));
  }
  return out;
}

Result<json> ControlPlane::app_status_of(const releases::App& app, const StorageChecks& storages) {
  VIA_TRY_LET(identities, identities_of(app.id));
  VIA_TRY_LET(findings, findings_of(app, identities, storages));
  auto shown = json::array();
  for (const auto& one : identities)
    shown.push_back({{"instance", one.instance.id},
                     {"state", one.state},
                     {"expires_at", time_or_null(one.expires_at)},
                     {"driver", to_string(one.instance.driver)}});
  const std::vector<Check> layers = {layer("release", findings, "release", ""),
                                     layer("identity", findings, "identity", "no instance yet"),
                                     layer("runtime", findings, "runtime", "no instance"),
                                     layer("binding", findings, "binding", "the release has none")};
  const bool ok = std::all_of(layers.begin(), layers.end(), [](const Check& c) { return c.ok; });
  return answer({{"app", app.name},
                 {"state", app.current_release.empty() ? "not_deployed" : ok ? "ok" : "degraded"},
                 {"layers", list_json(layers)},
                 {"identity", std::move(shown)},
                 {"problems", problems_of(findings)}});
}

Result<json> ControlPlane::app_doctor_of(const releases::App& app, const StorageChecks& storages) {
  VIA_TRY_LET(identities, identities_of(app.id));
  VIA_TRY_LET(findings, findings_of(app, identities, storages));
  VIA_TRY_LET(bound, bindings_.of_app(app.id));
  // A binding that was made after the release is a frequent surprise.
  if (!app.current_release.empty()) {
    VIA_TRY_LET(released, releases_.bindings_of(app.current_release));
    for (const auto& binding : bound) {
      const bool in = std::any_of(released.begin(), released.end(), [&](const auto& r) { return r.binding_id == binding.id; });
      if (!in)
        findings.push_back({"future " + binding.name, true,
                            "Binding " + binding.name + " is not in the current release yet; the next deploy takes it up.", {},
                            "via deploy create " + app.name});
    }
  }
  std::size_t values = 0;
  if (const auto config = values_.find(app.name)) values = config->values.size();
  findings.push_back({"configuration", true, std::to_string(values) + " key(s)", {}, {}});
  const bool ok = std::all_of(findings.begin(), findings.end(), [](const Finding& f) { return f.ok; });
  return answer({{"app", app.name}, {"ok", ok}, {"checks", list_json(findings)}, {"problems", problems_of(findings)}});
}

Result<json> ControlPlane::app_status(const std::string& name) {
  VIA_TRY_LET(storages, ask_storages_of(name));
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  return app_status_of(app, storages);
}

Result<json> ControlPlane::app_doctor(const std::string& name) {
  VIA_TRY_LET(storages, ask_storages_of(name));
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  return app_doctor_of(app, storages);
}

Result<json> ControlPlane::repair_app(const std::string& name, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  Work work;
  work.kind = "app.repair";
  work.target = app.id;
  work.claims = {"app:" + app.id};
  work.run = [this, app = app](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("mint"));
    operation.only_forward();
    std::vector<InstanceIdentity> identities;
    {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(found, identities_of(app.id));
      identities = std::move(found);
    }
    json repaired = json::array(), failed = json::array();
    std::optional<Error> first;
    // Each instance is committed by itself: where the disk fails at a later step, some of it may be done.
    operation.stands();
    for (const auto& one : identities) {
      auto done = repair_instance(operation, app, one);
      if (done && done->is_null()) continue;  // nothing was wrong with it
      if (done) {
        repaired.push_back(std::move(*done));
        continue;
      }
      d_.log.warn("instance.not_repaired", {{"instance", one.instance.id}, {"reason", done.error().message}});
      const bool hidden = done.error().http_status() == 500;
      failed.push_back({{"instance", one.instance.id},
                        {"message", hidden ? std::string(kInternalMessage) : done.error().message}});
      if (!first) first = done.error();
    }
    if (repaired.empty() && first) return *first;
    json result = {{"app", app.name}, {"repaired", repaired}, {"failed", failed}, {"operation", operation.id()}};
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_done(operation, result, {{"app", app.name}, {"repaired", repaired.size()}, {"failed", failed.size()}}));
    VIA_TRY(change.commit());
    return answer(std::move(result));
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// {instance, action}, or null when nothing is wrong with it.
Result<json> ControlPlane::repair_instance(Operation& operation, const releases::App& app, const InstanceIdentity& one) {
  VIA_TRY_LET(lock, operation.control());
  Instance instance = one.instance;
  VIA_TRY_LET(stands, instances_.find(instance.id));
  if (!stands || stands->wanted != instance.wanted) return answer(nullptr);  // ended meanwhile
  const auto said = [](const std::string& id, const char* action) { return answer({{"instance", id}, {"action", action}}); };
  const bool process = instance.driver == Driver::process;
  const bool good = one.state == "ok" || one.state == "not_supervised";
  const bool failing = process && launcher_ != nullptr &&
                       (instance.state == InstanceState::failed || !launcher_->supervises(instance.id));
  if (good && !failing) return answer(nullptr);
  if (instance.material.empty())
    return fail(Code::precondition_failed, "The token of instance " + instance.id + " was printed when it was issued, so the "
                                               "host cannot replace it. Issue another: via runtime issue " + app.name);
  const std::int64_t life = std::clamp<std::int64_t>((instance.expires_at - instance.issued_at) / 1000, 1,
                                                     identity::kMaximumLifeSeconds);
  if (!instance.wanted) {
    // It ended with its token: its place is taken by a new instance of the current release, in the same folder.
    VIA_TRY_LET(fresh, new_external(app.name));
    fresh.material = instance.material;
    fresh.issued_at = now();
    fresh.expires_at = now() + life * 1000;
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(instances_.insert(fresh));
    VIA_TRY(change.commit());
    VIA_TRY(publish_new({fresh}));
    if (auto delivered = deliver_material(fresh, life); !delivered) {
      (void)end_instances({fresh}, InstanceState::failed);
      return delivered.error();
    }
    return answer({{"instance", fresh.id}, {"action", "issued"}, {"replaces", instance.id}});
  }
  if (!process) {
    VIA_TRY(deliver_material(instance, life));
    return said(instance.id, "token_renewed");
  }
  // A process whose token is only gone reads the new one by itself; one that ran into its expiry or fails starts afresh.
  const bool restart = launcher_ != nullptr && (failing || one.state == "expired");
  if (!restart) {
    VIA_TRY(deliver_material(instance, settings_.token_ttl_seconds));
    return said(instance.id, "token_renewed");
  }
  VIA_TRY_LET(restarted, restart_process(operation, std::move(lock), instance));
  return restarted ? said(instance.id, "restarted") : answer(nullptr);
}

}  // namespace via::lifecycle
