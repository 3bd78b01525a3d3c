#include "core/isolation/runner.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "core/base/clock.hpp"
#include "core/isolation/carried_services.hpp"
#include "core/isolation/runner_call.hpp"
#include "core/plugins/library.hpp"

namespace via::isolation {
namespace {

using plugins::Executor;

constexpr std::size_t kGraveyard = 1024;
constexpr int kLaterMs = 20;  // at most this long do metrics wait for a frame that takes them along

class NoEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), std::uint8_t{0}); }
};

std::string text(std::string_view s) { return std::string(s); }

// An extension's table, when it is there and long enough to hold its last field.
template <class Table, class Field>
const Table* table_of(via_instance* instance, const char* id, Field Table::*field, std::size_t needed) {
  const auto* table = static_cast<const Table*>(instance->api->get_extension(instance, id));
  return table != nullptr && table->struct_size >= needed && table->*field != nullptr ? table : nullptr;
}
#define VIA_TABLE(type, instance, id, field) \
  table_of((instance), (id), &type::field, offsetof(type, field) + sizeof(type::field))

bool has_every_slot(const via_instance_api& api) {
  return api.provision != nullptr && api.open != nullptr && api.close != nullptr && api.deprovision != nullptr &&
         api.bind != nullptr && api.rotate != nullptr && api.revoke != nullptr && api.describe != nullptr &&
         api.health != nullptr && api.get_extension != nullptr && api.destroy != nullptr;
}

struct MessageSink {
  std::string text;
  via_sink abi{this, [](void* ctx, via_bytes chunk) -> via_status {
                 auto& out = static_cast<MessageSink*>(ctx)->text;
                 if (out.size() < 4096) out.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                 return VIA_OK;
               }};
};

class Runner final : public RunnerCall::Owner {
 public:
  Runner(FileHandle socket, FileHandle library, unsigned workers)
      : channel_(std::move(socket)), carrier_(channel_), image_(std::move(library)), executor_(clock_, workers), urgent_(clock_, 2),
        workers_(workers) {}

  int run();

 private:
  struct Instance {
    Instance(const plugins::Services& services, Carrier& carrier, std::uint64_t n, const plugins::AddonType& t, std::string id,
             std::string storage)
        : context(services, carrier, n, t.id, std::move(id), std::move(storage)), type(t) {}
    CarriedContext context;
    const plugins::AddonType& type;
    via_instance* raw = nullptr;
    Executor::Queue* queue = nullptr;
  };
  struct Job {
    std::uint64_t id = 0;
    CallMessage message;
    std::shared_ptr<Instance> instance;
    std::shared_ptr<RunnerCall> call;
    bool cancelled = false;  // before it was whole
  };

  bool on_frame(const Frame& frame);
  bool hello(const Frame& frame);
  bool create(const Frame& frame);
  bool destroy(const Frame& frame);
  bool begin(const Frame& frame);
  bool body(const Frame& frame);
  bool start(std::unique_ptr<Job> job);
  static void work(Job& job);
  void cancel(std::uint64_t id);
  bool refuse(std::string_view why);
  std::shared_ptr<Instance> find(std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto it = instances_.find(number);
    return it == instances_.end() ? nullptr : it->second;
  }

  void ended(std::uint64_t id) override {
    const std::lock_guard lock(mutex_);
    const auto it = calls_.find(id);
    if (it == calls_.end()) return;
    graveyard_.push_back(std::move(it->second));
    calls_.erase(it);
    if (graveyard_.size() > kGraveyard) graveyard_.pop_front();
  }
  void broke_a_rule(std::string_view what) override {
    Packet packet(Kind::fault, 0);
    packet.bytes(what);
    channel_.send(packet);
  }

  SystemClock clock_;
  Channel channel_;
  Carrier carrier_;
  FileHandle image_;
  NoEntropy entropy_;
  Logger log_{Logger::Target::none};
  plugins::Metrics metrics_;
  const plugins::SecretBox secrets_{Secret(), entropy_};
  Executor executor_, urgent_;
  const unsigned workers_;
  std::unique_ptr<plugins::Services> services_;
  std::shared_ptr<plugins::Library> library_;
  std::unique_ptr<CarriedContext> library_context_;
  std::map<std::uint64_t, std::unique_ptr<Job>> arriving_;  // the main thread's: calls whose body is not all here
  bool stopping_ = false;

  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Instance>> instances_;  // guarded by mutex_
  std::unordered_map<std::uint64_t, std::shared_ptr<RunnerCall>> calls_;    // guarded by mutex_
  std::deque<std::shared_ptr<RunnerCall>> graveyard_;                       // guarded by mutex_
};

