// The file addon.json in an add-on's folder: which database is its own, and with which configuration it was made. Written before
// anything is made on the server, so that nothing is left there that no folder speaks of; removed when all is gone.
// Thread: control.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace via::postgres {

struct Marker {
  std::string server, database, config;
  bool made = true;  // all of it was there once: what is missing on the server since was taken away
};

// Nothing when there is none. Throws plugin::Failure where it cannot be read or is damaged.
std::optional<Marker> read_marker(const std::filesystem::path& folder);
void write_marker(const std::filesystem::path& folder, const Marker& marker);  // durable when it returns
void remove_marker(const std::filesystem::path& folder);

}  // namespace via::postgres
