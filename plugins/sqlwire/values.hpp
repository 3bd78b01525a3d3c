// Values of a result as JSON, written by hand into an Output. Always valid UTF-8 and valid JSON, whatever a column holds.
// Thread: one at a time per Output.
#pragma once

#include "plugins/sqlwire/output.hpp"

#include <cstdint>
#include <string_view>

namespace via::sqlwire {

// Text in quotes. Bytes that are not UTF-8 become U+FFFD, one for each maximal broken piece.
bool is_utf8(std::string_view s);
bool render_text(Output& out, std::string_view text);
bool render_integer(Output& out, int64_t n, bool as_text_beyond_2_53);
// Shortest digits that read back as the same double, always with a point or an exponent; infinity is 9e999, what is no number null.
bool render_real(Output& out, double d);
// Whether a number of JSON is one of the two that render_real writes for infinity. Other digits that no double holds are a mistake.
bool reads_as_infinity(std::string_view number, double& out);
bool render_base64(Output& out, const void* data, size_t size);  // in quotes
bool render_blob(Output& out, const void* data, size_t size);    // {"base64":"…"}

}  // namespace via::sqlwire
