// The admin API on its Unix socket: peer check, POST /v1/admin/<command>, GET /metrics, and the HTTP routes of add-ons below
// /v1/addons/<name>/http. The handlers are AdminApi's.
// Thread: I/O thread for the socket; commands run on workers, one at a time under the control plane's lock.
#pragma once

#include <functional>
#include <string>

#include "core/api/admin.hpp"
#include "core/base/log.hpp"
#include "core/net/exchange.hpp"

namespace via::api {

class AdminHttp final : public net::Handler {
 public:
  // `group_allowed`: a group was given access to the socket file, so the kernel has checked it already.
  AdminHttp(AdminApi& api, std::function<std::string()> metrics, bool group_allowed, Logger& log)
      : api_(api), metrics_(std::move(metrics)), group_allowed_(group_allowed), log_(log) {}

  bool try_serve(net::Exchange& exchange, net::Pending& pending) override;
  boost::asio::awaitable<void> serve(net::Exchange& exchange, net::Pending pending) override;
  boost::asio::awaitable<void> before_body(net::Exchange& exchange) override;

 private:
  boost::asio::awaitable<void> serve_addon(net::Exchange& exchange);
  bool allowed(const net::Peer& peer) const;
  AdminApi& api_;
  std::function<std::string()> metrics_;
  const bool group_allowed_;
  Logger& log_;
};

// "root", "alice", or "uid 1000" when the system has no name for it.
Actor actor_of(std::uint32_t uid);

}  // namespace via::api
