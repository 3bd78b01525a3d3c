// Making databases and running SQL.
#include "plugins/sqlite/api/endpoints.hpp"

namespace via::sqlite::api {

std::vector<Route> sql_routes() { return {}; }

}  // namespace via::sqlite::api
