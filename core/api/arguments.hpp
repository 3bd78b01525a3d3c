// Checked access to the arguments of one admin command: each is read once, by name and type; what was not read is
// unknown. The first problem is kept, so that a handler reads everything and asks once.
// Thread: its call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"
#include "core/lifecycle/control_plane.hpp"

namespace via::api {

class Arguments {
 public:
  Arguments(std::string_view command, const nlohmann::json& args) : command_(command), args_(args) {}

  std::string text(const char* name);                                  // required, not empty
  std::optional<std::string> optional_text(const char* name);          // null counts as absent
  bool flag(const char* name, bool absent = false);
  std::optional<std::int64_t> optional_integer(const char* name);
  lifecycle::Since since(const char* name);                            // seconds back, or an RFC 3339 time; absent = always
  std::vector<std::string> texts(const char* name);                    // array of strings, absent = empty
  std::map<std::string, std::string> text_map(const char* name, bool required);  // object of strings
  std::optional<nlohmann::json> optional_object(const char* name);
  // Refuses arguments that no reader asked for; the first problem found, as bad_request.
  Result<void> done();

 private:
  const nlohmann::json* find(const char* name);
  void problem(const char* name, const std::string& what);

  std::string command_;
  const nlohmann::json& args_;
  std::set<std::string, std::less<>> known_;
  std::string problem_;
};

}  // namespace via::api
