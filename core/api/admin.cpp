#include "core/api/admin.hpp"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

#include "core/api/admin_json.hpp"
#include "core/api/arguments.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::ControlPlane;
using nlohmann::json;
using Answer = Result<json>;

Answer answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

json with(json object, const json& more) {
  object.update(more);
  return object;
}

Answer status(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  VIA_TRY_LET(status, plane.status());
  return answer(to_json(status));
}

Answer app_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  VIA_TRY(a.done());
  VIA_TRY_LET(app, plane.create_app(name, actor));
  return answer(to_json(app));
}

Answer app_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  VIA_TRY_LET(apps, plane.list_apps());
  return answer({{"items", list_json(apps)}});
}

Answer app_show(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto name = a.text("name");
  VIA_TRY(a.done());
  VIA_TRY_LET(view, plane.show_app(name));
  return answer(with(to_json(view.app), {{"addons", list_json(view.addons)},
                                         {"bindings", list_json(view.bindings)},
                                         {"instances", list_json(view.instances)}}));
}

Answer app_delete(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  VIA_TRY(a.done());
  VIA_TRY(plane.delete_app(name, actor));
  return answer({{"deleted", name}});
}

Answer addon_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::CreateAddon request;
  request.type = a.text("type");
  request.name = a.text("name");
  request.app = a.text("app");
  request.bind = a.optional_text("bind");
  request.read_only = a.flag("read_only");
  if (const auto config = a.optional_object("config"))
    request.config = config->dump(-1, ' ', false, json::error_handler_t::replace);
  VIA_TRY(a.done());
  if (request.read_only && !request.bind)
    return fail(Code::bad_request, "Argument 'read_only' of addon.create needs 'bind' beside it.");
  VIA_TRY_LET(created, plane.create_addon(request, actor));
  json out = with(to_json(created.addon), {{"operation", created.operation}, {"app_created", created.app_created}});
  if (created.binding) out["binding"] = to_json(*created.binding);
  return answer(std::move(out));
}

Answer addon_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(addons, plane.list_addons(app));
  return answer({{"items", list_json(addons)}});
}

Answer addon_status(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(status, plane.addon_status(name, app));
  return answer(with(to_json(status.addon),
                     {{"bindings", list_json(status.bindings)}, {"layers", list_json(status.layers)}}));
}

Answer addon_bind(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto name = a.text("name");
  const auto binding = a.text("binding");
  const bool read_only = a.flag("read_only");
  VIA_TRY(a.done());
  VIA_TRY_LET(bound, plane.bind_addon(app, name, binding, read_only, actor));
  return answer(to_json(bound));
}

Answer addon_unbind(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto target = a.text("target");
  VIA_TRY(a.done());
  VIA_TRY_LET(unbound, plane.unbind_addon(app, target, actor));
  return answer({{"unbound", list_json(unbound)}});
}

Answer addon_destroy(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  const bool force = a.flag("force");
  VIA_TRY(a.done());
  VIA_TRY_LET(addon, plane.destroy_addon(name, app, force, actor));
  return answer(to_json(addon));
}

json view_json(const lifecycle::DeployView& view) {
  json out = with(to_json(view.deploy), {{"instances", list_json(view.instances)}});
  out["release"] = view.release ? to_json(*view.release) : json(nullptr);
  if (!view.operation.empty()) out["operation"] = view.operation;
  return out;
}

Answer deploy_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::CreateDeploy request;
  request.app = a.text("app");
  request.command = a.texts("command");
  request.cwd = a.optional_text("cwd").value_or("");
  const auto replicas = a.optional_integer("replicas");
  request.env = a.text_map("env", false);
  VIA_TRY(a.done());
  // Out of range is told by lifecycle; only what an int cannot hold is cut here.
  request.replicas = static_cast<int>(std::clamp<std::int64_t>(replicas.value_or(1), -1, 1'000'000));
  VIA_TRY_LET(view, plane.create_deploy(request, actor));
  return answer(view_json(view));
}

Answer deploy_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(deploys, plane.list_deploys(app));
  return answer({{"items", list_json(deploys)}});
}

Answer deploy_show(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto deploy = a.text("deploy");
  VIA_TRY(a.done());
  VIA_TRY_LET(view, plane.show_deploy(deploy));
  return answer(view_json(view));
}

Answer release_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(releases, plane.list_releases(app));
  return answer({{"items", list_json(releases)}});
}

Answer release_show(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto release = a.text("release");
  VIA_TRY(a.done());
  VIA_TRY_LET(view, plane.show_release(release));
  return answer(with(to_json(view.release), {{"bindings", list_json(view.bindings)}}));
}

Answer runtime_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(instances, plane.list_instances(app));
  return answer({{"items", list_json(instances)}});
}

