// One request to an HTTP server, as a client: what a smoke test of the config server and the data commands are made of.
// It trusts what it is told to trust and nothing else: a server's certificate must name the host and lead to `ca_file` (or to
// the system's own authorities), and no redirect is followed. Thread: any (a value); send() and post() block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::net {

struct ProbeRequest {
  std::string method = "POST";  // GET, HEAD, PUT, POST, DELETE
  std::string target;           // below the URL, percent-encoded
  std::string content_type = "application/json";
  std::string body;
};

struct ProbeAnswer {
  int status = 0;
  std::string body;
  std::string content_type;
};

class HttpProbe {
 public:
  // "http://127.0.0.1:8181", "https://via.example:8443/below"; bad_request for anything else.
  static Result<HttpProbe> to(const std::string& url, const std::string& ca_file);
  // A server on a Unix socket; `prefix` comes before every target.
  static HttpProbe over(std::string socket, std::string prefix);
  // unavailable when nobody answers, deadline_exceeded when not in time, body_too_large past the limit (16 MiB), not_allowed when the
  // certificate is not good. `token` empty = no Authorization field.
  // The `max_answer` bytes are of the body.
  Result<ProbeAnswer> send(const ProbeRequest& request, const Secret& token, int timeout_ms,
                           std::uint64_t max_answer = 16U << 20) const;
  Result<ProbeAnswer> post(const std::string& path, const Secret& token, std::string_view body, int timeout_ms) const;

 private:
  bool tls_ = false;
  std::string host_, port_, prefix_, ca_file_, socket_;
};

}  // namespace via::net
