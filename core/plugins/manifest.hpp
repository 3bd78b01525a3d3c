// The manifest of a plugin: what it is and offers, read and checked before its library is touched.
// The format is plugin-api/schema/manifest.schema.json. Thread: any (values).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"

namespace via::plugins {

struct Operation {
  std::string name;
  std::vector<std::string> scopes;  // a caller needs all of them
};

// HTTP requests that a type answers itself ("via.http/1").
struct HttpRoutes {
  std::string prefix;               // "/api/v1/sqlite": everything at and below it; empty = none
  std::vector<std::string> scopes;  // a caller needs all of them; finer rules are the plugin's
};

struct AddonType {
  std::string id;
  std::string title;
  std::uint32_t storage_schema = 1;
  std::string credentials;                   // "host" or "plugin-applied"
  std::vector<std::string> scopes;
  std::vector<std::string> read_write_scopes, read_only_scopes;
  std::vector<Operation> ops;
  HttpRoutes http;
  std::vector<std::string> derived;          // suffixes of derived keys: "_URL"
  std::string config_schema;                 // JSON Schema (the subset of docs/formats.md), empty = {}
  std::uint32_t parallel_ops = 16;
  std::string plugin_id;

  const std::vector<std::string>& scopes_for(bool read_only) const {
    return read_only ? read_only_scopes : read_write_scopes;
  }
};

struct Manifest {
  std::string id, version, title;
  std::uint16_t abi_major = 0, abi_minor = 0;
  std::string library;  // file name beside the manifest
  std::vector<AddonType> types;
  std::string text;     // byte for byte as read: the library carries the same
};

// Both become names of folders: an id begins with a letter, a version with a digit, and neither has a slash.
bool is_plugin_id(std::string_view id) noexcept;
bool is_plugin_version(std::string_view version) noexcept;
// Less than, equal to or greater than 0, as https://semver.org orders versions (any number of dotted parts).
int compare_versions(std::string_view a, std::string_view b) noexcept;

// bad_request with the member that is wrong.
Result<Manifest> parse_manifest(std::string text);

}  // namespace via::plugins
