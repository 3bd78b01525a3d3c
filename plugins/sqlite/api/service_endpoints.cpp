// Maintenance, query history, health and the description of the interface.
#include "plugins/sqlite/api/endpoints.hpp"

namespace via::sqlite::api {

std::vector<Route> service_routes() { return {}; }

}  // namespace via::sqlite::api
