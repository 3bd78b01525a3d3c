// One add-on: its gate, its plugin instance (made and opened at first use) and the calls to it.
//
// Ten thousand of these may exist while a hundred are used, so an unused one is a few strings. Shared by the grants
// that lead to it; the add-on host owns the list.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/plugins/abandoned.hpp"
#include "core/plugins/applied.hpp"
#include "core/plugins/executor.hpp"
#include "core/plugins/host_services.hpp"
#include "core/plugins/library.hpp"

namespace via::plugins {

// Admits operations and counts those in flight; while closed it admits none. Thread: any; enter and leave are one
// atomic addition each.
class Gate {
 public:
  bool enter() noexcept {
    in_flight_.fetch_add(1, std::memory_order_seq_cst);
    if (!closed_.load(std::memory_order_seq_cst)) return true;
    leave();
    return false;
  }
  void leave() noexcept { in_flight_.fetch_sub(1, std::memory_order_seq_cst); }
  void close() noexcept { closed_.store(true, std::memory_order_seq_cst); }
  void open() noexcept { closed_.store(false, std::memory_order_seq_cst); }
  bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }
  std::int64_t in_flight() const noexcept { return in_flight_.load(std::memory_order_seq_cst); }

 private:
  std::atomic<std::int64_t> in_flight_{0};
  std::atomic<bool> closed_{false};
};

class Call;
struct Watch;

class AddonInstance {
 public:
  AddonInstance(const Services& services, std::shared_ptr<Library> library, const AddonType& type, std::string id,
                std::string config_json, std::string storage, std::uint32_t storage_schema = 0);  // 0 = that of the type
  ~AddonInstance();  // close() has been called
  AddonInstance(const AddonInstance&) = delete;
  AddonInstance& operator=(const AddonInstance&) = delete;

  const std::string& id() const noexcept { return id_; }
  const AddonType& type() const noexcept { return type_; }
  const std::string& storage() const noexcept { return storage_; }
  // The app that owns it: its operations have that app's share of the workers. Before it is used.
  void set_owner(std::string owner) { owner_ = std::move(owner); }
  // One of its operations was given up and holds a place among its parallel ones: another may run.
  void replace_worker(int by);
  Gate& gate() noexcept { return gate_; }
  Abandoned& abandoned() noexcept { return abandoned_; }

  // Admits an operation under the rights of `who` (an instance or a share) through the gate. False: refusal() says why.
  bool enter(std::string_view who) noexcept { return (!abandoned_.closed_to_some() || !closed_to(who)) && gate_.enter(); }
  Error refusal(std::string_view who);

  // Index into type().ops, -1 when there is no such operation.
  int find_operation(std::string_view name) const noexcept;

  // Thread: I/O. VIA_E_WOULD_BLOCK = nothing was done, call invoke() on a worker.
  via_status try_invoke(const via_op_args& args, via_call* call) noexcept {
    const via_ops_api* ops = ops_.load(std::memory_order_acquire);
    if (ops == nullptr || !has_try_) return VIA_E_WOULD_BLOCK;
    return ops->try_invoke(raw_, &args, call);
  }
  // The same for the type's own HTTP routes.
  bool tries_http() const noexcept { return tries_http_.load(std::memory_order_relaxed); }
  via_status try_handle(const via_http_request& request, via_call* call) noexcept {
    const via_http_api* http = http_.load(std::memory_order_acquire);
    if (http == nullptr || !tries_http()) return VIA_E_WOULD_BLOCK;
    return http->try_handle(raw_, &request, call);
  }
  // Thread: worker; may block. Opens the instance first when it is not; always completes the call.
  void invoke(const via_op_args& args, via_call* call);
  // A request for the type's own HTTP routes; as invoke().
  void handle(const via_http_request& request, via_call* call);
  // Runs `work` on a worker, at most type().parallel_ops at once for this add-on. False when it is being closed.
  bool post(via_task_fn fn, void* data);

  // Control calls. Thread: worker; blocks; one at a time (a mutex sees to it).
  Result<void> open();
  // Waits for the calls in flight; the instance is made anew at its next use. `unavailable` when one that was given up is still
  // in the plugin: then nothing was closed, and only a restart of the host does it.
  Result<void> close();
  Result<void> provision();
  Result<void> deprovision();
  Result<std::string> binding_call(void (*via_instance_api::*which)(via_instance*, const via_binding_args*, via_call*),
                                   const std::string& binding_id, std::uint32_t generation,
                                   const std::vector<std::string>& scopes);
  Result<std::string> health();
  // Of a type whose credentials are "plugin-applied": whether its plugin does not have this one any more. Asks its health unless
  // it had the credential a moment ago; what cannot be told now (its server is not there, a control call runs) is no
  // lack. Thread: worker; may block for the time of a health call.
  bool lacks(const Ulid& binding, std::uint32_t generation);

