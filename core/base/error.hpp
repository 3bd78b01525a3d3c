// The one error type of Via and its closed list of codes.
//
// Every expected failure is a Result<T> that carries an Error. Each Code has one wire name, one HTTP status and one
// process exit code (docs/errors.md lists them all). Messages are written for the person who made the request: they
// say what was wrong and what to do, and hold no path, token, secret or descriptor material.
// Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/system/result.hpp>

namespace via {

enum class Code : std::uint8_t {
  bad_request, invalid_json, sql_error, constraint,                                        // 400
  token_missing, token_malformed, token_signature, runtime_identity_expired, token_audience,  // 401
  unbound, instance_unknown, generation_revoked, generation_unknown, scope_denied,         // 403
  build_token, session_token, not_allowed,                                                 // 403
  not_found,                                                                               // 404
  method_not_allowed,                                                                      // 405
  request_timeout,                                                                         // 408
  conflict, stale_claims, refused, cancelled,                                              // 409
  precondition_failed,                                                                     // 412
  body_too_large,                                                                          // 413
  unsupported_media_type,                                                                  // 415
  expectation_failed,                                                                      // 417
  queue_full,                                                                              // 429
  header_too_large,                                                                        // 431
  internal,                                                                                // 500
  unsupported,                                                                             // 501
  draining, overloaded, unavailable,                                                       // 503
  deadline_exceeded,                                                                       // 504
  disk_full,                                                                               // 507
  version_not_supported,                                                                   // 505
};

struct CodeInfo {
  std::string_view name;  // on the wire and in --json output
  int http_status;
  int exit_code;          // 1 failed, 2 usage, 3 not found, 4 conflict, 5 not allowed, 6 timed out
};

const CodeInfo& info(Code code) noexcept;
// The code of a wire name; `internal` for a name this table does not have (a plugin's own).
Code code_of(std::string_view wire_name) noexcept;

struct Error {
  Code code = Code::internal;
  std::string message;
  // Typed details for the error body as the members of a JSON object, without its braces: "\"sqlite_code\":1".
  std::string details;
  // Replaces the code's own name on the wire when a plugin has a more exact one ("quota_exceeded").
  std::string name;
  // Of a 429 or 503: when to try again, in seconds; 0 = soon.
  std::uint32_t retry_after_s = 0;

  std::string_view wire_name() const { return name.empty() ? info(code).name : std::string_view(name); }
  int http_status() const { return info(code).http_status; }
  int exit_code() const { return info(code).exit_code; }
};

template <class T>
using Result = boost::system::result<T, Error>;

inline Error fail(Code code, std::string message) { return Error{code, std::move(message), {}, {}, 0}; }

// The text that every unexpected failure has on the wire. What really happened goes to the log.
inline constexpr std::string_view kInternalMessage = "The host could not finish the request. Its log has the request id.";

// {"error":{"code":"…","message":"…","request_id":"…"}} with the details merged in.
std::string error_body(const Error& error, std::string_view request_id);

// result<T, Error>::value() on a failure is a programming error; this is what it throws.
[[noreturn]] void throw_exception_from_error(const Error& error, const boost::source_location& where);

}  // namespace via
