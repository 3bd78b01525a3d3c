#include "core/bundle/bundle.hpp"

#include <algorithm>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/base/tar.hpp"

namespace via::bundle {
namespace {

constexpr std::size_t kMaxLibrary = 64U << 20, kMaxText = 1U << 20;
constexpr std::string_view kSignedPurpose = "via-plugin-bundle/1\n";

struct Known {
  std::string_view name;
  std::size_t most;
};
// Everything but the library. 1 MiB of manifest is what the host reads of one.
constexpr Known kKnown[] = {{kManifest, kMaxText},     {kSums, 16384},           {kSignature, 1024}, {"README.md", kMaxText},
                            {"README", kMaxText},      {"LICENSE", kMaxText},    {"LICENSE.txt", kMaxText},
                            {"check.json", kMaxText}};
// Of all files of a bundle with their headers.
constexpr std::size_t kMaxArchive = kMaxLibrary + 8 * kMaxText;

Error refused(std::string rule) { return fail(Code::refused, "The bundle is not taken: " + std::move(rule) + "."); }

std::size_t budget(std::string_view name) {
  for (const Known& known : kKnown)
    if (known.name == name) return known.most;
  return 0;
}

// A library's name in a bundle: one word that hides nothing.
bool is_library_name(std::string_view name) {
  return !name.empty() && name.size() <= 100 && name.front() != '.' && name.front() != '-' && budget(name) == 0 &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '+';
         });
}

std::string sums_of(const Files& files) {
  std::string out;
  for (const auto& [name, bytes] : files)
    if (name != kSums && name != kSignature) out += sha256_hex(bytes) + "  " + name + "\n";
  return out;
}

std::string message_of(std::string_view sums) { return std::string(kSignedPurpose).append(sums); }

// Manifest and library of files that are all there.
Result<Bundle> understand(Files files) {
  Bundle out;
  const auto manifest = files.find(kManifest);
  if (manifest == files.end()) return refused("it has no manifest.json");
  auto parsed = plugins::parse_manifest(manifest->second);
  if (!parsed) return fail(Code::refused, parsed.error().message);
  out.manifest = std::move(*parsed);
  if (!is_library_name(out.manifest.library)) return refused("its manifest names the library in a way that no bundle can hold");
  const auto library = files.find(out.manifest.library);
  if (library == files.end()) return refused("it has no library of the name that its manifest says");
  for (const auto& [name, bytes] : files)
    if (name != out.manifest.library && budget(name) == 0) return refused("it has a file that belongs to no bundle");
  // Byte for byte inside of it: a manifest of another build would be refused by the host when it loads the library.
  if (library->second.find(manifest->second) == std::string::npos)
    return refused("its library was not built with its manifest. Build the plugin again");
  out.library_sha256 = sha256_hex(library->second);
  out.files = std::move(files);
  return out;
}

Result<Bundle> check(Files files) {
  auto bundle = understand(std::move(files));
  if (!bundle) return bundle;
  const std::string sums = sums_of(bundle->files);
  const auto said = bundle->files.find(kSums);
  if (said == bundle->files.end()) return refused("it has no SHA256SUMS");
  if (said->second != sums) return refused("its SHA256SUMS are not those of its files");
  bundle->digest = sha256_hex(sums);
  if (const auto text = bundle->files.find(kSignature); text != bundle->files.end()) {
    auto signature = parse_signature(text->second);
    if (!signature) return signature.error();
    if (!verify(*signature, message_of(sums))) return refused("its signature is not right for its files: it was changed after it was signed");
    bundle->signature = std::move(*signature);
  }
  return bundle;
}

// The files of a folder that may be in a bundle.
Result<Files> files_of(const fs::path& folder, bool with_sums) {
  Files out;
  const auto take = [&](std::string_view name, std::size_t most) -> Result<bool> {
    auto bytes = read_file(folder / name, most);
    if (bytes) {
      out.emplace(name, std::move(*bytes));
      return true;
    }
    if (bytes.error().code == Code::not_found) return false;
    if (bytes.error().code == Code::body_too_large) return refused("'" + std::string(name) + "' is larger than a bundle takes");
    return refused("'" + std::string(name) + "' is no regular file that can be read");
  };
  std::error_code ec;
  if (!fs::is_directory(folder, ec)) return fail(Code::not_found, "The folder of the plugin does not exist.");
  for (const Known& known : kKnown) {
    if (!with_sums && (known.name == kSums || known.name == kSignature)) continue;
    if (auto taken = take(known.name, known.most); !taken) return taken.error();
  }
  const auto manifest = out.find(kManifest);
  if (manifest == out.end())
    return fail(Code::not_found, "The folder has no manifest.json. Give the folder that the build left the plugin in.");
  auto parsed = plugins::parse_manifest(manifest->second);
  if (!parsed) return parsed.error();
  if (!is_library_name(parsed->library)) return refused("the manifest names the library in a way that no bundle can hold");
  auto taken = take(parsed->library, kMaxLibrary);
  if (!taken) return taken.error();
  if (!*taken) return fail(Code::not_found, "The folder has a manifest, but not the library '" + parsed->library + "' that it names. Build the plugin first.");
  return out;
}

}  // namespace

