// Launches and supervises the processes of process-driven instances.
//
// A process gets the operator's command, its working folder, a small clean environment (PATH, HOME, LANG, TZ, what the
// deploy named, VARY_CONFIG_URL, VARY_CONFIG_TOKEN_PATH, VARY_ENVIRONMENT, VIA_BOOTSTRAP) and no descriptor, path of an
// add-on or credential; no inherited file descriptors; its own process group; PR_SET_PDEATHSIG, so that it never
// outlives the host. With a sandbox (core/sandbox) it is in that; its paths are then those of the inside. Standard output and error are
// pipes of the logs' collector. A process that exits with failure is started again with growing pauses (0.5 s … 30 s); one that exits
// with 0 is done.
// Thread: start/stop/list any; the callbacks run on the runner's own thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/logs/collector.hpp"
#include "core/sandbox/cgroup.hpp"
#include "core/sandbox/sandbox.hpp"

namespace via::releases {

struct ProcessSpec {
  std::string instance;
  std::vector<std::string> command;                          // argv; [0] is looked up in PATH
  std::filesystem::path working_folder;
  std::filesystem::path material;                            // folder with token and bootstrap.json
  std::filesystem::path log_file;                            // core/logs/files.hpp has what is made of it
  std::string app;                                           // its name: whose log it is
  std::string config_url, environment;
  std::vector<std::pair<std::string, std::string>> variables;  // the deploy's own
  std::optional<sandbox::Plan> sandbox;                        // none = the host's own user, seeing what it sees
};

// What sandboxes are made with on this machine. Outlives the runner.
struct SandboxTools {
  sandbox::Means means;
  sandbox::Cgroups groups;
};

// What can be told of a command before it is run: refused when its folder cannot be entered, or no program of its name is
// there that may be run.
Result<void> look(const ProcessSpec& spec, const SandboxTools& tools = {});

enum class ProcessState { starting, running, exited, failed };

struct ProcessInfo {
  std::string instance;
  ProcessState state = ProcessState::starting;
  int pid = 0;          // 0 while none runs
  int exit_status = 0;  // of the last run: 0 … 255, or 128 + the signal that ended it
  int restarts = 0;
  std::string reason;   // what ended the last run where that is not its own doing: "out of memory: 256 MiB"
};

// The pause before a restart: `first_ms`, then twice as long each time up to `most_ms`. A run of at least `good_run_ms`
// starts over at `first_ms`.
struct Backoff {
  int first_ms = 500;
  int most_ms = 30'000;
  int good_run_ms = 30'000;
};

class Runner {
 public:
  // state(instance, state, pid, exit status, reason) is called on every change.
  using StateCallback = std::function<void(const std::string&, ProcessState, int, int, const std::string&)>;
  // `output` lives longer.
  Runner(const Clock& clock, Logger& log, logs::Collector& output, StateCallback on_state, SandboxTools tools = {}, Backoff backoff = {});
  ~Runner();  // stops everything

  // Returns before the process runs; on_state tells how it went. bad_request for a spec that cannot be run, conflict
  // when the instance is supervised already, unavailable while the runner ends. A command that is not found, a missing
  // working folder and the like are ProcessState::failed with status 127 and are tried again like any other failure.
  Result<void> start(ProcessSpec spec);
  // SIGTERM to the process group, then SIGKILL after `grace_ms`. Returns when the process is gone and on_state has
  // returned; from inside on_state it only asks for the stop. not_found when unknown; deadline_exceeded when the
  // kernel does not let the process go within 30 s of SIGKILL.
  Result<void> stop(const std::string& instance, int grace_ms = 5000);
  void stop_all(int grace_ms = 5000);
  // Stops every process of a sandbox, or lets them go on; returns when they stand still, after a second at most.
  void halt(const std::string& instance, bool on);
  bool supervises(const std::string& instance) const;  // runs, or will be started again
  std::vector<ProcessInfo> list() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::releases
