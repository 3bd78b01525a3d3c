// What an endpoint of the data API answers, and its errors: {"error":"text"} with a status of their own. The texts are
// part of the interface (docs/data-api.md): third-party clients compare them.
// Thread: values; any.
#pragma once

#include "plugins/sqlite/errors.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace via::sqlite::api {

struct Answer {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  // more response fields
};

// A refusal with exactly this HTTP status and text.
Failure error(int http_status, std::string text);

Failure wrong_cursor();  // 400

// The end of a list's answer: ,"has_more":…,"next_cursor":… without the last brace. `cursor`: where the next page begins, as text
// that `cursor` takes; empty: this was the last.
std::string paging(const std::string& cursor);

// Not here and now: see context.hpp.
inline Failure would_block() { return {VIA_E_WOULD_BLOCK, "", ""}; }

// How a failure leaves the data API: its own status or that of its via_status; below 500 its message, else "internal
// error" (the message goes to the log).
Answer answer_of(const Failure& failure);

// Status and fields, before the first byte of the body.
void send_head(via_call* call, const Answer& answer);
// Ends the call with the answer; waits for a slow reader. A HEAD request gets the head alone; the host sees to that.
void respond(via_call* call, const Answer& answer);

}  // namespace via::sqlite::api
