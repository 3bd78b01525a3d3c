// Requests for the HTTP routes of an add-on type itself ("via.http/1"): the same for a workload binding, for a capability
// URL and for `via kit`. First on the I/O thread, when the type has an answer at hand (try_extension), else on a worker.
// Thread: the connection's I/O thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "core/base/log.hpp"
#include "core/net/exchange.hpp"
#include "core/plugins/instance.hpp"

namespace via::api {

// What goes with every answer of such a route: it may hold stored bytes of any type, which are no page of the address they come from.
inline constexpr std::string_view kStoredBytes =
    "X-Content-Type-Options: nosniff\r\n"
    "Content-Security-Policy: default-src 'none'; sandbox\r\n";

// Who calls, as the ABI wants it. Points into the rights that the caller of these functions holds.
struct ExtensionCaller {
  std::span<const std::string> scopes;
  std::span<const std::uint32_t> live_generations{};
  std::uint32_t generation = 0;
  via_id binding_id{};
  std::span<const std::pair<std::string, std::string>> limits{};  // of a capability URL
  std::string_view working_for{};  // whose rights these are: an instance or a share
  std::string_view owner{};        // whose memory a large answer is counted as
};

enum class Begun {
  done,     // answered
  pending,  // the plugin took the call over: finish_pending follows
  blocked,  // nothing was done: serve_extension follows
};

// Enters the gate of the instance and asks the plugin for an answer here and now. `path` is the request's path from the
// type's prefix on, as sent. A call that is pending is told to `pending`, but for its rights; the gate stays entered.
Begun try_extension(Logger& log, net::Exchange& exchange, const std::shared_ptr<plugins::AddonInstance>& instance, std::string_view path,
                    const ExtensionCaller& caller, std::uint64_t timeout_ms, net::Pending& pending);

// A call that failed by a fault of ours goes to the log, with what the client is not told.
void log_failure(Logger& log, net::Exchange& exchange, const plugins::AddonInstance& instance);

// Waits for a call that was taken over, and leaves the gate. One that does not end is given up: answered, counted against who
// made it, and waited for without anybody waiting for it.
boost::asio::awaitable<void> finish_pending(Logger& log, net::Exchange& exchange, net::Pending pending);

// Answers the exchange by the instance, on a worker; 503 when its gate is closed, 429 when it is closed to this caller. `held` lives until the plugin has let go of
// the request; `working_for` names whose rights the connection works under meanwhile (net/listener.hpp, quiesce).
boost::asio::awaitable<void> serve_extension(Logger& log, net::Exchange& exchange,
                                             std::shared_ptr<plugins::AddonInstance> instance, std::string_view path,
                                             ExtensionCaller caller, std::shared_ptr<const void> held,
                                             std::string_view working_for, std::uint64_t timeout_ms);

std::string_view method_name(net::Method method);  // "GET"; empty for an unknown one

// Whether `path` is the type's prefix or below it.
bool below_prefix(std::string_view path, std::string_view prefix);

}  // namespace via::api
