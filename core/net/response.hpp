// Response heads, written by hand into the connection's output buffer.
//
// A head is laid down before its body and its length is filled in afterwards: "Content-Length:" with the number
// right-aligned in spaces (optional white space, RFC 9112 section 5), which a result that turns out to be a stream replaces
// by "Transfer-Encoding: chunked", of the same size. So a body is written once, in place.
// Thread: whoever owns the response at the moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/base/buffer.hpp"

namespace via::net {

std::string_view reason(int status) noexcept;

struct HeadOptions {
  int status = 200;
  std::string_view content_type = "application/json";
  std::string_view request_id;
  bool close = false;          // adds Connection: close
  std::string_view more = {};  // further header lines, each with CR LF
};

// The room for the length alone, at the end of a head that is written otherwise; its offset.
std::size_t append_framing(Buffer& out);
// Appends a head with room for the length; the offset of that room.
std::size_t append_head(Buffer& out, const HeadOptions& options);
inline constexpr std::size_t kFramingSize = 28;  // "Content-Length: ##########\r\n"
void set_length(Buffer& out, std::size_t framing, std::size_t length) noexcept;
// `chunked` or, for HTTP/1.0, a body that ends with the connection.
void set_streaming(char* framing, bool chunked) noexcept;

// A whole small response.
void append_response(Buffer& out, const HeadOptions& options, std::string_view body, bool head_only = false);

}  // namespace via::net
