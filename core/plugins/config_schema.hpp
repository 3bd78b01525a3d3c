// Checks an add-on's configuration against its type's schema: the part of JSON Schema (2020-12) that manifests may
// use — type, properties, required, additionalProperties, minimum, maximum, enum. Thread: any (pure).
#pragma once

#include <string>

#include "core/base/error.hpp"

namespace via::plugins {

// bad_request that names the member and what it must be.
Result<void> check_against_schema(const std::string& schema_json, const std::string& config_json);

}  // namespace via::plugins
