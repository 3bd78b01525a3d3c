// The add-on types that are enabled and the add-on instances that exist: what lifecycle/ and the request path see of
// plugins. Everything below it (libraries, host services, calls across the ABI) stays in this folder.
//
// Thread: AddonHost any; functions marked "blocks" are for workers only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/plugins/manifest.hpp"

namespace via::plugins {

class AddonInstance;

// What bind, rotate, revoke and describe are told about one credential generation.
struct BindingSpec {
  std::string binding_id;  // "bind_…"
  std::uint32_t generation = 1;
  std::vector<std::string> scopes;
};

// The descriptor an app gets for a generation, as its plugin describes it.
struct Description {
  std::string descriptor;                                    // members, without braces: "\"mode\":\"proxy\",…"
  std::vector<std::pair<std::string, std::string>> derived;  // suffix and template: {"_URL", "${endpoint}"}
};

struct PluginRecord {
  Manifest manifest;
  std::string sha256;
  std::string source;   // "bundled", "pinned" or "installed"
  bool trusted = false;
  bool loaded = false;
  std::string problem;  // why it is not loaded, empty when it is
  std::string folder{};   // where its files were when it was loaded
  bool isolated = false;  // it runs in processes of its own
};

// What a long control call tells while it runs. Thread: called on the thread of the control call; either may be empty.
struct Watch {
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;  // bytes; total 0 = not known
  std::function<bool()> cancelled;
};

// What a plugin says of a snapshot it took; kept with the snapshot's metadata and in backups.
struct SnapshotFacts {
  std::string format;        // "sqlite/1": chosen by the plugin, checked by its own restore
  std::uint32_t schema = 0;  // storage schema
};

// An add-on that had operations which did not end (abandoned.hpp).
struct DegradedAddon {
  std::string addon_id;
  std::int64_t stuck = 0;      // still in the plugin
  std::uint64_t given_up = 0;  // since the host started
};

class AddonHost {
 public:
  virtual ~AddonHost() = default;

  // Those with operations that are stuck, or were given up within the last minute.
  virtual std::vector<DegradedAddon> degraded() const { return {}; }

  virtual std::vector<PluginRecord> plugins() const = 0;
  // The enabled type, or not_found with the next command to run.
  virtual Result<const AddonType*> type(std::string_view type_id) const = 0;

  // The instance of an add-on, made at its first use. Cheap, leaves storage alone. `storage` is its folder.
  virtual Result<std::shared_ptr<AddonInstance>> instance(const std::string& addon_id, const std::string& type_id,
                                                          const std::string& config_json) = 0;
  // Forgets it (after deprovision). Blocks until its calls have ended.
  virtual void forget(const std::string& addon_id) = 0;

  // Control calls; block. Each makes what is asked for or leaves what was there.
  virtual Result<void> check_config(const AddonType& type, const std::string& config_json) const = 0;
  virtual Result<void> provision(AddonInstance& instance) = 0;
  virtual Result<void> deprovision(AddonInstance& instance) = 0;
  virtual Result<void> bind(AddonInstance& instance, const BindingSpec& spec) = 0;
  virtual Result<void> revoke(AddonInstance& instance, const BindingSpec& spec) = 0;
  virtual Result<Description> describe(AddonInstance& instance, const BindingSpec& spec) = 0;
  virtual Result<std::string> health(AddonInstance& instance) = 0;  // {"state","checks":[…]}
  // Makes generation `spec.generation` of a binding valid beside the ones before it. Again with equal arguments is fine.
  virtual Result<void> rotate(AddonInstance& instance, const BindingSpec& spec) = 0;

  // Snapshots; `unsupported` when the type has none. `folder` is empty and private, on the storage's filesystem.
  // take: leaves a consistent copy of the storage in `folder` while operations go on; flushes nothing (the caller
  // hashes, syncs and seals what is there). verify: reads every byte the plugin can check; the instance may be open,
  // closed or not provisioned. restore: the instance is suspended; the plugin may take the files out of `folder`;
  // all or nothing, and durable when it returns. Where exchanges_on_restore() what was replaced, if anything, is in
  // `folder` afterwards like a snapshot that was taken, and a second restore from there undoes the first. `format` is
  // what take_snapshot() answered for what lies there, empty when that is not known.
  virtual Result<SnapshotFacts> take_snapshot(AddonInstance& instance, const std::string& snapshot_id,
                                              const std::filesystem::path& folder, const Watch& watch) = 0;
  virtual Result<void> verify_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                                       const std::filesystem::path& folder, const Watch& watch) = 0;
  virtual Result<void> restore_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                                        const std::filesystem::path& folder, const Watch& watch) = 0;
  virtual bool can_snapshot(AddonInstance& instance) = 0;
  virtual bool exchanges_on_restore(AddonInstance& instance) = 0;
  // Bytes of storage in use, as the plugin counts them ("via.stats/1"), else the size of the folder's files.
  virtual Result<std::uint64_t> bytes_used(AddonInstance& instance) = 0;

  // Draining. drain: from now on operations are refused with `draining`; waits until those in flight have ended and
  // the plugin is quiet, for at most `limit_ms`; false when some still run then (the gate stays closed). cancel_running:
  // cancels what is in flight and waits until it has ended or was given up. suspend: closes a drained instance's storage; its
  // gate stays closed; `unavailable` when an operation that was given up is still in the plugin. resume: opens the gate again (storage opens at the next use); resume of nothing is fine.
  virtual Result<bool> drain(AddonInstance& instance, int limit_ms, const Watch& watch) = 0;
  virtual Result<void> cancel_running(AddonInstance& instance) = 0;
  virtual Result<void> suspend(AddonInstance& instance) = 0;
  virtual Result<void> resume(AddonInstance& instance) = 0;
  virtual std::int64_t in_flight(AddonInstance& instance) const = 0;

  // Changing the build of a plugin while the host runs. Several builds may be loaded; a build is named by its SHA-256.
  // use_build: its types are those that type() answers and that new instances are made from; pointers that type() gave
  // before stay valid. detached: an instance of the add-on made from that build, drained and closed, beside the one that is
  // known, which must stay closed while this one is used. open: opens its storage now, without its gate. adopt: it takes the place of the known one, which whoever still
  // holds it finds draining. record_schema: the storage schema that the host has on record; an instance that is made with
  // another one than its build has does not open.
  virtual Result<void> use_build(const std::string& plugin_id, const std::string& build) = 0;
  virtual Result<std::shared_ptr<AddonInstance>> detached(const std::string& addon_id, const std::string& type_id,
                                                          const std::string& config_json, std::uint32_t storage_schema,
                                                          const std::string& build) = 0;
  virtual Result<void> open(AddonInstance& instance) = 0;
  virtual void adopt(const std::string& addon_id, std::shared_ptr<AddonInstance> instance) = 0;
  virtual void record_schema(const std::string& addon_id, std::uint32_t storage_schema) = 0;
  // The app that owns an add-on, for the instances that are made from now on.
  virtual void record_owner(const std::string&, const std::string&) {}
  // Storage of a closed instance from one schema to another ("via.migrate/1"); `unsupported` when its build has no such
  // thing. plan_migration changes nothing: {"steps","reversible"}. migrate may be called again after a crash in it.
  virtual Result<std::string> plan_migration(AddonInstance& instance, std::uint32_t from, std::uint32_t to) = 0;
  virtual Result<void> migrate(AddonInstance& instance, std::uint32_t from, std::uint32_t to, const Watch& watch) = 0;
};

}  // namespace via::plugins
