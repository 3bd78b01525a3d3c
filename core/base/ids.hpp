// Ids: a prefix that says what the thing is and a ULID (https://github.com/ulid/spec) in Crockford base 32, lower
// case: "rel_01jd5…". They sort by time of creation and are never used again. Names are what people choose.
// Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"

namespace via {

using Ulid = std::array<std::uint8_t, 16>;

Ulid new_ulid(const Clock& clock, Entropy& entropy);
std::string to_text(const Ulid& id);                       // 26 characters
bool parse_ulid(std::string_view text, Ulid& out) noexcept;  // exactly 26 of the alphabet

// "rel" -> "rel_01jd5…". Prefixes in use: app, addon, bind, dep, rel, ins, op, key, snap, req.
std::string new_id(std::string_view prefix, const Clock& clock, Entropy& entropy);
// The ULID behind "<prefix>_"; all zero when `id` has another form.
Ulid ulid_of(std::string_view id) noexcept;

// Names of apps and add-ons: ^[a-z][a-z0-9-]{0,62}$ without a trailing '-'. `what` names it in the message.
Result<void> check_name(std::string_view what, std::string_view name);
// Binding names and configuration keys: ^[A-Z_][A-Z0-9_]{0,126}$.
Result<void> check_key(std::string_view what, std::string_view key);

}  // namespace via
