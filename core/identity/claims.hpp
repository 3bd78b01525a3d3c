// Who a token says its bearer is. The wire form is docs/formats.md, "Tokens" (JWT, RFC 7519; ES256, RFC 7518).
// Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace via::identity {

enum class Kind { runtime, build, session };

std::string_view to_string(Kind kind) noexcept;
std::string_view audience_of(Kind kind) noexcept;  // "via-config", "via-build", "via-session"

struct Claims {
  Kind kind = Kind::runtime;
  std::string subject;  // the app, or the operator of a session token
  std::string app, deploy, release, instance, env;
  std::string id;               // jti
  std::int64_t issued_at = 0;   // Unix seconds; not_before is the same
  std::int64_t expires_at = 0;  // Unix seconds; the token is refused from this second on
};

inline constexpr std::int64_t kMaximumLifeSeconds = 24 * 60 * 60;

}  // namespace via::identity
