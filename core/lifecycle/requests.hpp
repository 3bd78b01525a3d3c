// What the operations of the control plane are asked, and what they answer where that is not a record of another part.
// Times are Unix milliseconds where the name says nothing else; 0 = never. Thread: any (values).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/secret.hpp"
#include "core/bindings/binding.hpp"
#include "core/catalog/addon.hpp"
#include "core/identity/tokens.hpp"
#include "core/plugins/applied.hpp"
#include "core/releases/records.hpp"
#include "core/shares/share.hpp"

namespace via::lifecycle {

// What `via status` shows of the server; the one that runs it fills this in.
// What the host has room for, of what its configuration wants.
struct Room {
  std::size_t connections_wanted = 0, connections = 0;
  std::uint64_t descriptors = 0;  // that the process may have
};

struct ServerInfo {
  bool running = false;
  int pid = 0;
  std::string listen;
  std::int64_t uptime_seconds = 0;
  Room room{};
};

struct Check {
  std::string name;
  bool ok = true;
  std::string detail;
};

struct Status {
  std::string version, state_dir, installation;
  ServerInfo server;
  std::int64_t apps = 0, addons = 0, bindings = 0, releases = 0, instances = 0;
  std::vector<std::string> types;
  std::vector<Check> checks;
};

struct CreateAddon {
  std::string type, name, app;
  std::optional<std::string> bind;
  bool read_only = false;
  std::string config = "{}";
};

struct CreatedAddon {
  catalog::Addon addon;
  std::optional<bindings::Binding> binding;
  std::string operation;
  bool app_created = false;
};

// The generation an instance was last given or presented.
struct BindingUse {
  std::string instance, app, binding;
  std::uint32_t generation = 0;
  std::int64_t last_used_at = 0;
};

// What a plugin says of an add-on now. `applied` is nothing where it keeps no credentials of its own, or could not be asked.
struct AskedStorage {
  Check storage;
  std::optional<std::vector<plugins::AppliedCredential>> applied;
};

struct AddonStatus {
  catalog::Addon addon;
  std::vector<bindings::Binding> bindings;
  std::vector<Check> layers;  // metadata, binding, storage, credentials (of plugins that keep them), release, runtime
  std::vector<BindingUse> usage;
  std::size_t snapshots = 0;
  std::size_t shares = 0;  // that work now
};

struct ShareAddon {
  std::string name;
  std::optional<std::string> app;
  bool read_only = false, query_only = false;
  std::string database, note;
  std::optional<std::int64_t> expires_seconds;  // absent = a week, 0 = never
  std::optional<std::int64_t> rate;             // requests a second
};

struct SharedAddon {
  shares::Share share;
  Secret url;  // told once
  std::string operation;
};

struct ShareView {
  shares::Share share;
  bool expired = false;
  std::int64_t last_used_at = 0;  // since the host started
};

// Of a destructive command: show what it would touch, or act only while that has this hash.
struct PlanRequest {
  bool only = false;
  std::string if_hash;
};

// From when on: so many seconds back, or a moment. 0 and 0 = always.
struct Since {
  std::int64_t seconds_back = 0, unix_ms = 0;
};

// Lines of an app's processes: the last `lines`, or without it the first ones from `since` or behind `cursor`.
struct AppLogs {
  std::string name, instance;  // instance empty = all
  std::optional<int> lines;
  Since since;
  std::string cursor;  // of an answer before
  std::int64_t wait_seconds = 0;  // for a line, when there is none
};

struct RestoreAddon {
  std::string name, snapshot;
  std::optional<std::string> app;
  bool drain = false, restart_bound_apps = false;
  std::optional<std::int64_t> force_after_timeout;  // seconds
  std::int64_t drain_timeout_seconds = 30;
  PlanRequest plan;
};

struct DestroyAddon {
  std::string name;
  std::optional<std::string> app;
  bool force = false, no_final_snapshot = false;
  bool forget = false;  // what cannot be snapshotted or removed stays where it is, named in the record
  std::string confirm;  // empty, or the name or id: anything else is refused
  PlanRequest plan;
};

struct RevokeCredentials {
  std::string name, app, binding;
  std::uint32_t generation = 0;
  bool yes = false;
  bool forget = false;  // also when the plugin cannot end it where the data lies
  std::optional<std::int64_t> when_unused_seconds;
  PlanRequest plan;
};

struct CreateDeploy {
  std::string app;
  std::vector<std::string> command;  // empty = a release without processes of the host
  std::string cwd;                   // empty = "/"
  int replicas = 1;
  std::map<std::string, std::string> env;
  std::string check;  // a shell command that must succeed first; empty = none
  std::optional<std::int64_t> check_timeout_seconds;
  releases::Box box;
};

struct RollbackDeploy {
  std::string app, to;   // a release id or number
  bool reissue = false;  // give living generations in the place of revoked ones
  PlanRequest plan;
};

struct DeployView {
  releases::Deploy deploy;
  std::optional<releases::Release> release;
  std::vector<releases::Instance> instances;
  std::string operation;
};

struct ReleaseView {
  releases::Release release;
  std::vector<releases::ReleaseBinding> bindings;
};

struct AppView {
  releases::App app;
  std::vector<catalog::Addon> addons;
  std::vector<bindings::Binding> bindings;
  std::vector<releases::Instance> instances;
};

struct IssueRuntime {
  std::string app;
  std::string out;                               // empty = <state-dir>/runtimes/<instance>
  std::string owner;                             // whose the files are; empty = the host's user
  std::optional<std::int64_t> ttl_seconds;
};

struct IssueToken {
  identity::Kind kind = identity::Kind::runtime;
  std::string app, subject;
  std::optional<std::int64_t> ttl_seconds;
};

struct IssuedToken {
  Secret token;
  std::int64_t expires_at = 0;  // Unix ms
};

// Of `via plugin upgrade` and `rollback`. `file` is a bundle, an unpacked bundle or a plugin's folder; empty = the version
// `to` of `plugin`, which is installed already.
struct ChangePlugin {
  std::string file, plugin, to;
  std::int64_t drain_timeout_seconds = 30;
  bool yes = false;  // rollback: what was written under the newer schema may go
  PlanRequest plan;
};

}  // namespace via::lifecycle
