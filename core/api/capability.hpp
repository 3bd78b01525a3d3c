// Requests under a capability URL: /c/{capability}/… leads to the add-on's own routes, and the URL is the credential.
//
// The capability is hashed and looked up in the thread's own index. One that was never made, has expired or was revoked gets
// one and the same answer. Whatever is answered tells caches and other sites nothing, and a stored page does not run.
// Thread: the connection's I/O thread; nothing is kept.
#pragma once

#include <memory>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "core/authorization/share_grant.hpp"
#include "core/api/extension.hpp"
#include "core/net/exchange.hpp"

namespace via::api {

// Whether a request's path is one of these.
bool is_capability_path(std::string_view path);

// The share that the exchange's path names, null when the exchange was answered with 404. `rest` gets the path behind the
// capability.
std::shared_ptr<const authorization::ShareGrant> find_capability(net::Exchange& exchange, std::string_view& rest);

// find_capability, then the share's rate (429), then the add-on on the spot. `pending` as try_serve fills it; in the place of a
// call that was not begun it has the share, for serve_capability.
Begun try_capability(Logger& log, net::Exchange& exchange, net::Pending& pending);
boost::asio::awaitable<void> serve_capability(Logger& log, net::Exchange& exchange, net::Pending pending);

}  // namespace via::api
