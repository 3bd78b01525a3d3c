#include "core/api/capability.hpp"

#include <algorithm>

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

ExtensionCaller caller_of(const authorization::ShareGrant& share) {
  ExtensionCaller caller{share.scopes, {}, 0, {}, share.limits, share.id, share.id};
  std::copy(share.ulid.begin(), share.ulid.end(), caller.binding_id.b);
  return caller;
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

Begun try_capability(Logger& log, net::Exchange& exchange, net::Pending& pending) {
  std::string_view rest;
  auto share = find_capability(exchange, rest);
  if (!share) return Begun::done;
  if (!share->use->admit(exchange.started_ns(), exchange.thread().turn_unix_ms())) {
    exchange.fail(too_many());
    return Begun::done;
  }
  const std::string& prefix = share->instance->type().http.prefix;
  if (!below_prefix(rest, prefix)) {
    exchange.fail(fail(Code::not_found, "There is nothing at this path. The API is below " + prefix + "."));
    return Begun::done;
  }
  const Begun begun = try_extension(log, exchange, share->instance, rest, caller_of(*share),
                                    exchange.thread().limits().operation_timeout_ms, pending);
  pending.working_for = share->id;
  pending.held = std::move(share);
  return begun;
}

asio::awaitable<void> serve_capability(Logger& log, net::Exchange& exchange, net::Pending pending) {
  const auto share = std::static_pointer_cast<const authorization::ShareGrant>(std::move(pending.held));
  std::string_view rest = exchange.request().path.substr(kPrefix.size());
  rest.remove_prefix(std::min(rest.find('/'), rest.size()));
  co_await serve_extension(log, exchange, share->instance, rest, caller_of(*share), share, share->id,
                           exchange.thread().limits().operation_timeout_ms);
}

}  // namespace via::api
