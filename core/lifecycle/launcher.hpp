// What lifecycle/ needs of a process runner, so that tests launch nothing. releases::Runner is the real one
// (RunnerLauncher wraps it). Thread: any; stop() may block for the grace it is given, and is called without the control
// lock while others start, stop and ask.
#pragma once

#include <string>

#include "core/releases/runner.hpp"

namespace via::lifecycle {

class Launcher {
 public:
  virtual ~Launcher() = default;
  // Whether it could be started, as far as that can be told without starting it.
  virtual Result<void> look(const releases::ProcessSpec& spec) const = 0;
  virtual Result<void> start(releases::ProcessSpec spec) = 0;
  virtual Result<void> stop(const std::string& instance, int grace_ms) = 0;
  // Stops everything of a sandbox for a moment, and lets it go on; returns when it stands still. Without a sandbox nothing happens.
  virtual void halt(const std::string& /*instance*/, bool /*on*/) {}
  virtual bool supervises(const std::string& instance) const = 0;
};

class RunnerLauncher final : public Launcher {
 public:
  RunnerLauncher(releases::Runner& runner, releases::SandboxTools tools) : runner_(runner), tools_(std::move(tools)) {}
  Result<void> look(const releases::ProcessSpec& spec) const override { return releases::look(spec, tools_); }
  Result<void> start(releases::ProcessSpec spec) override { return runner_.start(std::move(spec)); }
  Result<void> stop(const std::string& instance, int grace_ms) override { return runner_.stop(instance, grace_ms); }
  void halt(const std::string& instance, bool on) override { runner_.halt(instance, on); }
  bool supervises(const std::string& instance) const override { return runner_.supervises(instance); }

 private:
  releases::Runner& runner_;
  const releases::SandboxTools tools_;
};

}  // namespace via::lifecycle
