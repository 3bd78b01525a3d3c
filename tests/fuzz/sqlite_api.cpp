// The whole data API on real files, through the plugin's boundary: a session of requests, one to a line ("POST /kv/k/push?path=a
// [1]": method, target, body). Every answer is one of the API's own, JSON where it says so, and none is a fault of ours.
#include "target.hpp"

#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <optional>

namespace {

using namespace via::sqlite::test;

std::string_view until(std::string_view& rest, char end) {
  const std::size_t at = std::min(rest.find(end), rest.size());
  const std::string_view one = rest.substr(0, at);
  rest.remove_prefix(std::min(at + 1, rest.size()));
  return one;
}

// As the listener refuses it.
bool is_target(std::string_view target) {
  std::string decoded;
  return target.starts_with('/') && via::sqlite::api::decode_path(target, decoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The plugin's own statics are made by a first session, so that they outlive the last one.
  [[maybe_unused]] static const int first = DataApi({.kit = true}).call("POST", "/db/create?path=app").status;
  static std::optional<DataApi> api;
  static int sessions = 0;
  if (sessions++ % 500 == 0) {  // not too much of what earlier sessions left
    api.reset();
    api.emplace(ApiSetUp{.kit = true});
    (void)api->call("POST", "/db/create?path=app");
  }
  std::string_view rest = via::fuzz::text(data, size);
  for (int requests = 0; !rest.empty() && requests < 8; ++requests) {
    std::string_view line = until(rest, '\n');
    const std::string_view method = until(line, ' ');
    std::string target(until(line, ' '));
    if (!is_target(target)) continue;
    if (target.find("db=") == std::string::npos) target += target.find('?') == std::string::npos ? "?db=app" : "&db=app";
    const HttpAnswer r = api->call(method, target, line);
    VIA_FUZZ_CHECK((r.status >= 200 && r.status < 500) || r.status == 503 || r.status == 504);
    if (r.status != 200 || !target.starts_with("/kv/")) VIA_FUZZ_CHECK(r.content_type != "application/json" || Json::accept(r.body));
    if (r.status != 200) VIA_FUZZ_CHECK(!r.error().empty() || method == "HEAD");
  }
  const HttpAnswer alive = api->call("GET", "/query?db=app&sql=SELECT+1+AS+one");
  VIA_FUZZ_CHECK(alive.status == 200 || alive.status == 404);  // a session may remove the database
  if (alive.status == 404) VIA_FUZZ_CHECK(api->call("POST", "/db/create?path=app").status == 200);
  return 0;
}
