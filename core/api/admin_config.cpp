// Configuration values, secrets, signing keys and tokens.
#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

Answer config_set(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto values = a.text_map("values", true);
  VIA_TRY(a.done());
  VIA_TRY_LET(set, plane.set_config(app, values, actor));
  auto keys = json::array();
  for (const auto& [key, generation] : set.keys) keys.push_back({{"key", key}, {"generation", generation}});
  return answer({{"app", app}, {"profile_version", set.profile_version}, {"keys", std::move(keys)}});
}

template <Answer (ControlPlane::*remove)(const std::string&, const std::string&, const lifecycle::PlanRequest&, const Actor&)>
Answer unset(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto key = a.text("key");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return (plane.*remove)(app, key, plan, actor);
}

json list_values(const config::AppConfig& config, bool secrets) {
  auto items = json::array();
  for (const auto& value : config.values) {
    if (value.secret() != secrets) continue;
    items.push_back({{"key", value.key}, {"generation", value.generation}, {"updated_at", format_time(value.updated_at)}});
    if (!secrets) items.back()["value"] = value.value;
  }
  return {{"app", config.app}, {"profile_version", config.profile_version}, {"items", std::move(items)}};
}

template <bool secrets>
Answer list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(config, plane.list_config(app));
  return answer(list_values(*config, secrets));
}

json secret_answer(const std::string& app, const config::SetResult& set) {
  return {{"app", app},
          {"key", set.keys.front().first},
          {"generation", set.keys.front().second},
          {"profile_version", set.profile_version}};
}

Answer secret_set(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto key = a.text("key");
  const Secret value(a.text("value"));
  VIA_TRY(a.done());
  VIA_TRY_LET(set, plane.set_secret(app, key, value, false, actor));
  return answer(secret_answer(app, set));
}

Answer secret_rotate(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto key = a.text("key");
  const auto given = a.optional_text("value");
  const Secret value(given.value_or(""));
  const auto generate = a.optional_integer("generate");
  VIA_TRY(a.done());
  if (given.has_value() == generate.has_value())
    return fail(Code::bad_request, "Give secret.rotate either 'value' or 'generate'.");
  auto set = generate ? plane.generate_secret(app, key, *generate, actor) : plane.set_secret(app, key, value, true, actor);
  if (!set) return set.error();
  return answer(secret_answer(app, *set));
}

Answer keys_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return answer({{"items", list_json(plane.list_keys())}});
}

Answer keys_rotate(ControlPlane& plane, Arguments& a, const Actor& actor) {
  VIA_TRY(a.done());
  VIA_TRY_LET(key, plane.rotate_keys(actor));
  return answer(to_json(key));
}

Answer keys_revoke(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto kid = a.text("kid");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.revoke_key(kid, plan, actor);
}

Answer identity_issue(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto kind = a.text("kind");
  const auto app = a.optional_text("app");
  const auto subject = a.optional_text("subject");
  lifecycle::IssueToken request;
  request.ttl_seconds = a.optional_integer("ttl_seconds");
  VIA_TRY(a.done());
  if (kind == "build")
    request.kind = identity::Kind::build;
  else if (kind == "session")
    request.kind = identity::Kind::session;
  else if (kind != "runtime")
    return fail(Code::bad_request, "Argument 'kind' of identity.issue must be runtime, build or session.");
  const bool session = request.kind == identity::Kind::session;
  if (!session && !app)
    return fail(Code::bad_request, "Argument 'app' of identity.issue is missing: a " + kind + " token is for an app.");
  if (session && app)
    return fail(Code::bad_request, "Argument 'app' of identity.issue is not for a session token.");
  if (!session && subject)
    return fail(Code::bad_request, "Argument 'subject' of identity.issue is for a session token only.");
  request.app = app.value_or("");
  request.subject = subject.value_or("");
  VIA_TRY_LET(issued, plane.issue_token(request, actor));
  return answer({{"kind", kind},
                 {"token", std::string(issued.token.reveal())},
                 {"expires_at", format_time(issued.expires_at)}});
}

constexpr Command kCommands[] = {
    {"config.set", config_set},
    {"config.unset", unset<&ControlPlane::unset_config>},
    {"config.list", list<false>},
    {"secret.set", secret_set},
    {"secret.rotate", secret_rotate},
    {"secret.unset", unset<&ControlPlane::unset_secret>},
    {"secret.list", list<true>},
    {"identity.keys.list", keys_list},
    {"identity.issue", identity_issue},
    {"identity.keys.rotate", keys_rotate},
    {"identity.keys.revoke", keys_revoke},
};

}  // namespace

std::span<const Command> config_commands() { return kCommands; }

}  // namespace via::api
