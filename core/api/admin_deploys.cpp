// Deploys and releases.
#include <algorithm>

#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

Answer deploy_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::CreateDeploy request;
  request.app = a.text("app");
  request.command = a.texts("command");
  request.cwd = a.optional_text("cwd").value_or("");
  const auto replicas = a.optional_integer("replicas");
  (void)wait(a);
  request.env = a.text_map("env", false);
  request.check = a.optional_text("check").value_or("");
  request.check_timeout_seconds = a.optional_integer("check_timeout_seconds");
  request.box.fs = a.flag("fs");
  request.box.network = a.optional_text("network").value_or("");
  request.box.memory_bytes = a.optional_integer("memory_bytes").value_or(0);
  request.box.cpu_percent = a.optional_integer("cpu_percent").value_or(0);
  request.box.pids = a.optional_integer("pids").value_or(0);
  request.box.files = a.optional_integer("files").value_or(0);
  request.box.read = a.texts("read");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  // Out of range is told by lifecycle; only what an int cannot hold is cut here.
  request.replicas = static_cast<int>(std::clamp<std::int64_t>(replicas.value_or(1), -1, 1'000'000));
  return plane.create_deploy(request, actor, waits);
}

Answer deploy_rollback(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::RollbackDeploy request;
  request.app = a.text("app");
  request.to = a.text("to");
  request.reissue = a.flag("reissue");
  request.plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.rollback_deploy(request, actor, waits);
}

Answer release_diff(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto from = a.text("from");
  const auto to = a.text("to");
  VIA_TRY(a.done());
  return plane.diff_releases(from, to);
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
  return answer(to_json(view));
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

constexpr Command kCommands[] = {
    {"deploy.create", deploy_create}, {"deploy.rollback", deploy_rollback}, {"deploy.list", deploy_list},
    {"deploy.show", deploy_show},     {"release.list", release_list},       {"release.show", release_show},
    {"release.diff", release_diff},
};

}  // namespace

std::span<const Command> deploy_commands() { return kCommands; }

}  // namespace via::api
