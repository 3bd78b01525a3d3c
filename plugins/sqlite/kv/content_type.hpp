// The content type of a stored value: what its sender said of it, as far as the bytes bear that out.
// Thread: values; any.
#pragma once

#include "plugins/sqlite/kv/entry.hpp"

namespace via::sqlite::kv {

// application/json, text/json and what ends in +json, with or without parameters.
bool says_json(std::string_view content_type);

// What a value is stored under. Nothing, a type that says nothing, or one of JSON for what is none: told from the bytes.
std::string type_for(std::string_view sent, std::string_view value);

// What a value is told to be. Rows of before, and those that SQL wrote, may hold a type that is not true.
std::string_view shown_type(const Entry& entry);

}  // namespace via::sqlite::kv
