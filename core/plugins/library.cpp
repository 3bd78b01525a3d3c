#include "core/plugins/library.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <span>
#include <cerrno>
#include <cstring>

#include <boost/dll/shared_library.hpp>
#include <openssl/evp.h>

#include "core/base/files.hpp"

namespace via::plugins {
namespace {

// Root or this user may own what is loaded; nobody else may write it.
Result<void> check_rights(const struct stat& st, std::string_view what) {
  if (st.st_uid != 0 && st.st_uid != ::geteuid())
    return fail(Code::not_allowed, std::string(what) + " belongs to neither root nor the user of this host");
  if ((st.st_mode & 022) != 0) return fail(Code::not_allowed, std::string(what) + " can be written by other users");
  return {};
}

Result<FileHandle> open_checked(const fs::path& path, std::string_view what) {
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    if (errno == ELOOP) return fail(Code::not_allowed, std::string(what) + " is a symbolic link");
    return fail(Code::not_found, std::string(what) + " cannot be opened: " + std::strerror(errno));
  }
  struct stat st {};
  if (::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return fail(Code::not_allowed, std::string(what) + " is not a regular file");
  if (static_cast<std::uint64_t>(st.st_size) > kMaximumLibraryBytes)
    return fail(Code::not_allowed, std::string(what) + " is larger than 64 MiB");
  if (auto rights = check_rights(st, what); !rights) return rights.error();
  return file;
}

std::string hex(std::span<const unsigned char> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const unsigned char b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

// Hashes all of `from`, writing the same bytes to `to` unless that is negative.
Result<std::string> hash(int from, int to) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1)
    return fail(Code::internal, "SHA-256 is not available");
  std::array<char, 65536> buffer{};
  std::size_t total = 0;
  for (;;) {
    const ssize_t n = ::read(from, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read the library", errno);
    if (n == 0) break;
    total += static_cast<std::size_t>(n);
    if (total > kMaximumLibraryBytes) return fail(Code::not_allowed, "the library is larger than 64 MiB");
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(n));
    for (ssize_t done = 0; to >= 0 && done < n;) {
      const ssize_t w = ::write(to, buffer.data() + done, static_cast<std::size_t>(n - done));
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) return system_error("copy the library", errno);
      done += w;
    }
  }
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(context.get(), digest.data(), nullptr);
  return hex(digest);
}

Result<Manifest> read_manifest(const fs::path& folder) {
  auto file = open_checked(folder / "manifest.json", "the manifest");
  if (!file) return file.error();
  auto text = read_file(folder / "manifest.json", 1U << 20);
  if (!text) return fail(Code::bad_request, "the manifest cannot be read");
  return parse_manifest(std::move(*text));
}

Result<void> check_folder(const fs::path& folder) {
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0) return fail(Code::not_found, "the plugin's folder does not exist");
  if (!S_ISDIR(st.st_mode)) return fail(Code::not_allowed, "the plugin's folder is not a folder");
  return check_rights(st, "the plugin's folder");
}

Result<void> check_abi(std::uint16_t major, std::uint16_t minor) {
  if (major != VIA_ABI_MAJOR)
    return fail(Code::bad_request, "the plugin is built for ABI " + std::to_string(major) + "." +
                                       std::to_string(minor) + ", this host speaks " + std::to_string(VIA_ABI_MAJOR) +
                                       "." + std::to_string(VIA_ABI_MINOR));
  return {};
}

}  // namespace

Inspection inspect(const std::filesystem::path& given) {
  Inspection out;
  std::error_code ec;
  fs::path folder = fs::is_directory(given, ec) ? given : given.parent_path();
  if (folder.empty()) folder = ".";
  folder = fs::absolute(folder, ec).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  const auto add = [&](std::string name, const Result<void>& result, std::string good) {
    out.checks.push_back({std::move(name), result.has_value(), result ? std::move(good) : result.error().message});
    return result.has_value();
  };
  if (!add("folder", check_folder(folder), "owner and mode are right")) return out;
  auto manifest = read_manifest(folder);
  if (!add("manifest", manifest ? Result<void>() : Result<void>(manifest.error()), "well-formed")) return out;
  out.manifest = std::move(*manifest);
  add("abi", check_abi(out.manifest.abi_major, out.manifest.abi_minor),
      "ABI " + std::to_string(out.manifest.abi_major) + "." + std::to_string(out.manifest.abi_minor));
  auto file = open_checked(folder / out.manifest.library, "the library");
  if (!add("library", file ? Result<void>() : Result<void>(file.error()), "owner, mode and size are right")) return out;
  auto digest = hash(file->get(), -1);
  if (add("sha256", digest ? Result<void>() : Result<void>(digest.error()), digest ? *digest : ""))
    out.sha256 = *digest;
  return out;
}

