// The two inputs of the demo, as Debian ships them: ISO 3166-1 (package iso-codes) and the time zone table
// (tzdata). Thread: any (pure).
#pragma once

#include <string>
#include <vector>

namespace atlas {

struct Country {
  std::string alpha_2, alpha_3, name;
};

struct Zone {
  std::string name, coordinates, comment;
  std::vector<std::string> countries;  // alpha-2 codes, the most populous first
};

struct Offset {
  std::string zone;
  int minutes = 0;  // standard time east of UTC, as of the newest rule
};

// Each throws std::runtime_error that names the package to install when the file is not there or not as
// expected.
std::vector<Country> read_countries(const std::string& json_file);
std::vector<Zone> read_zones(const std::string& zone1970_file);
std::vector<Offset> read_offsets(const std::string& tzdata_zi_file);

}  // namespace atlas
