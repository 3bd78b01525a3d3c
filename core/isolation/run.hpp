// One run of a runner, from its start to its end: the process, the socket, the calls that are in flight in it.
//
// A thread of its own starts the process, reads its frames and waits for its end (PR_SET_PDEATHSIG fires when the thread that
// started a process ends, so this one outlives it). Whatever ends the run (a crash, the end of the socket, a frame that breaks
// the protocol, a call that does not end in its time), every call in flight fails with `unavailable`, once.
//
// Nothing that the runner sends is trusted: unknown ids, second answers, more bytes than there is room for and malformed
// frames end the run.
// Thread: any, unless said otherwise. The loop never waits for a lock that is held across a call of the runner.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/isolation/channel.hpp"
#include "core/isolation/message.hpp"
#include "core/plugins/host_services.hpp"
#include "core/plugins/manifest.hpp"

namespace via::isolation {

inline constexpr const char* kCrashesMetric = "via_plugin_runner_crashes_total";  // runs that ended unasked, by addon_type

struct Options {
  std::filesystem::path program;  // via-plugin-runner; absolute
  unsigned memory_mb = 0;         // most data of the process, without its threads' stacks; 0 = no limit
  unsigned workers = 16;          // its threads
  int grace_ms = 10'000;          // how long after its deadline a call may end
  int start_ms = 30'000, stop_ms = 5'000;
  // After a run that ended by itself: the first restart at once, then these pauses, until one lasts `good_run_ms`.
  int first_pause_ms = 500, most_pause_ms = 30'000, good_run_ms = 60'000;
  int loop_after = 5;             // failures in a row that are called a crash loop
};

class Run : public std::enable_shared_from_this<Run> {
 public:
  struct Setup {
    const plugins::Services& services;
    const plugins::Manifest& manifest;
    std::string type;                    // for names and log lines
    int library = -1;                    // the sealed memory file; stays the owner's
    const via_host* library_host;        // what the plugin's init gets its services from
    plugins::Executor::Queue* writers;   // for results that a slow client holds up
    Options options;
  };
  explicit Run(Setup setup);
  ~Run();  // ended and joined
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Starts the process and waits until the plugin is ready, or with why it is not. Blocks.
  Result<void> start();
  // The same over a socket whose other end somebody else has (tests).
  Result<void> start(FileHandle socket);
  // Asks the process to end, then kills it. Blocks.
  void stop();
  // Waits until the process is gone; false when the kernel keeps it. Blocks.
  bool wait_gone(int limit_ms);
  bool ended() const noexcept { return ended_.load(std::memory_order_acquire); }
  bool orderly() const noexcept { return asked_.load(std::memory_order_relaxed); }
  int pid() const noexcept { return pid_.load(std::memory_order_relaxed); }
  std::uint64_t started_ns() const noexcept { return started_ns_; }
  std::string reason() const;  // why it ended

  // An instance in the runner; `host` is where its services come from. Blocks.
  Result<std::uint32_t> create(std::uint64_t number, const via_host* host, const std::string& type, const std::string& addon,
                               const std::string& storage);
  void destroy(std::uint64_t number);

  // A call can be sent now without much of others before it; wait_for_room() blocks until it can.
  bool has_room() const { return channel_->has_room(); }
  void wait_for_room() { (void)channel_->wait_for_room(); }
  // Sends a call. `put` writes the verb's arguments. The call is completed in any case, at the latest when the run ends.
  // `after`, which may be empty, is told the status right before. May block until the socket takes the body.
  using After = std::function<void(via_status)>;
  void submit(Verb verb, std::uint64_t instance, via_call* call, const std::function<void(Packet&)>& put, via_bytes body,
              After after = {});

 private:
  struct Call;
  struct Asked {  // create, destroy
    bool answered = false;
    std::string payload;
  };

  void loop();
  Result<void> spawn();
  Result<void> await_ready();
  bool on_frame(const Frame& frame);
  bool broken(std::string_view what);
  bool on_ready(const Frame& frame);
  bool on_head(Call& call, const Frame& frame);
  bool on_data(const std::shared_ptr<Call>& call, const Frame& frame);
  bool on_complete(const std::shared_ptr<Call>& call, const Frame& frame);
  bool on_service(const Frame& frame);
  void on_box(const Frame& frame, const via_host* host, Reader& in);
  void take(Call& call, std::size_t bytes, via_status written);
  void write_out(const std::shared_ptr<Call>& call);
  void finish(const std::shared_ptr<Call>& call, via_status status, std::string_view message, std::string_view details);
  void deliver(Call& call);
  std::shared_ptr<Call> find(std::uint64_t id);
  void look_at_limits();
  void fail_all();
  void say(std::string& pending, bool all);
  void end_process();
  Result<std::string> ask(Packet& packet, std::uint64_t id);
  std::uint64_t next_id() noexcept { return last_id_.fetch_add(1, std::memory_order_relaxed) + 1; }

  const Setup setup_;
  std::unique_ptr<Channel> channel_;
  FileHandle pidfd_, output_;
  std::thread thread_;
  std::atomic<int> pid_{0};
  std::atomic<bool> ended_{false}, asked_{false}, idle_{true};
  std::atomic<std::uint64_t> last_id_{0};
  std::uint64_t started_ns_ = 0;

  mutable std::mutex mutex_;  // a leaf, except that services of the host are called under instances_mutex_
  std::condition_variable changed_;
  bool launched_ = false, ready_ = false, gone_ = false;              // guarded by mutex_, as the rest
  std::string reason_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Call>> calls_;
  std::unordered_map<std::uint64_t, Asked> replies_;
  std::mutex instances_mutex_;
  std::unordered_map<std::uint64_t, const via_host*> instances_;      // guarded by instances_mutex_
  std::map<std::uint32_t, std::uint32_t> metrics_;                    // the loop's: the runner's id to the host's
  std::uint64_t lines_second_ = 0;                                    // the loop's: output lines of this second
  int lines_ = 0;
};

}  // namespace via::isolation