bool Runner::refuse(std::string_view why) {
  Packet packet(Kind::refused, 0);
  packet.bytes(why);
  channel_.send(packet);
  return false;
}

bool Runner::hello(const Frame& frame) {
  if (library_) return false;
  Reader in(frame.payload);
  const std::string label = text(in.bytes());
  auto manifest = plugins::parse_manifest(text(in.bytes()));
  const std::uint8_t level = in.u8();
  std::map<std::string, std::string> settings;
  for (std::uint32_t n = in.u32(); in.ok() && n > 0; --n) {
    std::string type = text(in.bytes());
    settings.emplace(std::move(type), text(in.bytes()));
  }
  if (!in.done() || !manifest) return false;
  carrier_.set_level(level);
  services_.reset(new plugins::Services{clock_, log_, executor_, metrics_, secrets_, std::move(settings)});
  auto library = plugins::Library::load(plugins::Image{std::move(*manifest), std::move(image_)});
  if (!library) return refuse(library.error().message);
  library_ = std::move(*library);
  library_context_ = std::make_unique<CarriedContext>(*services_, carrier_, 0, label, "", "");
  MessageSink message;
  if (library_->init(library_context_->abi(), &message.abi) != VIA_OK) {
    library_.reset();
    return refuse("the plugin refused to start: " + message.text);
  }
  // The host compares for itself what was loaded.
  const plugins::Manifest& loaded = library_->manifest();
  Packet packet(Kind::ready, 0);
  packet.u16(loaded.abi_major).u16(loaded.abi_minor).bytes(loaded.text);
  return channel_.send(packet);
}

bool Runner::create(const Frame& frame) {
  if (!library_) return false;
  Reader in(frame.payload);
  const std::uint64_t number = in.u64();
  const std::string type_id = text(in.bytes());
  std::string addon = text(in.bytes()), storage = text(in.bytes());
  const auto& types = library_->manifest().types;
  const auto type = std::find_if(types.begin(), types.end(), [&](const auto& t) { return t.id == type_id; });
  if (!in.done() || type == types.end() || find(number)) return false;
  auto instance = std::make_shared<Instance>(*services_, carrier_, number, *type, std::move(addon), std::move(storage));
  executor_.run([this, id = frame.id, number, instance] {
    const via_instance_spec spec{sizeof(via_instance_spec), 0, {instance->type.id.data(), instance->type.id.size()}};
    MessageSink message;
    via_instance* made = nullptr;
    via_status status = library_->create(instance->context.abi(), spec, &made, &message.abi);
    std::uint32_t offers = 0;
    if (status == VIA_OK && (made == nullptr || made->api == nullptr || !VIA_HAS(via_instance_api, made->api, destroy) ||
                             !has_every_slot(*made->api))) {
      status = VIA_E_INTERNAL;
      message.text = "its table of functions is not whole";
    }
    if (status == VIA_OK) {
      instance->raw = made;
      if (const auto* t = VIA_TABLE(via_snapshot_api, made, VIA_EXT_SNAPSHOT, verify); t && t->take && t->restore)
        offers |= kSnapshots | ((t->flags & VIA_SNAPSHOT_EXCHANGES) != 0 ? kExchanges : 0U);
      if (VIA_TABLE(via_drain_api, made, VIA_EXT_DRAIN, drain)) offers |= kDrain;
      if (VIA_TABLE(via_drain_api, made, VIA_EXT_DRAIN, resume)) offers |= kResume;
      if (VIA_TABLE(via_stats_api, made, VIA_EXT_STATS, stats)) offers |= kStats;
      if (const auto* t = VIA_TABLE(via_migrate_api, made, VIA_EXT_MIGRATE, apply); t && t->plan) offers |= kMigrate;
      instance->queue = executor_.create(std::min(instance->type.parallel_ops, std::max(1U, workers_ / 4)));
      const std::lock_guard lock(mutex_);
      instances_.emplace(number, instance);
    }
    Packet packet(Kind::created, id);
    packet.u32(static_cast<std::uint32_t>(status)).u32(offers).bytes(message.text.substr(0, 4096));
    channel_.send(packet);
  });
  return true;
}

