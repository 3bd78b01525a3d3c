// History and time travel over HTTP.
#include "plugins/sqlite/api/endpoints.hpp"

namespace via::sqlite::api {

std::vector<Route> travel_routes() { return {}; }

}  // namespace via::sqlite::api
