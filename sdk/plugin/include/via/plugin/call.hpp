// One call of the host, as an object that cannot be forgotten: a Call that is destroyed without an answer answers by
// itself. Thread: one at a time, by whoever owns it; cancelled() any.
#pragma once

#include <via/plugin/host.hpp>

#include <functional>
#include <memory>
#include <mutex>

namespace via::plugin {

// Moved away, answered or given away it is empty: it is answered() and cancelled(), writing to it throws a Failure
// (VIA_E_PRECONDITION), and answering it again does nothing.
class Call {
 public:
  explicit Call(via_call* call) noexcept : call_(call) {}
  Call(Call&& other) noexcept : call_(std::exchange(other.call_, nullptr)), hook_(std::move(other.hook_)) {}
  Call& operator=(Call&& other) noexcept {
    if (this != &other) {
      end_unanswered();
      call_ = std::exchange(other.call_, nullptr);
      hook_ = std::move(other.hook_);
    }
    return *this;
  }
  ~Call() { end_unanswered(); }

  bool answered() const noexcept { return call_ == nullptr; }
  // The same id must have the same effect and outcome: the host may ask again.
  const via_id& request_id() const noexcept {
    static constexpr via_id kNone{};
    return call_ == nullptr ? kNone : call_->request_id;
  }
  std::uint64_t deadline_ns() const noexcept { return call_ == nullptr ? 0 : call_->deadline_ns; }  // on Host::mono_ns(); 0 = none
  bool cancelled() const noexcept { return call_ == nullptr || call_->cancelled(call_) != 0; }

  // `fn` runs at most once, on any thread, when the call is cancelled (at once when it is already), and never after it was
  // answered. It must be short; it may answer the call by what it shares with its owner. Another one takes its place.
  void on_cancel(std::function<void()> fn) {
    if (call_ == nullptr) return;
    if (hook_ != nullptr) {
      if (!hook_->replace(fn)) Hook::call(fn);
      return;
    }
    hook_ = std::make_shared<Hook>(std::move(fn));
    (void)call_->on_cancel(call_, &Hook::run, hook_.get());
  }

  // True when more of the body follows `first`: `whole` is all of it then. Otherwise `first` is the body, and nothing was
  // copied. Throws Failure(VIA_E_EXHAUSTED) above `limit` bytes.
  bool more_body(std::string_view first, std::size_t limit, std::string& whole) {
    std::uint8_t piece[16384];
    need();
    for (bool more = false;; more = true) {
      std::size_t got = 0;
      check(call_->read(call_, piece, sizeof piece, VIA_WAIT, &got), "The request body could not be read.");
      if (got == 0) return more;
      if (!more) whole.assign(first);
      if (whole.size() > limit || got > limit - whole.size()) throw too_large(limit);
      whole.append(reinterpret_cast<const char*>(piece), got);
    }
  }
  // The rest of a request body, after what came with the call. Throws Failure(VIA_E_EXHAUSTED) above `limit` bytes.
  std::string body(std::string_view first, std::size_t limit) {
    if (first.size() > limit) throw too_large(limit);
    std::string out;
    if (!more_body(first, limit, out)) out.assign(first);
    return out;
  }

  // Before the first write; without it the answer is 200, application/json.
  void head(std::uint16_t http_status, std::string_view content_type, std::span<const via_pair> headers = {}) {
    via_head h{};
    h.struct_size = sizeof h;
    h.http_status = http_status;
    h.content_type = str(content_type);
    h.headers = headers.data();
    h.headers_len = headers.size();
    need();
    check(call_->head(call_, &h));
  }
  // A piece of the answer. Waits while the client is slow: not in try_ functions.
  void write(std::string_view chunk) {
    need();
    check(call_->write(call_, bytes(chunk), VIA_WAIT));
  }
  // How far a long call is, in bytes; total 0 = not known.
  void progress(std::uint64_t done, std::uint64_t total) noexcept {
    if (call_ != nullptr && VIA_HAS(via_call, call_, progress) && call_->progress != nullptr) call_->progress(call_, done, total);
  }

