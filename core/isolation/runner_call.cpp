#include "core/isolation/runner_call.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace via::isolation {
namespace {

constexpr std::size_t kHighWater = 256U << 10;
constexpr std::size_t kBuilt = 64U << 10;            // what is built before it is handed over
constexpr std::size_t kLongestMessage = 16U << 10;
constexpr std::size_t kLongestDetails = kMaximumPayload - (64U << 10);
constexpr std::uint64_t kProgressPauseNs = 50'000'000;

std::string_view view(via_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }

}  // namespace

RunnerCall::RunnerCall(Owner& owner, Channel& channel, const Clock& clock, std::uint64_t id, const CallMessage& message)
    : owner_(owner), channel_(channel), clock_(clock), id_(id), bytes_(answers_bytes(message.verb)) {
  abi_.struct_size = sizeof abi_;
  abi_.host_data = this;
  abi_.request_id = message.request_id;
  abi_.deadline_ns = message.remaining_ns == 0 ? 0 : clock.mono_ns() + message.remaining_ns;
  abi_.cancelled = [](const via_call* c) -> std::int32_t { return self(c).cancelled() ? 1 : 0; };
  abi_.on_cancel = [](via_call* c, via_fn fn, void* data) -> via_status {
    RunnerCall& call = self(c);
    if (!call.usable()) return VIA_E_INTERNAL;
    {
      const std::lock_guard lock(call.mutex_);
      if (!call.cancelled()) {
        call.cancel_fn_ = fn;
        call.cancel_data_ = data;
        return VIA_OK;
      }
    }
    fn(data);
    return VIA_OK;
  };
  abi_.read = [](via_call*, std::uint8_t*, std::size_t, std::uint32_t, std::size_t* got) -> via_status {
    *got = 0;  // the whole body is in the arguments
    return VIA_OK;
  };
  abi_.head = [](via_call* c, const via_head* head) -> via_status {
    RunnerCall& call = self(c);
    if (!call.usable()) return VIA_E_INTERNAL;
    if (!call.bytes_) return VIA_E_UNSUPPORTED;
    if (call.begun_) return VIA_E_PRECONDITION;
    const std::lock_guard lock(call.mutex_);
    Packet packet(Kind::head, call.id_);
    packet.u16(head->http_status).bytes(head->content_type).pairs(head->headers, head->headers_len);
    if (!packet.fits() || head->headers_len > kMaximumItems) return VIA_E_INVALID;
    call.begun_ = true;
    call.head_ = std::move(packet);
    return VIA_OK;
  };
  abi_.write = [](via_call* c, via_bytes chunk, std::uint32_t flags) -> via_status {
    RunnerCall& call = self(c);
    if (const via_status room = call.make_room(flags); room != VIA_OK) return room;
    if (chunk.len > 0) call.built_.append({reinterpret_cast<const char*>(chunk.ptr), chunk.len});
    return VIA_OK;
  };
  abi_.reserve = [](via_call* c, std::size_t min, std::uint32_t flags, std::uint8_t** buf, std::size_t* cap) -> via_status {
    RunnerCall& call = self(c);
    if (const via_status room = call.make_room(flags); room != VIA_OK) return room;
    *buf = reinterpret_cast<std::uint8_t*>(call.built_.reserve(min));
    *cap = call.built_.capacity() - call.built_.size();
    return VIA_OK;
  };
  abi_.commit = [](via_call* c, std::size_t n) { self(c).built_.commit(n); };
  abi_.progress = [](via_call* c, std::uint64_t done, std::uint64_t total) {
    RunnerCall& call = self(c);
    if (!call.usable() || call.bytes_) return;
    const std::uint64_t now = call.clock_.mono_ns();
    if (now - call.told_ns_ < kProgressPauseNs && done != total) return;
    call.told_ns_ = now;
    Packet packet(Kind::progress, call.id_);
    packet.u64(done).u64(total);
    call.channel_.send(packet);
  };
  abi_.complete = [](via_call* c, via_status st, via_str why, via_str result) {
    self(c).complete(st, view(why), view(result));
  };
}

bool RunnerCall::usable() {
  if (!over_.load(std::memory_order_acquire)) return true;
  owner_.broke_a_rule("the plugin used a call that it had completed");
  return false;
}

