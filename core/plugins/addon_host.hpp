// The add-on types that are enabled and the add-on instances that exist: what lifecycle/ and the request path see of
// plugins. Everything below it (libraries, host services, calls across the ABI) stays in this folder.
//
// Thread: AddonHost any; functions marked "blocks" are for workers only.
#pragma once

#include <cstdint>
#include <filesystem>
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
  std::string source;   // "bundled" or "pinned"
  bool trusted = false;
  bool loaded = false;
  std::string problem;  // why it is not loaded, empty when it is
};

class AddonHost {
 public:
  virtual ~AddonHost() = default;

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
};

}  // namespace via::plugins
