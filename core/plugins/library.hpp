// One plugin library: found, checked and loaded, in that order, deny by default.
//
// inspect() reads and checks without running anything: owner and mode of the folder and its files, the manifest, the
// SHA-256 of the library. load() copies the library's bytes into a sealed memory file while hashing them, compares
// with the pin, and loads that memory file (Boost.DLL): what was hashed is what is loaded, whatever happens to the
// path meanwhile. Thread: control; blocks.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/plugins/manifest.hpp"
#include "via/plugin.h"

namespace via::plugins {

struct Check {
  std::string name;  // "folder", "manifest", "library", "pin", "abi", …
  bool ok = false;
  std::string detail;
};

struct Inspection {
  Manifest manifest;
  std::string sha256;  // of the library, lower-case hex
  std::vector<Check> checks;
  bool ok() const {
    for (const Check& c : checks)
      if (!c.ok) return false;
    return !checks.empty();
  }
  std::string problem() const {  // the first failed check
    for (const Check& c : checks)
      if (!c.ok) return c.detail;
    return {};
  }
};

inline constexpr std::size_t kMaximumLibraryBytes = 64U << 20;

// `path` is a bundle folder, its manifest.json or its library.
Inspection inspect(const std::filesystem::path& path);

class Library {
 public:
  // `pin` is the SHA-256 that was trusted. Refusals name the rule that was broken.
  static Result<std::shared_ptr<Library>> load(const std::filesystem::path& folder, const std::string& pin);
  ~Library();
  const Manifest& manifest() const;
  const via_plugin_entry& entry() const;

  Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::plugins
