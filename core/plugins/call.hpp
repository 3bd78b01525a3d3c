// The host's side of a via_call: one operation of an add-on, from the request to its answer.
//
// The plugin writes into the response buffer of the connection it answers; nothing is copied on the way. Ownership of
// the buffer goes with the call: from try_invoke/invoke until complete() the plugin's thread has it, the connection
// waits. A result that grows past the high-water mark becomes a stream: full buffers are handed over and the plugin
// waits (VIA_WAIT) until they are sent.
//
// Hand-over is one atomic: whoever comes second of "the plugin has something" and "the connection begins to wait"
// wakes the connection. A call that completes inside try_invoke wakes nobody.
// What a plugin does with a call that it has completed is refused, and a second complete() ignored, as long as the connection
// has not begun the next request with it: from then on the two cannot be told apart (a plugin in a process of its own can).
// A call that does not end although it was cancelled is given up (give_up): its connection answers and closes, and lives on
// without its socket until the call lets go of it.
// Thread: via_call functions as their tags say; the rest by the connection's I/O thread, cancel() any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/buffer.hpp"
#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "via/plugin.h"

namespace via::plugins {

struct Watch;  // addon_host.hpp

class Call {
 public:
  // Woken at most once for each wait(), on the thread that completes or writes; posts to the connection's executor.
  struct Waiter {
    virtual void wake() = 0;
   protected:
    ~Waiter() = default;
  };
  // The head of an answer whose length is not known yet, or is: writes status line and fields.
  struct Framer {
    // Starts a response in `out`; `head` is null for the plain "200 application/json".
    virtual void begin(Buffer& out, const via_head* head) = 0;
   protected:
    ~Framer() = default;
  };

  // Whether there is memory for an answer that is written in one large piece (kHighWater and more).
  struct Meter {
    enum class Answer { yes, later, never };
    virtual Answer grow_to(std::size_t bytes) = 0;  // Thread: the call's owner
   protected:
    ~Meter() = default;
  };

  explicit Call(const Clock& clock);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  static constexpr std::size_t kHighWater = 256 * 1024;

  // Prepares for one operation that answers into `out`. `deadline_ns` is on Clock::mono_ns.
  void start(Buffer& out, Framer& framer, const via_id& request_id, std::uint64_t deadline_ns, Meter* meter = nullptr);
  via_call* abi() noexcept { return &abi_; }

  // True when complete() has been called: result() is final. One acquire load.
  bool done() const noexcept { return state_.load(std::memory_order_acquire) == kDone; }
  // Registers the connection to be woken when there is something to take; false = there already is, do not wait.
  bool wait(Waiter& waiter) noexcept;
  // A full buffer of a streamed result, if one waits. The plugin goes on when it was taken.
  bool take_chunk(Buffer& into);
  bool streaming() const noexcept { return streaming_; }

  via_status status() const noexcept { return status_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& details() const noexcept { return details_; }
  std::size_t body_start() const noexcept { return body_start_; }

  // From any thread: the operation should end early. Idempotent.
  void cancel();
  // From any thread, for a call that was cancelled a while ago and has not ended: the connection shall wait no longer. It is
  // woken, answers by itself and keeps what the call works on (buffers, request) until done(). Idempotent.
  void give_up() noexcept;
  bool given_up() const noexcept { return given_up_.load(std::memory_order_acquire); }
  // The connection is gone or the call was cancelled: nothing more will be sent, writes return VIA_E_CANCELLED.
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  // The Error a failed call answers with (its status, code and typed details).
  Error error() const;

 private:
  static Call& self(const via_call* c) { return *static_cast<Call*>(c->host_data); }
  void begin_if_needed();
  via_status make_room(std::uint32_t flags);
  via_status wait_for_memory(std::size_t bytes, std::uint32_t flags);
  void notify();

  static std::int32_t abi_cancelled(const via_call* c);
  static via_status abi_on_cancel(via_call* c, via_fn fn, void* data);
  static via_status abi_read(via_call* c, std::uint8_t* buf, std::size_t cap, std::uint32_t flags, std::size_t* got);
  static via_status abi_head(via_call* c, const via_head* head);
  static via_status abi_write(via_call* c, via_bytes chunk, std::uint32_t flags);
  static void abi_complete(via_call* c, via_status st, via_str message, via_str details);
  static via_status abi_reserve(via_call* c, std::size_t min, std::uint32_t flags, std::uint8_t** buf, std::size_t* cap);
  static void abi_commit(via_call* c, std::size_t n);

  enum State : int { kRunning, kWaiting, kDone };

  via_call abi_{};
  const Clock& clock_;
  Buffer* out_ = nullptr;
  Framer* framer_ = nullptr;
  Meter* meter_ = nullptr;
  std::size_t body_start_ = 0;
  bool begun_ = false;
  bool streaming_ = false;  // set by the plugin's thread before it hands over; read after the hand-over
  std::atomic<int> state_{kDone};
  std::atomic<bool> cancelled_{false}, given_up_{false};
  Waiter* waiter_ = nullptr;
  via_status status_ = VIA_OK;
  std::string message_, details_;

  // Cold parts: cancellation and back-pressure.
  std::mutex mutex_;
  std::condition_variable changed_;
  via_fn cancel_fn_ = nullptr;   // guarded by mutex_
  void* cancel_data_ = nullptr;  // guarded by mutex_
  std::thread::id cancel_runner_;  // guarded by mutex_; none = no cancel function runs
  std::atomic<bool> has_cancel_{false};
  Buffer chunk_;                 // guarded by mutex_; a full buffer on its way out
  bool chunk_full_ = false;      // guarded by mutex_
};

// A [control] call: the caller waits until it is complete. Thread: a worker; blocks.
//
// `watch` (which may be null, and outlives the call) is used on the caller's thread only: directly when the plugin
// works on it, else by wait(), which looks every few milliseconds. An on_cancel function is run by wait(), so a plugin
// that works on the caller's thread asks cancelled().
class ControlCall {
 public:
  // A timeout of 0 is none.
  explicit ControlCall(const Clock& clock, std::uint64_t timeout_ns = 120'000'000'000U, const Watch* watch = nullptr);
  ~ControlCall();
  via_call* abi() noexcept { return &abi_; }
  // details_json of a call that succeeded.
  Result<std::string> wait();

 private:
  static ControlCall& self(const via_call* c) { return *static_cast<ControlCall*>(c->host_data); }
  bool asked_to_end();
  void tell();  // what progress() left for the caller's thread

  via_call abi_{};
  const Watch* const watch_;
  const std::thread::id caller_ = std::this_thread::get_id();
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;               // this and the rest guarded by mutex_
  via_fn cancel_fn_ = nullptr;
  void* cancel_data_ = nullptr;
  bool cancel_runs_ = false;        // on the caller's thread
  bool told_ = true;
  std::uint64_t progress_done_ = 0, progress_total_ = 0;
  via_status status_ = VIA_OK;
  std::string message_, details_;
};

// What a plugin's failure is on the wire: its status's code, or the more exact one in the details.
Error error_of(via_status status, std::string_view message, std::string_view details_json);

}  // namespace via::plugins
