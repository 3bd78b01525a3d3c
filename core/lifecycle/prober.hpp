// How lifecycle/ calls the config server the way an app does, so that a smoke test goes over real HTTP and unit tests go
// over nothing. The server has one (net::HttpProbe behind it); a command in process has none.
// Thread: any; blocks for at most `timeout_ms`.
#pragma once

#include <string>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::lifecycle {

struct ProbeReply {
  int status = 0;
  std::string body;
};

class Prober {
 public:
  virtual ~Prober() = default;
  // POST with this bearer token and a JSON body to `path` of the config server. An error when no answer came; its
  // message holds no token.
  virtual Result<ProbeReply> post(const std::string& path, const Secret& token, const std::string& body,
                                  int timeout_ms) = 0;
};

}  // namespace via::lifecycle
