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
  // Runs every check but the pin and answers what would be trusted, with its SHA-256. Loads it when that is possible
  // without a restart. The caller stores the pin first-hand: on a failure here there is none.
  virtual Result<plugins::PluginRecord> trust(const std::string& file) = 0;
  // The pin is gone already (or an explicit "do not load" is stored). A loaded library stays until the next start.
  virtual Result<void> untrust(const std::string& plugin_id) = 0;
};

}  // namespace via::lifecycle
