// The bare address of `via kit`: one instance of an add-on type, its HTTP routes, no token. Whoever reaches the address has the
// data, so it answers only requests that name this machine (a browser that was led here by another page's name does
// not get in), unless it was opened to the public.
// Thread: I/O threads, any number at once; immutable.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.hpp"
#include "core/net/exchange.hpp"
#include "core/plugins/instance.hpp"

namespace via::api {

class KitApi final : public net::Handler {
 public:
  KitApi(std::shared_ptr<plugins::AddonInstance> instance, bool is_public, Logger& log)
      : instance_(std::move(instance)), public_(is_public), log_(log) {}
  bool try_serve(net::Exchange& exchange, net::Pending& pending) override;
  boost::asio::awaitable<void> serve(net::Exchange& exchange, net::Pending pending) override;
  boost::asio::awaitable<void> before_body(net::Exchange& exchange) override;

 private:
  // False: the exchange was answered with 403. Every field that says where a request comes from must say that it is from here.
  bool admits(net::Exchange& exchange) const;

  const std::shared_ptr<plugins::AddonInstance> instance_;
  const bool public_;
  Logger& log_;
};

}  // namespace via::api
