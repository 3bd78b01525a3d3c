#include "core/bundled.hpp"

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"

namespace via {

std::filesystem::path program_beside(const char* name) {
  std::error_code ec;
  const fs::path self = fs::read_symlink("/proc/self/exe", ec);
  return ec ? fs::path() : self.parent_path() / name;
}

std::filesystem::path bundled_folder(const std::filesystem::path& configured) {
  if (!configured.empty()) return configured;
  const fs::path self = program_beside("via");
  return self.empty() ? fs::path() : self.parent_path().parent_path() / "lib" / "via" / "plugins";
}

std::vector<std::pair<fs::path, std::string>> bundled_plugins(const fs::path& folder) {
  std::vector<std::pair<fs::path, std::string>> out;
  const auto text = read_file(folder / "pins.json", 1U << 20);
  if (!text) return out;
  const nlohmann::json names = nlohmann::json::parse(*text, nullptr, false);
  if (!names.is_object()) return out;
  for (const auto& [name, sha256] : names.items())
    if (sha256.is_string() && name.find('/') == std::string::npos) out.emplace_back(folder / name, sha256.get<std::string>());
  return out;
}

}  // namespace via
