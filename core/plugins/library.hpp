// One plugin library: found, checked and loaded, in that order, deny by default.
//
// inspect() reads and checks without running anything: owner and mode of the folder and its files, the manifest, the
// SHA-256 of the library. load() copies the library's bytes into a sealed memory file while hashing them, compares
// with the pin, and loads that memory file (Boost.DLL): what was hashed is what is loaded, whatever happens to the
// path meanwhile. A Library is loaded in this process, or stands for one in a process of its own (core/isolation/).
// Thread: control; blocks.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
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

// The bytes of a library that was trusted, in a sealed memory file, and the manifest that was beside it.
struct Image {
  Manifest manifest;
  FileHandle memory;
};

class Library {
 public:
  // Reads and checks everything that can be checked without running the library. `pin` is the SHA-256 that was trusted.
  // Refusals name the rule that was broken.
  static Result<Image> read(const std::filesystem::path& folder, const std::string& pin);
  // Loads it into this process and compares what it says of itself with its manifest.
  static Result<std::shared_ptr<Library>> load(Image image);
  static Result<std::shared_ptr<Library>> load(const std::filesystem::path& folder, const std::string& pin);

  virtual ~Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const Manifest& manifest() const { return manifest_; }
  virtual bool isolated() const { return false; }  // it is not in this process
  // As in via_plugin_entry.
  virtual via_status init(const via_host* host, const via_sink* message) = 0;
  virtual void deinit() = 0;
  virtual via_status create(const via_host* host, const via_instance_spec& spec, via_instance** out,
                            const via_sink* message) = 0;

 protected:
  explicit Library(Manifest manifest) : manifest_(std::move(manifest)) {}

 private:
  const Manifest manifest_;
};

}  // namespace via::plugins