bool Runner::destroy(const Frame& frame) {
  Reader in(frame.payload);
  const std::uint64_t number = in.u64();
  auto instance = find(number);
  if (!in.done() || !instance) return false;
  executor_.run([this, id = frame.id, number, instance] {
    executor_.destroy(instance->queue);
    instance->raw->api->destroy(instance->raw);
    {
      const std::lock_guard lock(mutex_);
      instances_.erase(number);
    }
    Packet packet(Kind::destroyed, id);
    channel_.send(packet);
  });
  return true;
}

bool Runner::begin(const Frame& frame) {
  auto job = std::make_unique<Job>();
  job->id = frame.id;
  if (!job->message.parse(frame.payload)) return false;
  job->instance = find(job->message.instance);
  if (!job->instance || arriving_.contains(frame.id)) return false;
  if (job->message.whole()) return start(std::move(job));
  arriving_.emplace(frame.id, std::move(job));
  return true;
}

bool Runner::body(const Frame& frame) {
  const auto it = arriving_.find(frame.id);
  if (it == arriving_.end() || !it->second->message.add_body(frame.payload)) return false;
  if (!it->second->message.whole()) return true;
  auto job = std::move(it->second);
  arriving_.erase(it);
  return start(std::move(job));
}

bool Runner::start(std::unique_ptr<Job> job) {
  job->call = std::make_shared<RunnerCall>(*this, channel_, clock_, job->id, job->message);
  {
    const std::lock_guard lock(mutex_);
    if (!calls_.emplace(job->id, job->call).second) return false;
  }
  if (job->cancelled) job->call->cancel();
  Job* const raw = job.release();  // crosses a C callback, which owns it from here
  const via_task_fn task = [](void* data, via_status why) {
    const std::unique_ptr<Job> held(static_cast<Job*>(data));
    if (why == VIA_OK) return work(*held);
    via_call* const c = held->call->abi();
    c->complete(c, why, {nullptr, 0}, {nullptr, 0});
  };
  if (is_data(raw->message.verb)) {
    if (executor_.post(raw->instance->queue, 0, task, raw, nullptr) != VIA_OK) task(raw, VIA_E_UNAVAILABLE);
  } else {
    executor_.run([raw, task] { task(raw, VIA_OK); });
  }
  return true;
}

void Runner::work(Job& job) {
  via_instance* const i = job.instance->raw;
  via_call* const c = job.call->abi();
  CallMessage& m = job.message;
  const auto missing = [c](std::string_view what) {
    c->complete(c, VIA_E_UNSUPPORTED, {what.data(), what.size()}, {nullptr, 0});
  };
  switch (m.verb) {
    case Verb::provision: return i->api->provision(i, &m.provision(), c);
    case Verb::open: return i->api->open(i, &m.provision(), c);
    case Verb::close: return i->api->close(i, c);
    case Verb::deprovision: return i->api->deprovision(i, c);
    case Verb::bind: return i->api->bind(i, &m.binding(), c);
    case Verb::rotate: return i->api->rotate(i, &m.binding(), c);
    case Verb::revoke: return i->api->revoke(i, &m.binding(), c);
    case Verb::describe: return i->api->describe(i, &m.binding(), c);
    case Verb::health: return i->api->health(i, c);
    case Verb::invoke:
      if (const auto* t = VIA_TABLE(via_ops_api, i, VIA_EXT_OPS, invoke)) return t->invoke(i, &m.op(), c);
      return missing("This add-on type has no operations.");
    case Verb::handle:
      if (const auto* t = VIA_TABLE(via_http_api, i, VIA_EXT_HTTP, handle)) return t->handle(i, &m.request(), c);
      return missing("This add-on type answers no HTTP requests.");
    case Verb::take:
    case Verb::restore:
    case Verb::verify:
      if (const auto* t = VIA_TABLE(via_snapshot_api, i, VIA_EXT_SNAPSHOT, verify); t && t->take && t->restore)
        return (m.verb == Verb::take ? t->take : m.verb == Verb::restore ? t->restore : t->verify)(i, &m.snapshot(), c);
      return missing("This add-on type has no snapshots.");
    case Verb::drain:
      if (const auto* t = VIA_TABLE(via_drain_api, i, VIA_EXT_DRAIN, drain)) return t->drain(i, c);
      return missing("This add-on type does not drain.");
    case Verb::resume:
      if (const auto* t = VIA_TABLE(via_drain_api, i, VIA_EXT_DRAIN, resume)) return t->resume(i, c);
      return missing("This add-on type does not drain.");
    case Verb::stats:
      if (const auto* t = VIA_TABLE(via_stats_api, i, VIA_EXT_STATS, stats)) return t->stats(i, c);
      return missing("This add-on type has no figures.");
    case Verb::plan:
    case Verb::apply:
      if (const auto* t = VIA_TABLE(via_migrate_api, i, VIA_EXT_MIGRATE, apply); t && t->plan)
        return (m.verb == Verb::plan ? t->plan : t->apply)(i, &m.migrate(), c);
      return missing("This add-on type does not migrate.");
  }
}

