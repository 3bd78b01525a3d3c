// A host in a process of its own: `via serve` on a folder of this test and a port of its own choice; or `via kit sqlite`.
// It dies with the test. Thread: one at a time.
#pragma once

#include <atomic>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/fakes.hpp"

namespace via::test {

struct Finished {
  int exit_code = -1;  // 0 … 255, or 128 + the signal
  std::string out, err;
};

// Runs a program to its end. `input` becomes its standard input; environment entries are added to a clean
// one.
Finished run_program(const std::vector<std::string>& command,
                     const std::map<std::string, std::string>& environment = {});

class HostProcess {
 public:
  HostProcess();
  ~HostProcess();  // kills it
  HostProcess(const HostProcess&) = delete;
  HostProcess& operator=(const HostProcess&) = delete;

  // Part of the state folder's path: it must never be seen by a client or in the log.
  static constexpr const char* kCanary = "canary-7d1f";

  std::filesystem::path state_dir() const { return folder_.path() / kCanary; }
  std::filesystem::path folder() const { return folder_.path(); }
  void configure(const std::string& toml);  // config.toml of the state folder, for the next start

  std::string listen = "127.0.0.1:0";
  // Run `via kit sqlite --databases databases() …` with these options instead of a host.
  std::optional<std::vector<std::string>> kit;
  std::filesystem::path databases() const { return folder_.path() / kCanary; }
  std::function<void()> before_exec;               // in the child, async-signal-safe things only
  std::map<std::string, std::string> environment;  // of the host

  // True when it says that it is ready. When it ends instead, exit_code() and log() tell why.
  bool start();
  bool running();  // reaps
  int exit_code() const { return exit_code_; }
  void kill();                     // SIGKILL, and waits
  int stop(int wait_ms = 60'000);  // SIGTERM, and waits; the exit code, 137 when it had to be killed
  void signal(int number) const;
  pid_t pid() const { return pid_; }

  const std::string& url() const { return url_; }
  std::uint16_t port() const { return port_; }
  std::string admin_socket() const { return (state_dir() / "admin.sock").string(); }
  std::string log() const;  // standard error of all runs
  std::size_t resident_kib() const;
  std::size_t open_files() const;

 private:
  bool reap(int wait_ms);
  TemporaryFolder folder_;
  std::atomic<pid_t> pid_{-1};  // a test may signal from a thread of its own while it starts the host
  int exit_code_ = -1;
  std::string url_;
  std::uint16_t port_ = 0;
};

// Polls until `condition` holds; false when it does not within `wait_ms`.
bool eventually(const std::function<bool()>& condition, int wait_ms = 30'000);

std::string text_of(const std::filesystem::path& file);

}  // namespace via::test
