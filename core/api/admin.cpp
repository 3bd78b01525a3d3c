#include "core/api/admin.hpp"

#include <algorithm>
#include <iterator>

#include <nlohmann/json.hpp>

#include "core/api/admin_commands.hpp"
#include "core/api/arguments.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

Answer status(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  VIA_TRY_LET(status, plane.status());
  return answer(to_json(status));
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
  request.owner = a.optional_text("owner").value_or("");
  request.ttl_seconds = a.optional_integer("ttl_seconds");
  VIA_TRY(a.done());
  VIA_TRY_LET(instance, plane.issue_runtime(request, actor));
  return answer(with(to_json(instance), {{"material", instance.material}}));
}

Answer runtime_stop(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto instance = a.text("instance");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.stop_instance(instance, plan, actor);
}

constexpr Command kCommands[] = {
    {"status", status},
    {"runtime.list", runtime_list},
    {"runtime.issue", runtime_issue},
    {"runtime.stop", runtime_stop},
};

// What makes something new. It is not begun on a full disk; what is in neither list reads.
constexpr std::string_view kNeedRoom[] = {
    "app.create", "app.repair", "app.smoke", "app.manifest.apply", "app.manifest.smoke", "addon.create", "addon.ensure", "addon.bind", "addon.share",
    "addon.snapshot", "addon.restore", "addon.import", "addon.export", "addon.undelete", "addon.repair", "addon.rotate-credentials", "deploy.create",
    "deploy.rollback", "runtime.issue", "config.set", "secret.set", "secret.rotate", "identity.keys.rotate", "identity.issue", "backup.create",
    "backup.verify", "plugin.trust", "plugin.install", "plugin.upgrade", "plugin.rollback", "plugin.keys.add"};
// What ends something: the way out of a full disk, and what must work on one.
constexpr std::string_view kHaveReserve[] = {
    "app.delete", "addon.unbind", "addon.unshare", "addon.snapshot.delete", "addon.revoke-credentials", "addon.destroy", "addon.drain", "addon.resume",
    "runtime.stop", "config.unset", "secret.unset", "identity.keys.revoke", "plugin.untrust", "plugin.remove", "plugin.keys.remove", "doctor"};

ControlPlane::DiskNeed disk_need(std::string_view command, const json& args) {
  const auto is_set = [&](const char* name) { return args.is_object() && args.contains(name) && args[name] == true; };
  if (is_set("plan") || (command == "doctor" && !is_set("fix"))) return ControlPlane::DiskNeed::none;
  const auto is_in = [&](const auto& list) { return std::find(std::begin(list), std::end(list), command) != std::end(list); };
  if (is_in(kHaveReserve)) return ControlPlane::DiskNeed::reserve;
  return is_in(kNeedRoom) ? ControlPlane::DiskNeed::room : ControlPlane::DiskNeed::none;
}

}  // namespace

// Each file of handlers has a table of its own.
std::vector<std::span<const Command>> tables() {
  return {kCommands, addon_commands(), backup_commands(), app_commands(), operation_commands(), deploy_commands(), config_commands(), plugin_commands()};
}

Result<json> AdminApi::call(std::string_view command, const json& args, const Actor& actor) {
  static const json kEmpty = json::object();
  for (const auto table : tables())
    for (const Command& known : table) {
      if (known.name != command) continue;
      if (!args.is_null() && !args.is_object()) return fail(Code::bad_request, "The arguments must be a JSON object.");
      VIA_TRY(plane_.check_disk(disk_need(command, args)));
      Arguments arguments(command, args.is_null() ? kEmpty : args);
      return known.handle(plane_, arguments, actor);
    }
  return fail(Code::not_found, "The admin API has no command of that name. See docs/admin-api.md.");
}

Result<std::shared_ptr<plugins::AddonInstance>> AdminApi::reach(const std::string& addon, std::string_view method, const Actor& actor) {
  return plane_.reach_addon(addon, method, actor);
}

std::vector<std::string_view> AdminApi::commands() {
  std::vector<std::string_view> out;
  for (const auto table : tables())
    for (const Command& command : table) out.push_back(command.name);
  return out;
}

}  // namespace via::api
