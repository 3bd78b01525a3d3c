// Base64url without padding (RFC 4648, section 5), strict: one text for one sequence of bytes.
// Thread: any (pure).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace via {

std::string base64url_encode(std::span<const std::uint8_t> bytes);
std::string base64url_encode(std::string_view bytes);
// Refuses padding, '+', '/', white space, impossible lengths and non-zero unused bits.
std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace via
