// The plugins that came with this program: <prefix>/lib/via/plugins/<name>/, pinned by pins.json beside them, which is as
// trusted as the program itself. Thread: any.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace via {

// A program that is installed beside the one that runs.
std::filesystem::path program_beside(const char* name);
// `configured` when it is not empty, else beside the running program.
std::filesystem::path bundled_folder(const std::filesystem::path& configured);
// Folder of each plugin and the SHA-256 that its library must have; empty when there is no pins.json.
std::vector<std::pair<std::filesystem::path, std::string>> bundled_plugins(const std::filesystem::path& folder);

}  // namespace via
