#include "core/plugins/call.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/plugins/addon_host.hpp"

namespace via::plugins {
namespace {

std::string_view view(via_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }

Code code_of(via_status status) {
  switch (status) {
    case VIA_E_INVALID: return Code::bad_request;
    case VIA_E_DENIED: return Code::scope_denied;
    case VIA_E_NOT_FOUND: return Code::not_found;
    case VIA_E_CONFLICT: return Code::conflict;
    case VIA_E_PRECONDITION: return Code::conflict;
    case VIA_E_EXHAUSTED: return Code::queue_full;
    case VIA_E_UNSUPPORTED: return Code::unsupported;
    case VIA_E_UNAVAILABLE: return Code::unavailable;
    case VIA_E_DEADLINE: return Code::deadline_exceeded;
    case VIA_E_CANCELLED: return Code::unavailable;
    default: return Code::internal;
  }
}

bool good_code(std::string_view code) {
  return !code.empty() && code.size() <= 40 &&
         std::all_of(code.begin(), code.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

}  // namespace

Error error_of(via_status status, std::string_view message, std::string_view details_json) {
  Error error = fail(code_of(status), std::string(message));
  if (details_json.empty()) return error;
  auto details = nlohmann::json::parse(details_json, nullptr, false);
  if (!details.is_object()) return error;
  if (const auto code = details.find("code"); code != details.end()) {
    if (code->is_string() && good_code(code->get_ref<const std::string&>())) error.name = code->get<std::string>();
    // A full disk is the operator's trouble and no quota of the caller's: it has a code of its own.
    if (error.code == Code::queue_full && error.name == info(Code::disk_full).name) error.code = Code::disk_full;
    details.erase(code);
  }
  details.erase("message");
  details.erase("request_id");
  if (!details.empty()) {
    const std::string text = details.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    error.details = text.substr(1, text.size() - 2);
  }
  return error;
}

Call::Call(const Clock& clock) : clock_(clock) {
  abi_.struct_size = sizeof abi_;
  abi_.host_data = this;
  abi_.cancelled = abi_cancelled;
  abi_.on_cancel = abi_on_cancel;
  abi_.read = abi_read;
  abi_.head = abi_head;
  abi_.write = abi_write;
  abi_.complete = abi_complete;
  abi_.reserve = abi_reserve;
  abi_.commit = abi_commit;
}

void Call::start(Buffer& out, Framer& framer, const via_id& request_id, std::uint64_t deadline_ns, Meter* meter) {
  out_ = &out;
  framer_ = &framer;
  meter_ = meter;
  body_start_ = out.size();
  begun_ = false;
  streaming_ = false;
  cancelled_.store(false, std::memory_order_relaxed);
  given_up_.store(false, std::memory_order_relaxed);
  waiter_ = nullptr;
  status_ = VIA_OK;
  message_.clear();
  details_.clear();
  if (has_cancel_.load(std::memory_order_relaxed)) {
    const std::lock_guard lock(mutex_);
    cancel_fn_ = nullptr;
    has_cancel_.store(false, std::memory_order_relaxed);
  }
  chunk_full_ = false;
  abi_.request_id = request_id;
  abi_.deadline_ns = deadline_ns;
  state_.store(kRunning, std::memory_order_release);
}

bool Call::wait(Waiter& waiter) noexcept {
  waiter_ = &waiter;
  {
    const std::lock_guard lock(mutex_);
    if (chunk_full_ || given_up()) return false;
    int expected = kRunning;
    if (!state_.compare_exchange_strong(expected, kWaiting, std::memory_order_acq_rel)) return false;
  }
  return true;
}

bool Call::take_chunk(Buffer& into) {
  {
    const std::lock_guard lock(mutex_);
    if (!chunk_full_) return false;
    std::swap(into, chunk_);
    chunk_.clear();
    chunk_full_ = false;
  }
  changed_.notify_all();
  return true;
}

void Call::begin_if_needed() {
  if (begun_) return;
  begun_ = true;
  framer_->begin(*out_, nullptr);
  body_start_ = out_->size();
}

void Call::notify() {
  int expected = kWaiting;
  if (state_.compare_exchange_strong(expected, kRunning, std::memory_order_acq_rel)) waiter_->wake();
}

via_status Call::make_room(std::uint32_t flags) {
  if (done()) return VIA_E_INTERNAL;
  begin_if_needed();
  if (cancelled()) return VIA_E_CANCELLED;
  if (out_->size() - body_start_ < kHighWater) return VIA_OK;
  std::unique_lock lock(mutex_);
  if (chunk_full_) {
    if ((flags & VIA_WAIT) == 0) return VIA_E_WOULD_BLOCK;
    while (chunk_full_ && !cancelled()) {
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
  streaming_ = true;
  std::swap(chunk_, *out_);
  out_->clear();
  body_start_ = 0;
  chunk_full_ = true;
  lock.unlock();
  notify();
  return VIA_OK;
}

via_status Call::wait_for_memory(std::size_t bytes, std::uint32_t flags) {
  for (;;) {
    const auto answer = meter_->grow_to(bytes);
    if (answer == Meter::Answer::yes) return VIA_OK;
    if (answer == Meter::Answer::never) return VIA_E_UNAVAILABLE;
    if (cancelled()) return VIA_E_CANCELLED;
    if ((flags & VIA_WAIT) == 0) return VIA_E_WOULD_BLOCK;
    if (abi_.deadline_ns != 0 && clock_.mono_ns() >= abi_.deadline_ns) return VIA_E_DEADLINE;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(5));
  }
}

void Call::cancel() {
  cancelled_.store(true, std::memory_order_relaxed);
  via_fn fn = nullptr;
  void* data = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (state_.load(std::memory_order_acquire) != kDone && cancel_fn_ != nullptr) {
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

void Call::give_up() noexcept {
  cancelled_.store(true, std::memory_order_relaxed);
  if (given_up_.exchange(true, std::memory_order_acq_rel)) return;
  {
    // As wait() takes it: a connection that begins to wait sees the flag, or is seen waiting.
    const std::lock_guard lock(mutex_);
    notify();
  }
  changed_.notify_all();
}

Error Call::error() const { return error_of(status_, message_, details_); }

std::int32_t Call::abi_cancelled(const via_call* c) { return self(c).cancelled() ? 1 : 0; }

via_status Call::abi_on_cancel(via_call* c, via_fn fn, void* data) {
  Call& call = self(c);
  {
    const std::lock_guard lock(call.mutex_);
    if (call.done()) return VIA_E_INTERNAL;
    if (!call.cancelled()) {
      call.cancel_fn_ = fn;
      call.cancel_data_ = data;
      call.has_cancel_.store(true, std::memory_order_relaxed);
      return VIA_OK;
    }
  }
  fn(data);
  return VIA_OK;
}

via_status Call::abi_read(via_call*, std::uint8_t*, std::size_t, std::uint32_t, std::size_t* got) {
  *got = 0;  // the whole body is in via_op_args.params
  return VIA_OK;
}

via_status Call::abi_head(via_call* c, const via_head* head) {
  Call& call = self(c);
  if (call.done()) return VIA_E_INTERNAL;
  if (call.begun_) return VIA_E_PRECONDITION;
  call.begun_ = true;
  call.framer_->begin(*call.out_, head);
  call.body_start_ = call.out_->size();
  return VIA_OK;
}

via_status Call::abi_write(via_call* c, via_bytes chunk, std::uint32_t flags) {
  Call& call = self(c);
  if (const via_status room = call.make_room(flags); room != VIA_OK) return room;
  if (chunk.len >= kHighWater && call.meter_ != nullptr)
    if (const via_status room = call.wait_for_memory(call.out_->size() + chunk.len, flags); room != VIA_OK) return room;
  call.out_->append({reinterpret_cast<const char*>(chunk.ptr), chunk.len});
  return VIA_OK;
}

via_status Call::abi_reserve(via_call* c, std::size_t min, std::uint32_t flags, std::uint8_t** buf, std::size_t* cap) {
  Call& call = self(c);
  if (const via_status room = call.make_room(flags); room != VIA_OK) return room;
  *buf = reinterpret_cast<std::uint8_t*>(call.out_->reserve(min));
  *cap = call.out_->capacity() - call.out_->size();
  return VIA_OK;
}

void Call::abi_commit(via_call* c, std::size_t n) { self(c).out_->commit(n); }

void Call::abi_complete(via_call* c, via_status st, via_str message, via_str details) {
  Call& call = self(c);
  if (call.done()) return;
  call.status_ = st;
  call.message_.assign(view(message));
  call.details_.assign(view(details));
  if (st == VIA_OK) call.begin_if_needed();
  if (call.has_cancel_.load(std::memory_order_relaxed)) {
    // A cancel function that runs now must end before the call does, unless it is the one that ends the call.
    std::unique_lock lock(call.mutex_);
    call.cancel_fn_ = nullptr;
    call.changed_.wait(lock, [&] {
      return call.cancel_runner_ == std::thread::id() || call.cancel_runner_ == std::this_thread::get_id();
    });
  }
  // When the connection waits, the call cannot end before it is woken; else nothing of it may be touched any more.
  if (call.state_.exchange(kDone, std::memory_order_acq_rel) == kWaiting) call.waiter_->wake();
}

// ---- control calls ---------------------------------------------------------------------------------------------

ControlCall::ControlCall(const Clock& clock, std::uint64_t timeout_ns, const Watch* watch) : watch_(watch) {
  abi_.struct_size = sizeof abi_;
  abi_.host_data = this;
  abi_.deadline_ns = timeout_ns == 0 ? 0 : clock.mono_ns() + timeout_ns;
  abi_.cancelled = [](const via_call* c) -> std::int32_t { return self(c).asked_to_end() ? 1 : 0; };
  abi_.on_cancel = [](via_call* c, via_fn fn, void* data) -> via_status {
    ControlCall& call = self(c);
    {
      const std::lock_guard lock(call.mutex_);
      if (!call.cancelled_.load(std::memory_order_relaxed)) {
        call.cancel_fn_ = fn;
        call.cancel_data_ = data;
        return VIA_OK;
      }
    }
    fn(data);
    return VIA_OK;
  };
  abi_.read = [](via_call*, std::uint8_t*, std::size_t, std::uint32_t, std::size_t* got) -> via_status {
    *got = 0;
    return VIA_OK;
  };
  abi_.head = [](via_call*, const via_head*) -> via_status { return VIA_E_UNSUPPORTED; };
  abi_.write = [](via_call*, via_bytes, std::uint32_t) -> via_status { return VIA_E_UNSUPPORTED; };
  abi_.reserve = [](via_call*, std::size_t, std::uint32_t, std::uint8_t**, std::size_t*) -> via_status {
    return VIA_E_UNSUPPORTED;
  };
  abi_.commit = [](via_call*, std::size_t) {};
  abi_.progress = [](via_call* c, std::uint64_t done, std::uint64_t total) {
    ControlCall& call = self(c);
    if (call.watch_ == nullptr || !call.watch_->progress) return;
    {
      const std::lock_guard lock(call.mutex_);
      call.progress_done_ = done;
      call.progress_total_ = total;
      call.told_ = false;
    }
    if (std::this_thread::get_id() == call.caller_) call.tell();
  };
  abi_.complete = [](via_call* c, via_status st, via_str message, via_str details) {
    ControlCall& call = self(c);
    std::unique_lock lock(call.mutex_);
    if (call.done_) return;
    call.cancel_fn_ = nullptr;
    // A cancel function that runs now ends before the call does, unless it is the one that ends the call.
    call.changed_.wait(lock, [&] { return !call.cancel_runs_ || std::this_thread::get_id() == call.caller_; });
    call.status_ = st;
    call.message_.assign(view(message));
    call.details_.assign(view(details));
    call.done_ = true;
    call.changed_.notify_all();
  };
}

ControlCall::~ControlCall() = default;

bool ControlCall::asked_to_end() {
  if (cancelled_.load(std::memory_order_relaxed)) return true;
  if (watch_ == nullptr || !watch_->cancelled || std::this_thread::get_id() != caller_ || !watch_->cancelled())
    return false;
  cancelled_.store(true, std::memory_order_relaxed);
  return true;
}

void ControlCall::tell() {
  std::uint64_t done = 0, total = 0;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(told_, true)) return;
    done = progress_done_;
    total = progress_total_;
  }
  watch_->progress(done, total);
}

Result<std::string> ControlCall::wait() {
  std::unique_lock lock(mutex_);
  while (watch_ != nullptr && !done_) {
    changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return done_; });
    lock.unlock();
    tell();
    const bool end = asked_to_end();
    lock.lock();
    if (!end || done_ || cancel_fn_ == nullptr) continue;
    const via_fn fn = std::exchange(cancel_fn_, nullptr);
    void* const data = cancel_data_;
    cancel_runs_ = true;
    lock.unlock();
    fn(data);
    lock.lock();
    cancel_runs_ = false;
    changed_.notify_all();
  }
  changed_.wait(lock, [&] { return done_; });
  if (watch_ != nullptr) {  // what came between the last look and the end
    lock.unlock();
    tell();
    lock.lock();
  }
  if (status_ != VIA_OK) return error_of(status_, message_, details_);
  return std::move(details_);
}

}  // namespace via::plugins
