// The data API of one instance: from an HTTP request below /api/v1/sqlite to the endpoint that answers it.
// Thread: serve and stop control; handle data.
#pragma once

#include "plugins/sqlite/api/databases.hpp"
#include "plugins/sqlite/api/directories.hpp"
#include "plugins/sqlite/api/endpoints.hpp"

namespace via::sqlite::api {

inline constexpr std::string_view kPrefix = "/api/v1/sqlite";
inline constexpr size_t kBodyLimit = 32u << 20;

// All routes of all owners, and which one a path means.
class Router {
 public:
  Router();
  struct Found {
    const Route* route = nullptr;
    std::string key;      // percent-decoded
    std::string allowed;  // methods of the pattern, when the path is known and the method is not
  };
  // `path` is percent-encoded and begins below the prefix. 404 and 405 as failures; 400 for a broken key.
  Failure find(Method method, std::string_view path, Found& out) const;
  const std::vector<Route>& routes() const { return routes_; }
  static const Router& get();

 private:
  struct Pattern {
    std::vector<std::string_view> segments;
    size_t place;  // of the key; segments.size() when there is none
  };
  std::vector<Route> routes_;
  std::vector<Pattern> patterns_;  // in the order of routes_
};

Method method_of(std::string_view name);
// False when an escape is broken or a NUL comes out.
bool decode_path(std::string_view encoded, std::string& out);

class Api {
 public:
  Api(const Host& host, Database& own);
  Databases& databases() { return databases_; }
  Directories& directories() { return directories_; }
  const Host& host() const { return host_; }
  void handle(const via_http_request* request, via_call* call);
  // As via_http_api.try_handle. Thread: I/O.
  via_status try_handle(const via_http_request* request, via_call* call);

 private:
  const Host& host_;
  Databases databases_;
  Directories directories_;
};

// The configuration's "kit"; an add-on's has none.
Failure parse_kit(std::string_view config_json, Kit& out);

}  // namespace via::sqlite::api
