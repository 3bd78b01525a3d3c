#include "core/net/io_thread.hpp"

#include <pthread.h>
#include <time.h>

#include <algorithm>

#include <boost/asio/post.hpp>

namespace via::net {

namespace {
constexpr auto kSweep = std::chrono::milliseconds(250);
constexpr std::uint64_t kLongTurnNs = 20'000'000, kLogPauseNs = 1'000'000'000;

std::uint64_t thread_cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}
}  // namespace

IoThread::IoThread(const Clock& clock, Entropy& entropy, const Limits& limits, plugins::Executor& workers, ByteBudget& memory,
                   Lane lane)
    : clock_(clock), limits_(limits), workers_(workers), memory_(memory), lane_(lane) {
  entropy.fill(id_prefix_);
  coarse_ms_ = clock.mono_ns() / 1'000'000;
}

IoThread::~IoThread() {
  stop();
  join();
}

void IoThread::join() {
  if (thread_.joinable()) thread_.join();
}

void IoThread::start() {
  sweep();
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), lane_ == Lane::control ? "via-admin" : "via-io");
    loop();
  });
}

void IoThread::stop() {
  stopping_.store(true, std::memory_order_release);
  boost::asio::post(context_, [] {});
}

void IoThread::loop() {
  turn_.enter();
  turn_cpu_ns_ = thread_cpu_ns();
  while (!stopping_.load(std::memory_order_acquire)) {
    // One round: wait for something, then everything else that is ready, bounded so that turns end.
    if (context_.run_one() == 0) break;
    for (int i = 0; i < 256 && context_.poll_one() != 0; ++i) {
    }
    turn_.finish();
    turn_unix_ms_ = 0;
    measure_turn();
  }
  turn_.finish();
  plugins::Turn::leave();
}

void IoThread::measure_turn() {
  const std::uint64_t now = thread_cpu_ns(), took = now - turn_cpu_ns_;
  turn_cpu_ns_ = now;
  if (took <= kLongTurnNs) return;
  Counters::add(counters_.long_turns);
  const std::uint64_t mono = clock_.mono_ns();
  if (!log_ || (logged_ns_ != 0 && mono - logged_ns_ < kLogPauseNs)) return;
  logged_ns_ = mono;
  log_->warn("io_turn_long", {{"ms", took / 1'000'000}});
}

void IoThread::sweep() {
  coarse_ms_ = clock_.mono_ns() / 1'000'000;
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = *it++;  // expire() may remove it
    if (connection.deadline_ms != 0 && coarse_ms_ >= connection.deadline_ms) {
      connection.deadline_ms = 0;
      connection.expire();
    } else if (connection.operation_deadline_ms != 0 && coarse_ms_ >= connection.operation_deadline_ms) {
      connection.operation_overdue();
    }
  }
  sweep_timer_.expires_after(kSweep);
  sweep_timer_.async_wait([this](const boost::system::error_code& ec) {
    if (!ec) sweep();
  });
}

void IoThread::drain_connections() {
  draining_ = true;
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = *it++;
    connection.drain();
  }
}

bool IoThread::close_idle_connection() {
  constexpr int kMost = 256;  // looked at, from the oldest on
  int looked = 0;
  for (Connection& connection : connections_) {
    if (connection.close_idle()) return true;
    if (++looked == kMost) break;
  }
  return false;
}

void IoThread::expire_all() {
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = *it++;
    connection.expire();
  }
}

void IoThread::give_up_all() {
  for (auto it = connections_.begin(); it != connections_.end();) {
    Connection& connection = *it++;
    connection.give_up_operation();
  }
}

std::size_t IoThread::count_working(const std::vector<std::string>& instances, std::uint64_t before, Insist insist) {
  std::size_t n = 0;
  for (Connection& connection : connections_) {
    if (!connection.works_for(instances, before)) continue;
    if (insist == Insist::give_up) {
      connection.give_up_operation();  // from here on it works for nobody
      continue;
    }
    ++n;
    if (insist == Insist::cancel) connection.cancel_operation();
  }
  return n;
}

void IoThread::next_request_id(std::uint8_t (&id)[16]) noexcept {
  std::copy(id_prefix_.begin(), id_prefix_.end(), id);
  std::uint64_t n = ++id_counter_;
  for (int i = 15; i >= 8; --i) {
    id[i] = static_cast<std::uint8_t>(n & 0xff);
    n >>= 8;
  }
}

}  // namespace via::net
