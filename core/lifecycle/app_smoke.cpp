// app.smoke: every instance's own token is used against the config server, the way the app uses it.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/app_health.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/manifest.hpp"
#include "core/lifecycle/prober.hpp"
#include "core/lifecycle/views.hpp"
#include "core/releases/shell.hpp"

namespace via::lifecycle {

using nlohmann::json;

namespace {

constexpr int kProbeMs = 10'000;

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

// What a refusal of the config server is called; nothing else of its answer is shown.
std::string refusal(const ProbeReply& reply) {
  const json body = json::parse(reply.body, nullptr, false);
  std::string code;
  if (body.is_object() && body.contains("error") && body["error"].is_object()) code = body["error"].value("code", "");
  return "answered " + std::to_string(reply.status) + (code.empty() ? "" : " (" + code + ")");
}

// A resolve's answer holds values and secrets: only names and generations leave this function.
Finding check_resolve(Prober& prober, const std::string& instance, const Secret& token,
                      const std::vector<std::string>& bindings, json& claims) {
  Finding out{"resolve " + instance, true, {}, {}, {}};
  auto reply = prober.post("/v1/runtime/config/resolve", token, "{}", kProbeMs);
  if (!reply) {
    out.ok = false;
    out.code = reply.error().wire_name();
    out.detail = "The config server did not answer instance " + instance + ": " + reply.error().message;
    out.recommend = "via status";
    return out;
  }
  const Secret kept(std::move(reply->body));
  if (reply->status != 200) {
    out.ok = false;
    out.code = "resolve_failed";
    out.detail = "The config server " + refusal({reply->status, std::string(kept.reveal())}) + ".";
    return out;
  }
  const json body = json::parse(kept.reveal(), nullptr, false);
  const json descriptors = body.is_object() ? body.value("descriptors", json::array()) : json::array();
  std::string missing;
  claims = {{"app", body.value("app", "")}, {"release", body.value("release", "")}, {"deploy", body.value("deploy", "")},
            {"profile_version", body.value("profile_version", 0)}, {"keys", json::array()}};
  for (const auto& binding : bindings) {
    const auto found = std::find_if(descriptors.begin(), descriptors.end(),
                                    [&](const json& d) { return d.is_object() && d.value("binding", "") == binding; });
    if (found == descriptors.end())
      missing += (missing.empty() ? "" : ", ") + binding;
    else
      claims["keys"].push_back({{"key", binding}, {"scope", "addon"}, {"generation", found->value("generation", 0)}});
  }
  out.ok = missing.empty();
  if (!out.ok) out.code = "binding_missing";
  out.detail = out.ok ? std::to_string(bindings.size()) + " binding(s), " +
                            std::to_string(body.value("values", json::array()).size()) + " value(s)"
                      : "Without a descriptor: " + missing + ".";
  return out;
}

Finding check_refresh(Prober& prober, const std::string& instance, const Secret& token, const json& claims) {
  Finding out{"refresh " + instance, true, {}, {}, {}};
  auto reply = prober.post("/v1/runtime/config/refresh", token, claims.dump(), kProbeMs);
  if (!reply || reply->status != 200) {
    out.ok = false;
    out.code = "refresh_failed";
    out.detail = reply ? "The config server " + refusal(*reply) + "." : reply.error().message;
    return out;
  }
  const json body = json::parse(reply->body, nullptr, false);
  std::string rejected;
  for (const auto& item : body.is_object() ? body.value("keys", json::array()) : json::array())
    if (item.is_object() && item.value("status", "") == "rejected")
      rejected += (rejected.empty() ? "" : ", ") + item.value("key", "") + " (" + item.value("code", "") + ")";
  out.ok = rejected.empty();
  if (!out.ok) out.code = "claims_rejected";
  out.detail = out.ok ? "claims are current" : "Rejected: " + rejected + ".";
  return out;
}

}  // namespace

Result<json> ControlPlane::smoke_app(const std::string& name, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(name));
  return start_smoke(std::move(lock), app, nullptr, actor, wait);
}

