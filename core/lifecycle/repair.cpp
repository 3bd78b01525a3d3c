// Whether an add-on's storage and credentials are where its plugin put them, and putting them right. Files, databases and roles can
// be taken away behind the plugin's back, or come back when a server is put back to an older state; what is asked here is the plugin,
// never under the control lock, for it may ask a server in turn.
#include <algorithm>
#include <set>

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

// The first check that is not well, in the plugin's words.
std::string trouble_in(const std::string& health) {
  const json said = json::parse(health, nullptr, false);
  const auto checks = said.is_object() ? said.value("checks", json::array()) : json::array();
  for (const json& check : checks)
    if (check.is_object() && check.value("ok", json(true)) == false && check.contains("detail") && check["detail"].is_string())
      return check["detail"].get<std::string>();
  return {};
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
  const std::string why = serves(state) ? std::string() : trouble_in(*health);
  out.storage.ok = serves(state);
  out.storage.detail = (state.empty() ? "unknown" : state) + (why.empty() ? "" : ": " + why);
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
  const auto lost = [&](const std::string& why) {
    return fail(Code::conflict, "The data of add-on '" + addon.name + "' cannot be served" + (why.empty() ? "" : " (" + why + ")") +
                                    ". Restore a snapshot (via addon snapshots " + addon.name + "), or give it up: via addon destroy " + addon.name);
  };
  VIA_TRY(operation.step("provision"));
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  // An empty one in the place of what is gone would look as if all were well.
  std::error_code ec;
  if (addon.state == AddonState::active && std::filesystem::symlink_status(storage_of(addon), ec).type() == std::filesystem::file_type::not_found)
    return fail(Code::conflict, "The data of add-on '" + addon.name + "' is gone: its folder is not there any more. Put a backup of the host back (via backup "
                                "list), or give the add-on up: via addon destroy " + addon.name + " --no-final-snapshot");
  VIA_TRY(close_to_others(storage_of(addon)));
  if (auto made = d_.addons.provision(*instance); !made) {
    if (made.error().http_status() == 500) {
      d_.log.warn("addon.repair_failed", {{"addon", addon.id}, {"reason", made.error().message}});
      return lost({});
    }
    return made.error();
  }
  VIA_TRY(operation.step("check"));
  auto health = d_.addons.health(*instance);
  if (!serves(state_in(health)) && !addon.drained) {
    // What is open may be the files of before.
    const auto quiet = d_.addons.drain(*instance, kReopenWaitMs, operation.watch());
    const auto closed = quiet && *quiet ? d_.addons.suspend(*instance) : Result<void>();
    VIA_TRY(d_.addons.resume(*instance));
    if (!quiet) return quiet.error();
    if (!closed) return closed.error();
    if (!*quiet) return fail(Code::conflict, "Operations of add-on '" + addon.name + "' do not end, so it could not be opened anew. Try again when they have.");
    health = d_.addons.health(*instance);
  }
  if (!health && health.error().code == Code::deadline_exceeded) return health.error();  // which says nothing of the data
  if (!health) return lost(health.error().http_status() == 500 ? std::string() : health.error().message);
  // One that is drained by an operator is closed, and says nothing of its data either.
  if (!serves(state_in(health)) && !(addon.drained && state_in(health) == "draining")) return lost(trouble_in(*health));
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
  std::vector<bindings::Binding> bound;
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(found, bindings_.all_of_addon(addon.id));
    bound = std::move(found);
  }
  // The claim keeps every other change away from them.
  std::size_t applied = 0;
  for (const auto& binding : bound)
    for (const auto& one : binding.generations) {
      if (!one.live) continue;
      VIA_TRY_LET(described, apply_binding(addon, {binding.id, binding.name, binding.read_only}, one.generation));
      VIA_TRY_LET(held, operation.control());
      VIA_TRY(bindings_.describe_generation(binding.id, one.generation, described.descriptor, described.derived));
      ++applied;
    }
  const CredentialsAmiss amiss = asked.applied ? compare_credentials(bound, *asked.applied) : CredentialsAmiss{};
  VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
  for (const auto& one : amiss.revived) VIA_TRY(d_.addons.revoke(*instance, {one.binding_id, one.generation, {}}));
  return answer({{"applied", applied}, {"ended", amiss.revived.size()}});
}

