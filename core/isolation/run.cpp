#include "core/isolation/run.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "core/isolation/run_call.hpp"

namespace via::isolation {
namespace {

using std::chrono::milliseconds;

constexpr int kTickMs = 500;  // how often the limits of calls in flight are looked at
constexpr std::uint64_t kCancelledLimitNs = 60'000'000'000U;
constexpr std::string_view kEnded =
    "The add-on's process ended while it worked on this request, so what became of it is not known. The process is started "
    "again at its next use.";

}  // namespace

Run::Run(Setup setup) : setup_(std::move(setup)) {}

Run::~Run() {
  if (channel_) channel_->shut();
  if (thread_.joinable()) thread_.join();
}

std::string Run::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

Result<void> Run::start() {
  started_ns_ = setup_.services.clock.mono_ns();
  Result<void> spawned;
  thread_ = std::thread([this, &spawned] {
    ::pthread_setname_np(::pthread_self(), "via-isolation");
    spawned = spawn();
    const bool runs = spawned.has_value();
    {
      const std::lock_guard lock(mutex_);
      launched_ = true;
      gone_ = !runs;
      changed_.notify_all();
    }
    if (runs) loop();
  });
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return launched_; });
    if (!spawned) {
      ended_ = true;
      return spawned;
    }
  }
  return await_ready();
}

Result<void> Run::start(FileHandle socket) {
  started_ns_ = setup_.services.clock.mono_ns();
  channel_ = std::make_unique<Channel>(std::move(socket));
  launched_ = true;
  thread_ = std::thread([this] { loop(); });
  return await_ready();
}

Result<void> Run::await_ready() {
  const plugins::Manifest& manifest = setup_.manifest;
  Packet hello(Kind::hello, 0);
  hello.bytes(manifest.id).bytes(manifest.text);
  int level = 0;
  while (level < 6 && !setup_.services.log.enabled(static_cast<Level>(level))) ++level;
  hello.u8(static_cast<std::uint8_t>(level));
  const auto& settings = setup_.services.settings;
  const auto mine = [&](const auto& entry) {
    return std::any_of(manifest.types.begin(), manifest.types.end(), [&](const auto& t) { return t.id == entry.first; });
  };
  hello.u32(static_cast<std::uint32_t>(std::count_if(settings.begin(), settings.end(), mine)));
  for (const auto& entry : settings)
    if (mine(entry)) hello.bytes(entry.first).bytes(entry.second);
  if (!hello.fits()) {
    channel_->shut();
    return fail(Code::bad_request, "its settings are too long");
  }
  channel_->send(hello);
  std::unique_lock lock(mutex_);
  const bool told = changed_.wait_for(lock, milliseconds(setup_.options.start_ms), [&] { return ready_ || ended_; });
  if (ready_ && !ended_) return {};
  if (!told && reason_.empty()) reason_ = "it was not ready in time";
  lock.unlock();
  channel_->shut();
  (void)wait_gone(setup_.options.stop_ms);
  return fail(Code::unavailable, reason());
}

void Run::stop() {
  if (!asked_.exchange(true) && channel_ && !ended()) {
    Packet packet(Kind::stop, 0);
    channel_->send(packet);
  }
  if (!wait_gone(setup_.options.stop_ms) && channel_) {
    channel_->shut();
    (void)wait_gone(setup_.options.stop_ms);
  }
}

bool Run::wait_gone(int limit_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, milliseconds(limit_ms), [&] { return gone_; });
}

// ---- the loop --------------------------------------------------------------------------------------------------

void Run::loop() {
  std::string problem, output;
  std::uint64_t quiet_since = 0;
  for (;;) {
    std::array<pollfd, 3> watched{{{channel_->socket(), POLLIN, 0}, {channel_->wake_fd(), POLLIN, 0}, {output_.get(), POLLIN, 0}}};
    if (channel_->wants_write()) watched[0].events |= POLLOUT;
    const std::uint64_t now = setup_.services.clock.mono_ns();
    bool busy = false;
    {
      const std::lock_guard lock(mutex_);
      busy = !calls_.empty();
      // Nothing in flight for a second: whoever sends next wakes this thread.
      if (busy) quiet_since = 0;
      else if (quiet_since == 0) quiet_since = now;
      idle_.store(!busy && now - quiet_since > 1'000'000'000U, std::memory_order_seq_cst);
    }
    const int n = ::poll(watched.data(), output_ ? 3 : 2, idle_ ? -1 : kTickMs);
    if (n < 0 && errno != EINTR) break;
    if ((watched[0].revents & POLLOUT) != 0) channel_->flush();
    if ((watched[1].revents & POLLIN) != 0) channel_->clear_wake();
    if (output_ && watched[2].revents != 0) say(output, false);
    if ((watched[0].revents & ~POLLOUT) != 0 &&
        !channel_->receive([this](const Frame& frame) { return on_frame(frame); }, problem))
      break;
    if (busy) look_at_limits();
  }
  if (!problem.empty()) (void)broken(problem);
  channel_->shut();
  {
    const std::lock_guard lock(mutex_);
    ended_.store(true, std::memory_order_release);
    changed_.notify_all();
  }
  end_process();
  if (!asked_) {
    plugins::Metrics& metrics = setup_.services.metrics;
    metrics.record(metrics.define(plugins::Metrics::Kind::counter, kCrashesMetric, {"addon_type"}), {setup_.type}, 1);
  }
  if (output_) say(output, true);
  fail_all();
  const std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

bool Run::broken(std::string_view what) {
  const std::lock_guard lock(mutex_);
  if (reason_.empty()) reason_ = what;
  return false;
}

void Run::fail_all() {
  std::unordered_map<std::uint64_t, std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  if (!calls.empty())
    setup_.services.log.warn("plugin_calls_failed", {{"addon_type", setup_.type}, {"calls", calls.size()}});
  for (const auto& [id, call] : calls) finish(call, VIA_E_UNAVAILABLE, kEnded, {});
}

void Run::look_at_limits() {
  const std::uint64_t now = setup_.services.clock.mono_ns();
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, call] : calls_) {
      const std::uint64_t limit = call->limit_ns.load(std::memory_order_relaxed);
      if (limit != 0 && now >= limit) late = true;
    }
  }
  if (!late) return;
  (void)broken("a call did not end within its time");
  channel_->shut();
}

