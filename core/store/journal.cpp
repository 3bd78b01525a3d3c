#include "core/store/store.hpp"

namespace via::store {
namespace {

// The columns of select(), in its order.
Operation operation(const Row& r) {
  Operation o;
  o.id = r.text(0);
  o.kind = r.text(1);
  o.target = r.text(2);
  o.actor = r.text(3);
  o.state = r.text(4);
  o.steps = r.text(5);
  o.created_at = r.integer(6);
  o.finished_at = r.integer(7);
  o.outcome = r.text(8);
  o.log = r.text(9);
  o.result = r.text(10);
  o.error = r.text(11);
  o.idempotency_key = r.text(12);
  return o;
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT id, kind, target, actor, state, steps, created_at, finished_at, outcome, log, result, error, "
      "idempotency_key FROM operations ";
  return sql.append(rest);
}

}  // namespace

Result<void> Journal::add(const Operation& o) {
  return db_.run(
      "INSERT INTO operations (id, kind, target, actor, state, steps, created_at, finished_at, outcome, log, result, "
      "error, idempotency_key) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)",
      o.id, o.kind, o.target, o.actor, o.state, o.steps, o.created_at, o.finished_at, o.outcome, o.log, o.result,
      o.error, o.idempotency_key);
}

Result<void> Journal::set_steps(const std::string& id, const std::string& steps) {
  return db_.run("UPDATE operations SET steps=?2 WHERE id=?1", id, steps);
}

Result<void> Journal::add_step(const std::string& id, std::string_view name, std::int64_t now_ms) {
  return db_.run("UPDATE operations SET log=json_insert(log, '$[#]', json_object('name', ?2, 'at', ?3)) WHERE id=?1",
                 id, name, now_ms);
}

Result<void> Journal::finish(const std::string& id, const OperationEnd& end, std::int64_t now_ms) {
  return db_.run("UPDATE operations SET state=?2, outcome=?3, result=?4, error=?5, finished_at=?6 WHERE id=?1", id,
                 end.state, end.outcome, end.result, end.error, now_ms);
}

Result<std::optional<Operation>> Journal::find(const std::string& id) {
  return db_.one(operation, select("WHERE id=?1"), id);
}

Result<std::optional<Operation>> Journal::find_by_key(std::string_view kind, std::string_view idempotency_key) {
  return db_.one(operation,
                 select("WHERE kind=?1 AND idempotency_key=?2 AND idempotency_key<>''"), kind, idempotency_key);
}

Result<std::optional<Operation>> Journal::last(std::string_view kind, const std::string& target) {
  return db_.one(operation,
                 select("WHERE target=?2 AND kind=?1 AND state='done' ORDER BY created_at DESC, id DESC LIMIT 1"), kind, target);
}

Result<bool> Journal::mentions(const std::string& target, const std::string& id) {
  VIA_TRY_LET(found, db_.one([](const Row& r) { return r.integer(0); },
                             "SELECT 1 FROM operations WHERE (target=?1 OR kind IN ('plugin.upgrade','plugin.rollback','plugin.trust')) "
                             "AND instr(steps, ?2) > 0 LIMIT 1",
                             target, id));
  return found.has_value();
}

Result<std::vector<Operation>> Journal::unfinished() {
  return db_.all(operation, select("WHERE state='running' ORDER BY created_at, id"));
}

Result<std::vector<Operation>> Journal::list(int limit, std::string_view state, std::string_view target) {
  return db_.all(operation,
                 select("WHERE (?2='' OR state=?2) AND (?3='' OR target=?3) ORDER BY created_at DESC, id DESC LIMIT "
                        "?1"), limit, state, target);
}

}  // namespace via::store