Answer runtime_issue(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::IssueRuntime request;
  request.app = a.text("app");
  request.out = a.optional_text("out").value_or("");
  request.ttl_seconds = a.optional_integer("ttl_seconds");
  VIA_TRY(a.done());
  VIA_TRY_LET(instance, plane.issue_runtime(request, actor));
  return answer(with(to_json(instance), {{"material", instance.material}}));
}

Answer runtime_stop(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto instance = a.text("instance");
  VIA_TRY(a.done());
  VIA_TRY_LET(stopped, plane.stop_instance(instance, actor));
  return answer(to_json(stopped));
}

Answer config_set(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto values = a.text_map("values", true);
  VIA_TRY(a.done());
  VIA_TRY_LET(set, plane.set_config(app, values, actor));
  auto keys = json::array();
  for (const auto& [key, generation] : set.keys) keys.push_back({{"key", key}, {"generation", generation}});
  return answer({{"app", app}, {"profile_version", set.profile_version}, {"keys", std::move(keys)}});
}

Answer config_unset(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto app = a.text("app");
  const auto key = a.text("key");
  VIA_TRY(a.done());
  VIA_TRY_LET(version, plane.unset_config(app, key, actor));
  return answer({{"app", app}, {"profile_version", version}});
}

Answer config_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto app = a.text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(config, plane.list_config(app));
  auto items = json::array();
  for (const auto& value : config->values)
    items.push_back({{"key", value.key},
                     {"value", value.value},
                     {"generation", value.generation},
                     {"updated_at", format_time(value.updated_at)}});
  return answer({{"app", app}, {"profile_version", config->profile_version}, {"items", std::move(items)}});
}

Answer keys_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return answer({{"items", list_json(plane.list_keys())}});
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

Answer plugin_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return answer({{"items", list_json(plane.list_plugins())}});
}

Answer plugin_show(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto name = a.text("plugin");
  VIA_TRY(a.done());
  VIA_TRY_LET(plugin, plane.show_plugin(name));
  json manifest = json::parse(plugin.manifest.text, nullptr, false);
  if (manifest.is_discarded()) manifest = nullptr;
  return answer(with(to_json(plugin), {{"manifest", std::move(manifest)}}));
}

Answer plugin_verify(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto file = a.text("file");
  VIA_TRY(a.done());
  return plane.verify_plugin(file);
}

Answer plugin_trust(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto file = a.text("file");
  VIA_TRY(a.done());
  VIA_TRY_LET(plugin, plane.trust_plugin(file, actor));
  return answer(to_json(plugin));
}

Answer plugin_untrust(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("plugin");
  VIA_TRY(a.done());
  VIA_TRY_LET(plugin, plane.untrust_plugin(name, actor));
  return answer(to_json(plugin));
}

struct Command {
  std::string_view name;
  Answer (*handle)(ControlPlane&, Arguments&, const Actor&);
};

constexpr Command kCommands[] = {
    {"status", status},
    {"app.create", app_create},
    {"app.list", app_list},
    {"app.show", app_show},
    {"app.delete", app_delete},
    {"addon.create", addon_create},
    {"addon.list", addon_list},
    {"addon.status", addon_status},
    {"addon.bind", addon_bind},
    {"addon.unbind", addon_unbind},
    {"addon.destroy", addon_destroy},
    {"deploy.create", deploy_create},
    {"deploy.list", deploy_list},
    {"deploy.show", deploy_show},
    {"release.list", release_list},
    {"release.show", release_show},
    {"runtime.list", runtime_list},
    {"runtime.issue", runtime_issue},
    {"runtime.stop", runtime_stop},
    {"config.set", config_set},
    {"config.unset", config_unset},
    {"config.list", config_list},
    {"identity.keys.list", keys_list},
    {"identity.issue", identity_issue},
    {"plugin.list", plugin_list},
    {"plugin.show", plugin_show},
    {"plugin.verify", plugin_verify},
    {"plugin.trust", plugin_trust},
    {"plugin.untrust", plugin_untrust},
};

}  // namespace

Result<json> AdminApi::call(std::string_view command, const json& args, const Actor& actor) {
  const auto* found = std::find_if(std::begin(kCommands), std::end(kCommands),
                                   [&](const Command& c) { return c.name == command; });
  if (found == std::end(kCommands))
    return fail(Code::not_found, "The admin API has no command of that name. See docs/admin-api.md.");
  static const json kEmpty = json::object();
  if (!args.is_null() && !args.is_object()) return fail(Code::bad_request, "The arguments must be a JSON object.");
  Arguments arguments(command, args.is_null() ? kEmpty : args);
  return found->handle(plane_, arguments, actor);
}

std::vector<std::string_view> AdminApi::commands() {
  std::vector<std::string_view> out;
  for (const Command& command : kCommands) out.push_back(command.name);
  return out;
}

}  // namespace via::api
