// Writing JSON text by hand where a tree would cost too much: strings with the escapes RFC 8259 asks for.
// Thread: any (pure).
#pragma once

#include <string>
#include <string_view>

namespace via {

// Appends `text` quoted and escaped. Bytes that are not UTF-8 are replaced by U+FFFD, so that the result is always
// valid JSON.
void append_json_string(std::string& out, std::string_view text);

// JSON as parsers take it that know finite doubles only: a number beyond them (9e999, which is how infinity is written here) becomes a
// string of its digits.
std::string parseable_json(std::string_view json);

// True when `text` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text) noexcept;

}  // namespace via
