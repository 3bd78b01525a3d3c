#include "core/net/response.hpp"

#include <charconv>
#include <cstring>

namespace via::net {
namespace {
constexpr std::string_view kChunked = "Transfer-Encoding: chunked\r\n";
constexpr std::string_view kUntilClose = "Connection: close         \r\n";
static_assert(kChunked.size() == kFramingSize && kUntilClose.size() == kFramingSize);
constexpr std::size_t kDigitsEnd = 26;  // the last digit is just before CR LF
}  // namespace

std::string_view reason(int status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 507: return "Insufficient Storage";
    default: return "Status";
  }
}

std::size_t append_head(Buffer& out, const HeadOptions& options) {
  if (options.status == 200) {
    out.append("HTTP/1.1 200 OK\r\nContent-Type: ");
  } else {
    char number[4] = {};
    std::to_chars(number, number + 3, options.status);
    out.append("HTTP/1.1 ");
    out.append({number, 3});
    out.append(' ');
    out.append(reason(options.status));
    out.append("\r\nContent-Type: ");
  }
  out.append(options.content_type);
  out.append("\r\nVia-Request-Id: ");
  out.append(options.request_id);
  out.append("\r\n");
  if (options.close) out.append("Connection: close\r\n");
  out.append(options.more);
  return append_framing(out);
}

std::size_t append_framing(Buffer& out) {
  const std::size_t framing = out.size();
  char* room = out.reserve(kFramingSize + 2);
  std::memcpy(room, "Content-Length:          0\r\n\r\n", kFramingSize + 2);
  out.commit(kFramingSize + 2);
  return framing;
}

void set_length(Buffer& out, std::size_t framing, std::size_t length) noexcept {
  char* digit = out.data() + framing + kDigitsEnd;
  do {
    *--digit = static_cast<char>('0' + length % 10);
    length /= 10;
  } while (length != 0);
}

void set_streaming(char* framing, bool chunked) noexcept {
  std::memcpy(framing, (chunked ? kChunked : kUntilClose).data(), kFramingSize);
}

void append_response(Buffer& out, const HeadOptions& options, std::string_view body, bool head_only) {
  const std::size_t framing = append_head(out, options);
  set_length(out, framing, body.size());
  if (!head_only) out.append(body);
}

}  // namespace via::net
