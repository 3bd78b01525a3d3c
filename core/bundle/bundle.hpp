// Plugin bundles: a plugin's files in one archive, `<id>-<version>.viaplugin` (docs/formats.md, "Plugin bundle").
//
// The same files make the same bytes: plain ustar, names in order, no times and no owners. What is read comes from
// anybody: there is one header for a name and a size and all of it is compared, names are those of a closed list (and one
// library), each file has a budget of its own, and nothing is written anywhere before all of it was checked. Failures are
// `refused` and say the rule, never a text of the archive. Thread: any; file functions block.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/error.hpp"
#include "core/bundle/signature.hpp"
#include "core/plugins/manifest.hpp"

namespace via::bundle {

inline constexpr std::string_view kExtension = ".viaplugin";
inline constexpr std::string_view kManifest = "manifest.json", kSums = "SHA256SUMS", kSignature = "SIGNATURE";

using Files = std::map<std::string, std::string, std::less<>>;  // name -> bytes

struct Bundle {
  plugins::Manifest manifest;
  Files files;                         // SHA256SUMS and SIGNATURE among them
  std::string library_sha256;          // hexadecimal
  std::string digest;                  // SHA-256 of SHA256SUMS: two bundles with the same one hold the same files
  std::optional<Signature> signature;  // it is right for the key that it names; whether that key is trusted is not asked here

  std::string file_name() const { return manifest.id + "-" + manifest.version + std::string(kExtension); }
};

// The plugin in `folder` (what the build left there), with SHA256SUMS made anew and, with a key, SIGNATURE. Files that
// belong to no bundle stay out. Refused when the library was not built with the manifest beside it.
Result<Bundle> gather(const std::filesystem::path& folder, const SigningKey* key);
// The archive's bytes.
Result<std::string> pack(const Bundle& bundle);

Result<Bundle> read(std::string_view archive);
Result<Bundle> read_archive(const std::filesystem::path& file);
// An unpacked bundle, with SHA256SUMS and perhaps SIGNATURE.
Result<Bundle> read_unpacked(const std::filesystem::path& folder);

}  // namespace via::bundle
