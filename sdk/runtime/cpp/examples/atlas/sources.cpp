// See sources.hpp.
#include "sources.hpp"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace atlas {
namespace {

std::ifstream open(const std::string& file, const char* package) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file + ": install the package " + package);
  return in;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// "-4:56:2" -> -296 (whole minutes)
int minutes_of(const std::string& text) {
  const auto parts = split(text, ':');
  const bool west = !text.empty() && text.front() == '-';
  int minutes = std::abs(std::atoi(parts.at(0).c_str())) * 60;
  if (parts.size() > 1) minutes += std::atoi(parts[1].c_str());
  return west ? -minutes : minutes;
}

}  // namespace

std::vector<Country> read_countries(const std::string& json_file) {
  auto in = open(json_file, "iso-codes");
  const auto json = nlohmann::json::parse(in);
  std::vector<Country> countries;
  for (const auto& item : json.at("3166-1")) {
    countries.push_back({item.at("alpha_2"), item.at("alpha_3"), item.value("common_name", item.at("name"))});
  }
  return countries;
}

std::vector<Zone> read_zones(const std::string& zone1970_file) {
  auto in = open(zone1970_file, "tzdata");
  std::vector<Zone> zones;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#') continue;
    const auto fields = split(line, '\t');
    if (fields.size() < 3) throw std::runtime_error(zone1970_file + " has a line that is no zone: " + line);
    zones.push_back({fields[2], fields[1], fields.size() > 3 ? fields[3] : "", split(fields[0], ',')});
  }
  return zones;
}

// Lines "Z NAME OFFSET RULES FORMAT [UNTIL]" and, for the time after each UNTIL, a line without "Z NAME". The
// last one of a zone holds today.
std::vector<Offset> read_offsets(const std::string& tzdata_zi_file) {
  auto in = open(tzdata_zi_file, "tzdata");
  std::vector<Offset> offsets;
  bool in_zone = false;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#') continue;
    const auto words = split(line, ' ');
    if (words[0] == "Z" && words.size() > 2) {
      offsets.push_back({words[1], minutes_of(words[2])});
      in_zone = true;
    } else if (words[0] == "R" || words[0] == "L") {
      in_zone = false;
    } else if (in_zone) {
      offsets.back().minutes = minutes_of(words[0]);
    }
  }
  return offsets;
}

}  // namespace atlas
