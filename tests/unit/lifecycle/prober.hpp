// The config server as app.smoke sees it, made up. Thread: the test's own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/lifecycle/prober.hpp"

namespace via::test {

class FakeProber final : public lifecycle::Prober {
 public:
  struct Call {
    std::string path, token, body;
  };
  std::vector<Call> calls;
  int status = 200;
  nlohmann::json resolve = {{"app", "api"},
                            {"release", "rel_x"},
                            {"deploy", "dep_x"},
                            {"profile_version", 1},
                            {"values", {{{"key", "A"}, {"value", "CANARY-value"}}}},
                            {"descriptors", {{{"binding", "DATABASE"}, {"generation", 1}}}}};
  nlohmann::json refresh = {{"keys", {{{"key", "DATABASE"}, {"status", "unchanged"}}}}};
  int operation_status = 200;

  Result<lifecycle::ProbeReply> post(const std::string& path, const Secret& token, const std::string& body,
                                     int) override {
    calls.push_back({path, std::string(token.reveal()), body});
    if (status != 200) return lifecycle::ProbeReply{status, R"({"error":{"code":"instance_unknown"}})"};
    if (path.ends_with("/resolve")) return lifecycle::ProbeReply{200, resolve.dump()};
    if (path.ends_with("/refresh")) return lifecycle::ProbeReply{200, refresh.dump()};
    return lifecycle::ProbeReply{operation_status, "{}"};
  }
};

}  // namespace via::test
