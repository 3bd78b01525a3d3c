// Apps: their records, their side of the host (identity, health, logs), their manifests.
#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

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
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.delete_app(name, plan, actor);
}

Answer app_logs(ControlPlane& plane, Arguments& a, const Actor&) {
  lifecycle::AppLogs request;
  request.name = a.text("name");
  request.instance = a.optional_text("instance").value_or("");
  const auto lines = a.optional_integer("lines");
  request.since = a.since("since");
  request.cursor = a.optional_text("cursor").value_or("");
  request.wait_seconds = a.optional_integer("wait_seconds").value_or(0);
  VIA_TRY(a.done());
  if (lines && (*lines < 0 || *lines > 10'000))
    return fail(Code::bad_request, "Argument 'lines' of app.logs must be from 0 to 10000.");
  if (lines && !request.cursor.empty())
    return fail(Code::bad_request, "app.logs takes 'lines' or 'cursor': a cursor goes on from an answer.");
  if (request.wait_seconds < 0 || request.wait_seconds > 30)
    return fail(Code::bad_request, "Argument 'wait_seconds' of app.logs must be from 0 to 30.");
  constexpr int kStandard = 100;
  const bool from_somewhere = !request.cursor.empty() || request.since.seconds_back != 0 || request.since.unix_ms != 0;
  if (lines) request.lines = static_cast<int>(*lines);
  else if (!from_somewhere) request.lines = kStandard;
  return plane.app_logs(request);
}

Answer host_doctor(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const bool fix = a.flag("fix");
  VIA_TRY(a.done());
  return plane.doctor(fix, actor);
}

constexpr Command kCommands[] = {
    {"app.create", app_create},
    {"app.list", app_list},
    {"app.show", app_show},
    {"app.delete", app_delete},
    {"app.status", look_at<kName, &ControlPlane::app_status>},
    {"app.doctor", look_at<kName, &ControlPlane::app_doctor>},
    {"app.inspect", look_at<kName, &ControlPlane::inspect_app>},
    {"app.smoke", begin<kName, &ControlPlane::smoke_app>},
    {"app.repair", begin<kName, &ControlPlane::repair_app>},
    {"app.logs", app_logs},
    {"app.debug-bundle", look_at<kName, &ControlPlane::debug_bundle>},
    {"app.manifest.validate", look_at<kManifest, &ControlPlane::validate_manifest>},
    {"app.manifest.apply", begin<kManifest, &ControlPlane::apply_manifest>},
    {"app.manifest.smoke", begin<kManifest, &ControlPlane::smoke_manifest>},
    {"doctor", host_doctor},
};

}  // namespace

std::span<const Command> app_commands() { return kCommands; }

}  // namespace via::api
