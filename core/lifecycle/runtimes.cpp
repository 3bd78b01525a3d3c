// Runtime instances: their tokens and material, and how they end.
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"
#include "core/releases/material.hpp"

namespace via::lifecycle {

using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

std::filesystem::path ControlPlane::own_material(const std::string& instance) const {
  return settings_.state_dir / "runtimes" / instance;
}

Result<Secret> ControlPlane::mint(Instance& instance, std::int64_t ttl_seconds) {
  identity::Claims claims;
  claims.kind = identity::Kind::runtime;
  claims.subject = claims.app = instance.app;
  claims.deploy = instance.deploy;
  claims.release = instance.release;
  claims.instance = instance.id;
  claims.env = settings_.environment;
  VIA_TRY_LET(token, d_.tokens.issue(claims, ttl_seconds));
  instance.issued_at = claims.issued_at * 1000;
  instance.expires_at = claims.expires_at * 1000;
  return std::move(token);
}

Result<void> ControlPlane::deliver_material(Instance& instance, std::int64_t ttl_seconds) {
  VIA_TRY_LET(bound, releases_.bindings_of(instance.release));
  std::vector<releases::BindingClaim> claims;
  for (const auto& b : bound) {
    releases::BindingClaim claim{b.binding, b.type, {}, b.generation};
    if (const auto type = d_.addons.type(b.type)) claim.scopes = (*type)->scopes_for(b.read_only);
    claims.push_back(std::move(claim));
  }
  VIA_TRY_LET(token, mint(instance, ttl_seconds));
  VIA_TRY(make_private_folder(settings_.state_dir / "runtimes"));
  const releases::Bootstrap bootstrap{settings_.config_url, settings_.ca_file, instance.app,
                                      instance.deploy,      instance.release,  instance.id,
                                      settings_.environment};
  VIA_TRY(releases::write_material(instance.material, token, bootstrap, claims, readers_of(instance)));
  return instances_.set_token(instance.id, instance.issued_at, instance.expires_at);
}

void ControlPlane::discard_material(const Instance& instance) {
  if (instance.material.empty()) return;
  Result<void> removed{};
  if (fs::path(instance.material) == own_material(instance.id)) {
    removed = releases::remove_material(instance.material);
  } else {
    // A folder the operator named may hold more than ours.
    releases::remove_material_files(instance.material);
  }
  if (!removed) d_.log.warn("instance.material_not_removed", {{"instance", instance.id}});
}

bool ControlPlane::has_process(const Instance& instance) const {
  return instance.driver == Driver::process && launcher_ != nullptr && launcher_->supervises(instance.id);
}

void ControlPlane::stop_processes(Lock lock, const std::vector<Instance>& instances) {
  std::vector<std::string> ids;
  for (const auto& instance : instances)
    if (has_process(instance)) ids.push_back(instance.id);
  if (ids.empty()) return;
  // A report that is stored after the stop would end the process that is started in its place.
  {
    const std::lock_guard guard(reports_mutex_);
    std::erase_if(reports_, [&](const Report& report) { return std::find(ids.begin(), ids.end(), report.instance) != ids.end(); });
    ending_.insert(ids.begin(), ids.end());
  }
  {
    const std::lock_guard guard(operations_mutex_);
    ++active_operations_;  // the host's stop waits for it
  }
  if (lock.owns_lock() && !stopping_) lock.unlock();
  for (const auto& id : ids)
    if (auto stopped = launcher_->stop(id, settings_.stop_grace_ms); !stopped && stopped.error().code != Code::not_found)
      d_.log.warn("instance.stop_failed", {{"instance", id}, {"reason", stopped.error().message}});
  {
    const std::lock_guard guard(reports_mutex_);
    for (const auto& id : ids) ending_.erase(ending_.find(id));
  }
  const std::lock_guard guard(operations_mutex_);
  --active_operations_;
  operations_idle_.notify_all();
}

void ControlPlane::end_processes(Lock lock, const std::vector<Instance>& instances) {
  stop_processes(std::move(lock), instances);
  for (const auto& instance : instances)
    if (instance.driver == Driver::process) discard_material(instance);
}

Result<bool> ControlPlane::restart_process(Operation& operation, Lock lock, Instance& instance) {
  VIA_TRY_LET(deploy, releases_.find_deploy(instance.deploy));
  if (!deploy) return fail(Code::internal, "the deploy of an instance is missing");
  stop_processes(std::move(lock), {instance});
  VIA_TRY_LET(again, operation.control());
  VIA_TRY_LET(stands, instances_.find(instance.id));
  if (!stands || !stands->wanted) return false;
  VIA_TRY(launch(instance, *deploy));
  return true;
}

void ControlPlane::withdraw(const std::vector<Instance>& instances) {
  if (instances.empty()) return;
  authorization::Change change;
  change.takes_away = true;
  for (const auto& instance : instances) {
    change.removed.push_back(instance.id);
    uses_.erase(instance.id);
  }
  publish_rights(std::move(change));
  for (const auto& instance : instances)
    if (!has_process(instance)) discard_material(instance);
}

Result<void> ControlPlane::end_instances(const std::vector<Instance>& instances, InstanceState state) {
  if (instances.empty()) return {};
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  for (const auto& instance : instances) VIA_TRY(instances_.end(instance.id, state, now()));
  VIA_TRY(change.commit());
  withdraw(instances);
  return {};
}

Result<void> ControlPlane::publish_new(const std::vector<Instance>& instances) {
  if (instances.empty()) return {};
  VIA_TRY_LET(grants, build_grants(instances.front().app_id));
  std::unordered_set<std::string_view> ids;
  for (const auto& instance : instances) ids.insert(instance.id);
  std::erase_if(grants, [&](const auto& grant) { return !ids.contains(grant->instance); });
  publish_rights({std::move(grants), {}, false});
  return {};
}

Result<std::vector<Instance>> ControlPlane::list_instances(const std::optional<std::string>& app) {
  VIA_TRY_LET(lock, control());
  if (!app) return instances_.list();
  VIA_TRY_LET(owner, need_app(*app));
  return instances_.list(owner.id);
}

Result<Instance> ControlPlane::new_external(const std::string& app_name) {
  VIA_TRY_LET(app, need_app(app_name));
  if (app.current_release.empty())
    return fail(Code::precondition_failed, "App '" + app_name + "' has no release yet. Make one: via deploy create " +
                                               app_name);
  VIA_TRY_LET(release, releases_.find_release(app.current_release));
  if (!release) return fail(Code::internal, "the current release of an app is missing");
  Instance instance;
  instance.id = make_id("ins");
  instance.app_id = app.id;
  instance.app = app.name;
  instance.deploy = release->deploy_id;
  instance.release = release->id;
  instance.driver = Driver::external;
  instance.state = InstanceState::running;
  instance.created_at = now();
  return instance;
}

namespace {

// A user's name or number.
Result<uid_t> user_of(const std::string& owner) {
  std::vector<char> buffer(16384);
  passwd entry{}, *found = nullptr;
  ::getpwnam_r(owner.c_str(), &entry, buffer.data(), buffer.size(), &found);
  std::int64_t number = -1;
  const auto [end, wrong] = std::from_chars(owner.data(), owner.data() + owner.size(), number);
  if (found != nullptr) number = found->pw_uid;
  else if (wrong != std::errc{} || end != owner.data() + owner.size() || number < 0 || number > 0xfffffffe)
    return fail(Code::not_found, "'owner' is no user of this machine.");
  if (::geteuid() != 0 && static_cast<uid_t>(number) != ::geteuid())
    return fail(Code::not_allowed, "Only a host that runs as root can give files to another user.");
  return static_cast<uid_t>(number);
}

// Whether others may look into it.
Result<bool> check_out(const fs::path& out, const fs::path& state_dir, std::optional<uid_t> owner) {
  if (!out.is_absolute()) return fail(Code::bad_request, "'out' must be an absolute path.");
  const fs::path normal = out.lexically_normal();
  const auto mismatch = std::mismatch(state_dir.begin(), state_dir.end(), normal.begin(), normal.end());
  if (mismatch.first == state_dir.end())
    return fail(Code::bad_request, "'out' must not be inside the state folder. Leave it out to use the host's own place.");
  struct stat st {};
  if (owner && ::lstat(normal.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == *owner && (st.st_mode & 022) == 0) return (st.st_mode & 055) != 0;
  auto made = make_named_folder(normal);
  if (!made) {
    if (made.error().code == Code::not_found)
      return fail(Code::not_found, "The folder above 'out' does not exist. Create it first.");
    if (made.error().code == Code::not_allowed)
      return fail(Code::not_allowed, "'out' must be a folder of the host's user that nobody else can write: " + made.error().message);
    return fail(Code::not_allowed, "'out' could not be made: " + made.error().message);
  }
  return made;
}

Result<std::int64_t> check_ttl(const std::optional<std::int64_t>& ttl, std::int64_t standard) {
  const std::int64_t seconds = ttl.value_or(standard);
  if (seconds < 1 || seconds > identity::kMaximumLifeSeconds)
    return fail(Code::bad_request, "'ttl_seconds' must be from 1 to 86400 (a day).");
  return seconds;
}

}  // namespace

Result<Instance> ControlPlane::issue_runtime(const IssueRuntime& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(ttl, check_ttl(request.ttl_seconds, settings_.token_ttl_seconds));
  VIA_TRY_LET(instance, new_external(request.app));
  std::optional<uid_t> owner;
  if (!request.owner.empty()) {
    if (request.out.empty()) return fail(Code::bad_request, "'owner' needs 'out': the host's own folders are nobody else's.");
    VIA_TRY_LET(user, user_of(request.owner));
    owner = user;
  }
  if (request.out.empty()) {
    instance.material = own_material(instance.id).string();
  } else {
    VIA_TRY_LET(open, check_out(request.out, settings_.state_dir, owner));
    if (open) d_.log.warn("folder_open_to_others", {{"instance", instance.id}, {"what", "other users may look into the folder of the material; its files have mode 0600"}});
    instance.material = fs::path(request.out).lexically_normal().string();
    // Before it is written: whoever gets the folder gets what is put into it.
    if (owner && ::lchown(instance.material.c_str(), *owner, static_cast<gid_t>(-1)) != 0) return system_error("give the folder to its owner", errno);
  }
  instance.issued_at = now();
  instance.expires_at = now() + ttl * 1000;

  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(instances_.insert(instance));
  VIA_TRY(record_change("runtime.issue", instance.id, actor, {{"app", instance.app}, {"ttl_seconds", ttl}}));
  VIA_TRY(change.commit());
  if (auto published = publish_new({instance}); !published) return unknown(published.error());
  if (auto delivered = deliver_material(instance, ttl); !delivered) {
    // What could not be ended in the record either is there at the next start.
    if (!end_instances({instance}, InstanceState::failed)) return unknown(delivered.error());
    return delivered.error();
  }
  d_.log.info("instance.issued", {{"instance", instance.id}, {"app", instance.app}});
  return instance;
}

Result<nlohmann::json> ControlPlane::stop_instance(const std::string& id, const PlanRequest& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(instance, instances_.find(id));
  if (!instance) return fail(Code::not_found, "Instance '" + id + "' does not exist. See which do: via runtime list");
  VIA_TRY_LET(running, instances_.wanted(instance->app_id));
  auto apps = nlohmann::json::array(), releases = apps, ids = apps, warnings = apps;
  if (instance->wanted) {
    apps.push_back(instance->app);
    releases.push_back(instance->release);
    ids.push_back(id);
    if (running.size() == 1) warnings.push_back("It is the last instance of app '" + instance->app + "'.");
  }
  VIA_TRY_LET(shown, check_plan({{"action", "runtime.stop"},
                                 {"target", {{"instance", id}, {"app", instance->app}, {"driver", to_string(instance->driver)}}},
                                 {"touches", {{"apps", apps}, {"releases", releases}, {"instances", ids}}},
                                 {"warnings", warnings}},
                                request));
  if (!shown.is_null()) return {boost::system::in_place_value, std::move(shown)};
  if (!instance->wanted) {
    // Ended by another call, whose process may be on its way out: nobody is told before it is gone.
    end_processes(std::move(lock), {*instance});
    return {boost::system::in_place_value, to_json(*instance)};
  }
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(instances_.end(id, InstanceState::stopped, now()));
  VIA_TRY(record_change("runtime.stop", id, actor, {{"app", instance->app}}));
  VIA_TRY(change.commit());
  withdraw({*instance});
  const auto stopped = instances_.find(id);
  end_processes(std::move(lock), {*instance});
  d_.log.info("instance.stopped", {{"instance", id}});
  if (!stopped) return stopped.error();
  return {boost::system::in_place_value, to_json(stopped->value_or(*instance))};
}

Result<IssuedToken> ControlPlane::issue_token(const IssueToken& request, const Actor& actor) {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(ttl, check_ttl(request.ttl_seconds, settings_.token_ttl_seconds));
  const std::string kind(identity::to_string(request.kind));
  if (request.kind == identity::Kind::runtime) {
    VIA_TRY_LET(instance, new_external(request.app));
    VIA_TRY_LET(token, mint(instance, ttl));
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(instances_.insert(instance));
    VIA_TRY(record_change("identity.issue", instance.id, actor,
                          {{"kind", kind}, {"app", instance.app}, {"ttl_seconds", ttl}}));
    VIA_TRY(change.commit());
    VIA_TRY(publish_new({instance}));
    return IssuedToken{std::move(token), instance.expires_at};
  }
  identity::Claims claims;
  claims.kind = request.kind;
  claims.env = settings_.environment;
  if (request.kind == identity::Kind::build) {
    VIA_TRY_LET(app, need_app(request.app));
    claims.subject = claims.app = app.name;
  } else {
    claims.subject = request.subject.empty() ? actor.name : request.subject;
  }
  VIA_TRY_LET(token, d_.tokens.issue(claims, ttl));
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(record_change("identity.issue", claims.subject, actor,
                        {{"kind", kind}, {"subject", claims.subject}, {"ttl_seconds", ttl}}));
  VIA_TRY(change.commit());
  return IssuedToken{std::move(token), claims.expires_at * 1000};
}

void ControlPlane::refresh_tokens() {
  const auto lock = control();
  if (!lock) return;
  const auto due = instances_.due(now());
  if (!due) {
    d_.log.error("tokens.refresh_failed", {{"reason", due.error().message}});
    return;
  }
  std::vector<Instance> expired;
  for (Instance instance : *due) {
    if (instance.driver == Driver::external) {
      expired.push_back(instance);
      continue;
    }
    if (launcher_ == nullptr || !launcher_->supervises(instance.id)) continue;
    const auto refresh = [&]() -> Result<void> {
      VIA_TRY_LET(token, mint(instance, settings_.token_ttl_seconds));
      VIA_TRY(releases::replace_token(instance.material, token, readers_of(instance)));
      return instances_.set_token(instance.id, instance.issued_at, instance.expires_at);
    };
    if (auto done = refresh(); !done)
      d_.log.warn("tokens.refresh_failed", {{"instance", instance.id}, {"reason", done.error().message}});
  }
  if (auto ended = end_instances(expired, InstanceState::stopped); !ended)
    d_.log.error("instances.expiry_failed", {{"reason", ended.error().message}});
}

}  // namespace via::lifecycle
