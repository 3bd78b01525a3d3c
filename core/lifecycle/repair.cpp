// Whether an add-on's storage and credentials are where its plugin put them, and putting them right. Files, databases and roles can
// be taken away behind the plugin's back, or come back when a server is put back to an older state; what is asked here is the plugin,
// never under the control lock, for it may ask a server in turn.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/doctor.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using catalog::Addon;
using catalog::AddonState;
using nlohmann::json;
using store::Transaction;

namespace {

constexpr int kReopenWaitMs = 5'000;

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

std::string state_in(const Result<std::string>& health) {
  const json said = health ? json::parse(*health, nullptr, false) : json(nullptr);
  if (!said.is_object()) return {};
  const auto state = said.find("state");
  return state != said.end() && state->is_string() ? state->get<std::string>() : std::string();
}

bool serves(std::string_view state) { return state == "ok" || state == "healthy" || state == "ready"; }

std::string named(const CredentialsAmiss::One& one) {
  return "generation " + std::to_string(one.generation) + " of " +
         (one.binding.empty() ? "a binding that is not known here" : one.binding + " in app '" + one.app + "'");
}

std::string list_of(const std::vector<CredentialsAmiss::One>& all) {
  std::vector<std::string> names;
  for (const auto& one : all) names.push_back(named(one));
  return some_of(names);
}

// A folder of the host's that somebody opened to others.
Result<void> close_to_others(const std::filesystem::path& folder) {
  std::error_code ec;
  const auto known = std::filesystem::symlink_status(folder, ec);
  if (ec || !std::filesystem::is_directory(known)) return {};  // provision says what is wrong with it
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ec);
  return ec ? Result<void>(system_error("make a folder private", ec.value())) : Result<void>();
}

}  // namespace

AskedStorage ControlPlane::ask_storage(const Addon& addon) const {
  AskedStorage out;
  out.storage.name = "storage";
  const auto bad = [&](std::string detail) {
    out.storage.ok = false;
    out.storage.detail = std::move(detail);
    return out;
  };
  if (addon.state != AddonState::active) return bad(has_data(addon) ? "has data" : "has no data");
  for (const auto& degraded : d_.addons.degraded())
    if (degraded.addon_id == addon.id) return bad(degraded_text(degraded));
  const auto instance = d_.addons.instance(addon.id, addon.type, addon.config);
  if (!instance) return bad("add-on type '" + addon.type + "' is not enabled");
  const auto health = d_.addons.health(**instance);
  if (!health) {
    const Error& error = health.error();
    return bad("the plugin could not say: " + (error.http_status() == 500 ? std::string(error.wire_name()) : error.message));
  }
  const auto parsed = json::parse(*health, nullptr, false);
  if (!parsed.is_object()) return bad("the plugin's answer has another form than expected");
  out.applied = plugins::applied_credentials(*health);
  const std::string state = state_in(health);
  std::string why;
  if (const auto checks = parsed.find("checks"); !serves(state) && checks != parsed.end() && checks->is_array())
    for (const json& check : *checks)
      if (why.empty() && check.is_object() && check.value("ok", json(true)) == false && check.contains("detail") &&
          check["detail"].is_string())
        why = ": " + check["detail"].get<std::string>();
  out.storage.ok = serves(state);
  out.storage.detail = (state.empty() ? "unknown" : state) + why;
  return out;
}

// A generation that was made or ended while the plugin was asked is no trouble: `before` is from before that, `after` from behind it.
Check ControlPlane::credentials_layer(const Addon& addon, const std::vector<bindings::Binding>& before, const std::vector<bindings::Binding>& after,
                                      const std::vector<plugins::AppliedCredential>& applied) const {
  CredentialsAmiss amiss = compare_credentials(before, applied);
  const CredentialsAmiss again = compare_credentials(after, applied);
  const auto in = [](const std::vector<CredentialsAmiss::One>& list, const CredentialsAmiss::One& one) {
    return std::any_of(list.begin(), list.end(), [&](const auto& o) { return o.binding_id == one.binding_id && o.generation == one.generation; });
  };
  std::erase_if(amiss.missing, [&](const auto& one) { return !in(again.missing, one); });
  std::erase_if(amiss.revived, [&](const auto& one) { return !in(again.revived, one); });
  if (amiss.missing.empty() && amiss.revived.empty()) return {"credentials", true, std::to_string(applied.size()) + " applied"};
  std::string text;
  if (!amiss.missing.empty()) text = "gone where the data lies: " + list_of(amiss.missing) + ", so nobody is given it";
  if (!amiss.revived.empty()) text += (text.empty() ? "" : "; ") + ("ended here and still there: " + list_of(amiss.revived) + ", so who kept it can log in");
  return {"credentials", false, text + ". Put it right: via addon repair " + addon.name};
}

