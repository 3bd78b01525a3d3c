// One end of the socket between the host and a runner: frames out from any thread, frames in on the thread that polls.
//
// Sending never waits: what the socket does not take at once is queued and leaves when it can be written again. The other
// side reads always (it never waits for anything while it reads), so the queue is short; who sends much asks for room first.
// Thread: send, later, has_room, wait_for_room, shut any; the rest by the thread that polls.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/isolation/frame.hpp"

namespace via::isolation {

class Channel {
 public:
  explicit Channel(FileHandle socket);

  // False once the channel is shut.
  bool send(Packet& packet);
  // Leaves with the next frame, or when the poller comes to flush().
  void later(Packet& packet);
  // Less than a megabyte is queued. wait_for_room waits until it is; false once the channel is shut.
  bool has_room() const;
  bool wait_for_room();
  // Ends both directions; the poller sees the end.
  void shut();
  bool is_shut() const;

  int socket() const noexcept { return socket_.get(); }
  int wake_fd() const noexcept { return wake_.get(); }  // readable when the poller should look at wants_write() again
  void wake() const;
  void clear_wake() const;
  bool wants_write() const;
  bool has_later() const;
  void flush();
  // Reads what is there and hands on every whole frame; false at the end of the stream, on a broken frame, or when
  // `on_frame` says so. `problem` tells why, and is empty for a plain end.
  bool receive(const std::function<bool(const Frame&)>& on_frame, std::string& problem);

 private:
  void write_held();  // mutex_ held

  const FileHandle socket_, wake_;
  FrameReader in_;
  mutable std::mutex mutex_;
  std::condition_variable room_;
  std::string queue_;       // guarded by mutex_
  std::size_t sent_ = 0;    // of queue_; guarded by mutex_
  bool blocked_ = false;    // the socket is full; guarded by mutex_
  bool shut_ = false;       // guarded by mutex_
};

}  // namespace via::isolation
