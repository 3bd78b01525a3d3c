// One launch of a process: what it becomes, in a sandbox or bare, and how it says that it did. The runner's own part.
// Thread: the runner's, which is the parent of all of them.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "core/base/files.hpp"
#include "core/releases/runner.hpp"
#include "core/sandbox/protocol.hpp"

namespace via::releases {

constexpr int kNotStarted = 127;  // the status of a child that could not become its command

// Where a child that could not become its command stopped, sent through a pipe that exec closes.
struct Failure {
  enum Step : int { descriptors, session, folder, command, group, sandbox };
  int step;
  int error_number;
};
std::string describe(const Failure& failure);
std::string describe(const sandbox::Message& failure);

// bad_request for what no process can be made of.
Result<void> check(const ProcessSpec& spec);

struct Child {
  pid_t pid = 0;
  FileHandle pidfd, pipe;
  // Of a sandbox: its socket, its first process, the app's process as the host sees it, its control group.
  FileHandle socket, init;
  pid_t app = 0;
  bool ran = false;
  std::unique_ptr<sandbox::Group> group;
  logs::Collector::Run output;  // read to its end when the process is reaped
};


Result<Child> launch(const ProcessSpec& spec, const SandboxTools& tools, logs::Collector& output);

}  // namespace via::releases
