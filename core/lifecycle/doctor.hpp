// The host's examination of itself, as far as it is about files: what the state folder holds and how it is protected.
// Names in what it tells are relative to the state folder. Thread: any; blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/plugins/addon_host.hpp"

namespace via::lifecycle {

struct DoctorCheck {
  std::string name;
  bool ok = true;
  std::string detail;
  bool fixable = false;
  bool fixed = false;
  std::string next;  // the next command to run, empty = none
};

nlohmann::json to_json(const DoctorCheck& check);

// What `addon status` says of an add-on with operations that did not end.
std::string degraded_text(const plugins::DegradedAddon& degraded);

// At most three of `names` and how many more there are.
std::string some_of(const std::vector<std::string>& names);

struct StateFiles {
  std::vector<std::filesystem::path> open_folders, open_files;  // that others may read or enter, or that are not ours
  std::vector<std::filesystem::path> leftovers;  // temporary names older than `stale_ms`; whether somebody works on them is not known
  bool complete = true;                          // false: something could not be looked at
};

// Walks the state folder; the operator's config.toml, installed plugins and sockets are left out.
StateFiles look_at_files(const std::filesystem::path& state_dir, std::int64_t now_ms, std::int64_t stale_ms);
// 0700 or 0600 again; false when it is not ours or a link.
bool make_private(const std::filesystem::path& path, bool folder);
std::int64_t modified_ms(const std::filesystem::path& path);  // 0 when it cannot be told

}  // namespace via::lifecycle
