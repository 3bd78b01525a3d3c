// From bytes to a checked Request. HeaderReader reads the lines; the rules of a whole message are here (RFC 9112): one
// Host, one Content-Length of digits, Transfer-Encoding exactly "chunked", one Authorization, no folded lines, no
// underscore twins, known methods, plain origin-form targets. tests/fixtures/hostile/http_parser.txt has the cases.
//
// The whole request stays in the connection's buffer: a body with a length is a view into it, a chunked one is
// decoded in place. Thread: the connection's I/O thread.
#pragma once

#include <cstddef>

#include "core/base/buffer.hpp"
#include "core/base/error.hpp"
#include "core/net/header_reader.hpp"
#include "core/net/limits.hpp"
#include "core/net/request.hpp"

namespace via::net {

class RequestParser {
 public:
  explicit RequestParser(const Limits& limits);
  ~RequestParser();

  enum class State {
    need_header,  // more bytes wanted, the header is not complete
    need_body,    // the header is complete and request() has it (not the body); more bytes wanted
    ready,        // request() is complete; size() bytes of the buffer belong to it
    bad,          // error() says why; the connection must be closed after the answer
  };
  // Looks at the buffer again after it has grown. Offset 0 must be the start of the request.
  State parse(Buffer& in);
  const Request& request() const noexcept { return request_; }
  const Error& error() const noexcept { return error_; }
  std::size_t size() const noexcept { return size_; }
  // How many body bytes were announced, 0 when unknown.
  std::size_t announced() const noexcept { return length_; }
  void reset();  // before the next request

 private:
  State bad(Code code, const char* message);
  State parse_header(Buffer& in);
  State parse_body(Buffer& in);
  State parse_chunks(Buffer& in);
  bool check_target();
  void rebase(const char* from, const char* to);

  const Limits& limits_;  // of now; what counts for a request is taken at its start
  std::size_t max_header_ = 0, max_fields_ = 0, max_body_ = 0;
  HeaderReader header_;
  Request request_;
  Error error_;
  std::size_t scanned_ = 0;      // header bytes already looked at
  std::size_t header_size_ = 0;  // 0 = the header is not complete
  std::size_t length_ = 0;
  bool chunked_ = false;
  std::size_t chunk_read_ = 0;   // next undecoded byte
  std::size_t body_size_ = 0;    // decoded bytes, at header_size_
  const char* base_ = nullptr;   // where the buffer was when the views were made
  std::size_t size_ = 0;
};

}  // namespace via::net
