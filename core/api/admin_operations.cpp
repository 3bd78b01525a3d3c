// Operations and the audit record.
#include "core/api/admin_commands.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/try.hpp"

namespace via::api {
namespace {

using lifecycle::list_json;

Result<int> limit_of(Arguments& a, std::string_view command, std::int64_t standard) {
  const auto limit = a.optional_integer("limit").value_or(standard);
  if (limit < 1 || limit > 10'000)
    return fail(Code::bad_request, "Argument 'limit' of " + std::string(command) + " must be from 1 to 10000.");
  return static_cast<int>(limit);
}

Answer op_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto limit = limit_of(a, "op.list", 50);
  const auto state = a.optional_text("state").value_or("");
  const auto target = a.optional_text("target").value_or("");
  VIA_TRY(a.done());
  if (!limit) return limit.error();
  VIA_TRY_LET(operations, plane.list_operations(*limit, state, target));
  return answer({{"items", list_json(operations)}});
}

Answer op_show(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto id = a.text("operation");
  VIA_TRY(a.done());
  return plane.show_operation(id);
}

Answer op_wait(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto id = a.text("operation");
  const auto timeout = a.optional_integer("timeout_seconds").value_or(30);
  VIA_TRY(a.done());
  if (timeout < 0 || timeout > 60)
    return fail(Code::bad_request, "Argument 'timeout_seconds' of op.wait must be from 0 to 60.");
  return plane.wait_operation(id, timeout);
}

Answer op_cancel(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto id = a.text("operation");
  VIA_TRY(a.done());
  return plane.cancel_operation(id);
}

Answer audit_list(ControlPlane& plane, Arguments& a, const Actor&) {
  const lifecycle::Since since = a.since("since");
  const auto limit = limit_of(a, "audit.list", 100);
  const auto target = a.optional_text("target").value_or("");
  VIA_TRY(a.done());
  if (!limit) return limit.error();
  VIA_TRY_LET(entries, plane.list_audit(since, *limit, target));
  return answer({{"items", list_json(entries)}});
}

Answer audit_verify(ControlPlane& plane, Arguments& a, const Actor&) {
  VIA_TRY(a.done());
  return plane.verify_audit();
}

constexpr Command kCommands[] = {
    {"op.list", op_list},       {"op.show", op_show},           {"op.wait", op_wait},
    {"op.cancel", op_cancel},   {"audit.list", audit_list},     {"audit.verify", audit_verify},
};

}  // namespace

std::span<const Command> operation_commands() { return kCommands; }

}  // namespace via::api