// ---- what the host asks ----------------------------------------------------------------------------------------

Result<std::string> Run::ask(Packet& packet, std::uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return fail(Code::unavailable, std::string(kEnded));
    replies_.emplace(id, Asked{});
  }
  channel_->send(packet);
  std::unique_lock lock(mutex_);
  const bool told = changed_.wait_for(lock, milliseconds(setup_.options.start_ms), [&] { return ended_ || replies_.at(id).answered; });
  Asked asked = std::move(replies_.at(id));
  if (asked.answered) {
    replies_.erase(id);
    return std::move(asked.payload);
  }
  if (!told && reason_.empty()) reason_ = "it did not answer within its time";
  lock.unlock();
  channel_->shut();
  return fail(Code::unavailable, std::string(kEnded));
}

Result<std::uint32_t> Run::create(std::uint64_t number, const via_host* host, const std::string& type, const std::string& addon,
                                  const std::string& storage) {
  {
    const std::lock_guard lock(instances_mutex_);
    instances_.emplace(number, host);
  }
  const std::uint64_t id = next_id();
  Packet packet(Kind::create, id);
  packet.u64(number).bytes(type).bytes(addon).bytes(storage);
  auto answer = ask(packet, id);
  Result<std::uint32_t> out = std::uint32_t{0};
  if (!answer) {
    out = answer.error();
  } else {
    Reader in(*answer);
    const auto status = static_cast<via_status>(in.u32());
    const std::uint32_t offers = in.u32();
    const std::string message(in.bytes());
    if (!in.done()) {
      (void)broken("it broke the protocol (created)");
      channel_->shut();
      out = fail(Code::unavailable, std::string(kEnded));
    } else if (status != VIA_OK) {
      out = fail(Code::internal, message);
    } else {
      return offers;
    }
  }
  const std::lock_guard lock(instances_mutex_);
  instances_.erase(number);
  return out;
}

void Run::destroy(std::uint64_t number) {
  const std::uint64_t id = next_id();
  Packet packet(Kind::destroy, id);
  packet.u64(number);
  (void)ask(packet, id);
  const std::lock_guard lock(instances_mutex_);
  instances_.erase(number);
}

void Run::submit(Verb verb, std::uint64_t instance, via_call* abi, const std::function<void(Packet&)>& put, via_bytes body,
                 After after) {
  const auto refuse = [&](via_status status, std::string_view why) {
    if (after) after(status);
    abi->complete(abi, status, {why.data(), why.size()}, {nullptr, 0});
  };
  const std::uint64_t now = setup_.services.clock.mono_ns();
  std::uint64_t remaining = 0;
  if (abi->deadline_ns != 0) remaining = abi->deadline_ns > now ? abi->deadline_ns - now : 1;
  const std::uint64_t id = next_id();
  Packet packet;
  begin_call(packet, id, verb, instance, abi->request_id, remaining, body.len);
  if (put) put(packet);
  if (body.len > kMaximumBody || packet.payload() > kMaximumPayload - kPiece)
    return refuse(VIA_E_INVALID, "The request is too large for an add-on in a process of its own.");
  std::size_t at = std::min(body.len, kPiece);
  const auto piece = [&](std::size_t from, std::size_t n) {
    return n == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(body.ptr) + from, n);
  };
  packet.raw(piece(0, at));

  auto call = std::make_shared<Call>();
  call->id = id;
  call->abi = abi;
  call->bytes = answers_bytes(verb);
  call->after = std::move(after);
  call->run = this;
  if (abi->deadline_ns != 0)
    call->limit_ns = std::max(abi->deadline_ns, now) + static_cast<std::uint64_t>(setup_.options.grace_ms) * 1'000'000U;
  bool registered = false;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) registered = calls_.emplace(id, call).second;
  }
  if (!registered) {
    after = std::move(call->after);
    return refuse(VIA_E_UNAVAILABLE, kEnded);
  }
  // The function may run at once, and until complete() has returned; the call is in the table until then.
  (void)abi->on_cancel(
      abi,
      [](void* data) {
        Call& c = *static_cast<Call*>(data);
        c.cancelled.store(true, std::memory_order_relaxed);
        if (c.limit_ns == 0) c.limit_ns = c.run->setup_.services.clock.mono_ns() + kCancelledLimitNs;
        const std::lock_guard lock(c.mutex);
        if (!c.sent) return;  // who sends it sends this behind it
        Packet cancel(Kind::cancel, c.id);
        c.run->channel_->send(cancel);
      },
      call.get());
  channel_->send(packet);
  if (idle_.load(std::memory_order_seq_cst)) channel_->wake();
  while (at < body.len && channel_->wait_for_room()) {
    const std::size_t n = std::min(body.len - at, kPiece);
    Packet more(Kind::body, id);
    more.raw(piece(at, n));
    channel_->send(more);
    at += n;
  }
  bool over = false;
  {
    const std::lock_guard lock(call->mutex);
    call->sent = true;
    if (call->cancelled.load(std::memory_order_relaxed)) {
      Packet cancel(Kind::cancel, id);
      channel_->send(cancel);
    }
    over = call->over && !call->writing;
  }
  if (over) deliver(*call);
}

}  // namespace via::isolation
