#include "core/plugins/instance.hpp"

#include <chrono>
#include <thread>

#include <algorithm>

#include "core/base/ids.hpp"
#include "core/plugins/addon_host.hpp"
#include "core/plugins/call.hpp"

namespace via::plugins {
namespace {

constexpr std::uint64_t kGraceNs = 2'000'000'000;  // from a call's cancellation to giving it up (net/io_thread.hpp, kGraceMs)

via_str str(const std::string& s) { return {s.data(), s.size()}; }

void complete_failed(via_call* call, via_status status, std::string_view message) {
  call->complete(call, status, {message.data(), message.size()}, {nullptr, 0});
}

via_status status_of(const Error& error) {
  switch (error.code) {
    case Code::bad_request: return VIA_E_INVALID;
    case Code::not_found: return VIA_E_NOT_FOUND;
    case Code::conflict: return VIA_E_CONFLICT;
    case Code::unavailable: return VIA_E_UNAVAILABLE;
    case Code::deadline_exceeded: return VIA_E_DEADLINE;
    default: return VIA_E_INTERNAL;
  }
}

bool has_every_slot(const via_instance_api& api) {
  return api.provision != nullptr && api.open != nullptr && api.close != nullptr && api.deprovision != nullptr &&
         api.bind != nullptr && api.rotate != nullptr && api.revoke != nullptr && api.describe != nullptr &&
         api.health != nullptr && api.get_extension != nullptr && api.destroy != nullptr;
}

}  // namespace

AddonInstance::AddonInstance(const Services& services, std::shared_ptr<Library> library, const AddonType& type,
                             std::string id, std::string config_json, std::string storage, std::uint32_t storage_schema)
    : services_(services),
      library_(std::move(library)),
      type_(type),
      id_(std::move(id)),
      config_(std::move(config_json)),
      storage_(std::move(storage)),
      schema_(storage_schema == 0 ? type.storage_schema : storage_schema) {}

AddonInstance::~AddonInstance() {
  if (auto* queue = queue_.load()) services_.executor.destroy(queue);
}

int AddonInstance::find_operation(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < type_.ops.size(); ++i)
    if (type_.ops[i].name == name) return static_cast<int>(i);
  return -1;
}

via_provision_args AddonInstance::provision_args() const noexcept {
  return {sizeof(via_provision_args), schema_, {nullptr, 0}, str(config_)};
}

Result<void> AddonInstance::create() {
  if (raw_ != nullptr) return {};
  context_ = std::make_unique<HostContext>(services_, type_.id, id_, storage_);
  context_->set_group(owner_.empty() ? id_ : owner_);
  const via_instance_spec spec{sizeof(via_instance_spec), 0, str(type_.id)};
  std::string message;
  const via_sink sink{&message, [](void* ctx, via_bytes chunk) -> via_status {
                        auto& text = *static_cast<std::string*>(ctx);
                        if (text.size() < 4096) text.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                        return VIA_OK;
                      }};
  via_instance* made = nullptr;
  const via_status status = library_->create(context_->abi(), spec, &made, &sink);
  if (status != VIA_OK || made == nullptr || made->api == nullptr ||
      !VIA_HAS(via_instance_api, made->api, destroy) || !has_every_slot(*made->api)) {
    context_.reset();
    if (status == VIA_E_UNAVAILABLE) return fail(Code::unavailable, std::move(message));
    return fail(Code::internal, "the plugin could not create an instance: " + message);
  }
  raw_ = made;
  return {};
}

Result<void> AddonInstance::open_held() {
  if (opened_) return {};
  if (schema_ != type_.storage_schema)
    return fail(Code::unavailable, "The add-on's storage has schema " + std::to_string(schema_) + " and this version of its plugin has " +
                                       std::to_string(type_.storage_schema) +
                                       ". Use the version it belongs to, or change over: via plugin upgrade FILE");
  if (auto made = create(); !made) return made;
  ControlCall call(services_.clock);
  const auto args = provision_args();
  raw_->api->open(raw_, &args, call.abi());
  if (auto done = call.wait(); !done) return done.error();
  opened_ = true;
  const auto* ops = static_cast<const via_ops_api*>(raw_->api->get_extension(raw_, VIA_EXT_OPS));
  if (ops != nullptr && VIA_HAS(via_ops_api, ops, invoke)) {
    has_try_ = VIA_HAS(via_ops_api, ops, try_invoke) && ops->try_invoke != nullptr;
    ops_.store(ops, std::memory_order_release);
  }
  const auto* http = static_cast<const via_http_api*>(raw_->api->get_extension(raw_, VIA_EXT_HTTP));
  if (http != nullptr && VIA_HAS(via_http_api, http, handle) && http->handle != nullptr) {
    tries_http_.store(VIA_HAS(via_http_api, http, try_handle) && http->try_handle != nullptr, std::memory_order_relaxed);
    http_.store(http, std::memory_order_release);
  }
  return {};
}

