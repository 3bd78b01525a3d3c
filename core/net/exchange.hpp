// One request and its answer, as handlers see them; and the interface of handlers.
//
// A handler first gets the chance to answer on the spot (try_serve: no suspension, no allocation); what it cannot
// finish there goes through serve(), a coroutine on the same I/O thread. Every request is answered exactly once.
// Thread: the connection's I/O thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "core/base/error.hpp"
#include "core/net/io_thread.hpp"
#include "core/net/request.hpp"
#include "core/plugins/call.hpp"

namespace via::net {

struct Peer {
  std::uint32_t uid = 0xffff'ffff;  // of a Unix socket's other end
  std::uint32_t gid = 0xffff'ffff;
  std::int32_t pid = 0;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const Request& request() const noexcept = 0;
  virtual IoThread& thread() noexcept = 0;
  virtual const Peer& peer() const noexcept = 0;
  virtual std::string_view request_id() = 0;       // 36 characters, "req_…"
  virtual const via_id& request_ulid() const noexcept = 0;
  virtual std::uint64_t started_ns() const noexcept = 0;  // when the request was complete, on Clock::mono_ns

  // Answers. `more` are whole header lines with CR LF.
  virtual void respond(int status, std::string_view content_type, std::string_view body, std::string_view more = {}) = 0;
  virtual void fail(const Error& error) = 0;
  // Header lines of static storage, with CR LF, that any answer to this request is to have, a plugin's as well: a field that
  // the plugin gives too is dropped. Called before begin_call.
  virtual void always_send(std::string_view lines) = 0;
  virtual bool answered() const noexcept = 0;
  // Whose memory the answer of the next call is counted as (byte_budget.hpp); it lives as long as the call. Before begin_call.
  virtual void charge_to(std::string_view owner) noexcept = 0;

  // An operation of an add-on, answered by the plugin straight into the output.
  virtual plugins::Call& begin_call(std::uint64_t deadline_ns) = 0;
  // Ends a call that is done() already.
  virtual void finish_inline() = 0;
  // Waits for the call, sending what streams; the connection is known to work for `instance` meanwhile. When the call does
  // not end in time it is given up (`overdue`, or `withdrawn` when its rights ended): nothing of it is sent any more, the
  // connection works for nobody, and abandon_call() follows once the caller has let go of what others wait for.
  enum class CallEnd { ended, overdue, withdrawn };
  virtual boost::asio::awaitable<CallEnd> finish_call(std::string_view instance) = 0;
  // Answers a call that was given up (cuts a stream that has begun), closes the socket, and returns when the call has ended
  // after all, which may be never: until then the plugin has this connection's buffers.
  virtual boost::asio::awaitable<void> abandon_call(const Error& error) = 0;
  // Returns when `flag` is set. For what is set within moments; where not, it costs a look now and then.
  virtual boost::asio::awaitable<void> until(const std::atomic<bool>& flag) = 0;
  // Why the last call failed, null when it did not.
  virtual const Error* call_failure() const noexcept = 0;
  // Forgets a begun call that did nothing (WOULD_BLOCK).
  virtual void drop_call() = 0;

  // Runs `work` on a worker thread and goes on here afterwards.
  virtual boost::asio::awaitable<void> on_worker(std::function<void()> work) = 0;
};

// A call that a plugin took over inside try_serve, and what must live until it has ended.
struct Pending {
  std::shared_ptr<plugins::AddonInstance> instance;
  std::shared_ptr<const void> held;  // the rights it runs under; also without a call, when they were decided already
  std::string_view working_for;      // as finish_call wants it; lives in `held`, or for ever
  plugins::Call* call = nullptr;     // the exchange's; null = no call was begun
};

class Handler {
 public:
  virtual ~Handler() = default;
  // True = answered. False = serve() follows; a call that try_serve began and that was taken over is in `pending`.
  virtual bool try_serve(Exchange& exchange, Pending& pending) = 0;
  virtual boost::asio::awaitable<void> serve(Exchange& exchange, Pending pending) = 0;
  // Whose memory the body of this request is counted as; empty = not known before before_body().
  virtual std::string body_owner(Exchange&) { return "everybody"; }
  // Asked before "100 Continue" is sent, and before a large body of nobody known is read: answers the exchange itself when the body is not wanted.
  virtual boost::asio::awaitable<void> before_body(Exchange& exchange) = 0;
};

}  // namespace via::net
