// The way of the data commands (`db`, `kv`) to a SQLite data API: which address, one request, and what went wrong.
// The address is, in this order: --addon NAME (of this host), --url URL, --container NAME (of the targets file), $VIA_KIT_URL.
// Thread: one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/command.hpp"

namespace via::cli {

struct DataRequest {
  std::string method;
  std::string path;  // below /api/v1/sqlite, percent-encoded
  std::vector<std::pair<std::string, std::string>> parameters;
  std::string body, content_type = "application/json";
};

struct DataAddress {
  std::string url;     // "http://127.0.0.1:8080/api/v1/sqlite", or a path on the socket
  std::string socket;  // of the host's admin, empty = none
  bool has_own_database() const;  // a request that names none means the add-on's own
};

// bad_request names the ways to say it.
Result<DataAddress> data_address(const Environment& environment, const std::string& url, const std::string& container);
// An add-on of the host that has this state folder.
Result<DataAddress> addon_address(const std::filesystem::path& state_dir, const std::string& addon);
// The address of a request: what `db open --url` and a person's browser take.
std::string data_target(const DataRequest& request);
// An answer of 400 and above is an Error with the server's own text: not_found for 404, conflict for 409 and 412,
// not_allowed for 401 and 403, deadline_exceeded for 408 and 504, unavailable for 429 and 503, bad_request for the
// other 4xx.
Result<HttpAnswer> send_data(const Environment& environment, const DataAddress& address, const DataRequest& request);
// Everything but letters, digits and -._~ as %XX, so that a key of any bytes is one segment of a path.
std::string percent_encoded(std::string_view text);

}  // namespace via::cli