Result<std::map<std::string, Check>> ControlPlane::ask_storages_of(const std::string& app_name) {
  std::vector<Addon> used;
  {
    VIA_TRY_LET(lock, control());
    VIA_TRY_LET(app, need_app(app_name));
    if (!app.current_release.empty()) {
      VIA_TRY_LET(bound, releases_.bindings_of(app.current_release));
      for (const auto& binding : bound) {
        VIA_TRY_LET(addon, addons_.find_by_id(binding.addon_id));
        if (addon && addon->state == AddonState::active && !addon->drained) used.push_back(*addon);
      }
    }
  }
  std::map<std::string, Check> out;
  for (const auto& addon : used)
    if (!out.contains(addon.id)) out.emplace(addon.id, ask_storage(addon).storage);
  return out;
}

// What the plugins say of every add-on that ought to serve, as two checks of the doctor.
Result<std::vector<DoctorCheck>> ControlPlane::ask_plugins() {
  constexpr std::uint64_t kAtMostMs = 20'000;
  std::vector<Addon> active;
  std::map<std::string, std::vector<bindings::Binding>> before;
  {
    VIA_TRY_LET(lock, control());
    VIA_TRY_LET(all, addons_.list());
    for (auto& addon : all) {
      if (addon.state != AddonState::active || addon.drained) continue;
      const auto type = d_.addons.type(addon.type);
      if (type && (*type)->credentials == "plugin-applied") {
        VIA_TRY_LET(bound, bindings_.all_of_addon(addon.id));
        before[addon.id] = std::move(bound);
      }
      active.push_back(std::move(addon));
    }
  }
  std::vector<std::string> failing, wrong;
  std::size_t asked_of = 0, credentials = 0;
  const std::int64_t until = now() + static_cast<std::int64_t>(kAtMostMs);
  for (const auto& addon : active) {
    if (now() > until) break;
    ++asked_of;
    const AskedStorage asked = ask_storage(addon);
    if (!asked.storage.ok) failing.push_back("'" + addon.name + "' (" + asked.storage.detail + ")");
    if (!asked.applied) continue;
    VIA_TRY_LET(lock, control());
    VIA_TRY_LET(bound, bindings_.all_of_addon(addon.id));
    const Check layer = credentials_layer(addon, before[addon.id], bound, *asked.applied);
    if (layer.ok) credentials += asked.applied->size();
    else wrong.push_back("'" + addon.name + "' (" + layer.detail + ")");
  }
  const std::string rest = asked_of < active.size() ? ", " + std::to_string(active.size() - asked_of) + " were not asked for want of time" : "";
  std::vector<DoctorCheck> out;
  out.push_back({"addons", failing.empty(), failing.empty() ? std::to_string(asked_of) + " asked, all serve" + rest : some_of(failing) + rest, false, false,
                 failing.empty() ? "" : "via addon status NAME"});
  out.push_back({"credentials", wrong.empty(), wrong.empty() ? std::to_string(credentials) + " applied by plugins, as they ought to be" : some_of(wrong), false, false,
                 wrong.empty() ? "" : "via addon repair NAME"});
  return out;
}

