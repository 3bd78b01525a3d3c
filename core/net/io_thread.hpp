// One I/O thread: an event loop with its own connections, verified tokens, copy of the authorization index and
// counters. Nothing in it is shared, so the request path takes no lock.
//
// The loop runs in turns: everything that is ready, then the tasks plugins asked for (plugins/turn.hpp), then a wait. The
// processor time of each turn is measured, so that what holds the thread is seen; not having a processor is no turn's fault.
// Thread: members by this thread only, except post() and what says otherwise.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/intrusive/list.hpp>

#include "core/authorization/authority.hpp"
#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/log.hpp"
#include "core/identity/tokens.hpp"
#include "core/net/byte_budget.hpp"
#include "core/net/limits.hpp"
#include "core/plugins/executor.hpp"
#include "core/plugins/turn.hpp"

namespace via::net {

// What the sweep and shutdown see of a connection.
class Connection : public boost::intrusive::list_base_hook<> {
 public:
  virtual ~Connection() = default;
  std::uint64_t deadline_ms = 0;  // on the thread's coarse clock; 0 = none
  bool busy = false;              // a request is being served
  // The deadline passed: end what it waits for.
  virtual void expire() = 0;
  // It waits for its next request, and is told to close: its place is wanted by somebody who has something to say.
  virtual bool close_idle() = 0;
  // Shutdown: idle connections close now, busy ones after their answer.
  virtual void drain() = 0;
  // Its running operation belongs to one of these instances, and was admitted under an index older than `before`.
  virtual bool works_for(const std::vector<std::string>& instances, std::uint64_t before) const = 0;
  virtual void cancel_operation() = 0;
  // It was cancelled a grace ago and has not ended: the connection answers without it and works for nobody any more.
  virtual void give_up_operation() = 0;
  // The operation it waits for is past its deadline (and then, past the grace behind it).
  std::uint64_t operation_deadline_ms = 0;  // on the thread's coarse clock; 0 = none
  virtual void operation_overdue() = 0;
};

// How far the wait for operations has come whose rights have ended, or whose add-on shall be quiet.
enum class Insist { wait, cancel, give_up };

// Between telling an operation to end and doing without it. What a plugin commits, it asks for before the commit (via_call.cancelled),
// so an operation that is given up this long after it was cancelled changes nothing any more.
inline constexpr std::uint64_t kGraceMs = 2000;

// Written by the thread, read by whoever scrapes.
struct Counters {
  static constexpr std::array<double, 12> kBounds{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3,
                                                  5e-3,  10e-3,  50e-3,  250e-3, 1.0,  10.0};
  std::array<std::atomic<std::uint64_t>, 6> by_class{};  // status / 100
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> latency{};
  std::atomic<std::uint64_t> latency_ns_sum{0};
  std::atomic<std::uint64_t> connections{0}, accepted{0}, refused{0};
  std::atomic<std::uint64_t> inline_operations{0}, worker_operations{0}, abandoned_operations{0};
  std::atomic<std::uint64_t> long_turns{0};

  // One writer: a load and a store instead of a locked addition.
  static void add(std::atomic<std::uint64_t>& c, std::uint64_t n = 1) noexcept {
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

class IoThread {
 public:
  using Lane = plugins::Executor::Lane;
  // `lane`: where the work of its connections is done that is not an add-on's.
  IoThread(const Clock& clock, Entropy& entropy, const Limits& limits, plugins::Executor& workers, ByteBudget& memory, Lane lane = Lane::requests);
  ~IoThread();

  boost::asio::io_context& context() noexcept { return context_; }
  // Turns that took long are logged there, at most one a second. Before start().
  void log_to(Logger& log) { log_ = &log; }
  void start();  // runs the loop on a thread of its own
  void stop();   // any thread: ends the loop
  void join();

  const authorization::Index& index() const noexcept { return *index_; }
  const std::shared_ptr<const authorization::Index>& shared_index() const noexcept { return index_; }
  void set_index(std::shared_ptr<const authorization::Index> index) {
    index_ = std::move(index);
    ++index_serial_;
  }
  // Of the index in use. What is admitted under it is not what quiesce() waits for.
  std::uint64_t index_serial() const noexcept { return index_serial_; }
  identity::TokenCache& tokens() noexcept { return tokens_; }
  Counters& counters() noexcept { return counters_; }
  const Clock& clock() const noexcept { return clock_; }
  const Limits& limits() const noexcept { return limits_; }
  void set_limits(const Limits& limits) { limits_ = limits; }
  plugins::Executor& workers() noexcept { return workers_; }
  Lane lane() const noexcept { return lane_; }
  ByteBudget& memory() noexcept { return memory_; }

  void add(Connection& connection) { connections_.push_back(connection); }
  void remove(Connection& connection) { connections_.erase(connections_.iterator_to(connection)); }
  std::size_t connection_count() const noexcept { return connections_.size(); }
  std::uint64_t coarse_ms() const noexcept { return coarse_ms_; }
  // The wall clock, read once a turn: a turn is a millisecond or two, a token's time limits are whole seconds.
  std::int64_t turn_unix_ms() noexcept {
    if (turn_unix_ms_ == 0) turn_unix_ms_ = clock_.unix_ms();
    return turn_unix_ms_;
  }
  void drain_connections();
  // Closes one connection that waits for its next request; false when it finds none soon.
  bool close_idle_connection();
  void expire_all();
  void give_up_all();
  // How many connections work for these instances since before the index of that serial, and what is done about it.
  std::size_t count_working(const std::vector<std::string>& instances, std::uint64_t before, Insist insist);
  bool draining() const noexcept { return draining_; }
  // Operations that were given up and have not come back.
  std::size_t abandoned = 0;
  // Token verifications under way for this thread's connections; bounded by who starts them.
  std::size_t verifications = 0;

  // 16 bytes: random for this thread, then a counter.
  void next_request_id(std::uint8_t (&id)[16]) noexcept;

 private:
  void loop();
  void measure_turn();
  void sweep();

  const Clock& clock_;
  Limits limits_;
  plugins::Executor& workers_;
  ByteBudget& memory_;
  const Lane lane_;
  plugins::Turn turn_;
  identity::TokenCache tokens_;
  std::shared_ptr<const authorization::Index> index_ = std::make_shared<const authorization::Index>();
  std::uint64_t index_serial_ = 0;
  boost::intrusive::list<Connection> connections_;
  Counters counters_;
  std::uint64_t coarse_ms_ = 0;
  Logger* log_ = nullptr;
  std::uint64_t turn_cpu_ns_ = 0, logged_ns_ = 0;
  std::int64_t turn_unix_ms_ = 0;  // 0 = not read in this turn
  std::array<std::uint8_t, 8> id_prefix_{};
  std::uint64_t id_counter_ = 0;
  bool draining_ = false;
  std::atomic<bool> stopping_{false};
  // Destroyed before what the connections in it use.
  boost::asio::io_context context_{BOOST_ASIO_CONCURRENCY_HINT_1};
  boost::asio::steady_timer sweep_timer_{context_};
  std::thread thread_;
};

}  // namespace via::net
