#include "core/store/store.hpp"

namespace via::store {
namespace {

Operation operation(const Row& r) {
  return Operation{r.text(0),    r.text(1),    r.text(2), r.text(3), r.text(4),
                   r.text(5), r.integer(6), r.integer(7), r.text(8)};
}

}  // namespace

Result<void> Journal::add(const Operation& o) {
  return db_.run(
      "INSERT INTO operations (id, kind, target, actor, state, steps, created_at, finished_at, outcome) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
      o.id, o.kind, o.target, o.actor, o.state, o.steps, o.created_at, o.finished_at, o.outcome);
}

Result<void> Journal::set_steps(const std::string& id, const std::string& steps) {
  return db_.run("UPDATE operations SET steps=?2 WHERE id=?1", id, steps);
}

Result<void> Journal::finish(const std::string& id, std::string_view state, std::string_view outcome,
                             std::int64_t now_ms) {
  return db_.run("UPDATE operations SET state=?2, outcome=?3, finished_at=?4 WHERE id=?1", id, state, outcome, now_ms);
}

Result<std::optional<Operation>> Journal::find(const std::string& id) {
  return db_.one(operation,
                 "SELECT id, kind, target, actor, state, steps, created_at, finished_at, outcome FROM operations "
                 "WHERE id=?1",
                 id);
}

Result<std::vector<Operation>> Journal::unfinished() {
  return db_.all(operation,
                 "SELECT id, kind, target, actor, state, steps, created_at, finished_at, outcome FROM operations "
                 "WHERE state='running' ORDER BY created_at, id");
}

Result<std::vector<Operation>> Journal::list(int limit) {
  return db_.all(operation,
                 "SELECT id, kind, target, actor, state, steps, created_at, finished_at, outcome FROM operations "
                 "ORDER BY created_at DESC, id DESC LIMIT ?1",
                 limit);
}

}  // namespace via::store
