// The runtime API: what apps call on the config server (the table in docs/formats.md, "Config server").
//
// A request goes one way: identity (verified-token cache, else a worker verifies) -> authorization (one decision on
// the thread's own index) -> gate of the add-on -> plugin -> response. Point reads do all of it inside try_serve.
// Thread: I/O threads, any number at once; it keeps nothing that changes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/api/extension.hpp"
#include "core/authorization/decision.hpp"
#include "core/base/log.hpp"
#include "core/config/sealer.hpp"
#include "core/config/values.hpp"
#include "core/identity/keys.hpp"
#include "core/identity/tokens.hpp"
#include "core/lifecycle/access_audit.hpp"
#include "core/net/exchange.hpp"

namespace via::api {

class RuntimeApi final : public net::Handler {
 public:
  struct Dependencies {
    const identity::Keys& keys;
    const identity::TokenVerifier& verifier;
    const config::Values& values;
    const config::Sealer& sealer;
    lifecycle::AccessAudit& audit;
    Logger& log;
    std::function<std::string()> config_url;          // known once the listener has its port
    std::function<std::string()> failing_checks;      // names of failing readiness checks, empty = ready
  };
  explicit RuntimeApi(Dependencies dependencies) : d_(std::move(dependencies)) {}

  bool try_serve(net::Exchange& exchange, net::Pending& pending) override;
  boost::asio::awaitable<void> serve(net::Exchange& exchange, net::Pending pending) override;
  std::string body_owner(net::Exchange& exchange) override;
  boost::asio::awaitable<void> before_body(net::Exchange& exchange) override;

 private:
  struct Route;
  static Route route(const net::Request& request);
  std::shared_ptr<const identity::Claims> cached(net::Exchange& exchange) const;
  // Claims of the caller, or the exchange was answered with 401, 403 or 503.
  boost::asio::awaitable<std::shared_ptr<const identity::Claims>> authenticate(net::Exchange& exchange);
  boost::asio::awaitable<void> serve_operation(net::Exchange& exchange, const identity::Claims& claims,
                                               const Route& route);
  boost::asio::awaitable<void> serve_http(net::Exchange& exchange, const identity::Claims& claims, const Route& route);
  boost::asio::awaitable<void> serve_config(net::Exchange& exchange, const identity::Claims& claims, bool refresh);
  // When the entry is durable, or with the error that it is not.
  boost::asio::awaitable<Result<void>> recorded(net::Exchange& exchange, lifecycle::Access& access);
  void serve_public(net::Exchange& exchange, const Route& route);
  // Begins the operation on this thread.
  Begun begin(net::Exchange& exchange, const identity::Claims& claims, const Route& route, net::Pending& pending);
  // The same for the routes of an add-on type.
  Begun begin_http(net::Exchange& exchange, const identity::Claims& claims, const Route& route, net::Pending& pending);
  struct Reached {
    const authorization::BindingGrant* binding;
    ExtensionCaller caller;  // points into the grant
  };
  Result<Reached> reach_http(net::Exchange& exchange, const identity::Claims& claims, const authorization::InstanceGrant* grant,
                             const Route& route);

  Dependencies d_;
};

}  // namespace via::api
