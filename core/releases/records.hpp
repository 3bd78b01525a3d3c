// Apps, deploys, releases with their binding snapshot, and runtime instances: the rows.
//
// A release is made by a deploy in one transaction from the bindings the app has at that moment, each with its newest
// live generation (a rollback: from those of an earlier release), and its bindings never change afterwards. It is `pending`
// until its deploy made it current or failed. At most one release of an app is current.
// Thread: the control thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::releases {

// What a deploy asks of its sandbox; 0, empty = what the host's configuration says.
struct Box {
  bool fs = false;      // a folder /data of the app's own, which stays
  std::string network;  // "host", "none"
  std::int64_t memory_bytes = 0, cpu_percent = 0, pids = 0, files = 0;
  std::vector<std::string> read;  // further folders and files that it sees
  bool operator==(const Box&) const = default;
};
Box parse_box(std::string_view text);  // what is not understood is left out
std::string text_of(const Box& box);   // JSON

struct App {
  std::string id, name;
  std::int64_t created_at = 0;
  std::string current_release;  // empty = none yet
  std::int64_t profile_version = 0;
  std::uint32_t uid = 0;        // its own user where the host gives it one; 0 = none yet
  Box box = {};                 // of its manifest: what its deploys get that do not ask for something else
};

struct Deploy {
  std::string id, app_id, app, status;  // "running", "succeeded", "failed"
  std::int64_t created_at = 0;
  std::vector<std::string> command;
  std::string cwd;
  int replicas = 0;
  std::map<std::string, std::string> env;
  std::string release_id;
  std::string check_command = {};
  std::string check_result = {};  // JSON {exit_code, seconds, output}, empty = none was run
  Box box = {};
  std::uint32_t uid = 0;          // the app's; read only
};

struct Release {
  std::string id, app_id, app, deploy_id, status;  // "pending", "current", "superseded", "failed"
  std::int64_t number = 0, created_at = 0, config_version = 0;
  std::string rollback_of = {};  // the release it was copied from
};

struct ReleaseBinding {
  std::string binding, binding_id, addon, addon_id, type;
  bool read_only = false;
  std::uint32_t generation = 1;
};

enum class Driver { process, external };
enum class InstanceState { starting, running, stopped, failed };
std::string_view to_string(Driver driver) noexcept;
std::string_view to_string(InstanceState state) noexcept;

struct Instance {
  std::string id, app_id, app, deploy, release;
  Driver driver = Driver::external;
  InstanceState state = InstanceState::starting;
  bool wanted = true;        // false = it ended or was ended: no rights, never launched again
  int pid = 0;
  std::int64_t created_at = 0, expires_at = 0, issued_at = 0;  // of its token; Unix ms, 0 = none yet
  std::string material;      // folder; empty = none (a token that was printed)
  std::string reason = {};   // what ended its last run where that is not its own doing
};

class Apps {
 public:
  explicit Apps(store::Database& db) : db_(db) {}
  Result<void> insert(const App& app);
  Result<std::optional<App>> find(const std::string& name);  // living ones
  Result<std::vector<App>> list();
  Result<void> remove(const App& app, std::int64_t now_ms);  // keeps the row as NAME#deleted#ID
  Result<std::int64_t> count();
  // The lowest of the range that no app has, dead or alive; 0 = all are given. Callers hold a transaction.
  Result<std::uint32_t> give_uid(const std::string& id, std::uint32_t first, std::uint32_t last);
  // Deleted apps whose uid is not free yet.
  Result<std::vector<App>> left_behind();
  Result<void> free_uid(const std::string& id);
  Result<void> set_box(const std::string& id, const Box& box);

 private:
  store::Database& db_;
};

class Releases {
 public:
  explicit Releases(store::Database& db) : db_(db) {}
  Result<void> insert_deploy(const Deploy& deploy);
  Result<void> set_deploy_status(const std::string& id, std::string_view status);
  Result<void> set_check_result(const std::string& deploy_id, const std::string& result);
  // Inserts a pending release with the next number and copies the app's living bindings of active add-ons into it.
  // Callers hold a transaction.
  Result<Release> snapshot(const App& app, const std::string& release_id, const std::string& deploy_id,
                           std::int64_t now_ms);
  // The same with these bindings.
  Result<Release> copy(const App& app, const std::string& release_id, const std::string& deploy_id,
                       const std::string& rollback_of, const std::vector<ReleaseBinding>& bindings, std::int64_t now_ms);
  // The one before becomes superseded. Callers hold a transaction.
  Result<void> make_current(const std::string& app_id, const std::string& release_id);
  Result<void> fail_pending(const std::string& release_id);

  Result<std::optional<Deploy>> find_deploy(const std::string& id);
  Result<std::vector<Deploy>> list_deploys(const std::string& app_id);
  Result<std::optional<Release>> find_release(const std::string& id);
  Result<std::optional<Release>> find_release(const std::string& app_id, std::int64_t number);
  Result<std::vector<Release>> list_releases(std::string_view app_id = {});
  Result<std::vector<ReleaseBinding>> bindings_of(const std::string& release_id);
  Result<std::int64_t> count();
  // Whether the current release of any app has this add-on in its snapshot.
  Result<std::vector<std::string>> apps_with_current(const std::string& addon_id);

 private:
  Result<void> insert_pending(const App& app, const std::string& release_id, const std::string& deploy_id,
                              const std::string& rollback_of, std::int64_t now_ms);
  store::Database& db_;
};

class Instances {
 public:
  explicit Instances(store::Database& db) : db_(db) {}
  Result<void> insert(const Instance& instance);
  Result<std::optional<Instance>> find(const std::string& id);
  Result<std::vector<Instance>> list(std::string_view app_id = {});
  Result<std::vector<Instance>> of_deploy(const std::string& deploy_id);
  Result<std::vector<Instance>> wanted(std::string_view app_id = {});
  // Wanted instances whose release has this add-on.
  Result<std::vector<Instance>> using_addon(const std::string& addon_id);
  Result<void> set_state(const std::string& id, InstanceState state, int pid);
  Result<void> set_reason(const std::string& id, const std::string& reason);
  Result<void> end(const std::string& id, InstanceState state, std::int64_t now_ms);  // wanted = false
  Result<void> set_token(const std::string& id, std::int64_t issued_at, std::int64_t expires_at);
  // External ones whose token has expired, and processes whose token is past two thirds of its life.
  Result<std::vector<Instance>> due(std::int64_t now_ms);
  // Ids of wanted instances whose release is not current.
  Result<std::vector<std::string>> of_superseded();
  // No process outlives its host: what is wanted has yet to be launched.
  Result<void> reset_processes();
  Result<std::int64_t> count();  // wanted ones

 private:
  store::Database& db_;
};

}  // namespace via::releases
