#include "core/api/kit.hpp"

#include "core/api/extension.hpp"

namespace via::api {

namespace asio = boost::asio;

namespace {

constexpr std::uint64_t kTimeoutMs = 330'000;  // the plugin ends what it runs earlier; maintenance may take 300 s

constexpr std::string_view kWorkingFor = "kit";

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

bool KitApi::try_serve(net::Exchange& exchange, net::Pending& pending) {
  if (!admits(exchange)) return true;
  const net::Request& request = exchange.request();
  const bool reads = request.method == net::Method::get || request.method == net::Method::head;
  if (below_prefix(request.path, instance_->type().http.prefix)) {
    pending.working_for = kWorkingFor;
    return try_extension(log_, exchange, instance_, request.path, {instance_->type().scopes}, kTimeoutMs, pending) == Begun::done;
  }
  if (reads && (request.path == "/" || request.path == "/health")) {
    exchange.respond(200, "application/json",
                     R"({"service":")" + instance_->type().id + R"(","api":")" + instance_->type().http.prefix + R"("})");
    return true;
  }
  exchange.fail(fail(Code::not_found, "There is nothing at this path. The API is below " + instance_->type().http.prefix + "."));
  return true;
}

asio::awaitable<void> KitApi::serve(net::Exchange& exchange, net::Pending pending) {
  if (pending.call != nullptr)
    co_await finish_pending(log_, exchange, std::move(pending));
  else
    co_await serve_extension(log_, exchange, instance_, exchange.request().path, {instance_->type().scopes}, nullptr, kWorkingFor,
                             kTimeoutMs);
}

asio::awaitable<void> KitApi::before_body(net::Exchange& exchange) {
  admits(exchange);
  co_return;
}

}  // namespace via::api
