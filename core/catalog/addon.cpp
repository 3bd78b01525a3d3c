#include "core/catalog/addon.hpp"

#include <array>

namespace via::catalog {
namespace {

constexpr std::array<std::string_view, 5> kStates = {"provisioning", "active", "failed", "destroying", "destroyed"};

// The columns of select(), in its order: from addons a joined with apps p.
Addon addon(const store::Row& r) {
  return Addon{r.text(0), r.text(1), r.text(2), r.text(3), r.text(4), addon_state(r.text(5)), r.integer(6),
               r.integer(7), r.text(8), r.text(9), r.integer(10) != 0, r.integer(11), r.text(12),
               static_cast<std::uint32_t>(r.integer(13))};
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT a.id, a.name, a.app_id, p.name, a.type, a.state, a.created_at, a.updated_at, a.config, "
      "a.problem, a.drained, a.destroyed_at, a.final_snapshot, a.storage_schema FROM addons a JOIN apps p ON p.id = a.app_id ";
  return sql.append(rest);
}

}  // namespace

std::string_view to_string(AddonState state) noexcept { return kStates[static_cast<std::size_t>(state)]; }

AddonState addon_state(std::string_view text) noexcept {
  for (std::size_t i = 0; i < kStates.size(); ++i)
    if (kStates[i] == text) return static_cast<AddonState>(i);
  return AddonState::failed;
}

std::string tombstone(std::string_view name, AddonState state, std::string_view id) {
  std::string out(name);
  out += '#';
  out += to_string(state);
  out += '#';
  out += id;
  return out;
}

Result<void> Addons::insert(const Addon& a) {
  return db_.run(
      "INSERT INTO addons (id, name, app_id, type, state, config, problem, created_at, updated_at, storage_schema) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
      a.id, a.name, a.app_id, a.type, to_string(a.state), a.config, a.problem, a.created_at, a.updated_at, a.storage_schema);
}

Result<std::optional<Addon>> Addons::find_by_id(const std::string& id) {
  return db_.one(addon, select("WHERE a.id=?1"), id);
}

Result<std::optional<Addon>> Addons::find_by_name(const std::string& name) {
  return db_.one(addon, select("WHERE a.name=?1"), name);
}

Result<std::vector<Addon>> Addons::list(std::string_view app_id) {
  if (app_id.empty())
    return db_.all(addon, select("WHERE a.state <> 'destroyed' ORDER BY a.name"));
  return db_.all(addon, select("WHERE a.app_id=?1 AND a.state <> 'destroyed' ORDER BY a.name"), app_id);
}

Result<std::vector<Addon>> Addons::in_state(AddonState state) {
  return db_.all(addon, select("WHERE a.state=?1 ORDER BY a.id"), to_string(state));
}

Result<void> Addons::set_state(const std::string& id, AddonState state, std::string_view problem,
                               std::int64_t now_ms) {
  return db_.run("UPDATE addons SET state=?2, problem=?3, updated_at=?4 WHERE id=?1", id, to_string(state), problem,
                 now_ms);
}

Result<void> Addons::rename(const std::string& id, const std::string& name, std::int64_t now_ms) {
  return db_.run("UPDATE addons SET name=?2, updated_at=?3 WHERE id=?1", id, name, now_ms);
}

Result<void> Addons::set_drained(const std::string& id, bool drained, std::int64_t now_ms) {
  return db_.run("UPDATE addons SET drained=?2, updated_at=?3 WHERE id=?1", id, drained, now_ms);
}

Result<void> Addons::set_destroyed(const std::string& id, std::int64_t at_ms, const std::string& final_snapshot) {
  return db_.run("UPDATE addons SET destroyed_at=?2, final_snapshot=?3, drained=0 WHERE id=?1", id, at_ms,
                 final_snapshot);
}

Result<void> Addons::set_schema(const std::string& id, std::uint32_t storage_schema, std::int64_t now_ms) {
  return db_.run("UPDATE addons SET storage_schema=?2, updated_at=?3 WHERE id=?1", id, storage_schema, now_ms);
}

Result<std::vector<Addon>> Addons::of_type(const std::string& type) {
  return db_.all(addon, select("WHERE a.type=?1 ORDER BY a.name"), type);
}

Result<std::int64_t> Addons::count() {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); },
                         "SELECT count(*) FROM addons WHERE state <> 'destroyed'"));
  return n.value_or(0);
}

Result<std::int64_t> Addons::count_of(const std::string& app_id) {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); },
                         "SELECT count(*) FROM addons WHERE app_id=?1 AND state <> 'destroyed'", app_id));
  return n.value_or(0);
}

}  // namespace via::catalog
