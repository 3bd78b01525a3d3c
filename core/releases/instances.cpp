#include <array>

#include "core/releases/records.hpp"

namespace via::releases {
namespace {

constexpr std::array<std::string_view, 4> kStates = {"starting", "running", "stopped", "failed"};

InstanceState state_of(std::string_view text) {
  for (std::size_t i = 0; i < kStates.size(); ++i)
    if (kStates[i] == text) return static_cast<InstanceState>(i);
  return InstanceState::failed;
}

// The columns of select(), in its order: from instances i joined with apps p.
Instance instance(const store::Row& r) {
  Instance i;
  i.id = r.text(0);
  i.app_id = r.text(1);
  i.app = r.text(2);
  i.deploy = r.text(3);
  i.release = r.text(4);
  i.driver = r.text(5) == "process" ? Driver::process : Driver::external;
  i.state = state_of(r.text(6));
  i.wanted = r.integer(7) != 0;
  i.pid = static_cast<int>(r.integer(8));
  i.created_at = r.integer(9);
  i.issued_at = r.integer(10);
  i.expires_at = r.integer(11);
  i.material = r.text(12);
  i.reason = r.text(13);
  return i;
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT i.id, i.app_id, p.name, i.deploy_id, i.release_id, i.driver, i.state, i.wanted, i.pid, "
      "i.created_at, i.issued_at, i.expires_at, i.material, i.reason FROM instances i JOIN apps p ON p.id=i.app_id ";
  return sql.append(rest);
}

}  // namespace

std::string_view to_string(Driver driver) noexcept { return driver == Driver::process ? "process" : "external"; }
std::string_view to_string(InstanceState state) noexcept { return kStates[static_cast<std::size_t>(state)]; }

Result<void> Instances::insert(const Instance& i) {
  return db_.run(
      "INSERT INTO instances (id, app_id, deploy_id, release_id, driver, state, wanted, pid, created_at, issued_at, "
      "expires_at, material) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)",
      i.id, i.app_id, i.deploy, i.release, to_string(i.driver), to_string(i.state), i.wanted, i.pid, i.created_at,
      i.issued_at, i.expires_at, i.material);
}

Result<std::optional<Instance>> Instances::find(const std::string& id) {
  return db_.one(instance, select("WHERE i.id=?1"), id);
}

Result<std::vector<Instance>> Instances::list(std::string_view app_id) {
  if (app_id.empty())
    return db_.all(instance, select("ORDER BY i.created_at DESC, i.rowid DESC"));
  return db_.all(instance, select("WHERE i.app_id=?1 ORDER BY i.created_at DESC, i.rowid DESC"), app_id);
}

Result<std::vector<Instance>> Instances::of_deploy(const std::string& deploy_id) {
  return db_.all(instance, select("WHERE i.deploy_id=?1 ORDER BY i.created_at, i.rowid"), deploy_id);
}

Result<std::vector<Instance>> Instances::wanted(std::string_view app_id) {
  if (app_id.empty())
    return db_.all(instance, select("WHERE i.wanted=1 ORDER BY i.created_at, i.rowid"));
  return db_.all(instance, select("WHERE i.wanted=1 AND i.app_id=?1 ORDER BY i.created_at, i.rowid"), app_id);
}

Result<std::vector<Instance>> Instances::using_addon(const std::string& addon_id) {
  return db_.all(instance,
                 select("WHERE i.wanted=1 AND i.release_id IN "
                        "(SELECT release_id FROM release_bindings WHERE addon_id=?1) ORDER BY i.created_at, i.rowid"),
                 addon_id);
}

Result<void> Instances::set_state(const std::string& id, InstanceState state, int pid) {
  return db_.run("UPDATE instances SET state=?2, pid=?3 WHERE id=?1", id, to_string(state), pid);
}

Result<void> Instances::set_reason(const std::string& id, const std::string& reason) {
  return db_.run("UPDATE instances SET reason=?2 WHERE id=?1", id, reason);
}

Result<void> Instances::end(const std::string& id, InstanceState state, std::int64_t now_ms) {
  return db_.run("UPDATE instances SET wanted=0, state=?2, pid=0, ended_at=?3 WHERE id=?1 AND wanted=1", id,
                 to_string(state), now_ms);
}

Result<void> Instances::set_token(const std::string& id, std::int64_t issued_at, std::int64_t expires_at) {
  return db_.run("UPDATE instances SET issued_at=?2, expires_at=?3 WHERE id=?1", id, issued_at, expires_at);
}

Result<std::vector<Instance>> Instances::due(std::int64_t now_ms) {
  return db_.all(instance,
                 select("WHERE i.wanted=1 AND i.expires_at > 0 AND CASE i.driver WHEN 'external' THEN i.expires_at <= ?1 "
                        "ELSE i.issued_at + (i.expires_at - i.issued_at) * 2 / 3 <= ?1 END"),
                 now_ms);
}

Result<std::vector<std::string>> Instances::of_superseded() {
  return db_.all([](const store::Row& r) { return r.text(0); },
                 "SELECT i.id FROM instances i JOIN releases r ON r.id=i.release_id "
                 "WHERE i.wanted=1 AND r.status <> 'current'");
}

Result<void> Instances::reset_processes() {
  return db_.run(
      "UPDATE instances SET state='starting', pid=0 WHERE wanted=1 AND driver='process' AND "
      "(state <> 'starting' OR pid <> 0)");
}

Result<std::int64_t> Instances::count() {
  VIA_TRY_LET(n, db_.one([](const store::Row& r) { return r.integer(0); },
                         "SELECT count(*) FROM instances WHERE wanted=1"));
  return n.value_or(0);
}

}  // namespace via::releases