// Revocations that a plugin could not make because its server was away are made when it is back.
void ControlPlane::settle_credentials() {
  struct Due {
    Addon addon;
    Unsettled what;
  };
  std::vector<Due> due;
  {
    const auto lock = control();
    if (!lock || stopping_ || settling_) return;
    for (auto at = unsettled_.begin(); at != unsettled_.end();) {
      const auto addon = addons_.find_by_id(at->first);
      const bool later = !addon || at->second.not_before_ms > now() || (*addon && !not_claimed("addon:" + at->first));
      if (later) {
        ++at;
        continue;
      }
      // One that is worked on at its end needs no end of its credentials.
      if (*addon && (*addon)->state == AddonState::active) due.push_back({**addon, at->second});
      at = unsettled_.erase(at);
    }
    settling_ = !due.empty();
  }
  if (due.empty()) return;
  if (settler_.joinable()) settler_.join();
  settler_ = std::thread([this, due = std::move(due)] {
    std::set<std::string> away;  // types whose server could not be asked: the rest of them waits for the next time
    for (const auto& [addon, what] : due) {
      {
        const std::lock_guard lock(control_);
        if (stopping_) break;
      }
      Settled settled = Settled::unreachable;
      try {
        if (!away.contains(addon.type)) settled = settle_one(addon, what);
      } catch (const std::exception& problem) {
        d_.log.error("credentials.not_ended", {{"addon", addon.id}, {"reason", problem.what()}});
      }
      if (settled == Settled::unreachable) away.insert(addon.type);
      if (settled == Settled::all) continue;
      constexpr std::int64_t kFirstMs = 5'000, kLastMs = 300'000;
      const std::lock_guard lock(control_);
      Unsettled& again = unsettled_[addon.id];
      again.owed.insert(what.owed.begin(), what.owed.end());
      // A server that is away is asked again soon; what it refuses, less and less often.
      again.pause_ms = settled == Settled::unreachable ? 0 : std::clamp(what.pause_ms * 2, kFirstMs, kLastMs);
      again.not_before_ms = now() + again.pause_ms;
    }
    const std::lock_guard lock(control_);
    settling_ = false;
  });
}

ControlPlane::Settled ControlPlane::settle_one(const Addon& addon, const Unsettled& what) {
  const AskedStorage asked = ask_storage(addon);
  const std::string claim = "addon:" + addon.id;
  auto ending = what.owed;
  std::map<std::string, std::pair<std::string, std::string>> names;  // of a binding: app, name
  {
    const std::lock_guard lock(control_);
    if (!not_claimed(claim)) return Settled::later;
    const auto bound = bindings_.all_of_addon(addon.id);
    if (!bound) return Settled::later;
    for (const auto& binding : *bound) names[binding.id] = {binding.app, binding.name};
    if (asked.applied)
      for (const auto& one : compare_credentials(*bound, *asked.applied).revived) ending.insert({one.binding_id, one.generation});
    if (!asked.applied && !asked.storage.ok) return Settled::unreachable;
    if (ending.empty()) return Settled::all;  // a plugin that does not list what it has owes nothing that is known
    claims_[claim] = "the end of its revoked credentials";
  }
  Result<void> ended{};
  json list = json::array();
  if (const auto instance = d_.addons.instance(addon.id, addon.type, addon.config); !instance) ended = instance.error();
  else
    for (const auto& [binding, generation] : ending) {
      if (ended) ended = d_.addons.revoke(**instance, {binding, generation, {}});
      if (ended) list.push_back({{"app", names[binding].first}, {"binding", names[binding].second}, {"generation", generation}});
    }
  const std::lock_guard lock(control_);
  claims_.erase(claim);
  const auto record = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(record_change("addon.end-credentials", addon.id, Actor{"host", 0}, {{"addon", addon.name}, {"ended", list}}));
    return change.commit();
  };
  if (!list.empty())
    if (auto recorded = record(); !recorded) d_.log.error("credentials.end_not_recorded", {{"addon", addon.id}, {"reason", recorded.error().message}});
  if (ended) return Settled::all;
  d_.log.warn("credentials.not_ended", {{"addon", addon.id}, {"reason", ended.error().message}});
  return ended.error().code == Code::unavailable ? Settled::unreachable : Settled::later;
}

}  // namespace via::lifecycle
