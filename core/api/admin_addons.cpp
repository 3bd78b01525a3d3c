// Add-ons: their life, their bindings and credentials, their snapshots.
#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;
using lifecycle::to_json;

lifecycle::CreateAddon create_request(Arguments& a) {
  lifecycle::CreateAddon request;
  request.type = a.text("type");
  request.name = a.text("name");
  request.app = a.text("app");
  request.read_only = a.flag("read_only");
  if (const auto config = a.optional_object("config"))
    request.config = config->dump(-1, ' ', false, json::error_handler_t::replace);
  return request;
}

Answer addon_create(ControlPlane& plane, Arguments& a, const Actor& actor) {
  auto request = create_request(a);
  request.bind = a.optional_text("bind");
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
                     {{"bindings", list_json(status.bindings)},
                      {"layers", list_json(status.layers)},
                      {"usage", list_json(status.usage)},
                      {"snapshots", status.snapshots},
                      {"shares", status.shares}}));
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

Answer addon_share(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::ShareAddon request;
  request.name = a.text("name");
  request.app = a.optional_text("app");
  request.read_only = a.flag("read_only");
  request.query_only = a.flag("query_only");
  request.database = a.optional_text("database").value_or("");
  request.note = a.optional_text("note").value_or("");
  request.expires_seconds = a.optional_integer("expires_seconds");
  request.rate = a.optional_integer("rate");
  VIA_TRY(a.done());
  VIA_TRY_LET(shared, plane.share_addon(request, actor));
  return answer(with(to_json(lifecycle::ShareView{shared.share}),
                     {{"url", std::string(shared.url.reveal())}, {"operation", shared.operation}}));
}

Answer addon_shares(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto name = a.optional_text("name");
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(shares, plane.list_shares(name, app));
  return answer({{"items", list_json(shares)}});
}

Answer addon_unshare(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto share = a.text("share");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.unshare_addon(share, plan, actor);
}

Answer addon_destroy(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::DestroyAddon request;
  request.name = a.text("name");
  request.app = a.optional_text("app");
  request.force = a.flag("force");
  request.confirm = a.optional_text("confirm").value_or("");
  request.no_final_snapshot = a.flag("no_final_snapshot");
  request.forget = a.flag("forget");
  request.plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.destroy_addon(request, actor, waits);
}

Answer addon_undelete(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto id = a.text("id");
  const auto name = a.optional_text("name").value_or("");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.undelete_addon(id, name, actor, waits);
}

Answer addon_ensure(ControlPlane& plane, Arguments& a, const Actor& actor) {
  auto request = create_request(a);
  request.bind = a.text("bind");
  VIA_TRY(a.done());
  bool created = false, bound = false;
  auto status = plane.addon_status(request.name, std::nullopt);
  if (!status && status.error().code != Code::not_found) return status.error();
  if (!status || status->addon.state == catalog::AddonState::failed) {
    VIA_TRY(plane.create_addon(request, actor));
    created = bound = true;
  } else {
    const auto& addon = status->addon;
    if (addon.type != request.type || addon.app != request.app)
      return fail(Code::conflict, "Add-on '" + request.name + "' exists as type '" + addon.type + "' of app '" + addon.app +
                                      "'. Look at it: via addon status " + request.name);
    const bindings::Binding* found = nullptr;
    for (const auto& binding : status->bindings)
      if (binding.app == request.app && binding.name == *request.bind) found = &binding;
    if (found != nullptr && found->read_only != request.read_only)
      return fail(Code::conflict, "Binding " + *request.bind + " exists with other access. Unbind it first: via addon unbind " +
                                      request.app + " " + *request.bind);
    if (found == nullptr) {
      VIA_TRY(plane.bind_addon(request.app, request.name, *request.bind, request.read_only, actor));
      bound = true;
    }
  }
  VIA_TRY_LET(now_is, plane.addon_status(request.name, request.app));
  json out = with(to_json(now_is.addon), {{"layers", list_json(now_is.layers)}, {"created", created}, {"bound", bound}});
  bool ready = true;
  for (const auto& layer : now_is.layers)
    if (layer.name == "metadata" || layer.name == "binding" || layer.name == "storage" || layer.name == "credentials") ready = ready && layer.ok;
  out["ready"] = ready;
  for (const auto& binding : now_is.bindings)
    if (binding.app == request.app && binding.name == *request.bind) out["binding"] = to_json(binding);
  return answer(std::move(out));
}

