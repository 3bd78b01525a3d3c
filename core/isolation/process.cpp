#include "core/isolation/process.hpp"

#include <algorithm>

namespace via::isolation {

Process::Process(Run::Setup setup) : setup_(std::move(setup)) {
  plugins::Metrics& metrics = setup_.services.metrics;
  starts_ = metrics.define(plugins::Metrics::Kind::counter, "via_plugin_runner_starts_total", {"addon_type"});
  metrics.record(metrics.define(plugins::Metrics::Kind::counter, kCrashesMetric, {"addon_type"}), {setup_.type}, 0);
}

Process::~Process() { stop(); }

void Process::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  if (run_) run_->stop();
  run_.reset();
}

Error Process::paused(std::uint64_t now) const {
  const std::uint64_t seconds = not_before_ns_ > now ? (not_before_ns_ - now + 999'999'999U) / 1'000'000'000U : 0;
  std::string text = "The process of the add-on type '" + setup_.type + "' ended " + std::to_string(failures_) +
                     (failures_ == 1 ? " time" : " times in a row") + " (last: " + last_reason_ + ")";
  if (failures_ >= setup_.options.loop_after) text += "; it is in a crash loop";
  text += seconds > 0 ? "; it is started again at its first use in " + std::to_string(seconds) + " s." : ".";
  return fail(Code::unavailable, text + " The host's log says more.");
}

void Process::count_end() {
  const plugins::Services& services = setup_.services;
  const std::uint64_t now = services.clock.mono_ns();
  const std::uint64_t ran_ms = (now - run_->started_ns()) / 1'000'000U;
  if (ran_ms >= static_cast<std::uint64_t>(setup_.options.good_run_ms)) failures_ = 0;
  ++failures_;
  last_reason_ = run_->reason();
  std::uint64_t pause_ms = 0;
  if (failures_ > 1)
    pause_ms = std::min<std::uint64_t>(static_cast<std::uint64_t>(setup_.options.first_pause_ms) << std::min(failures_ - 2, 16),
                                       static_cast<std::uint64_t>(setup_.options.most_pause_ms));
  not_before_ns_ = now + pause_ms * 1'000'000U;
  if (failures_ == setup_.options.loop_after)
    services.log.error("plugin_runner_crash_loop",
                       {{"addon_type", setup_.type}, {"failures", failures_}, {"reason", last_reason_}});
  run_.reset();
}

Result<std::shared_ptr<Run>> Process::connect() {
  const std::lock_guard lock(mutex_);
  if (stopped_) return fail(Code::unavailable, "The host is stopping.");
  if (run_ && !run_->ended()) return run_;
  if (run_) {
    // Two processes must never have the same storage.
    if (!run_->wait_gone(setup_.options.start_ms))
      return fail(Code::unavailable, "The process of the add-on type '" + setup_.type + "' was killed and has not ended yet.");
    count_end();
  }
  const std::uint64_t now = setup_.services.clock.mono_ns();
  if (now < not_before_ns_) return paused(now);
  run_ = std::make_shared<Run>(setup_);
  setup_.services.metrics.record(starts_, {setup_.type}, 1);
  if (auto started = run_->start(); !started) {
    const Error error = started.error();
    count_end();
    return fail(Code::unavailable, "The process of the add-on type '" + setup_.type + "' did not start: " + error.message);
  }
  return run_;
}

}  // namespace via::isolation
