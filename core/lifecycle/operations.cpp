// The journal and the audit record, as every change writes them.
#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {
namespace {

std::string text_of(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Result<std::string> ControlPlane::record_change(std::string_view kind, const std::string& target, const Actor& actor,
                                                const nlohmann::json& details) {
  const std::string id = make_id("op");
  store::Operation operation;
  operation.id = id;
  operation.kind = kind;
  operation.target = target;
  operation.actor = actor.name;
  operation.state = "done";
  operation.created_at = operation.finished_at = now();
  operation.outcome = "ok";
  VIA_TRY(d_.store.journal().add(operation));
  store::AuditEntry entry;
  entry.at = now();
  entry.actor = actor.name;
  entry.action = kind;
  entry.target = target;
  entry.operation = id;
  entry.outcome = "ok";
  entry.details = text_of(details);
  VIA_TRY(d_.store.audit().append(std::move(entry)));
  return id;
}

Result<std::string> ControlPlane::begin_operation(std::string_view kind, const std::string& target,
                                                  const Actor& actor, const nlohmann::json& steps) {
  store::Operation operation;
  operation.id = make_id("op");
  operation.kind = kind;
  operation.target = target;
  operation.actor = actor.name;
  operation.state = "running";
  operation.steps = text_of(steps);
  operation.created_at = now();
  VIA_TRY(d_.store.journal().add(operation));
  return operation.id;
}

Result<void> ControlPlane::end_operation(const std::string& id, std::string_view kind, const std::string& target,
                                         const Actor& actor, std::string_view state, const std::string& outcome,
                                         const nlohmann::json& details, const std::string& result,
                                         const std::string& error) {
  VIA_TRY(d_.store.journal().finish(id, {std::string(state), outcome, result, error}, now()));
  store::AuditEntry entry;
  entry.at = now();
  entry.actor = actor.name;
  entry.action = kind;
  entry.target = target;
  entry.operation = id;
  entry.outcome = state == "done" ? "ok" : std::string(state) + ": " + outcome;
  entry.details = text_of(details);
  return d_.store.audit().append(std::move(entry));
}

}  // namespace via::lifecycle
