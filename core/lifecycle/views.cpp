#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;

namespace {

json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(text); }

std::string_view access(bool read_only) { return read_only ? "read_only" : "read_write"; }

}  // namespace

json touched(const std::vector<bindings::Binding>& bindings) {
  auto out = json::array();
  for (const auto& binding : bindings) {
    auto live = json::array();
    for (const auto& generation : binding.generations)
      if (generation.live) live.push_back(generation.generation);
    out.push_back({{"app", binding.app}, {"binding", binding.name}, {"generations", std::move(live)}});
  }
  return out;
}

json time_or_null(std::int64_t unix_ms) { return unix_ms == 0 ? json(nullptr) : json(format_time(unix_ms)); }

json to_json(const releases::App& a) {
  return {{"id", a.id},
          {"name", a.name},
          {"created_at", format_time(a.created_at)},
          {"current_release", text_or_null(a.current_release)},
          {"profile_version", a.profile_version}};
}

json to_json(const catalog::Addon& a) {
  json config = json::parse(a.config, nullptr, false);
  if (!config.is_object()) config = json::object();
  return {{"id", a.id},
          {"name", a.name},
          {"app", a.app},
          {"type", a.type},
          {"state", to_string(a.state)},
          {"drained", a.drained},
          {"created_at", format_time(a.created_at)},
          {"updated_at", format_time(a.updated_at)},
          {"destroyed_at", time_or_null(a.destroyed_at)},
          {"config", std::move(config)},
          {"problem", text_or_null(a.problem)}};
}

json to_json(const bindings::Binding& b) {
  auto generations = json::array();
  for (const auto& g : b.generations)
    generations.push_back({{"generation", g.generation},
                           {"status", g.live ? "live" : "revoked"},
                           {"created_at", format_time(g.created_at)}});
  return {{"id", b.id},
          {"app", b.app},
          {"addon", b.addon},
          {"addon_id", b.addon_id},
          {"type", b.type},
          {"binding", b.name},
          {"access", access(b.read_only)},
          {"generation", b.newest()},
          {"generations", std::move(generations)},
          {"created_at", format_time(b.created_at)}};
}

json to_json(const ShareView& view) {
  const shares::Share& s = view.share;
  return {{"id", s.id},
          {"app", s.app},
          {"addon", s.addon},
          {"addon_id", s.addon_id},
          {"access", access(s.read_only)},
          {"only", s.query_only ? json("query") : json(nullptr)},
          {"database", text_or_null(s.database)},
          {"rate", s.rate},
          {"note", text_or_null(s.note)},
          {"state", view.expired ? "expired" : "live"},
          {"created_at", format_time(s.created_at)},
          {"expires_at", time_or_null(s.expires_at)},
          {"last_used_at", time_or_null(view.last_used_at)}};
}

json to_json(const releases::Box& b) {
  const auto number = [](std::int64_t n) { return n == 0 ? json(nullptr) : json(n); };
  return {{"fs", b.fs},
          {"network", text_or_null(b.network)},
          {"memory_bytes", number(b.memory_bytes)},
          {"cpu_percent", number(b.cpu_percent)},
          {"pids", number(b.pids)},
          {"files", number(b.files)},
          {"read", b.read}};
}

json to_json(const releases::Deploy& d) {
  // The values of `env` may be anything, so only their names are shown.
  auto names = json::array();
  for (const auto& [name, value] : d.env) names.push_back(name);
  const json check = json::parse(d.check_result, nullptr, false);
  return {{"id", d.id},
          {"app", d.app},
          {"status", d.status},
          {"created_at", format_time(d.created_at)},
          {"command", d.command},
          {"cwd", d.cwd},
          {"replicas", d.replicas},
          {"env", std::move(names)},
          {"sandbox", to_json(d.box)},
          {"check", check.is_object() ? check : json(nullptr)},
          {"release_id", d.release_id}};
}

json to_json(const releases::Release& r) {
  return {{"id", r.id},
          {"app", r.app},
          {"number", r.number},
          {"deploy_id", r.deploy_id},
          {"status", r.status},
          {"created_at", format_time(r.created_at)},
          {"config_version", r.config_version},
          {"rollback_of", text_or_null(r.rollback_of)}};
}

json to_json(const releases::ReleaseBinding& b) {
  return {{"binding", b.binding}, {"binding_id", b.binding_id},       {"addon", b.addon},
          {"addon_id", b.addon_id}, {"type", b.type},                 {"access", access(b.read_only)},
          {"generation", b.generation}};
}

json to_json(const releases::Instance& i) {
  return {{"id", i.id},
          {"app", i.app},
          {"deploy", i.deploy},
          {"release", i.release},
          {"driver", to_string(i.driver)},
          {"state", to_string(i.state)},
          {"pid", i.pid == 0 ? json(nullptr) : json(i.pid)},
          {"reason", text_or_null(i.reason)},
          {"created_at", format_time(i.created_at)},
          {"expires_at", time_or_null(i.expires_at)}};
}