  // Operations that did not finish inline, so that cancel_running() finds them. A Running is made on the connection's
  // thread after the call was handed over and ends before the gate is left; the inline path makes none.
  // Rule: a call is cancelled only while it is listed, under running_mutex_, so it cannot be reused meanwhile.
  class Running {
   public:
    Running(AddonInstance& instance, Call& call);
    ~Running();
    Running(const Running&) = delete;

   private:
    AddonInstance& instance_;
    Call& call_;
  };
  // Thread: worker; the gate is closed. Returns when nothing is in flight: what has not ended a grace after it was cancelled
  // is given up.
  void cancel_running();

  // See AddonHost. A drained gate stays closed until resume(), also across close().
  Result<bool> drain(int limit_ms, const Watch& watch);
  Result<void> resume();
  bool drained() const;
  std::int64_t in_flight() const noexcept { return gate_.in_flight(); }

  enum class SnapshotCall { take, verify, restore };
  Result<std::string> snapshot(SnapshotCall which, const std::string& snapshot_id, const std::string& format,
                               const std::string& folder, const Watch& watch);
  bool can_snapshot();
  bool exchanges_on_restore();
  enum class Migration { plan, apply };
  // The instance is closed. After apply it has the schema that it was brought to.
  Result<std::string> migrate(Migration which, std::uint32_t from, std::uint32_t to, const Watch& watch);
  // What "via.stats/1" answers; empty when the type has none.
  Result<std::string> stats();

 private:
  friend class Stuck;
  Result<std::string> ask_health(std::unique_lock<std::mutex>& control);
  bool closed_to(std::string_view who) noexcept;
  bool wait_for_stuck() const;
  // Keeps the plugin instance alive for a [data] call that is made without control_.
  class Use;
  const void* extension(const char* id);  // control_ held, created
  Result<void> create();     // control_ held
  Result<void> open_held();  // control_ held
  bool open_for(via_call* call);  // false: the call was ended with why
  via_provision_args provision_args() const noexcept;  // control_ held

  const Services& services_;
  const std::shared_ptr<Library> library_;
  const AddonType& type_;
  const std::string id_, config_, storage_;
  std::string owner_;
  Gate gate_;
  Abandoned abandoned_;

  mutable std::mutex gate_mutex_;  // who closed the gate; taken last
  bool drained_ = false;           // guarded by gate_mutex_
  bool in_close_ = false;          // guarded by gate_mutex_
  std::mutex running_mutex_;
  std::vector<Call*> running_;     // guarded by running_mutex_
  std::atomic<int> uses_{0};       // raised under control_; close() waits for it

  std::mutex closing_;  // one close() at a time; taken before control_
  std::mutex control_;
  std::unique_ptr<HostContext> context_;   // guarded by control_
  via_instance* raw_ = nullptr;            // written under control_, read after ops_
  bool opened_ = false;                    // guarded by control_
  std::uint32_t schema_;                   // of the storage, as the host has it on record; guarded by control_
  bool has_try_ = false;                   // written before ops_
  std::atomic<const via_ops_api*> ops_{nullptr};  // set while open
  std::atomic<const via_http_api*> http_{nullptr};  // set while open
  std::atomic<bool> tries_http_{false};             // written before http_
  // What lacks() was told. A condition under a plain mutex: see control_lock.hpp for what GCC 12 does not see.
  std::mutex applied_mutex_;            // leaf
  std::condition_variable asked_;
  bool asking_ = false;                 // guarded by applied_mutex_, as the rest: one asks at a time
  std::vector<AppliedCredential> applied_, lacking_;
  std::uint64_t answered_ns_ = 0, unanswered_ns_ = 0;  // of the last call; 0 = never
  std::once_flag queue_once_;
  std::atomic<Executor::Queue*> queue_{nullptr};
};

// An operation that was given up, until it has come back from the plugin.
class Stuck {
 public:
  Stuck(AddonInstance& instance, std::string_view who);
  ~Stuck();
  Stuck(const Stuck&) = delete;
  Stuck& operator=(const Stuck&) = delete;

 private:
  AddonInstance& instance_;
};

}  // namespace via::plugins
