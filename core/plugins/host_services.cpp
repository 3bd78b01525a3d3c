#include "core/plugins/host_services.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "core/base/ids.hpp"
#include "core/plugins/turn.hpp"

// The ABI's opaque queue: the executor and the queue of it.
struct via_queue {
  via::plugins::Executor& executor;
  via::plugins::Executor::Queue* queue;
};

namespace via::plugins {
namespace {

std::string_view view(via_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }
std::string_view view(via_bytes b) {
  return b.len == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(b.ptr), b.len);
}
const HostContext& context(const via_host* h) { return *static_cast<const HostContext*>(h->host_data); }
Level level_of(std::int32_t level) { return static_cast<Level>(std::clamp(level, 0, 5)); }

const via_log kLog{
    sizeof(via_log), 0,
    [](const via_host* h, std::int32_t level) -> std::int32_t {
      return context(h).services().log.enabled(level_of(level)) ? 1 : 0;
    },
    [](const via_host* h, std::int32_t level, via_str msg, const via_pair* kv, std::size_t n) {
      const HostContext& c = context(h);
      std::vector<Field> fields{{"addon_type", c.label()}, {"message", view(msg)}};
      if (!c.instance_id().empty()) fields.emplace_back("addon", c.instance_id());
      for (std::size_t i = 0; i < n && i < 16; ++i) fields.emplace_back(view(kv[i].key), view(kv[i].value));
      c.services().log.write(level_of(level), "plugin", fields);
    }};

const via_clock kClock{sizeof(via_clock), 0,
                       [](const via_host* h) { return context(h).services().clock.mono_ns(); },
                       [](const via_host* h) { return context(h).services().clock.unix_ms(); }};

const via_storage kStorage{sizeof(via_storage), 0,
                           [](const via_host* h) {
                             const std::string& dir = context(h).storage();
                             return via_str{dir.data(), dir.size()};
                           },
                           [](const via_host*) -> std::uint64_t { return 0; }};

const via_settings kSettings{sizeof(via_settings), 0, [](const via_host* h) -> via_str {
                               static constexpr std::string_view kNone = "{}";
                               const auto& all = context(h).services().settings;
                               const auto known = all.find(context(h).label());
                               const std::string_view json = known == all.end() ? kNone : std::string_view(known->second);
                               return {json.data(), json.size()};
                             }};

via_status emit(const via_sink* out, std::string_view bytes) {
  return out->write(out->ctx, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

const via_secretbox kSecretBox{
    sizeof(via_secretbox), 0,
    [](const via_host* h, via_bytes aad, via_bytes plain, const via_sink* out) -> via_status {
      const HostContext& c = context(h);
      auto box = c.services().secrets.seal("addon:" + c.instance_id(), view(aad), view(plain));
      return box ? emit(out, *box) : VIA_E_INTERNAL;
    },
    [](const via_host* h, via_bytes aad, via_bytes box, const via_sink* out) -> via_status {
      const HostContext& c = context(h);
      auto plain = c.services().secrets.unseal("addon:" + c.instance_id(), view(aad), view(box));
      if (!plain) return plain.error().code == Code::internal ? VIA_E_INTERNAL : VIA_E_INVALID;
      return emit(out, plain->reveal());
    }};

const via_metrics kMetrics{
    sizeof(via_metrics), 0,
    [](const via_host* h, std::uint32_t kind, via_str name, const via_str* keys, std::size_t n,
       std::uint32_t* id) -> via_status {
      if (kind > 2) return VIA_E_INVALID;
      const HostContext& c = context(h);
      std::string full = "addon_" + c.label() + "_" + std::string(view(name));
      std::replace(full.begin(), full.end(), '-', '_');
      std::vector<std::string> labels;
      for (std::size_t i = 0; i < n; ++i) labels.emplace_back(view(keys[i]));
      *id = c.services().metrics.define(static_cast<Metrics::Kind>(kind), full, labels);
      return *id == 0 ? VIA_E_INVALID : VIA_OK;
    },
    [](const via_host* h, std::uint32_t id, const via_str* values, std::size_t n, double v) {
      std::vector<std::string_view> labels;
      for (std::size_t i = 0; i < n; ++i) labels.push_back(view(values[i]));
      context(h).services().metrics.record(id, labels, v);
    }};

const via_executor kExecutor{
    sizeof(via_executor), 0,
    [](const via_host* h, std::uint32_t width, via_queue** out) -> via_status {
      Executor& executor = context(h).services().executor;
      *out = std::make_unique<via_queue>(via_queue{executor, executor.create(width, context(h).group())}).release();
      return VIA_OK;
    },
    [](via_queue* q) {
      const std::unique_ptr<via_queue> owned(q);
      owned->executor.destroy(owned->queue);
    },
    [](via_queue* q, std::uint64_t delay_ns, via_task_fn fn, void* data, std::uint64_t* id) {
      return q->executor.post(q->queue, delay_ns, fn, data, id);
    },
    [](via_queue* q, std::uint64_t id) { q->executor.cancel(q->queue, id); }};

const via_turn kTurn{sizeof(via_turn), 0, [](const via_host*, via_fn fn, void* data) -> via_status {
                       Turn* turn = Turn::current();
                       if (turn == nullptr) return VIA_E_UNSUPPORTED;
                       turn->at_end(fn, data);
                       return VIA_OK;
                     }};

}  // namespace

const void* find_service(const via_host* h, const char* id) {
  const std::string_view name(id);
  if (name == VIA_HOST_LOG) return &kLog;
  if (name == VIA_HOST_CLOCK) return &kClock;
  if (name == VIA_HOST_STORAGE) return context(h).storage().empty() ? nullptr : &kStorage;
  if (name == VIA_HOST_SECRETBOX) return context(h).instance_id().empty() ? nullptr : &kSecretBox;
  if (name == VIA_HOST_SETTINGS) return context(h).instance_id().empty() ? nullptr : &kSettings;
  if (name == VIA_HOST_METRICS) return &kMetrics;
  if (name == VIA_HOST_EXECUTOR) return &kExecutor;
  if (name == VIA_HOST_TURN) return &kTurn;
  return nullptr;
}

HostContext::HostContext(const Services& services, std::string label, std::string instance_id, std::string storage,
                         const void* (*find)(const via_host*, const char*))
    : services_(services),
      label_(std::move(label)),
      instance_id_(std::move(instance_id)),
      storage_(std::move(storage)) {
  abi_.struct_size = sizeof abi_;
  abi_.abi_major = VIA_ABI_MAJOR;
  abi_.abi_minor = VIA_ABI_MINOR;
  abi_.host_data = this;
  const Ulid id = ulid_of(instance_id_);
  std::copy(id.begin(), id.end(), abi_.instance_id.b);
  abi_.name = "via";
  abi_.version = VIA_VERSION;
  abi_.get_service = find;
}

}  // namespace via::plugins
