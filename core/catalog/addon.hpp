// Add-on records: one row for each add-on that exists or existed, whatever its type.
//
// Names are unique among living add-ons of the whole host, so that a command needs only the name. A destroyed add-on
// keeps its row under NAME#destroyed#ID and gives the name back; a failed one without data does so as NAME#failed#ID
// at the next create. '#' is in no name that check_name() admits.
// Thread: the control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::catalog {

enum class AddonState { provisioning, active, failed, destroying, destroyed };
std::string_view to_string(AddonState state) noexcept;
AddonState addon_state(std::string_view text) noexcept;  // unknown text = failed

struct Addon {
  std::string id, name, app_id, app, type;
  AddonState state = AddonState::provisioning;
  std::int64_t created_at = 0, updated_at = 0;
  std::string config = "{}";
  std::string problem;  // why it failed, for the operator; no paths
  bool drained = false;  // by an operator: stays so over restarts until resumed
  std::int64_t destroyed_at = 0;
  std::string final_snapshot;  // of a destroyed one: "snap_…", empty = none was kept
  std::uint32_t storage_schema = 0;  // of what it has on disk; 0 = not known
};

std::string tombstone(std::string_view name, AddonState state, std::string_view id);

class Addons {
 public:
  explicit Addons(store::Database& db) : db_(db) {}
  Result<void> insert(const Addon& addon);
  Result<std::optional<Addon>> find_by_id(const std::string& id);
  Result<std::optional<Addon>> find_by_name(const std::string& name);
  Result<std::vector<Addon>> list(std::string_view app_id = {});  // without destroyed ones
  Result<void> set_state(const std::string& id, AddonState state, std::string_view problem, std::int64_t now_ms);
  Result<void> rename(const std::string& id, const std::string& name, std::int64_t now_ms);
  Result<void> set_drained(const std::string& id, bool drained, std::int64_t now_ms);
  // at_ms 0 = it lives again.
  Result<void> set_destroyed(const std::string& id, std::int64_t at_ms, const std::string& final_snapshot);
  Result<void> set_schema(const std::string& id, std::uint32_t storage_schema, std::int64_t now_ms);
  // Those of a type, destroyed ones as well.
  Result<std::vector<Addon>> of_type(const std::string& type);
  Result<std::vector<Addon>> in_state(AddonState state);
  Result<std::int64_t> count();  // without destroyed ones
  Result<std::int64_t> count_of(const std::string& app_id);

 private:
  store::Database& db_;
};

}  // namespace via::catalog
