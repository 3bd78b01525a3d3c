#include "core/base/error.hpp"

#include <stdexcept>

#include "core/base/json_text.hpp"

namespace via {
namespace {

constexpr std::string_view kUnknownMessage =
    "The host could not make sure of the change: it may or may not have been made. Look before you ask for it again.";

}  // namespace

const CodeInfo& info(Code code) noexcept {
  static constexpr CodeInfo kTable[] = {
      {"bad_request", 400, 2},
      {"invalid_json", 400, 2},
      {"sql_error", 400, 1},
      {"constraint", 400, 1},
      {"token_missing", 401, 5},
      {"token_malformed", 401, 5},
      {"token_signature", 401, 5},
      {"runtime_identity_expired", 401, 5},
      {"token_audience", 401, 5},
      {"unbound", 403, 5},
      {"instance_unknown", 403, 5},
      {"generation_revoked", 403, 5},
      {"generation_unknown", 403, 5},
      {"scope_denied", 403, 5},
      {"build_token", 403, 5},
      {"session_token", 403, 5},
      {"not_allowed", 403, 5},
      {"not_found", 404, 3},
      {"method_not_allowed", 405, 2},
      {"request_timeout", 408, 6},
      {"conflict", 409, 4},
      {"stale_claims", 409, 4},
      {"refused", 409, 4},
      {"cancelled", 409, 1},
      {"precondition_failed", 412, 4},
      {"body_too_large", 413, 2},
      {"unsupported_media_type", 415, 2},
      {"expectation_failed", 417, 2},
      {"queue_full", 429, 1},
      {"header_too_large", 431, 2},
      {"internal", 500, 1},
      {"unsupported", 501, 1},
      {"draining", 503, 1},
      {"overloaded", 503, 1},
      {"unavailable", 503, 1},
      {"deadline_exceeded", 504, 6},
      {"disk_full", 507, 1},
      {"version_not_supported", 505, 2},
  };
  static_assert(std::size(kTable) == static_cast<std::size_t>(Code::version_not_supported) + 1);
  return kTable[static_cast<std::size_t>(code)];
}

Code code_of(std::string_view wire_name) noexcept {
  for (int i = 0; i <= static_cast<int>(Code::version_not_supported); ++i)
    if (info(static_cast<Code>(i)).name == wire_name) return static_cast<Code>(i);
  return Code::internal;
}

std::string error_body(const Error& error, std::string_view request_id) {
  const bool hidden = error.http_status() == 500;
  std::string out = R"({"error":{"code":)";
  append_json_string(out, error.wire_name());
  out += R"(,"message":)";
  const std::string_view general = error.wire_name() == "outcome_unknown" ? kUnknownMessage : kInternalMessage;
  append_json_string(out, hidden ? general : std::string_view(error.message));
  out += R"(,"request_id":)";
  append_json_string(out, request_id);
  if (!error.details.empty() && !hidden) {
    out += ',';
    out += error.details;
  }
  out += "}}";
  return out;
}

void throw_exception_from_error(const Error& error, const boost::source_location&) {
  throw std::logic_error("a failed Result was used as a value: " + error.message);
}

}  // namespace via