Result<json> ControlPlane::repair_addon(const std::string& name_or_id, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(addon, need_addon(name_or_id, std::nullopt));
  if (addon.state == AddonState::destroyed) {
    lock.unlock();
    return undelete_addon(addon.id, "", actor, wait);
  }
  if (addon.state == AddonState::destroying) {
    lock.unlock();
    DestroyAddon again;
    again.name = addon.id;
    return destroy_addon(again, actor, wait);
  }
  if (addon.name.find('#') != std::string::npos)
    return fail(Code::conflict, "This record gave its name back and has no data. Create the add-on anew.");
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  Work work;
  work.kind = "addon.repair";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.steps = json{{"addon", addon.id}}.dump();
  work.run = [this, addon = addon](Operation& operation) { return run_repair(operation, addon); };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_repair(Operation& operation, const Addon& addon) {
  const auto lost = [&] {
    return fail(Code::conflict, "The data of add-on '" + addon.name + "' cannot be served. Restore a snapshot (via addon snapshots " + addon.name +
                                    "), or give it up: via addon destroy " + addon.name);
  };
  VIA_TRY(operation.step("provision"));
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  // An empty one in the place of what is gone would look as if all were well.
  std::error_code ec;
  if (addon.state == AddonState::active && !std::filesystem::exists(storage_of(addon), ec))
    return fail(Code::conflict, "The data of add-on '" + addon.name + "' is gone: its folder is not there any more. Put a backup of the host back (via backup "
                                "list), or give the add-on up: via addon destroy " + addon.name + " --no-final-snapshot");
  VIA_TRY(close_to_others(storage_of(addon)));
  if (auto made = d_.addons.provision(*instance); !made) {
    if (made.error().http_status() == 500) {
      d_.log.warn("addon.repair_failed", {{"addon", addon.id}, {"reason", made.error().message}});
      return lost();
    }
    return made.error();
  }
  VIA_TRY(operation.step("check"));
  auto health = d_.addons.health(*instance);
  if (!serves(state_in(health)) && !addon.drained) {
    // What is open may be the files of before.
    VIA_TRY_LET(quiet, d_.addons.drain(*instance, kReopenWaitMs, operation.watch()));
    if (quiet) VIA_TRY(d_.addons.suspend(*instance));
    VIA_TRY(d_.addons.resume(*instance));
    health = d_.addons.health(*instance);
  }
  if (!serves(state_in(health))) return lost();
  operation.only_forward();
  VIA_TRY_LET(mended, apply_credentials(operation, addon));
  VIA_TRY_LET(held, operation.control());
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(addons_.set_state(addon.id, AddonState::active, "", now()));
  VIA_TRY_LET(after, addons_.find_by_id(addon.id));
  json result = to_json(after.value_or(addon));
  result["credentials"] = mended;
  result["operation"] = operation.id();
  VIA_TRY(end_done(operation, result, {{"addon", addon.name}, {"credentials", mended}}));
  VIA_TRY(change.commit());
  return answer(std::move(result));
}

// Those that live are made anew, whatever is there: a password may have been changed as well. Those that do not are ended.
Result<json> ControlPlane::apply_credentials(Operation& operation, const Addon& addon) {
  VIA_TRY_LET(type, d_.addons.type(addon.type));
  if (type->credentials != "plugin-applied") return answer({{"applied", 0}, {"ended", 0}});
  VIA_TRY(operation.step("credentials"));
  const AskedStorage asked = ask_storage(addon);
  std::size_t applied = 0;
  CredentialsAmiss amiss;
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(bound, bindings_.all_of_addon(addon.id));
    if (asked.applied) amiss = compare_credentials(bound, *asked.applied);
    for (const auto& binding : bound)
      applied += static_cast<std::size_t>(std::count_if(binding.generations.begin(), binding.generations.end(), [](const auto& g) { return g.live; }));
    VIA_TRY(reapply_bindings(d_.addons, bindings_, addon));
  }
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  for (const auto& one : amiss.revived) VIA_TRY(d_.addons.revoke(*instance, {one.binding_id, one.generation, {}}));
  return answer({{"applied", applied}, {"ended", amiss.revived.size()}});
}

// Revocations that a plugin could not make because its server was away are made when it is back.
void ControlPlane::settle_credentials() {
  std::vector<Addon> due;
  {
    const auto lock = control();
    if (!lock || stopping_ || settling_ || unsettled_.empty()) return;
    for (const auto& id : unsettled_) {
      const auto addon = addons_.find_by_id(id);
      if (addon && *addon && (*addon)->state == AddonState::active && not_claimed("addon:" + id)) due.push_back(**addon);
    }
    unsettled_.clear();
    for (const auto& addon : due) unsettled_.insert(addon.id);
    settling_ = !due.empty();
  }
  if (due.empty()) return;
  if (settler_.joinable()) settler_.join();
  settler_ = std::thread([this, due = std::move(due)] {
    for (const auto& addon : due) {
      try {
        const AskedStorage asked = ask_storage(addon);
        if (!asked.applied) continue;
        const auto settled = end_revived(addon, *asked.applied);
        const std::lock_guard lock(control_);
        if (settled) unsettled_.erase(addon.id);
        else d_.log.warn("credentials.not_ended", {{"addon", addon.id}, {"reason", settled.error().message}});
      } catch (const std::exception& problem) {
        d_.log.error("credentials.not_ended", {{"addon", addon.id}, {"reason", problem.what()}});
      }
    }
    const std::lock_guard lock(control_);
    settling_ = false;
  });
}

Result<void> ControlPlane::end_revived(const Addon& addon, const std::vector<plugins::AppliedCredential>& applied) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(bound, bindings_.all_of_addon(addon.id));
  const CredentialsAmiss amiss = compare_credentials(bound, applied);
  if (amiss.revived.empty()) return {};
  Work work;
  work.kind = "addon.end-credentials";
  work.target = addon.id;
  work.claims = {"addon:" + addon.id};
  work.run = [this, addon, revived = amiss.revived](Operation& operation) -> Result<json> {
    VIA_TRY(operation.step("revoke"));
    operation.only_forward();
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    json ended = json::array();
    for (const auto& one : revived) {
      VIA_TRY(d_.addons.revoke(*instance, {one.binding_id, one.generation, {}}));
      ended.push_back({{"app", one.app}, {"binding", one.binding}, {"generation", one.generation}});
    }
    const json result = {{"addon", addon.name}, {"ended", ended}, {"operation", operation.id()}};
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(end_done(operation, result, {{"addon", addon.name}, {"ended", ended}}));
    VIA_TRY(change.commit());
    return answer(result);
  };
  VIA_TRY(operate(std::move(lock), std::move(work), Actor{"host", 0}, true));
  return {};
}

}  // namespace via::lifecycle