json to_json(const plugins::PluginRecord& p) {
  auto types = json::array();
  for (const auto& type : p.manifest.types) types.push_back(type.id);
  return {{"id", p.manifest.id},
          {"version", p.manifest.version},
          {"title", p.manifest.title},
          {"types", std::move(types)},
          {"sha256", p.sha256},
          {"trusted", p.trusted},
          {"loaded", p.loaded},
          {"source", p.source},
          {"isolation", p.isolated ? "process" : "none"},
          {"problem", text_or_null(p.problem)}};
}

json to_json(const store::PluginVersion& v) {
  return {{"version", v.version}, {"sha256", v.sha256}, {"source", v.source}, {"signed_by", text_or_null(v.signed_by)}, {"installed_at", time_or_null(v.installed_at)}};
}

json to_json(const store::PluginKey& k) {
  return {{"name", k.name}, {"fingerprint", k.fingerprint}, {"added_at", time_or_null(k.added_at)}};
}

json to_json(const identity::KeyInfo& k) {
  return {{"kid", k.kid},
          {"state", identity::to_string(k.state)},
          {"algorithm", "ES256"},
          {"created_at", format_time(k.created_at)},
          {"activated_at", time_or_null(k.activated_at)},
          {"retires_at", time_or_null(k.retires_at)}};
}

json to_json(const Check& c) { return {{"name", c.name}, {"ok", c.ok}, {"detail", c.detail}}; }

json to_json(const Status& s) {
  return {{"version", s.version},
          {"state_dir", s.state_dir},
          {"installation", s.installation},
          {"server",
           {{"running", s.server.running},
            {"pid", s.server.running ? json(s.server.pid) : json(nullptr)},
            {"listen", text_or_null(s.server.listen)},
            {"uptime_seconds", s.server.running ? json(s.server.uptime_seconds) : json(nullptr)}}},
          {"counts",
           {{"apps", s.apps},
            {"addons", s.addons},
            {"bindings", s.bindings},
            {"releases", s.releases},
            {"instances", s.instances}}},
          {"types", s.types},
          {"checks", list_json(s.checks)}};
}

json to_json(const catalog::Snapshot& s) {
  return {{"id", s.id},
          {"addon", s.addon},
          {"addon_id", s.addon_id},
          {"kind", s.kind},
          {"note", text_or_null(s.note)},
          {"created_at", format_time(s.created_at)},
          {"bytes", s.bytes},
          {"sha256", s.sha256},
          {"expires_at", time_or_null(s.expires_at)},
          {"operation", s.operation}};
}

json to_json(const store::Operation& o) {
  auto steps = json::array();
  const json log = json::parse(o.log, nullptr, false);
  if (log.is_array())
    for (const auto& step : log)
      if (step.is_object())
        steps.push_back({{"name", step.value("name", "")}, {"at", format_time(step.value("at", std::int64_t{0}))}});
  const auto object = [](const std::string& text) {
    json parsed = text.empty() ? json(nullptr) : json::parse(text, nullptr, false);
    return parsed.is_discarded() ? json(nullptr) : parsed;
  };
  return {{"id", o.id},
          {"kind", o.kind},
          {"target", o.target},
          {"actor", o.actor},
          {"state", o.state},
          {"steps", std::move(steps)},
          {"progress", nullptr},
          {"created_at", format_time(o.created_at)},
          {"finished_at", time_or_null(o.finished_at)},
          {"outcome", text_or_null(o.outcome)},
          {"error", object(o.error)},
          {"result", object(o.result)},
          {"cancellable", false}};
}

json to_json(const store::AuditEntry& e) {
  json details = json::parse(e.details, nullptr, false);
  if (!details.is_object()) details = json::object();
  return {{"sequence", e.sequence},        {"at", format_time(e.at)}, {"actor", e.actor},
          {"action", e.action},            {"target", e.target},      {"operation", text_or_null(e.operation)},
          {"outcome", e.outcome},          {"details", details},      {"hash", e.hash}};
}

json to_json(const BindingUse& u) {
  return {{"instance", u.instance},
          {"app", u.app},
          {"binding", u.binding},
          {"generation", u.generation},
          {"last_used_at", time_or_null(u.last_used_at)}};
}

json to_json(const DeployView& view) {
  json out = to_json(view.deploy);
  out["instances"] = list_json(view.instances);
  out["release"] = view.release ? to_json(*view.release) : json(nullptr);
  if (!view.operation.empty()) out["operation"] = view.operation;
  return out;
}

}  // namespace via::lifecycle
