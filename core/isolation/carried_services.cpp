#include "core/isolation/carried_services.hpp"

#include <algorithm>
#include <vector>

#include <openssl/crypto.h>

namespace via::isolation {
namespace {

constexpr std::size_t kMaximumBox = kMaximumPayload - 256;
constexpr std::size_t kMaximumFields = 16, kMaximumLine = 16U << 10;

std::string_view view(via_str s) { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }
std::string_view view(via_bytes b) {
  return b.len == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(b.ptr), b.len);
}
const CarriedContext& context(const via_host* h) {
  return static_cast<const CarriedContext&>(*static_cast<const plugins::HostContext*>(h->host_data));
}

const via_log kLog{
    sizeof(via_log), 0,
    [](const via_host* h, std::int32_t level) -> std::int32_t { return level >= context(h).carrier().level() ? 1 : 0; },
    [](const via_host* h, std::int32_t level, via_str msg, const via_pair* kv, std::size_t n) {
      const CarriedContext& c = context(h);
      if (level < c.carrier().level()) return;
      Packet packet(Kind::log, c.number());
      packet.u32(static_cast<std::uint32_t>(level)).bytes(view(msg).substr(0, kMaximumLine));
      n = std::min(n, kMaximumFields);
      packet.u32(static_cast<std::uint32_t>(n));
      for (std::size_t i = 0; i < n; ++i)
        packet.bytes(view(kv[i].key).substr(0, 256)).bytes(view(kv[i].value).substr(0, kMaximumLine));
      c.carrier().channel().send(packet);  // at once: it may be the last thing that the plugin says
    }};

via_status emit(const via_sink* out, const std::string& bytes) {
  return out->write(out->ctx, {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

via_status box(const via_host* h, bool seal, via_bytes aad, via_bytes bytes, const via_sink* out) {
  const CarriedContext& c = context(h);
  std::string made;
  const via_status status = c.carrier().box(c.number(), seal, view(aad), view(bytes), made);
  const via_status written = status == VIA_OK ? emit(out, made) : status;
  OPENSSL_cleanse(made.data(), made.size());
  return written;
}

const via_secretbox kSecretBox{sizeof(via_secretbox), 0,
                               [](const via_host* h, via_bytes aad, via_bytes plain, const via_sink* out) {
                                 return box(h, true, aad, plain, out);
                               },
                               [](const via_host* h, via_bytes aad, via_bytes sealed, const via_sink* out) {
                                 return box(h, false, aad, sealed, out);
                               }};

// Names are checked here, by a registry that nobody reads, so that an answer needs no way to the host and back.
const via_metrics kMetrics{
    sizeof(via_metrics), 0,
    [](const via_host* h, std::uint32_t kind, via_str name, const via_str* keys, std::size_t n,
       std::uint32_t* id) -> via_status {
      const CarriedContext& c = context(h);
      const auto* local = static_cast<const via_metrics*>(plugins::find_service(h, VIA_HOST_METRICS));
      const via_status status = local->define(h, kind, name, keys, n, id);
      if (status != VIA_OK) return status;
      Packet packet(Kind::define, c.number());
      packet.u32(*id).u32(kind).bytes(name).strings(keys, n);
      c.carrier().channel().later(packet);
      return VIA_OK;
    },
    [](const via_host* h, std::uint32_t id, const via_str* values, std::size_t n, double v) {
      const CarriedContext& c = context(h);
      Packet packet(Kind::record, c.number());
      packet.u32(id).f64(v).strings(values, n);
      if (n <= 8 && packet.fits()) c.carrier().channel().later(packet);
    }};

const void* find(const via_host* h, const char* id) {
  const std::string_view name(id);
  if (name == VIA_HOST_LOG) return &kLog;
  if (name == VIA_HOST_METRICS) return &kMetrics;
  if (name == VIA_HOST_SECRETBOX) return context(h).instance_id().empty() ? nullptr : &kSecretBox;
  if (name == VIA_HOST_TURN) return nullptr;
  return plugins::find_service(h, id);
}

}  // namespace

via_status Carrier::box(std::uint64_t instance, bool seal, std::string_view aad, std::string_view bytes, std::string& out) {
  if (aad.size() + bytes.size() > kMaximumBox) return VIA_E_INVALID;
  Asked asked;
  std::unique_lock lock(mutex_);
  if (closed_) return VIA_E_UNAVAILABLE;
  const std::uint64_t id = ++last_;
  asked_.emplace(id, &asked);
  lock.unlock();
  Packet packet(Kind::box, id);
  packet.u64(instance).u8(seal ? 1 : 0).bytes(aad).bytes(bytes);
  const bool sent = channel_.send(packet);
  lock.lock();
  if (sent) changed_.wait(lock, [&] { return asked.answered || closed_; });
  asked_.erase(id);
  if (asked.status == VIA_OK) out = std::move(asked.bytes);
  return asked.status;
}

bool Carrier::answer(std::uint64_t id, via_status status, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  const auto it = asked_.find(id);
  if (it == asked_.end()) return false;
  it->second->answered = true;
  it->second->status = status;
  it->second->bytes.assign(bytes);
  changed_.notify_all();
  return true;
}

void Carrier::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

CarriedContext::CarriedContext(const plugins::Services& services, Carrier& carrier, std::uint64_t number, std::string label,
                               std::string instance_id, std::string storage)
    : HostContext(services, std::move(label), std::move(instance_id), std::move(storage), find),
      carrier_(carrier),
      number_(number) {}

}  // namespace via::isolation
