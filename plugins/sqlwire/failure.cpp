// The details of a failure are written by hand: numbers and codes that are known to need no escaping.
#include "plugins/sqlwire/failure.hpp"

namespace via::sqlwire {

Failure bad_request(std::string message) { return {VIA_E_INVALID, "bad_request", std::move(message)}; }
Failure denied_by_policy(std::string_view why) {
  return {VIA_E_INVALID, "sql_denied", why.empty() ? "the statement uses something that the SQL policy of this binding does not allow" : std::string(why)};
}
std::string control_denied(std::string_view word) {
  return std::string(word) + " is not allowed: each request is one transaction already; send what belongs together as one batch or one setup";
}
Failure writes_in_query() {
  return {VIA_E_INVALID, "sql_denied",
          "query takes one statement that only reads; use execute for one that writes and setup for the schema"};
}

void fail_call(via_call* call, const Failure& failure) {
  std::string details = "{";
  const auto member = [&](const char* name, std::string_view value) {
    details += details.size() > 1 ? ",\"" : "\"";
    details += name;
    details += "\":";
    details += value;
  };
  if (*failure.code) member("code", '"' + std::string(failure.code) + '"');
  if (failure.sqlite_code != 0) member("sqlite_code", std::to_string(failure.sqlite_code));
  if (!failure.sqlstate.empty()) member("sqlstate", '"' + failure.sqlstate + '"');
  if (failure.statement_index >= 0) member("statement_index", std::to_string(failure.statement_index));
  if (failure.retry_after_ms >= 0) member("retry_after_ms", std::to_string(failure.retry_after_ms));
  details += '}';
  call->complete(call, failure.status, view(failure.message), view(details));
}

void finish_call(via_call* call, std::string_view details) {
  call->complete(call, VIA_OK, view(""), view(details));
}

}  // namespace via::sqlwire
