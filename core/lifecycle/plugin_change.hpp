// What a change of a plugin's build needs to know, found out before anything is touched. Thread: any (values).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/bundle/bundle.hpp"
#include "core/catalog/addon.hpp"
#include "core/catalog/snapshot.hpp"
#include "core/store/plugins.hpp"

namespace via::lifecycle {

// A plugin that an operator brings: an archive, or a folder that stays where it is.
struct IncomingPlugin {
  plugins::Manifest manifest;
  store::PluginVersion version;  // as it would be recorded
  std::string signer;            // fingerprint of the key of its signature, trusted or not; empty = not signed
  std::optional<bundle::Files> files;  // of an archive: to be written into the state folder
};

// One add-on on its way to another build.
struct PluginMove {
  catalog::Addon addon;
  std::uint32_t to_schema = 0;
  std::string safety;  // id of the snapshot that is taken on the way; empty = its type has none and needs none
  std::optional<catalog::Snapshot> back;  // of a way back: what is put in place
  bool changes() const { return addon.storage_schema != to_schema; }
};

struct PluginChange {
  std::string kind;            // "plugin.upgrade", "plugin.rollback" or "plugin.trust"
  std::string id;
  store::PluginVersion from, to;
  std::optional<bundle::Files> files;
  std::string previous;        // what the pin names as the version before, afterwards
  bool unpin = false;          // back to the build that came with the program
  std::vector<PluginMove> moves;
  std::int64_t drain_timeout_seconds = 30;
};

}  // namespace via::lifecycle
