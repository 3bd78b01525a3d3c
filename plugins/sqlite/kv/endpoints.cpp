// The key-value store over HTTP.
#include "plugins/sqlite/api/endpoints.hpp"

namespace via::sqlite::api {

std::vector<Route> kv_routes() { return {}; }

}  // namespace via::sqlite::api
