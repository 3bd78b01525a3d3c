// A change of several steps while it runs. Its work runs outside of the control lock and takes it for single
// transactions; what it works on is claimed, so that no other change touches it meanwhile. Every step is in the journal
// before it begins: its name is what `op show` lists, what recovery decides by and what a fault test names.
// Thread: the one that runs the work; progress, cancellation and waiting any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"
#include "core/lifecycle/actor.hpp"
#include "core/lifecycle/control_lock.hpp"
#include "core/plugins/addon_host.hpp"

namespace via::lifecycle {

class ControlPlane;

// What those who did not start it may see and do.
struct RunningOperation {
  explicit RunningOperation(std::string operation) : id(std::move(operation)) {}
  const std::string id;
  std::atomic<std::uint64_t> done{0}, total{0};  // bytes of the current step
  std::atomic<bool> cancel{false};
  std::atomic<bool> forward{false};  // past the point from which it only goes forward
  std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;  // guarded by mutex
};

class Operation {
 public:
  // `locked`: the caller holds the control lock throughout (recovery at start).
  Operation(ControlPlane& plane, std::shared_ptr<RunningOperation> running, std::string kind, std::string target,
            Actor actor, bool locked = false)
      : plane_(plane), running_(std::move(running)), kind_(std::move(kind)), target_(std::move(target)),
        actor_(std::move(actor)), locked_(locked) {}

  const std::string& id() const { return running_->id; }
  const std::string& kind() const { return kind_; }
  const std::string& target() const { return target_; }
  const Actor& actor() const { return actor_; }

  // Begins a step: committed to the journal. `cancelled` when somebody asked to stop and it may.
  Result<void> step(std::string_view name);
  // What recovery is to know, committed before it is acted on. A JSON object that replaces the one before.
  Result<void> remember(const nlohmann::json& steps);
  // From here on it cannot be cancelled.
  void only_forward() { running_->forward = true; }
  // Its change is made: a failure from here on leaves its row to the next start and answers `outcome_unknown`.
  void stands() { stands_ = true; }
  bool is_standing() const { return stands_; }
  bool cancelled() const { return running_->cancel && !running_->forward; }
  plugins::Watch watch();

  // The control lock for one transaction; holds nothing when the caller of the whole operation has it.
  Result<std::unique_lock<ControlLock>> control();

 private:
  ControlPlane& plane_;
  std::shared_ptr<RunningOperation> running_;
  std::string kind_, target_;
  Actor actor_;
  bool locked_;
  bool stands_ = false;
};

// What an operation is started with.
struct Work {
  std::string kind, target;
  std::vector<std::string> claims;  // "addon:<id>", "app:<id>"
  std::string steps = "{}";         // JSON for recovery
  std::string idempotency_key;
  // Both optional, under the control lock that the operation is begun with: `first` in the transaction that makes its
  // journal row, which it fails or becomes durable with; `then` when that is committed.
  std::function<Result<void>(const std::string& operation)> first;
  std::function<void()> then;
  std::function<Result<nlohmann::json>(Operation&)> run;
};

}  // namespace via::lifecycle
