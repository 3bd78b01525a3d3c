// What lifecycle/ needs to know about plugin files: core/plugins checks them, lifecycle/ keeps the decision as a row
// (store::Pins) and puts it into the audit record.
// Thread: called under the control lock; may block.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"
#include "core/plugins/addon_host.hpp"

namespace via::lifecycle {

class PluginTrust {
 public:
  virtual ~PluginTrust() = default;
  // {file, ok, checks:[{name, ok, detail}], sha256}; `file` is a library, a manifest or a bundle folder.
  virtual Result<nlohmann::json> verify(const std::string& file) = 0;
  // Runs every check and loads the library beside what is loaded; its types are not enabled before AddonHost::use_build().
  // `sha256` is what the library must have, empty = whatever it has: the answer tells. On a failure there is nothing of it.
  virtual Result<plugins::PluginRecord> load(const std::string& folder, const std::string& sha256, const std::string& source) = 0;
  // The pin is gone already (or an explicit "do not load" is stored). A loaded library stays until the next start.
  virtual Result<void> untrust(const std::string& plugin_id) = 0;
  // The plugin was removed: nobody knows it any more. A loaded library stays until the host ends.
  virtual void removed(const std::string& plugin_id) = 0;
};

}  // namespace via::lifecycle
