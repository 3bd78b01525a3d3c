// The routes of the data API: a path means at most one, every key can be said so that its route is meant, and a path that is
// known under other methods says which.
#include "target.hpp"

#include "plugins/sqlite/api/api.hpp"

namespace {

using namespace via::sqlite;
using api::Method;
using api::Router;

std::string escaped(std::string_view key) {
  static const char* const hex = "0123456789abcdef";
  std::string out;
  for (const char c : key) {
    const auto u = static_cast<unsigned char>(c);
    out.append("%").append(1, hex[u >> 4]).append(1, hex[u & 15]);
  }
  return out;
}

void check(const Router& router, Method method, std::string_view path) {
  Router::Found found;
  const Failure failure = router.find(method, path, found);
  if (failure) {
    VIA_FUZZ_CHECK(failure.http_status == 400 || failure.http_status == 404 || failure.http_status == 405);
    VIA_FUZZ_CHECK((failure.http_status != 405) || !found.allowed.empty());
    return;
  }
  const std::string_view pattern = found.route->pattern;
  VIA_FUZZ_CHECK(found.route >= &router.routes().front() && found.route <= &router.routes().back());
  VIA_FUZZ_CHECK(found.route->method == method || (method == Method::head && found.route->method == Method::get));
  VIA_FUZZ_CHECK(found.key.find('\0') == std::string::npos);
  const std::size_t open = pattern.find('{');
  if (open == pattern.npos) {
    VIA_FUZZ_CHECK(found.key.empty() && pattern == path);
    return;
  }
  VIA_FUZZ_CHECK(!found.key.empty());
  const std::string said = std::string(pattern.substr(0, open)) + escaped(found.key) + std::string(pattern.substr(pattern.find('}') + 1));
  Router::Found again;
  VIA_FUZZ_CHECK(!router.find(method, said, again) && again.route == found.route && again.key == found.key);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string rest(via::fuzz::text(data, size));
  for (const Method method : {Method::get, Method::head, Method::put, Method::post, Method::del, Method::other}) {
    check(Router::get(), method, "/" + rest);
    check(Router::get(), method, "/kv/" + rest);
  }
  return 0;
}
