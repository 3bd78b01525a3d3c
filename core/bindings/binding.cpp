#include "core/bindings/binding.hpp"

#include <unordered_map>

#include <nlohmann/json.hpp>

namespace via::bindings {
namespace {

// The columns of select(), in its order: from bindings b joined with apps p and addons a.
Binding binding(const store::Row& r) {
  Binding b;
  b.id = r.text(0);
  b.app_id = r.text(1);
  b.app = r.text(2);
  b.addon_id = r.text(3);
  b.addon = r.text(4);
  b.type = r.text(5);
  b.name = r.text(6);
  b.read_only = r.integer(7) != 0;
  b.created_at = r.integer(8);
  b.removed_at = r.integer(9);
  return b;
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT b.id, b.app_id, p.name, b.addon_id, a.name, a.type, b.name, b.read_only, b.created_at, "
      "b.removed_at FROM bindings b JOIN apps p ON p.id=b.app_id JOIN addons a ON a.id=b.addon_id ";
  return sql.append(rest);
}

Generation generation(const store::Row& r) {
  return Generation{static_cast<std::uint32_t>(r.integer(0)), r.text(1) == "live", r.integer(2)};
}

}  // namespace

Result<void> Bindings::insert(const Binding& b, std::string_view descriptor, std::string_view derived) {
  VIA_TRY(db_.run(
      "INSERT INTO bindings (id, app_id, addon_id, name, read_only, created_at) VALUES (?1,?2,?3,?4,?5,?6)", b.id,
      b.app_id, b.addon_id, b.name, b.read_only, b.created_at));
  return add_generation(b.id, 1, descriptor, derived, b.created_at);
}

Result<void> Bindings::add_generation(const std::string& binding_id, std::uint32_t number, std::string_view descriptor,
                                      std::string_view derived, std::int64_t now_ms) {
  return db_.run(
      "INSERT INTO generations (binding_id, generation, status, descriptor, derived, created_at) "
      "VALUES (?1,?2,'live',?3,?4,?5)",
      binding_id, number, descriptor, derived, now_ms);
}

Result<void> Bindings::describe_generation(const std::string& binding_id, std::uint32_t number, std::string_view descriptor,
                                           std::string_view derived) {
  return db_.run("UPDATE generations SET descriptor=?3, derived=?4 WHERE binding_id=?1 AND generation=?2", binding_id, number,
                 descriptor, derived);
}

Result<void> Bindings::revoke_generation(const std::string& binding_id, std::uint32_t number, std::int64_t now_ms) {
  return db_.run(
      "UPDATE generations SET status='revoked', revoked_at=?3 WHERE binding_id=?1 AND generation=?2 AND status='live'",
      binding_id, number, now_ms);
}

Result<void> Bindings::remove(const std::string& binding_id, std::int64_t now_ms) {
  return db_.run("UPDATE bindings SET removed_at=?2 WHERE id=?1 AND removed_at=0", binding_id, now_ms);
}

Result<void> Bindings::revoke_all_of_addon(const std::string& addon_id, std::int64_t now_ms) {
  VIA_TRY(db_.run("UPDATE bindings SET removed_at=?2 WHERE addon_id=?1 AND removed_at=0", addon_id, now_ms));
  return db_.run(
      "UPDATE generations SET status='revoked', revoked_at=?2 WHERE status='live' AND binding_id IN "
      "(SELECT id FROM bindings WHERE addon_id=?1)",
      addon_id, now_ms);
}

Result<std::vector<Binding>> Bindings::with_generations(std::vector<Binding> found) {
  for (auto& b : found) {
    VIA_TRY_LET(generations, db_.all(generation,
                                     "SELECT generation, status, created_at FROM generations WHERE binding_id=?1 "
                                     "ORDER BY generation",
                                     b.id));
    b.generations = std::move(generations);
  }
  return found;
}

Result<std::optional<Binding>> Bindings::find(const std::string& id) {
  VIA_TRY_LET(rows, db_.all(binding, select("WHERE b.id=?1"), id));
  VIA_TRY_LET(full, with_generations(std::move(rows)));
  if (full.empty()) return std::optional<Binding>();
  return std::optional<Binding>(std::move(full.front()));
}

Result<std::vector<Binding>> Bindings::of_app(const std::string& app_id) {
  VIA_TRY_LET(rows, db_.all(binding, select("WHERE b.app_id=?1 AND b.removed_at=0 ORDER BY b.name"), app_id));
  return with_generations(std::move(rows));
}

Result<std::vector<Binding>> Bindings::of_addon(const std::string& addon_id) {
  VIA_TRY_LET(rows, db_.all(binding,
                            select("WHERE b.addon_id=?1 AND b.removed_at=0 ORDER BY p.name, b.name"), addon_id));
  return with_generations(std::move(rows));
}

Result<std::vector<Binding>> Bindings::all_of_addon(const std::string& addon_id) {
  VIA_TRY_LET(rows, db_.all(binding, select("WHERE b.addon_id=?1 ORDER BY p.name, b.name"), addon_id));
  return with_generations(std::move(rows));
}

Result<std::optional<Binding>> Bindings::find_living(const std::string& app_id, const std::string& name) {
  VIA_TRY_LET(id, db_.one([](const store::Row& r) { return r.text(0); },
                          "SELECT id FROM bindings WHERE app_id=?1 AND name=?2 AND removed_at=0", app_id, name));
  if (!id) return std::optional<Binding>();
  return find(*id);
}

Result<void> Bindings::revive(const std::string& binding_id) {
  return db_.run("UPDATE bindings SET removed_at=0 WHERE id=?1", binding_id);
}

Result<std::vector<TakenName>> Bindings::taken_names(const std::string& app_id) {
  std::vector<TakenName> out;
  auto rows = db_.query(
      "SELECT b.name, g.derived FROM bindings b JOIN generations g ON g.binding_id=b.id "
      "WHERE b.app_id=?1 AND b.removed_at=0 AND g.generation = "
      "(SELECT max(generation) FROM generations WHERE binding_id=b.id) ORDER BY b.name",
      app_id);
  while (rows.next()) {
    const std::string name = rows.row().text(0);
    out.push_back({name, name});
    const auto derived = nlohmann::json::parse(rows.row().text(1), nullptr, false);
    if (!derived.is_object()) continue;
    for (const auto& item : derived.items()) out.push_back({name + item.key(), name});
  }
  VIA_TRY(rows.end());
  return out;
}

Result<std::int64_t> Bindings::count() {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); },
                         "SELECT count(*) FROM bindings WHERE removed_at=0"));
  return n.value_or(0);
}

}  // namespace via::bindings