  // The answer of an operation or an HTTP request: what was written, and `last`.
  void answer(std::string_view last = {}) noexcept {
    if (call_ == nullptr) return;
    // What cannot be written ends the call with why: in a task nobody would catch it.
    const via_status status = last.empty() ? VIA_OK : call_->write(call_, bytes(last), VIA_WAIT);
    end(status, status == VIA_OK ? std::string_view() : reason(status, "The answer could not be written."), {});
  }
  // The result of a control call, as JSON.
  void result(std::string_view json) noexcept { end(VIA_OK, {}, json); }
  void fail(const Failure& why) noexcept { end(why.status(), why.message(), why.details()); }
  void fail(via_status status, std::string_view message, std::string_view details_json = {}) noexcept {
    end(status, message, details_json);
  }

  // Gives the raw call away: whoever takes it must complete it. What on_cancel() was given does not run any more.
  via_call* release() noexcept {
    if (hook_ != nullptr) Hook::keep(std::move(hook_));
    return std::exchange(call_, nullptr);
  }
  via_call* raw() noexcept { return call_; }
  bool has_on_cancel() const noexcept { return hook_ != nullptr; }

 private:
  class Hook : public std::enable_shared_from_this<Hook> {
   public:
    explicit Hook(std::function<void()> fn) : fn_(std::move(fn)) {}
    static void run(void* data) noexcept {
      // The function may answer the call, whose end lets go of the hook.
      const auto self = static_cast<Hook*>(data)->shared_from_this();
      std::function<void()> fn;
      {
        const std::lock_guard lock(self->mutex_);
        self->ran_ = true;
        fn.swap(self->fn_);
      }
      call(fn);
    }
    static void call(const std::function<void()>& fn) noexcept {
      try {
        if (fn) fn();
      } catch (...) {
        // Cancellation is a wish; the call goes on.
      }
    }
    // False when the call was cancelled already.
    bool replace(std::function<void()>& fn) {
      const std::lock_guard lock(mutex_);
      if (ran_) return false;
      fn_.swap(fn);
      return true;
    }
    // The host has the pointer for as long as the call lives, which is not known here any more: the empty hook stays.
    static void keep(std::shared_ptr<Hook> hook) noexcept {
      static std::mutex mutex;
      static Hook* first = nullptr;  // the list of all that stay
      std::function<void()> gone;
      const std::lock_guard one(mutex);
      const std::lock_guard lock(hook->mutex_);
      gone.swap(hook->fn_);
      hook->kept_ = hook;
      hook->next_ = std::exchange(first, hook.get());
    }

   private:
    std::mutex mutex_;
    std::function<void()> fn_;  // guarded by mutex_
    bool ran_ = false;          // guarded by mutex_
    std::shared_ptr<Hook> kept_;
    Hook* next_ = nullptr;
  };

  static Failure too_large(std::size_t limit) {
    return {VIA_E_EXHAUSTED, "The request body is larger than " + std::to_string(limit) + " bytes.", "body_too_large"};
  }
  static void check(via_status status, const char* otherwise = "The answer could not be written.") {
    if (status != VIA_OK) throw Failure(status, reason(status, otherwise));
  }
  static const char* reason(via_status status, const char* otherwise) noexcept {
    return status == VIA_E_DEADLINE ? "The operation's time is up." : status == VIA_E_CANCELLED ? "The operation was cancelled." : otherwise;
  }
  void need() const {
    if (call_ == nullptr) throw Failure(VIA_E_PRECONDITION, "The call was answered already.");
  }
  void end(via_status status, std::string_view message, std::string_view details) noexcept {
    if (via_call* const call = std::exchange(call_, nullptr)) {
      call->complete(call, status, str(message), str(details));
      hook_.reset();
    }
  }
  void end_unanswered() noexcept {
    if (call_ == nullptr) return;
    if (letting_go()) end(VIA_E_CANCELLED, "The add-on is being closed.", {});
    else end(VIA_E_INTERNAL, "The plugin ended the call without an answer.", {});
  }

  via_call* call_;
  std::shared_ptr<Hook> hook_;
};

// What a control method may ask while it works: whether to give up, and telling how far it is. For the length of the method.
class Control {
 public:
  explicit Control(via_call* call) noexcept : call_(call) {}
  bool cancelled() const noexcept { return call_->cancelled(call_) != 0; }
  std::uint64_t deadline_ns() const noexcept { return call_->deadline_ns; }
  const via_id& request_id() const noexcept { return call_->request_id; }
  void progress(std::uint64_t done, std::uint64_t total) noexcept {
    if (VIA_HAS(via_call, call_, progress) && call_->progress != nullptr) call_->progress(call_, done, total);
  }

 private:
  via_call* call_;
};

}  // namespace via::plugin
