// A call in flight in a run; private to run.cpp and run_frames.cpp. Shared by the table of calls, the thread that sends its
// arguments and, when its client is slow, the worker that writes its result. Thread: as the members say.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>

#include "core/isolation/run.hpp"

namespace via::isolation {

// A call in flight. What the loop writes into the via_call, it writes directly while the client keeps up; else a task on a
// worker waits for the client, and what comes meanwhile (never more than the window) goes through `held`.
struct Run::Call {
  std::uint64_t id = 0;
  via_call* abi = nullptr;
  bool bytes = false;              // may answer with bytes
  After after;
  std::atomic<bool> cancelled{false};
  std::atomic<std::uint64_t> limit_ns{0};  // when the runner is ended for it; 0 = never
  Run* run = nullptr;
  bool head = false, begun = false;  // the loop's
  std::size_t room = kWindow;        // guarded by mutex, as the rest
  std::size_t owed = 0;              // taken, not told to the runner yet

  std::mutex mutex;
  bool sent = false;     // the arguments have left: the via_call's owner may have its memory back
  bool writing = false;  // a worker writes
  bool over = false;     // its end has come
  via_status lost = VIA_OK;  // bytes of it could not be written: it cannot end well any more
  std::deque<std::string> held;
  via_status status = VIA_OK;
  std::string message, details;
};

}  // namespace via::isolation
