// The end of a process that is asked to stop comes within a limit, whatever its threads do. Everything that was acknowledged is
// durable by then, so an end in the middle is one that the next start is made for.
//
// Made by the command's main function before anything else, so that it outlives what may not come down. Thread: main.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace via {

class ExitLimit {
 public:
  ExitLimit() = default;
  ~ExitLimit();
  ExitLimit(const ExitLimit&) = delete;
  ExitLimit& operator=(const ExitLimit&) = delete;

  // From now on the process has this long; that it was cut short is logged on standard error.
  void start(std::chrono::milliseconds limit);
  // Ends the process here: what is left cannot be taken down.
  [[noreturn]] static void leave();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace via