Result<void> AddonInstance::open() {
  const std::lock_guard lock(control_);
  return open_held();
}

Result<void> AddonInstance::close() {
  const std::lock_guard closing(closing_);
  {
    const std::lock_guard gate(gate_mutex_);
    in_close_ = true;
    gate_.close();
  }
  // Not under control_: an operation that was admitted may be about to open the instance.
  while (gate_.in_flight() > 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  if (!wait_for_stuck()) {
    const std::lock_guard gate(gate_mutex_);
    in_close_ = false;
    if (!drained_) gate_.open();
    return fail(Code::unavailable, "An operation of the add-on does not end, so its storage cannot be closed. Restart the host to end it.");
  }
  std::unique_lock lock(control_);
  while (uses_.load(std::memory_order_acquire) > 0) {
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    lock.lock();
  }
  ops_.store(nullptr, std::memory_order_release);
  http_.store(nullptr, std::memory_order_release);
  Result<void> out;
  if (raw_ != nullptr) {
    if (opened_) {
      ControlCall call(services_.clock);
      raw_->api->close(raw_, call.abi());
      if (auto done = call.wait(); !done) out = done.error();
    }
    raw_->api->destroy(raw_);
    raw_ = nullptr;
    context_.reset();
    opened_ = false;
  }
  const std::lock_guard gate(gate_mutex_);
  in_close_ = false;
  if (!drained_) gate_.open();
  return out;
}

// What was given up may come back within a moment. The plugin is never closed under a call that it is still in.
bool AddonInstance::wait_for_stuck() const {
  const std::uint64_t until = services_.clock.mono_ns() + kGraceNs / 2;
  while (abandoned_.stuck() > 0) {
    if (services_.clock.mono_ns() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

Result<void> AddonInstance::provision() {
  const std::lock_guard lock(control_);
  if (auto made = create(); !made) return made;
  ControlCall call(services_.clock);
  const auto args = provision_args();
  raw_->api->provision(raw_, &args, call.abi());
  if (auto done = call.wait(); !done) return done.error();
  return {};
}

Result<void> AddonInstance::deprovision() {
  if (auto closed = close(); !closed) return closed;
  const std::lock_guard lock(control_);
  if (auto made = create(); !made) return made;
  ControlCall call(services_.clock);
  raw_->api->deprovision(raw_, call.abi());
  if (auto done = call.wait(); !done) return done.error();
  return {};
}

Result<std::string> AddonInstance::binding_call(
    void (*via_instance_api::*which)(via_instance*, const via_binding_args*, via_call*), const std::string& binding_id,
    std::uint32_t generation, const std::vector<std::string>& scopes) {
  const std::lock_guard lock(control_);
  if (auto made = create(); !made) return made.error();
  std::vector<via_str> views;
  for (const auto& s : scopes) views.push_back(str(s));
  via_binding_args args{};
  args.struct_size = sizeof args;
  args.generation = generation;
  const Ulid id = ulid_of(binding_id);
  std::copy(id.begin(), id.end(), args.binding_id.b);
  args.scopes = views.data();
  args.scopes_len = views.size();
  Secret secret;
  if (type_.credentials == "plugin-applied" && (which == &via_instance_api::bind || which == &via_instance_api::rotate)) {
    auto minted = services_.secrets.credential(binding_id, generation);
    if (!minted) return minted.error();
    secret = std::move(*minted);
    args.secret = {reinterpret_cast<const std::uint8_t*>(secret.reveal().data()), secret.reveal().size()};
  }
  ControlCall call(services_.clock);
  (raw_->api->*which)(raw_, &args, call.abi());
  auto done = call.wait();
  const std::lock_guard known(applied_mutex_);
  answered_ns_ = unanswered_ns_ = 0;  // what was asked before may be different now
  return done;
}

AddonInstance::Running::Running(AddonInstance& instance, Call& call) : instance_(instance), call_(call) {
  const std::lock_guard lock(instance_.running_mutex_);
  instance_.running_.push_back(&call_);
}

AddonInstance::Running::~Running() {
  const std::lock_guard lock(instance_.running_mutex_);
  std::erase(instance_.running_, &call_);
}

void AddonInstance::cancel_running() {
  const std::uint64_t give_up_at = services_.clock.mono_ns() + kGraceNs;
  // Again and again: one that was admitted before the gate closed may be listed only now.
  while (gate_.in_flight() > 0) {
    const bool give_up = services_.clock.mono_ns() >= give_up_at;
    {
      const std::lock_guard lock(running_mutex_);
      for (Call* call : running_) {
        if (!call->cancelled()) call->cancel();
        if (give_up) call->give_up();
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool AddonInstance::closed_to(std::string_view who) noexcept {
  return !who.empty() && abandoned_.closed_for(who, services_.clock.mono_ns()) > 0;
}

Error AddonInstance::refusal(std::string_view who) {
  const std::uint32_t seconds = who.empty() ? 0 : abandoned_.closed_for(who, services_.clock.mono_ns());
  if (seconds == 0) return fail(Code::draining, "The add-on is being drained for maintenance. Try again.");
  Error error = fail(Code::queue_full, "Operations that do not end were given up again and again, so the add-on is closed to this caller "
                                       "for " + std::to_string(seconds) + " s.");
  error.name = "closed_for_a_while";
  error.retry_after_s = seconds;
  return error;
}

void AddonInstance::replace_worker(int by) {
  if (auto* queue = queue_.load()) services_.executor.widen(queue, by);
}

Stuck::Stuck(AddonInstance& instance, std::string_view who) : instance_(instance) {
  instance.abandoned_.add(who, instance.services_.clock.mono_ns());
  instance.replace_worker(1);
}

Stuck::~Stuck() {
  instance_.replace_worker(-1);
  instance_.abandoned_.came_back();
}

bool AddonInstance::drained() const {
  const std::lock_guard gate(gate_mutex_);
  return drained_;
}

class AddonInstance::Use {
 public:
  explicit Use(AddonInstance& instance) : instance_(instance) { instance_.uses_.fetch_add(1); }
  ~Use() { instance_.uses_.fetch_sub(1, std::memory_order_release); }
  Use(const Use&) = delete;

 private:
  AddonInstance& instance_;
};

// A [data] call: control calls need not wait for what it asks of a server.
Result<std::string> AddonInstance::ask_health(std::unique_lock<std::mutex>& control) {
  // A suspended one stays closed: its storage may be about to be replaced.
  if (!opened_ && drained()) return std::string(R"({"state":"draining","checks":[]})");
  // An add-on that nobody used yet is asked by opening it: "closed" would say nothing.
  if (auto opened = open_held(); !opened) return opened.error();
  const Use use(*this);
  control.unlock();
  ControlCall call(services_.clock, 5'000'000'000U);
  raw_->api->health(raw_, call.abi());
  return call.wait();
}

Result<std::string> AddonInstance::health() {
  std::unique_lock control(control_);
  return ask_health(control);
}

bool AddonInstance::lacks(const Ulid& binding, std::uint32_t generation) {
  constexpr std::uint64_t kHadNs = 250'000'000, kLackedNs = 1'000'000'000, kUnansweredNs = 5'000'000'000;
  constexpr auto kPatience = std::chrono::seconds(1);  // with another that asks
  if (type_.credentials != "plugin-applied") return false;
  const AppliedCredential wanted{binding, generation};
  const auto in = [&](const std::vector<AppliedCredential>& list) { return std::find(list.begin(), list.end(), wanted) != list.end(); };
  std::unique_lock lock(applied_mutex_);
  if (!asked_.wait_for(lock, kPatience, [&] { return !asking_; })) return false;
  const std::uint64_t now = services_.clock.mono_ns();
  if (unanswered_ns_ != 0 && now - unanswered_ns_ < kUnansweredNs) return false;
  if (answered_ns_ != 0 && now - answered_ns_ < kHadNs && in(applied_)) return false;
  // One that was just made is in no answer of before: only what was itself found to be lacking is taken for so.
  if (answered_ns_ != 0 && now - answered_ns_ < kLackedNs && in(lacking_)) return true;
  std::unique_lock control(control_, std::try_to_lock);
  if (!control.owns_lock()) return false;
  asking_ = true;
  lock.unlock();
  Result<std::string> said = ask_health(control);
  auto applied = said ? applied_credentials(*said) : std::nullopt;
  lock.lock();
  asking_ = false;
  asked_.notify_all();
  (applied ? answered_ns_ : unanswered_ns_) = services_.clock.mono_ns();
  if (!applied) return false;
  unanswered_ns_ = 0;
  applied_ = std::move(*applied);
  lacking_.clear();
  if (in(applied_)) return false;
  lacking_.push_back(wanted);
  return true;
}

const void* AddonInstance::extension(const char* id) { return raw_->api->get_extension(raw_, id); }

Result<bool> AddonInstance::drain(int limit_ms, const Watch& watch) {
  {
    const std::lock_guard gate(gate_mutex_);
    drained_ = true;
    gate_.close();
  }
  const std::uint64_t until =
      services_.clock.mono_ns() + static_cast<std::uint64_t>(std::max(0, limit_ms)) * 1'000'000U;
  while (gate_.in_flight() > 0) {
    if (services_.clock.mono_ns() >= until || (watch.cancelled && watch.cancelled())) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::lock_guard lock(control_);
  if (!opened_) return true;
  const auto* api = static_cast<const via_drain_api*>(extension(VIA_EXT_DRAIN));
  if (api == nullptr || !VIA_HAS(via_drain_api, api, drain) || api->drain == nullptr) return true;
  const std::uint64_t now = services_.clock.mono_ns();
  ControlCall call(services_.clock, now < until ? until - now : 1, &watch);
  api->drain(raw_, call.abi());
  if (auto done = call.wait(); !done) {
    if (done.error().code == Code::deadline_exceeded) return false;
    return done.error();
  }
  return true;
}

Result<void> AddonInstance::resume() {
  Result<void> out;
  if (!drained()) return out;
  {
    const std::lock_guard lock(control_);
    const auto* api = opened_ ? static_cast<const via_drain_api*>(extension(VIA_EXT_DRAIN)) : nullptr;
    if (api != nullptr && VIA_HAS(via_drain_api, api, resume) && api->resume != nullptr) {
      ControlCall call(services_.clock);
      api->resume(raw_, call.abi());
      if (auto done = call.wait(); !done) return done.error();
    }
  }
  const std::lock_guard gate(gate_mutex_);
  drained_ = false;
  if (!in_close_) gate_.open();
  return out;
}

bool AddonInstance::can_snapshot() {
  const std::lock_guard lock(control_);
  if (!create()) return false;
  const auto* api = static_cast<const via_snapshot_api*>(extension(VIA_EXT_SNAPSHOT));
  return api != nullptr && VIA_HAS(via_snapshot_api, api, verify) && api->take != nullptr && api->restore != nullptr &&
         api->verify != nullptr;
}

bool AddonInstance::exchanges_on_restore() {
  const std::lock_guard lock(control_);
  if (!create()) return false;
  const auto* api = static_cast<const via_snapshot_api*>(extension(VIA_EXT_SNAPSHOT));
  return api != nullptr && VIA_HAS(via_snapshot_api, api, flags) && (api->flags & VIA_SNAPSHOT_EXCHANGES) != 0;
}

Result<std::string> AddonInstance::snapshot(SnapshotCall which, const std::string& snapshot_id, const std::string& format,
                                            const std::string& folder, const Watch& watch) {
  if (!can_snapshot())
    return fail(Code::unsupported, "The add-on type '" + type_.id + "' has no snapshots. See: via plugin list");
  via_snapshot_args args{};
  args.struct_size = sizeof args;
  const Ulid id = ulid_of(snapshot_id);
  std::copy(id.begin(), id.end(), args.snapshot_id.b);
  args.dir = str(folder);
  args.format = str(format);
  std::unique_lock lock(control_);
  if (auto made = create(); !made) return made.error();
  if (which == SnapshotCall::take)
    if (auto opened = open_held(); !opened) return opened.error();
  if (which == SnapshotCall::restore && opened_)
    return fail(Code::conflict, "The add-on is open; drain and close it before a restore.");
  const auto* api = static_cast<const via_snapshot_api*>(extension(VIA_EXT_SNAPSHOT));
  ControlCall call(services_.clock, 0, &watch);
  if (which == SnapshotCall::verify) {
    const Use use(*this);
    lock.unlock();  // a [data] call: operations that open the add-on need not wait for it
    api->verify(raw_, &args, call.abi());
    return call.wait();
  }
  (which == SnapshotCall::take ? api->take : api->restore)(raw_, &args, call.abi());
  return call.wait();
}

Result<std::string> AddonInstance::migrate(Migration which, std::uint32_t from, std::uint32_t to, const Watch& watch) {
  const std::lock_guard lock(control_);
  if (opened_) return fail(Code::conflict, "The add-on is open; drain and close it before its storage is changed.");
  if (auto made = create(); !made) return made.error();
  const auto* api = static_cast<const via_migrate_api*>(extension(VIA_EXT_MIGRATE));
  if (api == nullptr || !VIA_HAS(via_migrate_api, api, apply) || api->plan == nullptr || api->apply == nullptr)
    return fail(Code::unsupported, "The add-on type '" + type_.id + "' cannot change storage from schema " + std::to_string(from) + " to " +
                                       std::to_string(to) + ".");
  const via_migrate_args args{sizeof(via_migrate_args), from, to};
  ControlCall call(services_.clock, 0, &watch);
  (which == Migration::plan ? api->plan : api->apply)(raw_, &args, call.abi());
  auto done = call.wait();
  if (done && which == Migration::apply) schema_ = to;
  return done;
}

Result<std::string> AddonInstance::stats() {
  std::unique_lock lock(control_);
  if (auto made = create(); !made) return made.error();
  const auto* api = static_cast<const via_stats_api*>(extension(VIA_EXT_STATS));
  if (api == nullptr || !VIA_HAS(via_stats_api, api, stats) || api->stats == nullptr) return std::string();
  const Use use(*this);
  lock.unlock();
  ControlCall call(services_.clock, 5'000'000'000U);
  api->stats(raw_, call.abi());
  return call.wait();
}

bool AddonInstance::open_for(via_call* call) {
  auto opened = open();
  if (opened) return true;
  services_.log.error("addon_open_failed", {{"addon", id_}, {"reason", opened.error().message}});
  complete_failed(call, status_of(opened.error()), opened.error().message);
  return false;
}

void AddonInstance::invoke(const via_op_args& args, via_call* call) {
  const via_ops_api* ops = ops_.load(std::memory_order_acquire);
  if (ops == nullptr) {
    if (!open_for(call)) return;
    ops = ops_.load(std::memory_order_acquire);
  }
  if (ops == nullptr) return complete_failed(call, VIA_E_UNSUPPORTED, "This add-on type has no operations.");
  ops->invoke(raw_, &args, call);
}

void AddonInstance::handle(const via_http_request& request, via_call* call) {
  const via_http_api* http = http_.load(std::memory_order_acquire);
  if (http == nullptr) {
    if (!open_for(call)) return;
    http = http_.load(std::memory_order_acquire);
  }
  if (http == nullptr) return complete_failed(call, VIA_E_UNSUPPORTED, "This add-on type answers no HTTP requests.");
  http->handle(raw_, &request, call);
}

bool AddonInstance::post(via_task_fn fn, void* data) {
  std::call_once(queue_once_, [&] {
    // However much a type allows, one add-on never gets every worker.
    queue_ = services_.executor.create(std::min(type_.parallel_ops, std::max(1U, services_.executor.threads() / 4)),
                                       owner_.empty() ? id_ : owner_);
  });
  return services_.executor.post(queue_.load(), 0, fn, data, nullptr) == VIA_OK;
}

}  // namespace via::plugins