void Runner::cancel(std::uint64_t id) {
  if (const auto it = arriving_.find(id); it != arriving_.end()) it->second->cancelled = true;
  std::shared_ptr<RunnerCall> call;
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = calls_.find(id); it != calls_.end()) call = it->second;
  }
  // Not here: a cancel function may use the secret box, whose answer this thread reads.
  if (call) urgent_.run([call] { call->cancel(); });
}

bool Runner::on_frame(const Frame& frame) {
  switch (frame.kind) {
    case Kind::hello: return hello(frame);
    case Kind::create: return create(frame);
    case Kind::destroy: return destroy(frame);
    case Kind::call: return library_ && begin(frame);
    case Kind::body: return body(frame);
    case Kind::cancel: cancel(frame.id); return true;  // it may have ended meanwhile
    case Kind::window: {
      Reader in(frame.payload);
      const std::uint64_t bytes = in.u64();
      std::shared_ptr<RunnerCall> call;
      {
        const std::lock_guard lock(mutex_);
        if (const auto it = calls_.find(frame.id); it != calls_.end()) call = it->second;
      }
      if (call) call->give(bytes);
      return in.done();
    }
    case Kind::boxed: {
      Reader in(frame.payload);
      const auto status = static_cast<via_status>(in.u32());
      const std::string_view bytes = in.bytes();
      return in.done() && carrier_.answer(frame.id, status, bytes);
    }
    case Kind::stop: stopping_ = true; return false;
    default: return false;
  }
}

int Runner::run() {
  std::string problem;
  for (;;) {
    std::array<pollfd, 2> watched{{{channel_.socket(), POLLIN, 0}, {channel_.wake_fd(), POLLIN, 0}}};
    if (channel_.wants_write()) watched[0].events |= POLLOUT;
    const int n = ::poll(watched.data(), watched.size(), channel_.has_later() ? kLaterMs : -1);
    if (n < 0 && errno != EINTR) break;
    if (n == 0 || (watched[0].revents & POLLOUT) != 0) channel_.flush();
    if ((watched[1].revents & POLLIN) != 0) channel_.clear_wake();
    if ((watched[0].revents & ~POLLOUT) == 0) continue;
    if (!channel_.receive([&](const Frame& frame) { return on_frame(frame); }, problem)) break;
  }
  channel_.flush();
  carrier_.close();
  // Only an orderly end may run the plugin's code; the host has closed every instance before it.
  bool idle = false;
  {
    const std::lock_guard lock(mutex_);
    idle = instances_.empty() && calls_.empty();
  }
  if (!stopping_ || !idle || !library_) ::_exit(stopping_ ? 0 : 1);
  library_->deinit();
  channel_.flush();
  return 0;
}

}  // namespace

int run_runner(FileHandle socket, FileHandle library, unsigned workers) {
  return Runner(std::move(socket), std::move(library), workers).run();
}

}  // namespace via::isolation
