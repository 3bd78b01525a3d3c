// The routes an app may call, each with a body that succeeds: what tables of refusals are run over.
#pragma once

#include <string>
#include <vector>

#include "support/world.hpp"

namespace via::test {

struct Route {
  std::string name, path, body;
  bool writes = false, operation = true;
};

inline std::string operation_path(std::string_view operation, std::string_view binding = "DATABASE") {
  return "/v1/runtime/addons/" + std::string(binding) + "/" + std::string(operation);
}

inline std::vector<Route> operation_routes() {
  const json insert{{"sql", "INSERT INTO t(b) VALUES('x')"}};
  return {
      {"query", operation_path("query"), R"({"sql":"SELECT 1"})"},
      {"execute", operation_path("execute"), insert.dump(), true},
      {"setup", operation_path("setup"),
       R"j({"sql":"CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)"})j", true},
      {"batch", operation_path("batch"), R"({"operations":[{"operation":"query","sql":"SELECT 1"}]})", true}};
}

inline std::vector<Route> all_routes(const Runtime& runtime) {
  std::vector<Route> out{{"resolve", "/v1/runtime/config/resolve", "{}", false, false},
                         {"refresh", "/v1/runtime/config/refresh",
                          json{{"app", runtime.app},
                               {"release", runtime.release},
                               {"deploy", runtime.deploy},
                               {"profile_version", 0},
                               {"keys", json::array()}}
                              .dump(),
                          false, false}};
  for (auto& route : operation_routes()) out.push_back(std::move(route));
  return out;
}

}  // namespace via::test
