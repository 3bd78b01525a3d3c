// See marker.hpp.
#include "plugins/postgres/marker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>

#include <nlohmann/json.hpp>
#include <via/plugin/values.hpp>

namespace via::postgres {
namespace {

namespace fs = std::filesystem;
constexpr const char* kName = "addon.json";

[[noreturn]] void fail(const char* what) { throw plugin::Failure(VIA_E_INTERNAL, std::string("The add-on could not ") + what + "."); }

void sync(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) fail("open its folder");
  const int failed = ::fsync(fd);
  ::close(fd);
  if (failed != 0) fail("make its file durable");
}

}  // namespace

std::optional<Marker> read_marker(const fs::path& folder) {
  std::ifstream in(folder / kName, std::ios::binary);
  if (!in) {
    if (fs::exists(folder / kName)) fail("read its file");
    return std::nullopt;
  }
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("version", 0) != 1) throw plugin::Failure(VIA_E_CORRUPT, "The add-on's file addon.json is damaged.");
  return Marker{json.value("server", ""), json.value("database", ""), json.value("config", ""), json.value("made", true)};
}

void write_marker(const fs::path& folder, const Marker& marker) {
  const std::string text =
      nlohmann::json{{"version", 1}, {"server", marker.server}, {"database", marker.database}, {"config", marker.config}, {"made", marker.made}}.dump() + "\n";
  const fs::path partial = folder / (std::string(".") + kName + ".partial");
  const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) fail("write its file");
  const bool whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!whole || ::rename(partial.c_str(), (folder / kName).c_str()) != 0) {
    ::unlink(partial.c_str());
    fail("write its file");
  }
  sync(folder, O_RDONLY | O_DIRECTORY);
}

void remove_marker(const fs::path& folder) {
  ::unlink((folder / (std::string(".") + kName + ".partial")).c_str());
  if (::unlink((folder / kName).c_str()) != 0) {
    if (errno == ENOENT) return;
    fail("remove its file");
  }
  sync(folder, O_RDONLY | O_DIRECTORY);
}

}  // namespace via::postgres
