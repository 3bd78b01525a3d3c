// Requests for the HTTP routes of an add-on type itself ("via.http/1"): the same for a workload binding, for a capability
// URL and for `via kit`.
// Thread: the connection's I/O thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "core/net/exchange.hpp"
#include "core/plugins/instance.hpp"

namespace via::api {

// Who calls, as the ABI wants it. Owns what it points to.
struct ExtensionCaller {
  std::vector<std::string> scopes;
  std::vector<std::uint32_t> live_generations;
  std::uint32_t generation = 0;
  via_id binding_id{};
  std::vector<std::pair<std::string, std::string>> limits{};  // of a capability URL
};

// Answers the exchange by the instance, on a worker. `path` is the request's path from the type's prefix on, as sent. The
// gate of the instance has been entered and is left here. `held` lives until the plugin has let go of the request;
// `working_for` names whose rights the connection works under meanwhile (net/listener.hpp, quiesce).
boost::asio::awaitable<void> serve_extension(net::Exchange& exchange, std::shared_ptr<plugins::AddonInstance> instance,
                                             std::string_view path, ExtensionCaller caller, std::shared_ptr<const void> held,
                                             std::string_view working_for, std::uint64_t timeout_ms);

// Whether `path` is the type's prefix or below it.
bool below_prefix(std::string_view path, std::string_view prefix);

}  // namespace via::api
