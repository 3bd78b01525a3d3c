// The runner's side of a via_call: what a plugin writes becomes frames to the host.
//
// The plugin's thread fills a buffer of its own; full pieces go to a queue, from which they leave as far as the host has given
// room (a window of 256 KiB that the host opens again as it takes the bytes). What the queue still holds when the plugin
// completes leaves as room comes. A short answer is one send.
// A via_call that was completed stays readable for a while, so that a plugin that uses it again is told from one that does not.
// Thread: via_call functions as their tags say; give, cancel any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/base/buffer.hpp"
#include "core/base/clock.hpp"
#include "core/isolation/channel.hpp"
#include "core/isolation/message.hpp"

namespace via::isolation {

class RunnerCall {
 public:
  // What a call tells its runner.
  struct Owner {
    virtual void ended(std::uint64_t id) = 0;              // nothing more will be sent for it
    virtual void broke_a_rule(std::string_view what) = 0;  // the plugin did
   protected:
    ~Owner() = default;
  };

  RunnerCall(Owner& owner, Channel& channel, const Clock& clock, std::uint64_t id, const CallMessage& message);
  RunnerCall(const RunnerCall&) = delete;
  RunnerCall& operator=(const RunnerCall&) = delete;
  via_call* abi() noexcept { return &abi_; }

  // The host took this many bytes.
  void give(std::uint64_t bytes);
  // The host wants it to end. Runs the plugin's cancel function, if there is one.
  void cancel();

 private:
  static RunnerCall& self(const via_call* c) { return *static_cast<RunnerCall*>(c->host_data); }
  bool usable();  // false, and told, when the call was completed before
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }
  via_status make_room(std::uint32_t flags);
  void hand_over();  // mutex_ held: what was built, to the queue
  bool pump();       // mutex_ held; true when the call's last frame was sent
  void complete(via_status st, std::string_view message, std::string_view details);

  via_call abi_{};
  Owner& owner_;
  Channel& channel_;
  const Clock& clock_;
  const std::uint64_t id_;
  const bool bytes_;              // it answers with bytes
  std::atomic<bool> cancelled_{false}, over_{false};
  Buffer built_;                  // the plugin's thread
  bool begun_ = false;            // the plugin's thread: head or bytes were written
  std::uint64_t told_ns_ = 0;     // the plugin's thread: the last progress

  std::mutex mutex_;
  std::condition_variable changed_;
  Packet head_;                   // guarded by mutex_, as the rest
  Buffer queue_;
  std::size_t at_ = 0;            // of queue_
  std::uint64_t room_ = kWindow;
  bool done_ = false, sent_ = false;
  via_status status_ = VIA_OK;
  std::string message_, details_;
  via_fn cancel_fn_ = nullptr;
  void* cancel_data_ = nullptr;
  std::thread::id cancel_runner_;
};

}  // namespace via::isolation
