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

#include "core/base/error.hpp"
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

class AddonInstance {
 public:
  AddonInstance(const Services& services, std::shared_ptr<Library> library, const AddonType& type, std::string id,
                std::string config_json, std::string storage);
  ~AddonInstance();  // close() has been called
  AddonInstance(const AddonInstance&) = delete;
  AddonInstance& operator=(const AddonInstance&) = delete;

  const std::string& id() const noexcept { return id_; }
  const AddonType& type() const noexcept { return type_; }
  const std::string& storage() const noexcept { return storage_; }
  Gate& gate() noexcept { return gate_; }

  // Index into type().ops, -1 when there is no such operation.
  int find_operation(std::string_view name) const noexcept;

  // Thread: I/O. VIA_E_WOULD_BLOCK = nothing was done, call invoke() on a worker.
  via_status try_invoke(const via_op_args& args, via_call* call) noexcept {
    const via_ops_api* ops = ops_.load(std::memory_order_acquire);
    if (ops == nullptr || !has_try_) return VIA_E_WOULD_BLOCK;
    return ops->try_invoke(raw_, &args, call);
  }
  // Thread: worker; may block. Opens the instance first when it is not; always completes the call.
  void invoke(const via_op_args& args, via_call* call);
  // Runs `work` on a worker, at most type().parallel_ops at once for this add-on. False when it is being closed.
  bool post(via_task_fn fn, void* data);

  // Control calls. Thread: worker; blocks; one at a time (a mutex sees to it).
  Result<void> open();
  Result<void> close();  // waits for the calls in flight; the instance is made anew at its next use
  Result<void> provision();
  Result<void> deprovision();
  Result<std::string> binding_call(void (*via_instance_api::*which)(via_instance*, const via_binding_args*, via_call*),
                                   const std::string& binding_id, std::uint32_t generation,
                                   const std::vector<std::string>& scopes);
  Result<std::string> health();

 private:
  Result<void> create();     // control_ held
  Result<void> open_held();  // control_ held
  via_provision_args provision_args() const noexcept;

  const Services& services_;
  const std::shared_ptr<Library> library_;
  const AddonType& type_;
  const std::string id_, config_, storage_;
  Gate gate_;

  std::mutex closing_;  // one close() at a time; taken before control_
  std::mutex control_;
  std::unique_ptr<HostContext> context_;   // guarded by control_
  via_instance* raw_ = nullptr;            // written under control_, read after ops_
  bool opened_ = false;                    // guarded by control_
  bool has_try_ = false;                   // written before ops_
  std::atomic<const via_ops_api*> ops_{nullptr};  // set while open
  std::once_flag queue_once_;
  std::atomic<Executor::Queue*> queue_{nullptr};
};

}  // namespace via::plugins
