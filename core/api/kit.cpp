#include "core/api/kit.hpp"

#include "core/api/extension.hpp"

namespace via::api {

namespace asio = boost::asio;

namespace {

constexpr std::uint64_t kTimeoutMs = 330'000;  // the plugin ends what it runs earlier; maintenance may take 300 s

bool is(std::string_view name, std::string_view lower) {
  if (name.size() != lower.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] + 32) : name[i];
    if (c != lower[i]) return false;
  }
  return true;
}

std::string_view field(const net::Request& request, std::string_view lower) {
  for (const auto& [name, value] : request.fields)
    if (is(name, lower)) return value;
  return {};
}

bool names_this_machine(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1) == "[::1]";
  const std::string_view name = host.substr(0, host.find(':'));
  return is(name, "localhost") || name == "127.0.0.1";
}

}  // namespace

bool KitApi::admits(net::Exchange& exchange) const {
  const net::Request& request = exchange.request();
  const std::string_view host = field(request, "host"), origin = field(request, "origin");
  const auto scheme = origin.find("://");
  const bool same = origin.empty() || (scheme != std::string_view::npos && origin.substr(scheme + 3) == host);
  if (same && (public_ || host.empty() || names_this_machine(host))) return true;
  exchange.fail(fail(Code::not_allowed, "This address serves this machine only: ask for it as localhost or 127.0.0.1, and not from a "
                                        "page of another site."));
  return false;
}

bool KitApi::try_serve(net::Exchange& exchange, net::Pending&) {
  if (!admits(exchange)) return true;
  const net::Request& request = exchange.request();
  const bool reads = request.method == net::Method::get || request.method == net::Method::head;
  if (below_prefix(request.path, instance_->type().http.prefix)) return false;
  if (reads && (request.path == "/" || request.path == "/health")) {
    exchange.respond(200, "application/json",
                     R"({"service":")" + instance_->type().id + R"(","api":")" + instance_->type().http.prefix + R"("})");
    return true;
  }
  exchange.fail(fail(Code::not_found, "There is nothing at this path. The API is below " + instance_->type().http.prefix + "."));
  return true;
}

asio::awaitable<void> KitApi::serve(net::Exchange& exchange, net::Pending) {
  if (!instance_->gate().enter()) {
    exchange.fail(fail(Code::draining, "The server is ending."));
    co_return;
  }
  const std::string_view path = exchange.request().path;
  ExtensionCaller caller{instance_->type().scopes, {}, 0, {}};
  co_await serve_extension(exchange, instance_, path, std::move(caller), nullptr, "kit", kTimeoutMs);
  if (const Error* error = exchange.call_failure(); error != nullptr && error->http_status() >= 500)
    log_.error("request_failed", {{"request_id", exchange.request_id()}, {"code", error->wire_name()}, {"reason", error->message}});
}

asio::awaitable<void> KitApi::before_body(net::Exchange& exchange) {
  admits(exchange);
  co_return;
}

}  // namespace via::api
