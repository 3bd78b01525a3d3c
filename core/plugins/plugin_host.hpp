// The AddonHost of a real host: libraries on disk, pinned and loaded, and the instances made from them.
//
// A plugin may be loaded in several builds. New instances are made from the one in use; detached() makes one from another
// build, which takes the place of the add-on's own when it is adopted.
//
// Thread: load() and the destructor on the control thread; the rest as AddonHost says. A mutex guards the two tables
// (types, instances); nothing on the request path takes it, because grants hold their instance.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/plugins/addon_host.hpp"
#include "core/plugins/host_services.hpp"
#include "core/plugins/instance.hpp"
#include "core/plugins/library.hpp"

namespace via::plugins {

class PluginHost final : public AddonHost {
 public:
  // How a library that was checked is made to work: in this process, or in one of its own (core/isolation/).
  using Loader = std::function<Result<std::shared_ptr<Library>>(Image)>;
  // `addons` is <state-dir>/addons.
  PluginHost(const Services& services, std::filesystem::path addons, Loader loader = {});
  ~PluginHost() override;  // closes every instance, then unloads

  // Loads the bundle in `folder` if its library has this SHA-256 and enables its types. A refusal is recorded, so that
  // plugins() shows it, and returned.
  Result<PluginRecord> load(const std::filesystem::path& folder, const std::string& pin, const std::string& source);
  // Loads it beside the builds that are loaded already; none of its types is enabled before use_build(). A refusal is only
  // returned.
  Result<PluginRecord> prepare(const std::filesystem::path& folder, const std::string& pin, const std::string& source);
  // Records a plugin that is there and not to be loaded.
  void note(PluginRecord record);
  // Its types take no new instances. The library stays until the host ends.
  void disable(const std::string& plugin_id);
  // The same, and plugins() shows it no more.
  void drop(const std::string& plugin_id);

  std::vector<PluginRecord> plugins() const override;
  Result<const AddonType*> type(std::string_view type_id) const override;
  Result<std::shared_ptr<AddonInstance>> instance(const std::string& addon_id, const std::string& type_id,
                                                  const std::string& config_json) override;
  void forget(const std::string& addon_id) override;
  Result<void> check_config(const AddonType& type, const std::string& config_json) const override;
  Result<void> provision(AddonInstance& instance) override;
  Result<void> deprovision(AddonInstance& instance) override;
  Result<void> bind(AddonInstance& instance, const BindingSpec& spec) override;
  Result<void> revoke(AddonInstance& instance, const BindingSpec& spec) override;
  Result<Description> describe(AddonInstance& instance, const BindingSpec& spec) override;
  Result<std::string> health(AddonInstance& instance) override;
  Result<void> rotate(AddonInstance& instance, const BindingSpec& spec) override;
  Result<SnapshotFacts> take_snapshot(AddonInstance& instance, const std::string& snapshot_id,
                                      const std::filesystem::path& folder, const Watch& watch) override;
  Result<void> verify_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                               const std::filesystem::path& folder, const Watch& watch) override;
  Result<void> restore_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                                const std::filesystem::path& folder, const Watch& watch) override;
  bool can_snapshot(AddonInstance& instance) override;
  bool exchanges_on_restore(AddonInstance& instance) override;
  // An instance of its own over this folder, which is no add-on of a host (`via kit`). The configuration is the caller's and
  // is not held against the manifest. The caller closes it.
  Result<std::shared_ptr<AddonInstance>> standalone(const std::string& type_id, const std::string& config_json,
                                                    const std::filesystem::path& folder);
  Result<std::uint64_t> bytes_used(AddonInstance& instance) override;
  Result<bool> drain(AddonInstance& instance, int limit_ms, const Watch& watch) override;
  Result<void> cancel_running(AddonInstance& instance) override;
  std::vector<DegradedAddon> degraded() const override;
  void record_owner(const std::string& addon_id, const std::string& app) override;
  Result<void> suspend(AddonInstance& instance) override;
  Result<void> resume(AddonInstance& instance) override;
  std::int64_t in_flight(AddonInstance& instance) const override;
  Result<void> use_build(const std::string& plugin_id, const std::string& build) override;
  Result<std::shared_ptr<AddonInstance>> detached(const std::string& addon_id, const std::string& type_id, const std::string& config_json,
                                                  std::uint32_t storage_schema, const std::string& build) override;
  void adopt(const std::string& addon_id, std::shared_ptr<AddonInstance> instance) override;
  Result<void> open(AddonInstance& instance) override;
  void record_schema(const std::string& addon_id, std::uint32_t storage_schema) override;
  Result<std::string> plan_migration(AddonInstance& instance, std::uint32_t from, std::uint32_t to) override;
  Result<void> migrate(AddonInstance& instance, std::uint32_t from, std::uint32_t to, const Watch& watch) override;

  // Closes every open instance (shutdown).
  void close_all();

 private:
  struct Enabled {
    std::shared_ptr<Library> library;
    const AddonType* type;  // in library->manifest()
    bool disabled = false;
  };
  // A library that is loaded. All of them stay until the host ends: type() hands out pointers into their manifests.
  struct Build {
    std::shared_ptr<Library> library;
    std::unique_ptr<HostContext> context;
    PluginRecord record;
  };
  const Build* find_build(const std::string& plugin_id, const std::string& build) const;  // mutex_ held
  const Services& services_;
  const std::filesystem::path addons_;
  const Loader loader_;
  mutable std::mutex mutex_;
  std::map<std::string, PluginRecord> records_;                                 // by plugin id
  std::map<std::string, Enabled, std::less<>> types_;                           // by type id: of the build in use
  std::vector<Build> builds_;                                                   // in the order they were loaded
  std::unordered_map<std::string, std::shared_ptr<AddonInstance>> instances_;   // by add-on id
  std::unordered_map<std::string, std::uint32_t> schemas_;                      // by add-on id; none = that of the type
  std::map<std::string, std::string> owners_;  // by add-on; guarded by mutex_
};

}  // namespace via::plugins
