// What one capability URL may do, in the form the request path needs it: found by the hash of the capability, never changed.
//
// Made by lifecycle/ like the grants of instances, and published with them. Thread: any (immutable once published).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/ids.hpp"

namespace via::plugins {
class AddonInstance;
}

namespace via::authorization {

// How often a share is used: so many requests a second, a second's worth of them at once. The generic cell rate algorithm
// (ITU-T I.371): one number tells when the share would be as if unused. Lives through every grant of the share. Thread: any.
class ShareUse {
 public:
  explicit ShareUse(std::uint32_t per_second)
      : step_ns_(1'000'000'000 / static_cast<std::int64_t>(std::max(per_second, 1U))), ahead_ns_(1'000'000'000 - step_ns_) {}

  // Whether one more is allowed now, which takes its place.
  bool admit(std::uint64_t mono_ns, std::int64_t unix_ms) noexcept {
    const auto now = static_cast<std::int64_t>(mono_ns);
    std::int64_t unused_at = unused_at_.load(std::memory_order_relaxed);
    for (;;) {
      if (unused_at - now > ahead_ns_) return false;
      if (unused_at_.compare_exchange_weak(unused_at, std::max(unused_at, now) + step_ns_, std::memory_order_relaxed)) break;
    }
    last_ms_.store(unix_ms, std::memory_order_relaxed);
    return true;
  }
  std::int64_t last_used_at() const noexcept { return last_ms_.load(std::memory_order_relaxed); }  // Unix ms, 0 = never

 private:
  const std::int64_t step_ns_, ahead_ns_;
  std::atomic<std::int64_t> unused_at_{0};
  std::atomic<std::int64_t> last_ms_{0};
};

struct ShareGrant {
  std::string id;  // "share_…"
  Ulid ulid{};
  Digest hash{};
  std::string addon_id, type;
  std::vector<std::string> scopes;
  std::vector<std::pair<std::string, std::string>> limits;  // as via_http_request.limits
  std::int64_t expires_at = 0;                              // Unix ms, 0 = never
  std::shared_ptr<plugins::AddonInstance> instance;         // never null
  std::shared_ptr<ShareUse> use;                            // never null
};

}  // namespace via::authorization
