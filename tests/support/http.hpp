// A raw HTTP client: any bytes out, one parsed response at a time in. Blocking, every wait with a limit.
// It shares no code with core/net, so that both would have to be wrong in the same way. Thread: one at a
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"

namespace via::test {

struct Response {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string head;  // as received
  std::string body;
  bool cut = false;  // the connection ended inside of the response

  std::string header(std::string_view name) const;  // empty when absent
  int count(std::string_view name) const;
  nlohmann::json json() const;  // discarded value when it is none
  std::string code() const;     // of the error envelope, empty when it is none
  bool closes() const;
};

class Http {
 public:
  // Connects to 127.0.0.1.
  explicit Http(std::uint16_t port);
  // Connects to a Unix socket.
  explicit Http(const std::string& unix_socket);
  bool connected() const { return static_cast<bool>(fd_); }

  bool send(std::string_view bytes);  // false once the other side has gone
  void end_of_request();              // half close
  void reset();                       // RST
  void close() { fd_.reset(); }
  int fd() const { return fd_.get(); }

  // The next response; nothing when the connection ended before one began or nothing came for `wait_ms`.
  std::optional<Response> read(int wait_ms = 30'000, bool head_request = false);
  // Everything until the end of the stream; `closed` tells whether the end came within `wait_ms`.
  std::string read_to_end(int wait_ms, bool& closed);
  // True when the other side closes within `wait_ms` and sends nothing more.
  bool ends(int wait_ms = 30'000);

  // One request and its response. A status of 0: no response.
  Response call(std::string_view method, std::string_view target, std::string_view body = {},
                const std::vector<std::pair<std::string, std::string>>& headers = {});

  static std::string format(std::string_view method, std::string_view target, std::string_view body,
                            const std::vector<std::pair<std::string, std::string>>& headers);

 private:
  bool fill(std::uint64_t until_ms);  // more bytes; false at the end or when the time is over
  FileHandle fd_;
  std::string in_;
  bool ended_ = false;
};

std::uint64_t now_ms();  // monotonic

}  // namespace via::test
