// What resolve and refresh share: what a key names for a caller, and how a value or descriptor is written.
// Thread: any (pure). Private to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/config/resolve.hpp"

namespace via::config {

inline constexpr std::size_t kMaximumKeys = 10'000;
inline constexpr std::size_t kMaximumKeyBytes = 1024;

struct Named {
  const authorization::BindingGrant* binding = nullptr;  // a binding, or what `derived` is derived from
  const std::string* derived = nullptr;                  // the template
  const Value* value = nullptr;
  explicit operator bool() const { return binding != nullptr || value != nullptr; }
};

Named look_up(const Caller& caller, std::string_view key);
// The newest generation that is live, 0 when all were revoked.
std::uint32_t newest_live(const authorization::BindingGrant& binding);
bool is_lost(const Caller& caller, const authorization::BindingGrant& binding);
Error lost_credential(const authorization::BindingGrant& binding);
// "${endpoint}" and "${secret}" filled in, for the newest live generation; unavailable when the secret cannot be made or is lost.
Result<Secret> fill_template(const Caller& caller, const authorization::BindingGrant& binding, std::string_view text);
// {"binding",…}
void append_descriptor(std::string& out, const authorization::BindingGrant& binding, std::uint32_t generation);
// The JSON object of a request, or invalid_json / bad_request. An empty body is an empty object.
Result<nlohmann::json> parse_body(std::string_view body);
// unavailable when it cannot be opened.
Result<Secret> open_secret(const Caller& caller, const Value& value);
std::int64_t profile_version(const Caller& caller);

}  // namespace via::config