namespace {

class Loaded final : public Library {
 public:
  Loaded(Manifest manifest, boost::dll::shared_library library, const via_plugin_entry& entry)
      : Library(std::move(manifest)), library_(std::move(library)), entry_(entry) {}
  via_status init(const via_host* host, const via_sink* message) override { return entry_.init(host, message); }
  void deinit() override { entry_.deinit(); }
  via_status create(const via_host* host, const via_instance_spec& spec, via_instance** out,
                    const via_sink* message) override {
    return entry_.create(host, &spec, out, message);
  }

 private:
  const boost::dll::shared_library library_;
  const via_plugin_entry& entry_;
};

}  // namespace

Result<Image> Library::read(const fs::path& folder, const std::string& pin) {
  if (auto ok = check_folder(folder); !ok) return ok.error();
  auto manifest = read_manifest(folder);
  if (!manifest) return manifest.error();
  Image out{std::move(*manifest), FileHandle()};
  if (auto ok = check_abi(out.manifest.abi_major, out.manifest.abi_minor); !ok) return ok.error();
  auto file = open_checked(folder / out.manifest.library, "the library");
  if (!file) return file.error();

  out.memory = FileHandle(::memfd_create("via-plugin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!out.memory) return system_error("make a memory file", errno);
  auto digest = hash(file->get(), out.memory.get());
  if (!digest) return digest.error();
  if (*digest != pin)
    return fail(Code::not_allowed,
                "the library is not the one that was trusted (its SHA-256 differs); look at it and trust it again");
  ::fcntl(out.memory.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return out;
}

Result<std::shared_ptr<Library>> Library::load(Image image) {
  boost::dll::fs::error_code ec;
  boost::dll::shared_library library;
  library.load("/proc/self/fd/" + std::to_string(image.memory.get()),
               boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local, ec);
  if (ec || !library.is_loaded()) return fail(Code::bad_request, "the library cannot be loaded by this system");
  // The loader knows libraries by their path and may keep one for ever, so this number is never given to another file.
  (void)image.memory.release();
  if (!library.has(VIA_PLUGIN_ENTRY_SYMBOL))
    return fail(Code::bad_request, "the library does not export " VIA_PLUGIN_ENTRY_SYMBOL);
  const via_plugin_entry* found = library.get<const via_plugin_entry*()>(VIA_PLUGIN_ENTRY_SYMBOL)();
  if (found == nullptr) return fail(Code::bad_request, "the library's entry point returned nothing");
  const via_plugin_entry& entry = *found;
  if (!VIA_HAS(via_plugin_entry, &entry, create))
    return fail(Code::bad_request, "the library's entry table is too short for ABI 1.0");
  if (auto ok = check_abi(entry.abi_major, entry.abi_minor); !ok) return ok.error();
  if (entry.abi_major != image.manifest.abi_major || entry.abi_minor != image.manifest.abi_minor)
    return fail(Code::bad_request, "the library and its manifest name different ABI versions");
  if (std::string_view(entry.manifest_json.ptr, entry.manifest_json.len) != image.manifest.text)
    return fail(Code::bad_request, "the manifest beside the library is not the one that it was built with");
  if (entry.init == nullptr || entry.deinit == nullptr || entry.create == nullptr || entry.get_extension == nullptr)
    return fail(Code::bad_request, "the library's entry table has an empty slot");
  return std::shared_ptr<Library>(std::make_shared<Loaded>(std::move(image.manifest), std::move(library), entry));
}

Result<std::shared_ptr<Library>> Library::load(const fs::path& folder, const std::string& pin) {
  auto image = read(folder, pin);
  if (!image) return image.error();
  return load(std::move(*image));
}

}  // namespace via::plugins
