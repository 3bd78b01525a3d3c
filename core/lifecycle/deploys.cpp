// Deploys and releases: the binding snapshot and the instances that run under it.
#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

namespace {

Result<void> check_deploy(const CreateDeploy& request) {
  constexpr int kMaximumReplicas = 256;
  if (request.replicas < 1 || request.replicas > kMaximumReplicas)
    return fail(Code::bad_request, "'replicas' must be from 1 to 256.");
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  for (const auto& word : request.command)
    if (has_nul(word)) return fail(Code::bad_request, "'command' must not contain NUL.");
  if (!request.command.empty() && request.command.front().empty())
    return fail(Code::bad_request, "'command' must start with the name of a program.");
  if (!request.cwd.empty() && (request.cwd.front() != '/' || has_nul(request.cwd)))
    return fail(Code::bad_request, "'cwd' must be an absolute path.");
  for (const auto& [name, value] : request.env) {
    const bool digit = !name.empty() && name.front() >= '0' && name.front() <= '9';
    if (name.empty() || digit || has_nul(value) ||
        name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
      return fail(Code::bad_request, "'env' must map names of letters, digits and '_' to texts.");
    if (name.starts_with("VARY_") || name.starts_with("VIA_"))
      return fail(Code::bad_request, "'env' must not set " + name + ": VARY_ and VIA_ names are the host's own.");
  }
  return {};
}

}  // namespace

Result<DeployView> ControlPlane::create_deploy(const CreateDeploy& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY(check_deploy(request));
  VIA_TRY_LET(app, need_app(request.app));
  VIA_TRY_LET(previous, instances_.wanted(app.id));
  std::erase_if(previous, [](const Instance& i) { return i.driver != Driver::process; });

  DeployView view;
  releases::Deploy& deploy = view.deploy;
  deploy.id = make_id("dep");
  deploy.app_id = app.id;
  deploy.app = app.name;
  deploy.status = "succeeded";
  deploy.created_at = now();
  deploy.command = request.command;
  deploy.cwd = request.cwd.empty() ? "/" : request.cwd;
  deploy.replicas = request.command.empty() ? 0 : request.replicas;
  deploy.env = request.env;
  deploy.release_id = make_id("rel");

  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(releases_.insert_deploy(deploy));
  VIA_TRY_LET(release, releases_.snapshot(app, deploy.release_id, deploy.id, now()));
  view.release = release;
  for (int i = 0; i < deploy.replicas; ++i) {
    Instance instance;
    instance.id = make_id("ins");
    instance.app_id = app.id;
    instance.app = app.name;
    instance.deploy = deploy.id;
    instance.release = release.id;
    instance.driver = Driver::process;
    instance.created_at = now();
    instance.material = own_material(instance.id).string();
    VIA_TRY(instances_.insert(instance));
    view.instances.push_back(std::move(instance));
  }
  VIA_TRY_LET(operation, begin_operation("deploy.create", deploy.id, actor,
                                         {{"deploy", deploy.id}, {"previous_release", app.current_release}}));
  VIA_TRY(change.commit());
  view.operation = operation;

  VIA_TRY(publish_new(view.instances));
  if (launcher_ != nullptr)
    for (auto& instance : view.instances)
      if (auto launched = launch(instance, deploy); !launched) {
        const Error reason = launched.error();
        VIA_TRY(undo_deploy(view, app.current_release, reason, actor));
        return fail(reason.code == Code::internal ? Code::refused : reason.code,
                    "The new release did not start (" + reason.message + "); the previous one stays current. Deploy " +
                        deploy.id + " failed.");
      }

  // The old processes end with their rights still on, so that they can finish what they are doing.
  stop_processes(previous);
  VIA_TRY(end_instances(previous, InstanceState::stopped));
  VIA_TRY_LET(end, Transaction::begin(d_.store.db()));
  VIA_TRY(end_operation(operation, "deploy.create", deploy.id, actor, "done", "ok",
                        {{"app", app.name}, {"release", release.id}, {"instances", view.instances.size()}}));
  VIA_TRY(end.commit());
  d_.log.info("deploy.created", {{"app", app.name}, {"deploy", deploy.id}, {"release", release.id}});
  return view;
}

Result<void> ControlPlane::launch(Instance& instance, const releases::Deploy& deploy) {
  VIA_TRY(deliver_material(instance, settings_.token_ttl_seconds));
  const fs::path logs = settings_.state_dir / "logs";
  VIA_TRY(make_private_folder(logs));
  releases::ProcessSpec spec;
  spec.instance = instance.id;
  spec.command = deploy.command;
  spec.working_folder = deploy.cwd;
  spec.material = instance.material;
  spec.log_file = logs / (instance.id + ".log");
  spec.config_url = settings_.config_url;
  spec.environment = settings_.environment;
  for (const auto& [name, value] : deploy.env) spec.variables.emplace_back(name, value);
  return launcher_->start(std::move(spec));
}

Result<void> ControlPlane::undo_deploy(const DeployView& view, const std::string& previous_release,
                                       const Error& reason, const Actor& actor) {
  stop_processes(view.instances);
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(releases_.make_current(view.deploy.app_id, previous_release));
  VIA_TRY(releases_.set_deploy_status(view.deploy.id, "failed"));
  for (const auto& instance : view.instances) VIA_TRY(instances_.end(instance.id, InstanceState::failed, now()));
  VIA_TRY(end_operation(view.operation, "deploy.create", view.deploy.id, actor, "failed",
                        std::string(reason.wire_name()), {{"app", view.deploy.app}}));
  VIA_TRY(change.commit());
  withdraw(view.instances);
  d_.log.warn("deploy.failed", {{"app", view.deploy.app}, {"deploy", view.deploy.id}, {"reason", reason.message}});
  return {};
}

Result<std::vector<releases::Deploy>> ControlPlane::list_deploys(const std::string& app_name) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(app, need_app(app_name));
  return releases_.list_deploys(app.id);
}

Result<DeployView> ControlPlane::show_deploy(const std::string& id) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(deploy, releases_.find_deploy(id));
  if (!deploy)
    return fail(Code::not_found, "Deploy '" + id + "' does not exist. See an app's: via deploy list --app APP");
  VIA_TRY_LET(release, releases_.find_release(deploy->release_id));
  VIA_TRY_LET(instances, instances_.of_deploy(id));
  return DeployView{std::move(*deploy), std::move(release), std::move(instances), {}};
}

Result<std::vector<releases::Release>> ControlPlane::list_releases(const std::optional<std::string>& app_name) {
  VIA_TRY_LET(lock, control());
  if (!app_name) return releases_.list_releases();
  VIA_TRY_LET(app, need_app(*app_name));
  return releases_.list_releases(app.id);
}

Result<ReleaseView> ControlPlane::show_release(const std::string& id) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(release, releases_.find_release(id));
  if (!release) return fail(Code::not_found, "Release '" + id + "' does not exist. See which do: via release list");
  VIA_TRY_LET(bound, releases_.bindings_of(id));
  return ReleaseView{std::move(*release), std::move(bound)};
}

}  // namespace via::lifecycle
