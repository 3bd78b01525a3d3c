#include "core/api/kit.hpp"

#include "core/api/extension.hpp"

#include <algorithm>

namespace via::api {

namespace asio = boost::asio;

namespace {

constexpr std::uint64_t kTimeoutMs = 330'000;  // the plugin ends what it runs earlier; maintenance may take 300 s

constexpr std::string_view kWorkingFor = "kit";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool is(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

// A name with or without a port, and nothing else: what follows a bracket or a colon decides where a browser believes to be.
bool names_this_machine(std::string_view host) {
  for (const std::string_view name : {"localhost", "127.0.0.1", "[::1]"}) {
    if (!is(host.substr(0, name.size()), name)) continue;
    const std::string_view port = host.substr(name.size());
    if (port.empty()) return true;
    return port.size() > 1 && port.size() <= 6 && port[0] == ':' && port.find_first_not_of("0123456789", 1) == std::string_view::npos;
  }
  return false;
}

bool is_origin_of(std::string_view origin, std::string_view host) {
  for (const std::string_view scheme : {"http://", "https://"})
    if (origin.starts_with(scheme)) return is(origin.substr(scheme.size()), host);
  return false;
}

}  // namespace

bool KitApi::admits(net::Exchange& exchange) const {
  const net::Request& request = exchange.request();
  exchange.always_send(kStoredBytes);
  std::string_view host;
  for (const auto& [name, value] : request.fields)
    if (is(name, "host")) host = value;
  bool same = true;
  for (const auto& [name, value] : request.fields) {
    if (is(name, "origin")) same = same && is_origin_of(value, host);
    // Where a browser sends no Origin: a page of another site that has a form, an image or a frame of ours, or leads here.
    else if (is(name, "sec-fetch-site")) same = same && (value == "same-origin" || value == "none");
  }
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