Result<Bundle> gather(const fs::path& folder, const SigningKey* key) {
  auto files = files_of(folder, false);
  if (!files) return files.error();
  auto bundle = understand(std::move(*files));
  if (!bundle) return bundle;
  const std::string sums = sums_of(bundle->files);
  bundle->digest = sha256_hex(sums);
  bundle->files.emplace(kSums, sums);
  if (key != nullptr) {
    auto signature = key->sign(message_of(sums));
    if (!signature) return signature.error();
    bundle->files.emplace(kSignature, to_text(*signature));
    bundle->signature = std::move(*signature);
  }
  return bundle;
}

Result<std::string> pack(const Bundle& bundle) {
  std::string out;
  for (const auto& [name, bytes] : bundle.files) {
    const auto header = tar_header(name, bytes.size());
    if (!header) return fail(Code::internal, "a file of the bundle has no header");
    out.append(header->data(), header->size()).append(bytes).append(tar_padding(bytes.size()), '\0');
  }
  return out.append(2 * kTarBlock, '\0');
}

Result<Bundle> read(std::string_view archive) {
  if (archive.size() > kMaxArchive) return refused("it is larger than 72 MiB");
  Files files;
  std::string_view rest = archive, last;
  for (;;) {
    if (rest.size() < kTarBlock) return refused("it is cut off");
    TarBlock header;
    std::copy_n(rest.begin(), kTarBlock, header.begin());
    if (std::all_of(header.begin(), header.end(), [](char c) { return c == '\0'; })) break;
    rest.remove_prefix(kTarBlock);
    const std::string where = "file " + std::to_string(files.size() + 1) + " ";
    // The name up to its first zero byte: whatever else the header says is compared as a whole.
    const std::string_view field = archive.substr(archive.size() - rest.size() - kTarBlock, 100);
    const std::string_view name = field.substr(0, field.find('\0'));
    const auto size = tar_size(header);
    if (!size || tar_header(name, *size) != header) return refused(where + "is not a plain file of the one form that bundles have");
    const std::size_t most = is_library_name(name) ? kMaxLibrary : budget(name);
    if (most == 0) return refused(where + "has a name that no file of a bundle has");
    if (name <= last) return refused(where + "stands twice or out of order");
    if (*size > most) return refused(where + "is larger than a bundle takes");
    if (*size + tar_padding(*size) > rest.size()) return refused("it is cut off");
    const std::string_view padding = rest.substr(static_cast<std::size_t>(*size), tar_padding(*size));
    if (padding.find_first_not_of('\0') != std::string_view::npos) return refused(where + "is followed by something");
    files.emplace(name, rest.substr(0, static_cast<std::size_t>(*size)));
    last = name;
    rest.remove_prefix(static_cast<std::size_t>(*size) + padding.size());
  }
  if (rest.size() < 2 * kTarBlock) return refused("it is cut off");
  if (rest.size() > 2 * kTarBlock || rest.find_first_not_of('\0') != std::string_view::npos) return refused("something follows its end");
  return check(std::move(files));
}

Result<Bundle> read_archive(const fs::path& file) {
  auto bytes = read_file(file, kMaxArchive);
  if (!bytes) {
    if (bytes.error().code == Code::not_found) return fail(Code::not_found, "The bundle does not exist, or the host may not see it.");
    if (bytes.error().code == Code::body_too_large) return refused("it is larger than 72 MiB");
    return refused("it is no regular file that can be read");
  }
  return read(*bytes);
}

Result<Bundle> read_unpacked(const fs::path& folder) {
  auto files = files_of(folder, true);
  if (!files) return files.error();
  return check(std::move(*files));
}

}  // namespace via::bundle
