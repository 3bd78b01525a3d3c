// The credentials that a plugin says it has where the data lies: what `health` of a type with "credentials": "plugin-applied"
// lists as [{"binding":"<26 characters>","generation":1}]. Compared with the control plane's, it shows what somebody took away
// behind the plugin's back, or what came back when a server was put back to an older state.
// Thread: any (values).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/ids.hpp"

namespace via::plugins {

struct AppliedCredential {
  Ulid binding{};
  std::uint32_t generation = 0;
  bool operator==(const AppliedCredential&) const = default;
};

// Nothing when the answer does not say: the plugin keeps none, or could not ask.
std::optional<std::vector<AppliedCredential>> applied_credentials(std::string_view health_json);

}  // namespace via::plugins