Answer addon_snapshot(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  const auto note = a.optional_text("note").value_or("");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.snapshot_addon(name, app, note, actor, waits);
}

Answer addon_snapshots(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(snapshots, plane.list_snapshots(name, app));
  return answer({{"items", list_json(snapshots)}});
}

Answer snapshot_delete(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  const auto snapshot = a.text("snapshot");
  const auto plan = plan_request(a);
  VIA_TRY(a.done());
  return plane.delete_snapshot(name, app, snapshot, plan, actor);
}

lifecycle::RestoreAddon restore_request(Arguments& a) {
  lifecycle::RestoreAddon request;
  request.name = a.text("name");
  request.app = a.optional_text("app");
  request.drain = a.flag("drain");
  request.restart_bound_apps = a.flag("restart_bound_apps");
  request.force_after_timeout = a.optional_integer("force_after_timeout");
  request.drain_timeout_seconds = a.optional_integer("drain_timeout_seconds").value_or(request.drain_timeout_seconds);
  request.plan = plan_request(a);
  return request;
}

Answer addon_restore(ControlPlane& plane, Arguments& a, const Actor& actor) {
  auto request = restore_request(a);
  request.snapshot = a.text("snapshot");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.restore_addon(request, actor, waits);
}

Answer addon_import(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto request = restore_request(a);
  const auto file = a.text("file");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.import_addon(request, file, actor, waits);
}

Answer addon_export(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  const auto file = a.text("file");
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.export_addon(name, app, file, actor, waits);
}

Answer addon_drain(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  const auto timeout = a.optional_integer("timeout_seconds").value_or(30);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return plane.drain_addon(name, app, timeout, actor, waits);
}

Answer addon_resume(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.optional_text("app");
  VIA_TRY(a.done());
  VIA_TRY_LET(addon, plane.resume_addon(name, app, actor));
  return answer(to_json(addon));
}

Answer rotate_credentials(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto name = a.text("name");
  const auto app = a.text("app");
  const auto binding = a.text("binding");
  const auto key = a.optional_text("idempotency_key").value_or("");
  VIA_TRY(a.done());
  return plane.rotate_credentials(name, app, binding, key, actor);
}

Answer revoke_credentials(ControlPlane& plane, Arguments& a, const Actor& actor) {
  lifecycle::RevokeCredentials request;
  request.name = a.text("name");
  request.app = a.text("app");
  request.binding = a.text("binding");
  const auto generation = a.optional_integer("generation");
  request.yes = a.flag("yes");
  request.forget = a.flag("forget");
  request.when_unused_seconds = a.optional_integer("when_unused_seconds");
  request.plan = plan_request(a);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  if (!generation || *generation < 1 || *generation > 0xffffff)
    return fail(Code::bad_request, "Argument 'generation' of addon.revoke-credentials must be a number from 1 on.");
  request.generation = static_cast<std::uint32_t>(*generation);
  return plane.revoke_credentials(request, actor, waits);
}

constexpr Command kCommands[] = {
    {"addon.create", addon_create},
    {"addon.ensure", addon_ensure},
    {"addon.list", addon_list},
    {"addon.status", addon_status},
    {"addon.bind", addon_bind},
    {"addon.unbind", addon_unbind},
    {"addon.share", addon_share},
    {"addon.shares", addon_shares},
    {"addon.unshare", addon_unshare},
    {"addon.snapshot", addon_snapshot},
    {"addon.snapshots", addon_snapshots},
    {"addon.snapshot.delete", snapshot_delete},
    {"addon.restore", addon_restore},
    {"addon.drain", addon_drain},
    {"addon.resume", addon_resume},
    {"addon.rotate-credentials", rotate_credentials},
    {"addon.revoke-credentials", revoke_credentials},
    {"addon.destroy", addon_destroy},
    {"addon.undelete", addon_undelete},
    {"addon.repair", begin<kName, &ControlPlane::repair_addon>},
    {"addon.export", addon_export},
    {"addon.import", addon_import},
};

}  // namespace

std::span<const Command> addon_commands() { return kCommands; }

}  // namespace via::api
