// Failures of SQL add-on types and how they leave a plugin: a status of the ABI, a code of the wire and a text that is safe
// to show. Every operation ends either in a result or in exactly one Failure.
// Thread: values; any.
#pragma once

#include <via/plugin.h>

#include <string>
#include <string_view>

namespace via::sqlwire {

struct Failure {
  via_status status = VIA_OK;
  const char* code = "";  // literal; [a-z_]
  std::string message;    // reaches the client below 500, so never a path; above it only the log
  int sqlite_code = 0;
  int statement_index = -1;
  int retry_after_ms = -1;
  int http_status = 0;    // of SQLite's data API, where it is not that of `status`; 200: undone, but `message` is the body
  std::string sqlstate = {};  // of PostgreSQL: five of A-Z 0-9

  explicit operator bool() const { return status != VIA_OK; }
};

inline via_str view(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view text(via_str s) { return s.ptr ? std::string_view(s.ptr, s.len) : std::string_view(); }

Failure bad_request(std::string message);
// Something that the policy of a binding forbids in a statement: `why` names its kind and says what to do instead; never more
// than the statement's author knows.
Failure denied_by_policy(std::string_view why = {});
// BEGIN, COMMIT and their kin where a request is one transaction already.
std::string control_denied(std::string_view word);
Failure writes_in_query();

// Ends the call with the failure and its typed details. The call is gone afterwards.
void fail_call(via_call* call, const Failure& failure);
void finish_call(via_call* call, std::string_view details = {});

}  // namespace via::sqlwire
