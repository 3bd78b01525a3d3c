// The start line and the fields of one request, read strictly (RFC 9112, sections 2 to 5, without any of the leniencies
// it allows): single spaces, tokens where tokens belong, no control characters, no white space before the colon.
//
// It stands where Beast's parser stood: that one looks at each byte of a 700-byte token by itself and was two fifths of
// the instructions of a point query (bench/README.md), and still had to be checked after. Beast keeps the lists of
// methods and field names. Thread: the connection's I/O thread; one object serves every request of a connection.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/base/error.hpp"
#include "core/net/request.hpp"

namespace via::net {

class HeaderReader {
 public:
  // `header` ends with the empty line; every line in it ends in CR LF and none is folded. Fills the request but for its
  // path, query and body. False: code() and why() say what was refused.
  bool read(std::string_view header, std::size_t max_fields, Request& request);

  Code code() const noexcept { return code_; }
  const char* why() const noexcept { return why_; }

  // What the framing and the host check need to know.
  int hosts = 0, lengths = 0, encodings = 0, authorizations = 0;
  std::string_view host, length, encoding;

 private:
  bool read_start_line(std::string_view line, Request& request);
  void take(std::string_view name, std::string_view value, Request& request);
  // The first refusal counts, except that malformed bytes found later outrank it.
  void refuse(Code code, const char* why) {
    if (why_ == nullptr) {
      code_ = code;
      why_ = why;
    }
  }
  bool malformed() {
    code_ = Code::bad_request;
    why_ = "The request is not well-formed HTTP.";
    return false;
  }
  Code code_ = Code::bad_request;
  const char* why_ = nullptr;
};

// ASCII without regard to case.
bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;

}  // namespace via::net
