#include "core/api/admin_http.hpp"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <optional>

#include <nlohmann/json.hpp>

#include "core/api/extension.hpp"

namespace via::api {

namespace asio = boost::asio;
using nlohmann::json;

namespace {

constexpr std::string_view kPrefix = "/v1/admin/", kAddons = "/v1/addons/", kHttp = "/http";
constexpr std::uint64_t kTimeoutMs = 330'000;  // the plugin ends what it runs earlier; maintenance may take 300 s

}  // namespace

Actor actor_of(std::uint32_t uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return {entry.pw_name, uid};
  return {"uid " + std::to_string(uid), uid};
}

bool AdminHttp::allowed(const net::Peer& peer) const {
  return peer.uid == 0 || peer.uid == ::geteuid() || (group_allowed_ && peer.uid != 0xffff'ffff);
}

bool AdminHttp::try_serve(net::Exchange& exchange, net::Pending&) {
  const net::Request& request = exchange.request();
  if (!allowed(exchange.peer())) {
    exchange.fail(fail(Code::not_allowed, "Only root and the owner of the state folder may use the admin socket."));
    return true;
  }
  if (request.path == "/metrics") {
    if (request.method == net::Method::get)
      exchange.respond(200, "text/plain; version=0.0.4; charset=utf-8", metrics_());
    else
      exchange.respond(405, "text/plain", "", "Allow: GET\r\n");
    return true;
  }
  if (request.path.starts_with(kAddons)) return false;
  if (!request.path.starts_with(kPrefix)) {
    exchange.fail(fail(Code::not_found, "There is nothing at this path."));
    return true;
  }
  if (request.method != net::Method::post) {
    exchange.respond(405, "application/json",
                     error_body(fail(Code::method_not_allowed, "Admin commands are POST requests."), exchange.request_id()),
                     "Allow: POST\r\n");
    return true;
  }
  return false;
}

asio::awaitable<void> AdminHttp::serve_addon(net::Exchange& exchange) {
  const net::Request& request = exchange.request();
  exchange.always_send(kStoredBytes);
  std::string_view path = request.path.substr(kAddons.size());
  const std::string name(path.substr(0, path.find('/')));
  path.remove_prefix(name.size());
  std::optional<Result<std::shared_ptr<plugins::AddonInstance>>> found;
  if (path.starts_with(kHttp)) {
    path.remove_prefix(kHttp.size());
    co_await exchange.on_worker([&] { found.emplace(api_.reach(name, method_name(request.method), actor_of(exchange.peer().uid))); });
  }
  if (found && !*found) {
    exchange.fail(found->error());
    co_return;
  }
  if (!found || !below_prefix(path, (**found)->type().http.prefix)) {
    exchange.fail(fail(Code::not_found, "There is nothing at this path."));
    co_return;
  }
  const std::shared_ptr<plugins::AddonInstance> instance = **found;
  co_await serve_extension(log_, exchange, instance, path, {instance->type().scopes}, nullptr, "operator", kTimeoutMs);
}

asio::awaitable<void> AdminHttp::serve(net::Exchange& exchange, net::Pending) {
  const net::Request& request = exchange.request();
  if (request.path.starts_with(kAddons)) {
    co_await serve_addon(exchange);
    co_return;
  }
  std::optional<Result<std::string>> answer;
  co_await exchange.on_worker([&] {
    const auto arguments = json::parse(request.body.empty() ? std::string_view("{}") : request.body, nullptr, false);
    if (!arguments.is_object()) {
      answer.emplace(fail(Code::invalid_json, "The request body must be a JSON object."));
      return;
    }
    auto result = api_.call(request.path.substr(kPrefix.size()), arguments, actor_of(exchange.peer().uid));
    if (result)
      answer.emplace(result->dump(-1, ' ', false, json::error_handler_t::replace));
    else
      answer.emplace(result.error());
  });
  if (*answer) {
    exchange.respond(200, "application/json", **answer);
    co_return;
  }
  if (answer->error().http_status() >= 500)
    log_.error("admin_failed", {{"request_id", exchange.request_id()},
                                {"command", request.path.substr(kPrefix.size())},
                                {"reason", answer->error().message}});
  exchange.fail(answer->error());
}

asio::awaitable<void> AdminHttp::before_body(net::Exchange& exchange) {
  if (!allowed(exchange.peer()))
    exchange.fail(fail(Code::not_allowed, "Only root and the owner of the state folder may use the admin socket."));
  co_return;
}

}  // namespace via::api
