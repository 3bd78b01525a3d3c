// Manual pages from the tree of commands that the help is made of, one a command and a group: via.1, via-addon.1,
// via-addon-create.1. Thread: one.
#pragma once

#include <filesystem>
#include <string>

#include "cli/command.hpp"

namespace via::cli {

// "via-addon-create"
std::string man_name(const CLI::App& app);
// The page in roff with the man macros.
std::string man_page(const CommandTree& tree, const CLI::App& app);
// Writes the page of every command of the tree into a folder that exists; how many they were.
Result<int> write_man_pages(const CommandTree& tree, const std::filesystem::path& folder);

}  // namespace via::cli
