// Statuses and error bodies of the data API.
#include "plugins/sqlite/api/answer.hpp"

#include "plugins/sqlite/render.hpp"

namespace via::sqlite::api {
namespace {

via_status status_of(int http) {
  switch (http) {
    case 403: return VIA_E_DENIED;
    case 404: return VIA_E_NOT_FOUND;
    case 409: return VIA_E_CONFLICT;
    case 412: return VIA_E_PRECONDITION;
    case 429: return VIA_E_EXHAUSTED;
    case 501: return VIA_E_UNSUPPORTED;
    case 503: return VIA_E_UNAVAILABLE;
    case 504: return VIA_E_DEADLINE;
    case 507: return VIA_E_EXHAUSTED;
    default: return http < 500 ? VIA_E_INVALID : VIA_E_INTERNAL;
  }
}

int http_of(const Failure& failure) {
  if (failure.http_status != 0) return failure.http_status;
  if (std::string_view(failure.code) == "body_too_large") return 413;
  if (std::string_view(failure.code) == "disk_full") return 507;
  switch (failure.status) {
    case VIA_E_INVALID: return 400;
    case VIA_E_DENIED: return 403;
    case VIA_E_NOT_FOUND: return 404;
    case VIA_E_CONFLICT:
    case VIA_E_PRECONDITION: return 409;
    case VIA_E_EXHAUSTED: return 429;
    case VIA_E_UNSUPPORTED: return 501;
    case VIA_E_UNAVAILABLE:
    case VIA_E_CANCELLED: return 503;
    case VIA_E_DEADLINE: return 504;
    default: return 500;
  }
}

}  // namespace

Failure error(int http_status, std::string text) {
  Failure f{status_of(http_status), "", std::move(text)};
  f.http_status = http_status;
  return f;
}

Failure wrong_cursor() { return error(400, "cursor must be the next_cursor of an answer"); }

std::string paging(const std::string& cursor) {
  return cursor.empty() ? R"(,"has_more":false,"next_cursor":null)" : R"(,"has_more":true,"next_cursor":")" + cursor + '"';
}

Answer answer_of(const Failure& failure) {
  Answer a;
  a.status = http_of(failure);
  if (a.status < 300) {
    a.body = failure.message;
    return a;
  }
  std::string_view text = failure.message;
  if (std::string_view(failure.code) == "outcome_unknown") text = "the outcome is unknown: the write may have happened or not";
  else if (a.status >= 500 && failure.status >= VIA_E_CORRUPT) text = "internal error";
  StringOutput out;
  out.append("{\"error\":");
  render_text(out, text);
  out.put('}');
  a.body = out.take();
  if (failure.retry_after_ms >= 0)
    a.headers.emplace_back("Retry-After", std::to_string((failure.retry_after_ms + 999) / 1000));
  return a;
}

void send_head(via_call* call, const Answer& answer) {
  std::vector<via_pair> pairs;
  pairs.reserve(answer.headers.size());
  for (const auto& [name, value] : answer.headers) pairs.push_back({view(name), view(value)});
  via_head head{};
  head.struct_size = sizeof head;
  head.http_status = static_cast<uint16_t>(answer.status);
  head.content_type = view(answer.content_type);
  head.headers = pairs.data();
  head.headers_len = pairs.size();
  call->head(call, &head);
}

void respond(via_call* call, const Answer& answer) {
  send_head(call, answer);
  if (!answer.body.empty()) {
    const via_bytes bytes{reinterpret_cast<const uint8_t*>(answer.body.data()), answer.body.size()};
    if (const via_status st = call->write(call, bytes, VIA_WAIT); st != VIA_OK)
      return fail_call(call, {st, "", "the response could not be written"});
  }
  finish_call(call);
}

}  // namespace via::sqlite::api
