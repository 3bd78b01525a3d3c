// The endpoints below /api/v1/sqlite, by the folder that owns them. A pattern's {key} takes the rest of the path, slashes
// included; a fixed word behind the last slash wins over a key of that shape. Of two patterns the one with more fixed
// segments wins ("/kv/snapshot" over "/kv/{key}").
// Thread: immutable; any.
#pragma once

#include "plugins/sqlite/api/context.hpp"

#include <vector>

namespace via::sqlite::api {

enum class Needs : uint8_t { nothing, read, write };  // "write" is refused with 403 before the endpoint runs

struct Route {
  Method method;
  const char* pattern;  // "/kv/{key}/incr"
  Needs needs;
  Endpoint endpoint;
  // It does little before it reads one row or hands its write over, so an I/O thread may run it (Context, "inline").
  bool quick = false;
};

std::vector<Route> sql_routes();       // api/sql_endpoints.cpp: /db/create, /db (POST, DELETE), /query
std::vector<Route> service_routes();   // api/service_endpoints.cpp: /maintenance, /history…, /health…, /openapi.*
std::vector<Route> kv_routes();        // kv/endpoints.cpp: /kv, /kv/{key}, incr, decr, push, pop, remove, batch
std::vector<Route> travel_routes();    // kv/travel_endpoints.cpp: history, snapshot, rollback, diff

}  // namespace via::sqlite::api
