// What each app is put in: its own user, its folder /data, its limits (core/sandbox does it).
//
// A uid is given to an app in the transaction of its first deploy and stays its own until nothing of it is on disk: the row of a deleted
// app keeps it until its folder is removed, at once or by the next start.
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

using releases::Instance;
using store::Transaction;

namespace {

std::int64_t chosen(std::int64_t asked, std::int64_t otherwise) { return asked != 0 ? asked : otherwise; }

}  // namespace

std::filesystem::path ControlPlane::app_folder(const std::string& app_id) const { return settings_.state_dir / "apps" / app_id; }

sandbox::Plan ControlPlane::sandbox_of(const Instance& instance, const releases::Deploy& deploy) const {
  const SandboxSettings& set = settings_.sandbox;
  const releases::Box& box = deploy.box;
  sandbox::Plan plan;
  plan.uid = plan.gid = set.own_users ? deploy.uid : set.first_uid;
  plan.working_folder = deploy.cwd;
  plan.material = instance.material;
  if (box.fs) plan.data = app_folder(deploy.app_id) / "data";
  for (const std::string& path : box.read) plan.readable.emplace_back(path);
  if (!settings_.ca_file.empty()) plan.readable.emplace_back(settings_.ca_file);
  plan.state_dir = settings_.state_dir;
  plan.network = (box.network.empty() ? set.network : box.network) == "none" ? sandbox::Network::none : sandbox::Network::host;
  plan.limits.memory_bytes = chosen(box.memory_bytes, set.defaults.memory_bytes);
  plan.limits.cpu_percent = chosen(box.cpu_percent, set.defaults.cpu_percent);
  plan.limits.pids = chosen(box.pids, set.defaults.pids);
  plan.limits.files = chosen(box.files, set.defaults.files);
  return plan;
}

Result<std::uint32_t> ControlPlane::need_uid(const std::string& app_id, std::uint32_t known) {
  const SandboxSettings& set = settings_.sandbox;
  if (!set.on || !set.own_users || known != 0) return known;
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY_LET(uid, apps_.give_uid(app_id, set.first_uid, set.last_uid));
  if (uid == 0)
    return fail(Code::refused, "Every user id from " + std::to_string(set.first_uid) + " to " + std::to_string(set.last_uid) +
                                   " belongs to an app. Delete apps, or widen the range: apps.first_uid, apps.last_uid in the configuration.");
  VIA_TRY(change.commit());
  return uid;
}

releases::Readers ControlPlane::readers_of(const Instance& instance) {
  if (instance.driver == releases::Driver::external) {
    // A folder that was given to somebody is still that somebody's when it is written anew.
    struct stat st {};
    if (::geteuid() != 0 || instance.material.empty() || ::lstat(instance.material.c_str(), &st) != 0 || st.st_uid == 0) return {};
    return {{}, st.st_uid};
  }
  if (!settings_.sandbox.on || !settings_.sandbox.own_users) return {};
  const auto app = apps_.find(instance.app);
  if (!app || !*app || (*app)->uid == 0) return {};
  return {(*app)->uid, {}};
}

// The app owns what is in it and the host never follows a link there.
Result<void> ControlPlane::make_data(const releases::Deploy& deploy) {
  if (!deploy.box.fs || !settings_.sandbox.on) return {};
  VIA_TRY(make_private_folder(settings_.state_dir / "apps"));
  VIA_TRY(make_private_folder(app_folder(deploy.app_id)));
  const std::filesystem::path data = app_folder(deploy.app_id) / "data";
  struct stat st {};
  const bool there = ::lstat(data.c_str(), &st) == 0;
  if (there && !S_ISDIR(st.st_mode)) return fail(Code::internal, "the data folder of an app is not a folder");
  if (!there && ::mkdir(data.c_str(), 0700) != 0) return system_error("create a folder", errno);
  const uid_t owner = settings_.sandbox.own_users ? deploy.uid : ::geteuid();
  if ((!there || st.st_uid != owner) && ::lchown(data.c_str(), owner, settings_.sandbox.own_users ? owner : static_cast<gid_t>(-1)) != 0)
    return system_error("give a folder to an app", errno);
  return sync_folder(app_folder(deploy.app_id));
}

// After its row is deleted; what cannot be removed now, the next start removes.
void ControlPlane::forget_app_files(const std::string& app_id, std::uint32_t uid) {
  if (auto removed = remove_tree(app_folder(app_id)); !removed) {
    d_.log.warn("app.files_not_removed", {{"app", app_id}, {"reason", removed.error().message}});
    return;
  }
  if (uid == 0) return;
  if (auto freed = apps_.free_uid(app_id); !freed) d_.log.warn("app.uid_not_freed", {{"app", app_id}, {"reason", freed.error().message}});
}

Result<void> ControlPlane::sweep_apps() {
  VIA_TRY_LET(left, apps_.left_behind());
  for (const auto& app : left) forget_app_files(app.id, app.uid);
  return {};
}

}  // namespace via::lifecycle
