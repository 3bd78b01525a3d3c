// The admin API: one table of command -> handler, used by the admin socket and by the command line in process.
//
// Arguments and answers are docs/admin-api.md. Every argument is checked here (name, type, unknown ones refused), so
// that lifecycle/ sees only well-formed values; the rules of the world are lifecycle's.
// Thread: any; calls run one at a time under the control plane's lock and may block.
#pragma once

#include <functional>
#include <string>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"
#include "core/lifecycle/actor.hpp"

namespace via::lifecycle {
class ControlPlane;
}
namespace via::plugins {
class AddonInstance;
}

namespace via::api {

using lifecycle::Actor;

class AdminApi {
 public:
  explicit AdminApi(lifecycle::ControlPlane& plane) : plane_(plane) {}

  // `args` is an object (null counts as an empty one). not_found for an unknown command; an internal error carries
  // its reason for the log in `message`, error_body() hides it.
  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& args, const Actor& actor);

  static std::vector<std::string_view> commands();

  // As lifecycle::ControlPlane::reach_addon.
  Result<std::shared_ptr<plugins::AddonInstance>> reach(const std::string& addon, std::string_view method, const Actor& actor);

 private:
  lifecycle::ControlPlane& plane_;
};

}  // namespace via::api
