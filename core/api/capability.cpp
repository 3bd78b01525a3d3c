#include "core/api/capability.hpp"

#include <algorithm>

#include "core/api/extension.hpp"
#include "core/plugins/instance.hpp"
#include "core/shares/share.hpp"

namespace via::api {

namespace asio = boost::asio;

namespace {

constexpr std::string_view kPrefix = "/c/";

constexpr std::string_view kAlways =
    "Cache-Control: no-store\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; sandbox\r\n"
    "X-Robots-Tag: noindex\r\n";

Error not_there() {
  return fail(Code::not_found,
              "There is nothing at this address: it is not complete, has expired or was revoked. Ask whoever gave it to you for "
              "another one.");
}

Error too_many() {
  Error error = fail(Code::queue_full, "Too many requests under this URL. Try again in a second.");
  error.name = "rate_limited";
  return error;
}

}  // namespace

bool is_capability_path(std::string_view path) { return path.starts_with(kPrefix); }

std::shared_ptr<const authorization::ShareGrant> find_capability(net::Exchange& exchange, std::string_view& rest) {
  exchange.always_send(kAlways);
  std::string_view path = exchange.request().path;
  path.remove_prefix(kPrefix.size());
  const std::string_view capability = path.substr(0, path.find('/'));
  rest = path.substr(capability.size());
  const auto hash = shares::hash_of(capability);
  auto share = hash ? exchange.thread().index().find_share(*hash) : nullptr;
  if (share && (share->expires_at == 0 || exchange.thread().turn_unix_ms() < share->expires_at)) return share;
  exchange.fail(not_there());
  return nullptr;
}

asio::awaitable<void> serve_capability(net::Exchange& exchange, Logger& log) {
  std::string_view rest;
  const auto share = find_capability(exchange, rest);
  if (!share) co_return;
  if (!share->use->admit(exchange.started_ns(), exchange.thread().turn_unix_ms())) {
    exchange.fail(too_many());
    co_return;
  }
  const std::shared_ptr<plugins::AddonInstance> instance = share->instance;
  const std::string& prefix = instance->type().http.prefix;
  if (!below_prefix(rest, prefix)) {
    exchange.fail(fail(Code::not_found, "There is nothing at this path. The API is below " + prefix + "."));
    co_return;
  }
  if (!instance->gate().enter()) {
    exchange.fail(fail(Code::draining, "The add-on is being drained for maintenance. Try again."));
    co_return;
  }
  ExtensionCaller caller{share->scopes, {}, 0, {}, share->limits};
  std::copy(share->ulid.begin(), share->ulid.end(), caller.binding_id.b);
  co_await serve_extension(exchange, instance, rest, std::move(caller), share, share->id,
                           exchange.thread().limits().operation_timeout_ms);
  if (const Error* error = exchange.call_failure(); error != nullptr && error->http_status() >= 500)
    log.error("share_failed", {{"request_id", exchange.request_id()},
                               {"share", share->id},
                               {"addon", share->addon_id},
                               {"code", error->wire_name()},
                               {"reason", error->message}});
}

}  // namespace via::api
