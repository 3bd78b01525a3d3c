// The JSON of the config server: statements out, rows, counts and errors in (docs/formats.md, "Resolve and refresh"; docs/errors.md).
// Thread: any (pure).
#pragma once

#include <nlohmann/json.hpp>

#include "http_client.hpp"
#include "via/sql.hpp"

namespace via::sql {

using Json = nlohmann::json;

// Adds "sql" and "params". Throws Error{"bad_request"} for text that is not UTF-8 and numbers JSON cannot
// hold.
void write_statement(Json& body, const Statement& statement);
std::string dump(const Json& body);

Rows read_rows(const Json& object);
Written read_written(const Json& object);
// {"error":{…}} of a response, or what can be said without it.
Error read_error(const HttpResponse& response);
// The response's body as an object or array; Error{"protocol"} when it is neither.
Json read_json(const HttpResponse& response);
// What retry_after_ms or Retry-After ask for; 0 when neither is there.
std::chrono::milliseconds retry_after(const HttpResponse& response);

}  // namespace via::sql
