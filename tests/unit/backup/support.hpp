// What the tests of archives share: files to back up, and archives made byte by byte without the code under test.
#pragma once

#include <sys/stat.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <archive.h>
#include <archive_entry.h>

#include "core/backup/archive_reader.hpp"
#include "core/backup/archive_writer.hpp"
#include "core/base/digest.hpp"
#include "support/fakes.hpp"

namespace via::backup::test {

inline const std::string kAddon = "addon_01jd5x8z7k3m9n2p4q6r8s0t1v";
inline const std::string kData = "addons/box/" + kAddon + "/data/";
// Stands in names and contents of hostile archives; no error may repeat it.
inline constexpr std::string_view kCanary = "canary5151";

inline std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline void spill(const fs::path& path, std::string_view bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline Manifest facts() {
  Manifest out;
  out.via_version = "0.1.0";
  out.created_at = 1'800'000'000'000;
  out.installation = "inst";
  out.epoch = 3;
  out.schema = 2;
  out.engine_version = "3.54.1";
  out.addons.push_back({kAddon, "box", "orders", "active", {"box/1", 1}});
  return out;
}

// Files by name below a folder of the test's own.
class Files {
 public:
  Files() = default;
  void put(const std::string& name, std::string bytes) {
    const fs::path path = folder_.path() / "in" / std::to_string(files.size());
    spill(path, bytes);
    files.push_back({name, path});
    content[name] = std::move(bytes);
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::vector<SourceFile> files;
  std::map<std::string, std::string> content;
  via::test::FakeEntropy entropy;

 private:
  via::test::TemporaryFolder folder_;
};

inline std::map<std::string, std::string> tree(const fs::path& root) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (!entry.is_directory()) out[fs::relative(entry.path(), root).string()] = slurp(entry.path());
  return out;
}

// --- archives by hand ---

inline void fix_checksum(std::string& header) {
  header.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char text[8];
  std::snprintf(text, sizeof text, "%06o", sum);
  header.replace(148, 6, text, 6);
  header[154] = '\0';
}

inline std::string header(std::string_view name, std::uint64_t size, char type = '0', std::string_view link = {}) {
  std::string out(512, '\0');
  std::string base(name);
  if (name.size() > 100) {
    const auto slash = name.rfind('/');
    out.replace(345, slash, name.substr(0, slash));
    base = name.substr(slash + 1);
  }
  out.replace(0, base.size(), base);
  out.replace(100, 7, "0000600");
  out.replace(108, 7, "0000000");
  out.replace(116, 7, "0000000");
  char text[24];  // the field has room for 11 digits
  std::snprintf(text, sizeof text, "%011llo", static_cast<unsigned long long>(size));
  out.replace(124, 11, text, 11);
  out.replace(136, 11, "00000000000");
  out[156] = type;
  out.replace(157, link.size(), link);
  out.replace(257, 8, std::string_view("ustar\0"
                                       "00", 8));
  out.replace(329, 7, "0000000");
  out.replace(337, 7, "0000000");
  fix_checksum(out);
  return out;
}

inline std::string padded(std::string_view bytes) {
  std::string out(bytes);
  out.resize((out.size() + 511) / 512 * 512);
  return out;
}

inline std::string member(std::string_view name, std::string_view bytes) { return header(name, bytes.size()) + padded(bytes); }
inline const std::string kEnd(1024, '\0');

inline Manifest manifest_of(const std::vector<std::pair<std::string, std::string>>& members) {
  Manifest out = facts();
  for (const auto& [name, bytes] : members) {
    out.members.push_back({name, bytes.size(), sha256_hex(bytes), {}});
    out.total_bytes += bytes.size();
  }
  return out;
}

inline std::string zstd(std::string_view plain, int times = 1) {
  std::string out;
  struct archive* a = archive_write_new();
  archive_write_set_format_raw(a);
  for (int i = 0; i < times; ++i) archive_write_add_filter_zstd(a);
  archive_write_set_bytes_in_last_block(a, 1);
  archive_write_open2(
      a, &out, nullptr,
      [](struct archive*, void* to, const void* data, size_t n) {
        static_cast<std::string*>(to)->append(static_cast<const char*>(data), n);
        return static_cast<la_ssize_t>(n);
      },
      nullptr, nullptr);
  archive_entry* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_pathname(entry, "x");
  archive_write_header(a, entry);
  archive_write_data(a, plain.data(), plain.size());
  archive_entry_free(entry);
  archive_write_close(a);
  archive_write_free(a);
  return out;
}

}  // namespace via::backup::test
