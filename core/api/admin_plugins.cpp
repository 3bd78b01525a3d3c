// Plugins: what is there, trust, bundles, their versions and the keys that sign them.
#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

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
  VIA_TRY_LET(versions, plane.plugin_versions(plugin.manifest.id));
  return answer(with(to_json(plugin), {{"manifest", std::move(manifest)}, {"versions", std::move(versions)}}));
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

Answer plugin_install(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto file = a.text("file");
  const auto plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.install_plugin(file, plan, actor, waits);
}

Answer plugin_upgrade(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::ChangePlugin request;
  request.file = a.optional_text("file").value_or("");
  request.plugin = a.optional_text("plugin").value_or("");
  request.to = a.optional_text("to").value_or("");
  request.drain_timeout_seconds = a.optional_integer("drain_timeout_seconds").value_or(request.drain_timeout_seconds);
  request.plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  if (request.file.empty() && (request.plugin.empty() || request.to.empty()))
    return fail(Code::bad_request, "Give 'file', or 'plugin' and 'to'.");
  return plane.upgrade_plugin(request, actor, waits);
}

Answer plugin_rollback(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::ChangePlugin request;
  request.plugin = a.text("plugin");
  request.drain_timeout_seconds = a.optional_integer("drain_timeout_seconds").value_or(request.drain_timeout_seconds);
  request.yes = a.flag("yes");
  request.plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.rollback_plugin(request, actor, waits);
}

Answer plugin_remove(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto plugin = a.text("plugin");
  const auto version = a.optional_text("version").value_or("");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.remove_plugin(plugin, version, plan, actor);
}

Answer keys_add(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name"), key = a.text("key");
  VIA_TRY(a.done());
  return plane.add_plugin_key(name, key, actor);
}

Answer keys_list(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return plane.list_plugin_keys();
}

Answer keys_remove(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.remove_plugin_key(name, plan, actor);
}

constexpr Command kCommands[] = {
    {"plugin.list", plugin_list},
    {"plugin.show", plugin_show},
    {"plugin.verify", plugin_verify},
    {"plugin.trust", plugin_trust},
    {"plugin.untrust", plugin_untrust},
    {"plugin.install", plugin_install},
    {"plugin.upgrade", plugin_upgrade},
    {"plugin.rollback", plugin_rollback},
    {"plugin.remove", plugin_remove},
    {"plugin.keys.add", keys_add},
    {"plugin.keys.list", keys_list},
    {"plugin.keys.remove", keys_remove},
};

}  // namespace

std::span<const Command> plugin_commands() { return kCommands; }

}  // namespace via::api
