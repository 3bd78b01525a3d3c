// Deploys and releases: the binding snapshot and the instances that run under it.
//
// A deploy is an operation: `snapshot` makes a pending release, `check` runs the operator's command under it, `launch`
// starts its processes, `switch` makes it current, `stop_old` ends the processes of the one before. Up to the switch the
// current release notices nothing.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;
using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

namespace {

Result<void> check_box(const releases::Box& box) {
  const auto within = [](std::int64_t value, std::int64_t low, std::int64_t high) { return value == 0 || (value >= low && value <= high); };
  if (!box.network.empty() && box.network != "host" && box.network != "none")
    return fail(Code::bad_request, "'network' must be \"host\" or \"none\".");
  if (!within(box.memory_bytes, 8LL << 20, 1LL << 46)) return fail(Code::bad_request, "'memory_bytes' must be at least 8 MiB.");
  if (!within(box.cpu_percent, 1, 100'000)) return fail(Code::bad_request, "'cpu_percent' must be from 1 to 100000 (100 = one processor).");
  if (!within(box.pids, 2, 1'000'000)) return fail(Code::bad_request, "'pids' must be from 2 to 1000000.");
  if (!within(box.files, 16, 1'000'000)) return fail(Code::bad_request, "'files' must be from 16 to 1000000.");
  for (const std::string& path : box.read)
    if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos)
      return fail(Code::bad_request, "'read' must be absolute paths.");
  return {};
}

// What the deploy says, else what the app's manifest said.
releases::Box merged(releases::Box asked, const releases::Box& app) {
  const auto choose = [](std::int64_t& value, std::int64_t otherwise) { value = value != 0 ? value : otherwise; };
  asked.fs = asked.fs || app.fs;
  if (asked.network.empty()) asked.network = app.network;
  choose(asked.memory_bytes, app.memory_bytes);
  choose(asked.cpu_percent, app.cpu_percent);
  choose(asked.pids, app.pids);
  choose(asked.files, app.files);
  return asked;
}

Result<void> check_deploy(const CreateDeploy& request) {
  constexpr int kMaximumReplicas = 256;
  if (request.replicas < 1 || request.replicas > kMaximumReplicas)
    return fail(Code::bad_request, "'replicas' must be from 1 to 256.");
  constexpr std::int64_t kMaximumCheckSeconds = 3600;
  if (request.check_timeout_seconds && (*request.check_timeout_seconds < 1 || *request.check_timeout_seconds > kMaximumCheckSeconds))
    return fail(Code::bad_request, "'check_timeout_seconds' must be from 1 to 3600.");
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  for (const auto& word : request.command)
    if (has_nul(word)) return fail(Code::bad_request, "'command' must not contain NUL.");
  if (has_nul(request.check)) return fail(Code::bad_request, "'check' must not contain NUL.");
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
  return check_box(request.box);
}

}  // namespace

ControlPlane::DeployPlan ControlPlane::plan_deploy(const releases::App& app) const {
  DeployPlan plan;
  plan.app = app;
  plan.deploy.app_id = app.id;
  plan.deploy.app = app.name;
  plan.deploy.status = "running";
  return plan;
}

Result<json> ControlPlane::create_deploy(const CreateDeploy& request, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  VIA_TRY(check_deploy(request));
  VIA_TRY_LET(app, need_app(request.app));
  if (!request.check.empty() && launcher_ == nullptr)
    return fail(Code::precondition_failed,
                "A check works against the config server, and the host is not running. Start it: via serve");
  DeployPlan plan = plan_deploy(app);
  plan.deploy.command = request.command;
  plan.deploy.cwd = request.cwd.empty() ? "/" : request.cwd;
  plan.deploy.replicas = request.command.empty() ? 0 : request.replicas;
  plan.deploy.env = request.env;
  plan.deploy.check_command = request.check;
  plan.deploy.box = merged(request.box, app.box);
  plan.check_timeout_seconds = request.check_timeout_seconds.value_or(settings_.check_timeout_seconds);
  return operate_deploy(std::move(lock), std::move(plan), "deploy.create", actor, wait);
}

Result<json> ControlPlane::operate_deploy(Lock lock, DeployPlan plan, std::string_view kind, const Actor& actor,
                                          bool wait) {
  if (plan.deploy.replicas > 0) {
    VIA_TRY_LET(uid, need_uid(plan.app.id, plan.app.uid));
    plan.deploy.uid = uid;
  }
  plan.deploy.id = make_id("dep");
  plan.deploy.release_id = make_id("rel");
  plan.deploy.created_at = now();
  Work work;
  work.kind = kind;
  work.target = plan.deploy.id;
  work.claims = {"app:" + plan.app.id};
  auto made = json::array();
  for (const auto& reissue : plan.reissues) {
    if (!reissue.fresh) continue;
    const std::string claim = "addon:" + reissue.addon.id;
    if (std::find(work.claims.begin(), work.claims.end(), claim) == work.claims.end()) work.claims.push_back(claim);
    made.push_back({{"binding", reissue.binding.id}, {"generation", reissue.generation}});
  }
  work.steps = json{{"deploy", plan.deploy.id}, {"release", plan.deploy.release_id}, {"reissue", std::move(made)}}.dump();
  work.run = [this, plan = std::move(plan)](Operation& operation) { return run_deploy(operation, plan); };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_deploy(Operation& operation, const DeployPlan& plan) {
  const releases::Deploy& deploy = plan.deploy;
  DeployView view;
  view.operation = operation.id();
  std::vector<Instance> previous;
  const auto switch_over = [&]() -> Result<void> {
    VIA_TRY(prepare_deploy(operation, plan, view));
    VIA_TRY(operation.step("switch"));
    operation.only_forward();
    VIA_TRY_LET(lock, operation.control());
    VIA_TRY_LET(running, instances_.wanted(plan.app.id));
    for (const auto& instance : running)
      if (instance.driver == Driver::process && instance.deploy != deploy.id) previous.push_back(instance);
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(releases_.make_current(plan.app.id, deploy.release_id));
    VIA_TRY(releases_.set_deploy_status(deploy.id, "succeeded"));
    return change.commit();
  };
  if (const auto switched = switch_over(); !switched) {
    VIA_TRY_LET(lock, operation.control());
    if (auto undone = undo_deploy(std::move(lock), deploy.id, plan.reissues); !undone) return unknown(undone.error());
    d_.log.warn("deploy.failed", {{"app", deploy.app}, {"deploy", deploy.id}, {"reason", switched.error().message}});
    Error error = switched.error();
    if (is_unknown(error)) error.name.clear();  // that it was undone is committed
    return error;
  }
  // The release is current from here on; what is left the next start does.
  auto done = finish_deploy(operation, plan, view, previous);
  if (!done) return unknown(done.error());
  return done;
}

Result<json> ControlPlane::finish_deploy(Operation& operation, const DeployPlan& plan, DeployView& view,
                                         const std::vector<Instance>& previous) {
  const releases::Deploy& deploy = plan.deploy;
  // The old processes end with their rights still on, so that they can finish what they are doing.
  VIA_TRY(operation.step("stop_old"));
  VIA_TRY_LET(held, operation.control());
  stop_processes(std::move(held), previous);
  VIA_TRY_LET(lock, operation.control());
  VIA_TRY(end_instances(previous, InstanceState::stopped));
  VIA_TRY_LET(made, releases_.find_deploy(deploy.id));
  if (made) view.deploy = *made;
  VIA_TRY_LET(release, releases_.find_release(deploy.release_id));
  view.release = release;
  json out = to_json(view);
  json details = {{"app", deploy.app}, {"release", deploy.release_id}, {"instances", view.instances.size()}};
  if (!plan.rollback_of.empty()) {
    out["reissued"] = json::array();
    for (const auto& reissue : plan.reissues)
      out["reissued"].push_back({{"binding", reissue.binding.name}, {"generation", reissue.generation}});
    details["rollback_of"] = plan.rollback_of;
    details["reissued"] = out["reissued"];
  }
  VIA_TRY_LET(end, Transaction::begin(d_.store.db()));
  VIA_TRY(end_done(operation, out, details));
  VIA_TRY(end.commit());
  d_.log.info("deploy.created", {{"app", deploy.app}, {"deploy", deploy.id}, {"release", deploy.release_id}});
  return {boost::system::in_place_value, std::move(out)};
}

Result<void> ControlPlane::prepare_deploy(Operation& operation, const DeployPlan& plan, DeployView& view) {
  const releases::Deploy& deploy = plan.deploy;
  if (launcher_ != nullptr && deploy.replicas > 0) VIA_TRY(launcher_->look(spec_of({}, deploy)));
  VIA_TRY(operation.step("snapshot"));
  {
    VIA_TRY_LET(lock, operation.control());
    VIA_TRY(reissue(plan));
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(releases_.insert_deploy(deploy));
    if (plan.rollback_of.empty()) {
      VIA_TRY(releases_.snapshot(plan.app, deploy.release_id, deploy.id, now()));
    } else {
      VIA_TRY(releases_.copy(plan.app, deploy.release_id, deploy.id, plan.rollback_of, plan.bindings, now()));
    }
    VIA_TRY(change.commit());
  }
  if (!deploy.check_command.empty()) {
    VIA_TRY(operation.step("check"));
    VIA_TRY(run_check(operation, plan));
  }
  VIA_TRY(operation.step("launch"));
  VIA_TRY_LET(lock, operation.control());
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  for (int i = 0; i < deploy.replicas; ++i) {
    Instance instance;
    instance.id = make_id("ins");
    instance.app_id = plan.app.id;
    instance.app = plan.app.name;
    instance.deploy = deploy.id;
    instance.release = deploy.release_id;
    instance.driver = Driver::process;
    instance.created_at = now();
    instance.material = own_material(instance.id).string();
    VIA_TRY(instances_.insert(instance));
    view.instances.push_back(std::move(instance));
  }
  VIA_TRY(change.commit());
  VIA_TRY(publish_new(view.instances));
  if (launcher_ == nullptr) return {};  // the next start launches them
  for (auto& instance : view.instances)
    if (auto launched = launch(instance, deploy); !launched) {
      const Error reason = launched.error();
      return fail(reason.code == Code::internal ? Code::refused : reason.code,
                  "The new release did not start (" + reason.message + "); the previous one stays current. Deploy " +
                      deploy.id + " failed.");
    }
  return {};
}

releases::ProcessSpec ControlPlane::spec_of(const Instance& instance, const releases::Deploy& deploy) const {
  releases::ProcessSpec spec;
  spec.instance = instance.id;
  spec.command = deploy.command;
  spec.working_folder = deploy.cwd;
  spec.material = instance.material;
  spec.log_file = logs_folder() / (instance.id + ".log");
  spec.app = instance.app;
  if (settings_.sandbox.on) spec.sandbox = sandbox_of(instance, deploy);
  spec.config_url = settings_.config_url;
  spec.environment = settings_.environment;
  for (const auto& [name, value] : deploy.env) spec.variables.emplace_back(name, value);
  return spec;
}

Result<void> ControlPlane::launch(Instance& instance, releases::Deploy deploy) {
  VIA_TRY_LET(uid, need_uid(deploy.app_id, deploy.uid));
  deploy.uid = uid;
  VIA_TRY(make_data(deploy));
  VIA_TRY(deliver_material(instance, settings_.token_ttl_seconds));
  VIA_TRY(make_private_folder(logs_folder()));
  return launcher_->start(spec_of(instance, deploy));
}

Result<void> ControlPlane::undo_deploy(Lock lock, const std::string& deploy_id, const std::vector<Reissue>& reissued) {
  VIA_TRY_LET(deploy, releases_.find_deploy(deploy_id));
  const bool pending = deploy && deploy->status == "running";
  std::vector<Instance> instances;
  std::vector<Reissue> made;
  for (const auto& item : reissued)
    if (item.fresh) made.push_back(item);
  if (!pending && made.empty()) return {};
  if (pending) {
    VIA_TRY_LET(found, instances_.of_deploy(deploy_id));
    for (auto& instance : found)
      if (instance.wanted) instances.push_back(std::move(instance));
  }
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  if (pending) {
    VIA_TRY(releases_.fail_pending(deploy->release_id));
    VIA_TRY(releases_.set_deploy_status(deploy_id, "failed"));
  }
  for (const auto& instance : instances) VIA_TRY(instances_.end(instance.id, InstanceState::failed, now()));
  for (const auto& item : made) VIA_TRY(bindings_.revoke_generation(item.binding.id, item.generation, now()));
  VIA_TRY(change.commit());
  withdraw(instances);
  const auto end_generations = [&]() -> Result<void> {
    for (const auto& item : made) {
      VIA_TRY_LET(grants, build_grants({}, item.addon.id));
      publish_rights({std::move(grants), {}, true});
      take_back(item);
    }
    return {};
  };
  auto ended = end_generations();
  end_processes(std::move(lock), instances);
  return ended;
}

// What was not made current never will be; what was is launched, and the old processes end, when the host starts.
Result<std::string> ControlPlane::recover_deploy(const store::Operation& row) {
  const json steps = json::parse(row.steps, nullptr, false);
  const json made = steps.is_object() ? steps.value("reissue", json::array()) : json::array();
  VIA_TRY_LET(deploy, releases_.find_deploy(row.target));
  if (deploy && deploy->status == "succeeded") return std::string("done");
  std::vector<Reissue> reissued;
  for (const auto& item : made) {
    VIA_TRY_LET(binding, bindings_.find(item.value("binding", "")));
    if (!binding) continue;
    VIA_TRY_LET(addon, addons_.find_by_id(binding->addon_id));
    if (addon) reissued.push_back({*addon, *binding, item.value("generation", 0U), true});
  }
  VIA_TRY(undo_deploy({}, row.target, reissued));
  return std::string(deploy ? "failed" : "undone");
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
