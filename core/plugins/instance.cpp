#include "core/plugins/instance.hpp"

#include <chrono>
#include <thread>

#include <algorithm>

#include "core/base/ids.hpp"
#include "core/plugins/call.hpp"

namespace via::plugins {
namespace {

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
                             std::string id, std::string config_json, std::string storage)
    : services_(services),
      library_(std::move(library)),
      type_(type),
      id_(std::move(id)),
      config_(std::move(config_json)),
      storage_(std::move(storage)) {}

AddonInstance::~AddonInstance() {
  if (auto* queue = queue_.load()) services_.executor.destroy(queue);
}

int AddonInstance::find_operation(std::string_view name) const noexcept {
  for (std::size_t i = 0; i < type_.ops.size(); ++i)
    if (type_.ops[i].name == name) return static_cast<int>(i);
  return -1;
}

via_provision_args AddonInstance::provision_args() const noexcept {
  return {sizeof(via_provision_args), type_.storage_schema, {nullptr, 0}, str(config_)};
}

Result<void> AddonInstance::create() {
  if (raw_ != nullptr) return {};
  context_ = std::make_unique<HostContext>(services_, type_.id, id_, storage_);
  const via_instance_spec spec{sizeof(via_instance_spec), 0, str(type_.id)};
  std::string message;
  const via_sink sink{&message, [](void* ctx, via_bytes chunk) -> via_status {
                        auto& text = *static_cast<std::string*>(ctx);
                        if (text.size() < 4096) text.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                        return VIA_OK;
                      }};
  via_instance* made = nullptr;
  const via_status status = library_->entry().create(context_->abi(), &spec, &made, &sink);
  if (status != VIA_OK || made == nullptr || made->api == nullptr ||
      !VIA_HAS(via_instance_api, made->api, destroy) || !has_every_slot(*made->api)) {
    context_.reset();
    return fail(Code::internal, "the plugin could not create an instance: " + message);
  }
  raw_ = made;
  return {};
}

Result<void> AddonInstance::open_held() {
  if (opened_) return {};
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
  return {};
}

Result<void> AddonInstance::open() {
  const std::lock_guard lock(control_);
  return open_held();
}

Result<void> AddonInstance::close() {
  const std::lock_guard closing(closing_);
  gate_.close();
  // Not under control_: an operation that was admitted may be about to open the instance.
  while (gate_.in_flight() > 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  const std::lock_guard lock(control_);
  ops_.store(nullptr, std::memory_order_release);
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
  gate_.open();
  return out;
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
  ControlCall call(services_.clock);
  (raw_->api->*which)(raw_, &args, call.abi());
  return call.wait();
}

Result<std::string> AddonInstance::health() {
  const std::lock_guard lock(control_);
  // An add-on that nobody used yet is asked by opening it: "closed" would say nothing.
  if (auto opened = open_held(); !opened) return opened.error();
  ControlCall call(services_.clock, 5'000'000'000U);
  raw_->api->health(raw_, call.abi());
  return call.wait();
}

void AddonInstance::invoke(const via_op_args& args, via_call* call) {
  const via_ops_api* ops = ops_.load(std::memory_order_acquire);
  if (ops == nullptr) {
    if (auto opened = open(); !opened) {
      services_.log.error("addon_open_failed", {{"addon", id_}, {"reason", opened.error().message}});
      complete_failed(call, status_of(opened.error()), opened.error().message);
      return;
    }
    ops = ops_.load(std::memory_order_acquire);
  }
  if (ops == nullptr) {
    complete_failed(call, VIA_E_UNSUPPORTED, "This add-on type has no operations.");
    return;
  }
  ops->invoke(raw_, &args, call);
}

bool AddonInstance::post(via_task_fn fn, void* data) {
  std::call_once(queue_once_, [&] {
    // However much a type allows, one add-on never gets every worker.
    queue_ = services_.executor.create(std::min(type_.parallel_ops, std::max(1U, services_.executor.threads() / 4)));
  });
  return services_.executor.post(queue_.load(), 0, fn, data, nullptr) == VIA_OK;
}

}  // namespace via::plugins