Result<json> ControlPlane::start_smoke(Lock lock, const releases::App& app, std::shared_ptr<const AppManifest> manifest,
                                       const Actor& actor, bool wait) {
  Work work;
  work.kind = "app.smoke";
  work.target = app.id;
  work.run = [this, app, manifest = std::move(manifest)](Operation& operation) {
    return run_smoke(operation, app, manifest.get());
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// Changes nothing, so it claims nothing; the control lock is held only while records are read.
Result<json> ControlPlane::run_smoke(Operation& operation, const releases::App& app, const AppManifest* manifest) {
  VIA_TRY(operation.step("look"));
  std::vector<Finding> findings;
  struct Target {
    std::string instance, material;
    std::vector<std::string> bindings;
  };
  std::vector<Target> targets;
  VIA_TRY_LET(storages, ask_storages_of(app.name));
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(identities, identities_of(app.id));
    VIA_TRY_LET(found, findings_of(app, identities, storages));
    findings = std::move(found);
    for (const auto& one : identities) {
      if (one.state != "ok") continue;
      VIA_TRY_LET(bound, releases_.bindings_of(one.instance.release));
      Target target{one.instance.id, one.instance.material, {}};
      for (const auto& binding : bound) target.bindings.push_back(binding.binding);
      targets.push_back(std::move(target));
    }
    if (identities.empty())
      findings.push_back({"identity", false, "App '" + app.name + "' has no instance whose token could be used.",
                          "no_instance", "via runtime issue " + app.name});
  }
  VIA_TRY(operation.step("probe"));
  Prober* const prober = prober_;
  if (prober == nullptr) {
    findings.push_back({"config_server", false, "the host is not running", "host_not_running", "via serve"});
    targets.clear();
  }
  bool probed = false;
  for (const auto& target : targets) {
    if (operation.cancelled()) return fail(Code::cancelled, "The smoke test was cancelled.");
    auto text = read_private_file(fs::path(target.material) / "token", identity::kMaximumTokenBytes);
    if (!text) {
      findings.push_back({"resolve " + target.instance, false, "The token went away meanwhile.", "token_changed", {}});
      continue;
    }
    const Secret token(std::move(*text));
    json claims;
    findings.push_back(check_resolve(*prober, target.instance, token, target.bindings, claims));
    if (findings.back().ok && !claims["keys"].empty())
      findings.push_back(check_refresh(*prober, target.instance, token, claims));
    if (manifest == nullptr || probed) continue;
    probed = true;  // the manifest's probes speak of the app, so one instance is enough
    for (const auto& probe : manifest->probes) {
      Finding out{"health " + probe.binding + " " + probe.operation, true, "answered 200", {}, {}};
      const auto reply = prober->post("/v1/runtime/addons/" + probe.binding + "/" + probe.operation, token, probe.body, kProbeMs);
      if (!reply || reply->status != 200) {
        out.ok = false;
        out.code = "health_failed";
        out.detail = reply ? refusal(*reply) : reply.error().message;
      }
      findings.push_back(std::move(out));
    }
  }
  if (manifest != nullptr && !manifest->probes.empty() && !probed)
    findings.push_back({"health", false, "No instance could make the manifest's health checks.", "health_failed", {}});
  if (manifest != nullptr && !manifest->command.empty()) {
    VIA_TRY(operation.step("command"));
    const auto ran = releases::run_shell(manifest->command, static_cast<int>(manifest->command_timeout_seconds * 1000),
                                         {{"VIA_APP", app.name}, {"VARY_CONFIG_URL", settings_.config_url}}, "/",
                                         [&] { return operation.cancelled(); });
    // What it printed may be anything, so only how it ended is told.
    findings.push_back({"health command", ran.exit_code == 0, "exit code " + std::to_string(ran.exit_code),
                        ran.exit_code == 0 ? "" : "health_failed", {}});
  }
  const bool ok = std::all_of(findings.begin(), findings.end(), [](const Finding& f) { return f.ok; });
  return answer({{"app", app.name},
                 {"ok", ok},
                 {"checks", list_json(findings)},
                 {"problems", problems_of(findings)},
                 {"operation", operation.id()}});
}

}  // namespace via::lifecycle
