// What comes from a runner, frame by frame. Nothing of it is trusted: whatever does not fit ends the run.
// Thread: the run's own; results that a client holds up are written by a worker.
#include <utility>

#include <openssl/crypto.h>

#include "core/isolation/run_call.hpp"

namespace via::isolation {
namespace {

constexpr std::size_t kMaximumMetrics = 4096;

via_bytes bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

template <class Table>
const Table* service(const via_host* host, const char* id) {
  return host == nullptr ? nullptr : static_cast<const Table*>(host->get_service(host, id));
}

}  // namespace

std::shared_ptr<Run::Call> Run::find(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto it = calls_.find(id);
  return it == calls_.end() ? nullptr : it->second;
}

bool Run::on_frame(const Frame& frame) {
  Reader in(frame.payload);
  switch (frame.kind) {
    case Kind::ready: return on_ready(frame);
    case Kind::refused: {
      const std::string_view why = in.bytes();
      return broken(in.done() && !why.empty() ? why.substr(0, 4096) : "it refused without a reason");
    }
    case Kind::fault: {
      const std::string_view what = in.bytes();
      return broken(in.done() && !what.empty() ? what.substr(0, 4096) : "it broke the protocol");
    }
    case Kind::created:
    case Kind::destroyed: {
      const std::lock_guard lock(mutex_);
      const auto it = replies_.find(frame.id);
      if (it == replies_.end() || it->second.answered) break;
      it->second.answered = true;
      it->second.payload.assign(frame.payload);
      changed_.notify_all();
      return true;
    }
    case Kind::head:
    case Kind::data:
    case Kind::progress:
    case Kind::complete: {
      const auto call = find(frame.id);
      if (!call) return broken("it answered a call that is not in flight");
      if (frame.kind == Kind::head) return on_head(*call, frame);
      if (frame.kind == Kind::data) return on_data(call, frame);
      if (frame.kind == Kind::complete) return on_complete(call, frame);
      const std::uint64_t done = in.u64(), total = in.u64();
      if (!in.done() || call->bytes) break;
      if (VIA_HAS(via_call, call->abi, progress) && call->abi->progress != nullptr) call->abi->progress(call->abi, done, total);
      return true;
    }
    case Kind::log:
    case Kind::define:
    case Kind::record:
    case Kind::box: return on_service(frame);
    default: break;
  }
  return broken("it broke the protocol (kind " + std::to_string(static_cast<int>(frame.kind)) + ")");
}

bool Run::on_ready(const Frame& frame) {
  Reader in(frame.payload);
  const std::uint16_t major = in.u16(), minor = in.u16();
  const std::string_view text = in.bytes();
  if (!in.done()) return broken("it broke the protocol (ready)");
  if (major != setup_.manifest.abi_major || minor != setup_.manifest.abi_minor || text != setup_.manifest.text)
    return broken("the library is not the one that its manifest describes");
  const std::lock_guard lock(mutex_);
  if (ready_) {
    reason_ = "it was ready twice";
    return false;
  }
  ready_ = true;
  changed_.notify_all();
  return true;
}

bool Run::on_head(Call& call, const Frame& frame) {
  Reader in(frame.payload);
  via_head head{};
  head.struct_size = sizeof head;
  head.http_status = in.u16();
  head.content_type = in.str();
  const std::vector<via_pair> headers = in.pairs();
  head.headers = headers.data();
  head.headers_len = headers.size();
  if (!in.done() || !call.bytes || call.head || call.begun) return broken("it broke the protocol (head)");
  call.head = true;
  (void)call.abi->head(call.abi, &head);
  return true;
}

// Bytes that the client's side took, or that nobody wants any more: the runner may send as many again.
void Run::take(Call& call, std::size_t bytes, via_status written) {
  std::uint64_t give = 0;
  bool cancel = false;
  {
    const std::lock_guard lock(call.mutex);
    call.room += bytes;
    call.owed += bytes;
    if (call.owed >= kWindow / 4) give = std::exchange(call.owed, 0);
    cancel = written != VIA_OK && call.lost == VIA_OK;
    if (cancel) call.lost = written;
  }
  Packet packet;
  if (give != 0) {
    packet.begin(Kind::window, call.id);
    packet.u64(give);
  }
  if (cancel) packet.begin(Kind::cancel, call.id);
  if (!packet.empty()) channel_->send(packet);
}

bool Run::on_data(const std::shared_ptr<Call>& call, const Frame& frame) {
  if (!call->bytes || frame.payload.empty()) return broken("it broke the protocol (data)");
  call->begun = true;
  {
    const std::lock_guard lock(call->mutex);
    if (frame.payload.size() > call->room) return broken("it sent more than there was room for");
    call->room -= frame.payload.size();
    if (call->writing) {
      call->held.emplace_back(frame.payload);
      return true;
    }
  }
  const via_status written = call->abi->write(call->abi, bytes_of(frame.payload), 0);
  if (written != VIA_E_WOULD_BLOCK) {
    take(*call, frame.payload.size(), written);
    return true;
  }
  {
    const std::lock_guard lock(call->mutex);
    call->held.emplace_back(frame.payload);
    call->writing = true;
  }
  struct Task {
    std::shared_ptr<Run> run;
    std::shared_ptr<Call> call;
  };
  auto task = std::make_unique<Task>(Task{shared_from_this(), call});
  const auto fn = [](void* data, via_status) {
    const std::unique_ptr<Task> held(static_cast<Task*>(data));
    held->run->write_out(held->call);
  };
  Task* const raw = task.release();  // crosses a C callback, which owns it from here
  if (setup_.services.executor.post(setup_.writers, 0, fn, raw, nullptr) != VIA_OK) {
    const std::unique_ptr<Task> back(raw);
    return broken("the host is ending");
  }
  return true;
}

// On a worker: waits for the client in the loop's place.
void Run::write_out(const std::shared_ptr<Call>& call) {
  for (;;) {
    std::string piece;
    {
      std::unique_lock lock(call->mutex);
      if (call->held.empty()) {
        call->writing = false;
        if (call->over && call->sent) {
          lock.unlock();
          deliver(*call);
        }
        return;
      }
      piece = std::move(call->held.front());
      call->held.pop_front();
    }
    take(*call, piece.size(), call->abi->write(call->abi, bytes_of(piece), VIA_WAIT));
  }
}

bool Run::on_complete(const std::shared_ptr<Call>& call, const Frame& frame) {
  Reader in(frame.payload);
  const auto status = static_cast<via_status>(in.u32());
  const std::string_view message = in.bytes(), details = in.bytes();
  if (!in.done()) return broken("it broke the protocol (complete)");
  {
    const std::lock_guard lock(mutex_);
    calls_.erase(call->id);
  }
  // WOULD_BLOCK is no way to end; as any code that this host does not know, it is a bug.
  finish(call, status < VIA_OK || status >= VIA_E_WOULD_BLOCK ? VIA_E_INTERNAL : status, message, details);
  return true;
}

// The end of a call that is in the table no more. It is told at once, or by who still works on it: the thread that sends its
// arguments, or the worker that writes its result.
void Run::finish(const std::shared_ptr<Call>& call, via_status status, std::string_view message, std::string_view details) {
  {
    const std::lock_guard lock(call->mutex);
    call->over = true;
    call->status = status;
    call->message = message;
    call->details = details;
    if (status != VIA_OK) call->held.clear();
    if (call->writing || !call->sent) return;
  }
  deliver(*call);
}

void Run::deliver(Call& call) {
  if ((call.status == VIA_OK || call.status == VIA_E_CANCELLED) && call.lost != VIA_OK) call.status = call.lost;
  if (call.after) call.after(call.status);
  call.abi->complete(call.abi, call.status, {call.message.data(), call.message.size()}, {call.details.data(), call.details.size()});
}

bool Run::on_service(const Frame& frame) {
  Reader in(frame.payload);
  const bool box = frame.kind == Kind::box;
  const std::uint64_t number = box ? in.u64() : frame.id;
  const std::lock_guard lock(instances_mutex_);
  const via_host* host = setup_.library_host;
  if (number != 0) {
    const auto it = instances_.find(number);
    if (it == instances_.end()) return broken("it spoke for an instance that does not exist");
    host = it->second;
  }
  if (box) {
    on_box(frame, host, in);
    return in.done() || broken("it broke the protocol (box)");
  }
  if (frame.kind == Kind::log) {
    const auto level = static_cast<std::int32_t>(in.u32());
    const via_str message = in.str();
    const std::vector<via_pair> fields = in.pairs();
    if (!in.done() || fields.size() > 16) return broken("it broke the protocol (log)");
    if (const auto* log = service<via_log>(host, VIA_HOST_LOG)) log->write(host, level, message, fields.data(), fields.size());
    return true;
  }
  const auto* metrics = service<via_metrics>(host, VIA_HOST_METRICS);
  const std::uint32_t id = in.u32();
  if (frame.kind == Kind::define) {
    const std::uint32_t kind = in.u32();
    const via_str name = in.str();
    const std::vector<via_str> keys = in.strings();
    if (!in.done() || metrics == nullptr || (metrics_.size() >= kMaximumMetrics && !metrics_.contains(id)))
      return broken("it broke the protocol (define)");
    std::uint32_t known = 0;
    if (metrics->define(host, kind, name, keys.data(), keys.size(), &known) != VIA_OK) known = 0;
    metrics_[id] = known;
    return true;
  }
  const double value = in.f64();
  const std::vector<via_str> values = in.strings();
  const auto known = metrics_.find(id);
  if (!in.done() || metrics == nullptr || known == metrics_.end()) return broken("it broke the protocol (record)");
  if (known->second != 0) metrics->record(host, known->second, values.data(), values.size(), value);
  return true;
}

void Run::on_box(const Frame& frame, const via_host* host, Reader& in) {
  const bool seal = in.u8() == 1;
  const std::string_view aad = in.bytes(), bytes = in.bytes();
  if (!in.done()) return;
  std::string made;
  const via_sink sink{&made, [](void* ctx, via_bytes chunk) -> via_status {
                        static_cast<std::string*>(ctx)->append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                        return VIA_OK;
                      }};
  const auto* table = service<via_secretbox>(host, VIA_HOST_SECRETBOX);
  via_status status = VIA_E_UNSUPPORTED;
  if (table != nullptr) status = (seal ? table->seal : table->unseal)(host, bytes_of(aad), bytes_of(bytes), &sink);
  Packet packet(Kind::boxed, frame.id);
  packet.u32(static_cast<std::uint32_t>(status)).bytes(status == VIA_OK ? std::string_view(made) : std::string_view());
  channel_->send(packet);
  OPENSSL_cleanse(made.data(), made.size());
}

}  // namespace via::isolation