via_status RunnerCall::make_room(std::uint32_t flags) {
  if (!usable()) return VIA_E_INTERNAL;
  if (!bytes_) return VIA_E_UNSUPPORTED;
  begun_ = true;
  if (cancelled()) return VIA_E_CANCELLED;
  if (built_.size() < kBuilt) return VIA_OK;
  std::unique_lock lock(mutex_);
  const auto full = [&] { return queue_.size() - at_ >= kHighWater; };
  if (full()) {
    if ((flags & VIA_WAIT) == 0) return VIA_E_WOULD_BLOCK;
    while (full() && !cancelled()) {
      if (abi_.deadline_ns != 0) {
        const std::uint64_t now = clock_.mono_ns();
        if (now >= abi_.deadline_ns) return VIA_E_DEADLINE;
        changed_.wait_for(lock, std::chrono::nanoseconds(std::min<std::uint64_t>(abi_.deadline_ns - now, 100'000'000)));
      } else {
        changed_.wait(lock);
      }
    }
    if (cancelled()) return VIA_E_CANCELLED;
  }
  hand_over();
  (void)pump();
  return VIA_OK;
}

void RunnerCall::hand_over() {
  if (at_ == queue_.size()) {
    queue_.clear();
    at_ = 0;
  }
  if (queue_.empty()) std::swap(queue_, built_);
  else queue_.append(built_.view());
  built_.clear();
}

bool RunnerCall::pump() {
  if (sent_) return false;
  Packet out;
  if (!head_.empty()) out = std::exchange(head_, Packet());
  while (at_ < queue_.size() && room_ > 0) {
    const std::size_t n = std::min({queue_.size() - at_, kPiece, static_cast<std::size_t>(room_)});
    out.begin(Kind::data, id_);
    out.raw(queue_.view().substr(at_, n));
    at_ += n;
    room_ -= n;
  }
  if (at_ == queue_.size()) {
    queue_.clear();
    at_ = 0;
    if (done_) {
      sent_ = true;
      queue_ = Buffer();
      out.begin(Kind::complete, id_);
      out.u32(static_cast<std::uint32_t>(status_)).bytes(message_).bytes(details_);
    }
  }
  if (!out.empty()) channel_.send(out);
  return sent_;
}

void RunnerCall::give(std::uint64_t bytes) {
  bool ended = false;
  {
    const std::lock_guard lock(mutex_);
    room_ = std::min<std::uint64_t>(room_ + bytes, kWindow);
    ended = pump();
  }
  changed_.notify_all();
  if (ended) owner_.ended(id_);
}

void RunnerCall::cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  via_fn fn = nullptr;
  void* data = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (!done_ && cancel_fn_ != nullptr) {
      fn = std::exchange(cancel_fn_, nullptr);
      data = cancel_data_;
      cancel_runner_ = std::this_thread::get_id();
    }
  }
  changed_.notify_all();
  if (fn == nullptr) return;
  fn(data);
  {
    const std::lock_guard lock(mutex_);
    cancel_runner_ = {};
  }
  changed_.notify_all();
}

void RunnerCall::complete(via_status st, std::string_view message, std::string_view details) {
  if (over_.exchange(true, std::memory_order_acq_rel)) return owner_.broke_a_rule("the plugin answered a call twice");
  bool ended = false;
  {
    std::unique_lock lock(mutex_);
    cancel_fn_ = nullptr;
    // A cancel function that runs now must end before the call does, unless it is the one that ends the call.
    changed_.wait(lock, [&] { return cancel_runner_ == std::thread::id() || cancel_runner_ == std::this_thread::get_id(); });
    status_ = st;
    message_.assign(message.substr(0, kLongestMessage));
    details_.assign(details);
    if (details_.size() > kLongestDetails) {
      status_ = VIA_E_INTERNAL;
      message_ = "the plugin's answer is too long";
      details_.clear();
    }
    if (status_ == VIA_OK) {
      hand_over();
      built_ = Buffer();
    } else {  // what was written is dropped, or the stream is cut where it is
      head_ = Packet();
      queue_.clear();
      at_ = 0;
    }
    done_ = true;
    ended = pump();
  }
  if (ended) owner_.ended(id_);
}

}  // namespace via::isolation
