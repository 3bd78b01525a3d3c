#include "core/isolation/isolated_library.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>

#include "core/isolation/process.hpp"
#include "core/plugins/call.hpp"

namespace via::isolation {
namespace {

std::string text(via_str s) { return s.len == 0 ? std::string() : std::string(s.ptr, s.len); }

via_status status_of(const Error& error) {
  switch (error.code) {
    case Code::bad_request: return VIA_E_INVALID;
    case Code::unavailable: return VIA_E_UNAVAILABLE;
    case Code::deadline_exceeded: return VIA_E_DEADLINE;
    default: return VIA_E_INTERNAL;
  }
}

void end(via_call* call, via_status status, std::string_view message = {}) {
  call->complete(call, status, {message.data(), message.size()}, {nullptr, 0});
}

// One add-on in a runner, as the ABI's tables.
class Proxy {
 public:
  Proxy(Process& process, const via_host* host, std::string type, std::string addon, std::string storage)
      : process_(process), host_(host), type_(std::move(type)), addon_(std::move(addon)), storage_(std::move(storage)) {}

  // The first time; what it offers stays the same for the life of the proxy.
  Result<void> begin() {
    const std::lock_guard lock(mutex_);
    if (auto run = live_held(); !run) return run.error();
    return {};
  }
  via_instance* handle() noexcept { return &link_.base; }

 private:
  // A via_instance whose owner can be found.
  struct Link {
    via_instance base{&kApi};
    Proxy* proxy = nullptr;
  };
  static Proxy& self(via_instance* i) { return *reinterpret_cast<Link*>(i)->proxy; }

  // The run in which the instance is, as it was: made, and open if it had been opened. mutex_ held.
  Result<std::shared_ptr<Run>> live_held() {
    if (run_ && !run_->ended()) return run_;
    run_.reset();
    auto run = process_.connect();
    if (!run) return run.error();
    const std::uint64_t number = process_.next_instance();
    auto offers = (*run)->create(number, host_, type_, addon_, storage_);
    if (!offers) return offers.error();
    if (!known_) {
      offers_ = *offers;
      known_ = true;
    }
    if (opened_.load(std::memory_order_acquire)) {
      plugins::ControlCall call(process_.setup().services.clock);
      (*run)->submit(Verb::open, number, call.abi(), [this](Packet& p) { put_provision(p); }, {});
      if (auto opened = call.wait(); !opened) {
        (*run)->destroy(number);
        return opened.error();
      }
      process_.setup().services.log.info("addon_opened_again", {{"addon", addon_}, {"addon_type", type_}});
    }
    number_ = number;
    run_ = std::move(*run);
    return run_;
  }
  Result<std::shared_ptr<Run>> live(std::uint64_t& number) {
    const std::lock_guard lock(mutex_);
    auto run = live_held();
    number = number_;
    return run;
  }
  // The run it is in, or none. Starts nothing.
  std::shared_ptr<Run> current(std::uint64_t& number) {
    const std::lock_guard lock(mutex_);
    number = number_;
    return run_ && !run_->ended() ? run_ : nullptr;
  }
  void put_provision(Packet& p) const {
    put(p, via_provision_args{sizeof(via_provision_args), schema_, {plan_.data(), plan_.size()}, {config_.data(), config_.size()}});
  }

  void send(Verb verb, via_call* call, const std::function<void(Packet&)>& put, via_bytes body = {}, Run::After after = {}) {
    std::uint64_t number = 0;
    auto run = live(number);
    if (!run) return end(call, status_of(run.error()), run.error().message);
    if (answers_bytes(verb)) (*run)->wait_for_room();
    (*run)->submit(verb, number, call, put, body, std::move(after));
  }

  template <Verb verb>
  static void plain(via_instance* i, via_call* call) {
    self(i).send(verb, call, {});
  }
  template <Verb verb>
  static void binding(via_instance* i, const via_binding_args* args, via_call* call) {
    self(i).send(verb, call, [args](Packet& p) { put(p, *args); });
  }
  template <Verb verb>
  static void snapshot(via_instance* i, const via_snapshot_args* args, via_call* call) {
    self(i).send(verb, call, [args](Packet& p) { put(p, *args); });
  }
  template <Verb verb>
  static void migrate(via_instance* i, const via_migrate_args* args, via_call* call) {
    self(i).send(verb, call, [args](Packet& p) { put(p, *args); });
  }
  static void provision(via_instance* i, const via_provision_args* args, via_call* call) {
    self(i).send(Verb::provision, call, [args](Packet& p) { put(p, *args); });
  }
  static void open(via_instance* i, const via_provision_args* args, via_call* call) {
    Proxy& proxy = self(i);
    proxy.schema_ = args->storage_schema;
    proxy.plan_ = text(args->plan);
    proxy.config_ = text(args->config_json);
    proxy.send(Verb::open, call, [args](Packet& p) { put(p, *args); }, {}, [&proxy](via_status status) {
      if (status == VIA_OK) proxy.opened_.store(true, std::memory_order_release);
    });
  }
  static void close(via_instance* i, via_call* call) {
    Proxy& proxy = self(i);
    std::uint64_t number = 0;
    // Where there is no process nothing is open.
    const auto run = proxy.current(number);
    const bool was_open = proxy.opened_.exchange(false);
    if (!run || !was_open) return end(call, VIA_OK);
    run->submit(Verb::close, number, call, {}, {});
  }
  static void drain(via_instance* i, via_call* call) {
    Proxy& proxy = self(i);
    std::uint64_t number = 0;
    const auto run = proxy.live(number);
    if (!run) return end(call, status_of(run.error()), run.error().message);
    proxy.drained_.store(number);
    (*run)->submit(Verb::drain, number, call, {}, {});
  }
  static void resume(via_instance* i, via_call* call) {
    Proxy& proxy = self(i);
    std::uint64_t number = 0;
    const auto run = proxy.current(number);
    // One that was made again meanwhile was never drained.
    if (!run || proxy.drained_.exchange(0) != number || (proxy.offers_ & kResume) == 0) return end(call, VIA_OK);
    run->submit(Verb::resume, number, call, {}, {});
  }
  static void invoke(via_instance* i, const via_op_args* args, via_call* call) {
    self(i).send(Verb::invoke, call, [args](Packet& p) { put(p, *args); }, args->params);
  }
  static void handle(via_instance* i, const via_http_request* request, via_call* call) {
    self(i).send(Verb::handle, call, [request](Packet& p) { put(p, *request); }, request->body);
  }
  // On an I/O thread a call is only sent: it is then taken over, and completed by the run. What would have to wait (a process
  // that must be started, a body that may not fit) goes to a worker.
  std::shared_ptr<Run> ready(std::size_t body, std::uint64_t& number) {
    if (body > kPiece) return nullptr;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !run_ || run_->ended() || !run_->has_room()) return nullptr;
    number = number_;
    return run_;
  }
  static via_status try_invoke(via_instance* i, const via_op_args* args, via_call* call) {
    std::uint64_t number = 0;
    const auto run = self(i).ready(args->params.len, number);
    if (!run) return VIA_E_WOULD_BLOCK;
    run->submit(Verb::invoke, number, call, [args](Packet& p) { put(p, *args); }, args->params);
    return VIA_OK;
  }
  static via_status try_handle(via_instance* i, const via_http_request* request, via_call* call) {
    std::uint64_t number = 0;
    const auto run = self(i).ready(request->body.len, number);
    if (!run) return VIA_E_WOULD_BLOCK;
    run->submit(Verb::handle, number, call, [request](Packet& p) { put(p, *request); }, request->body);
    return VIA_OK;
  }
  static const void* extension(via_instance* i, const char* id) {
    static constexpr via_ops_api kOps{sizeof(via_ops_api), 0, invoke, try_invoke};
    static constexpr via_http_api kHttp{sizeof(via_http_api), 0, handle, try_handle};
    static constexpr via_snapshot_api kPlain{sizeof(via_snapshot_api), 0, snapshot<Verb::take>, snapshot<Verb::restore>,
                                             snapshot<Verb::verify>};
    static constexpr via_snapshot_api kExchanging{sizeof(via_snapshot_api), VIA_SNAPSHOT_EXCHANGES, snapshot<Verb::take>,
                                                  snapshot<Verb::restore>, snapshot<Verb::verify>};
    static constexpr via_drain_api kDrainTable{sizeof(via_drain_api), 0, drain, resume};
    static constexpr via_stats_api kStatsTable{sizeof(via_stats_api), 0, plain<Verb::stats>};
    static constexpr via_migrate_api kMigrateTable{sizeof(via_migrate_api), 0, migrate<Verb::plan>, migrate<Verb::apply>};
    const std::uint32_t offers = self(i).offers_;
    const std::string_view name(id);
    if (name == VIA_EXT_OPS) return &kOps;    // the runner says when there is none
    if (name == VIA_EXT_HTTP) return &kHttp;
    if (name == VIA_EXT_SNAPSHOT && (offers & kSnapshots) != 0) return (offers & kExchanges) != 0 ? &kExchanging : &kPlain;
    if (name == VIA_EXT_DRAIN && (offers & kDrain) != 0) return &kDrainTable;
    if (name == VIA_EXT_STATS && (offers & kStats) != 0) return &kStatsTable;
    if (name == VIA_EXT_MIGRATE && (offers & kMigrate) != 0) return &kMigrateTable;
    return nullptr;
  }
  static void destroy(via_instance* i) {
    const std::unique_ptr<Proxy> owned(&self(i));
    std::uint64_t number = 0;
    if (const auto run = owned->current(number)) run->destroy(number);
  }
  static constexpr via_instance_api kApi{sizeof(via_instance_api), 0, provision, open, close, plain<Verb::deprovision>,
                                         binding<Verb::bind>, binding<Verb::rotate>, binding<Verb::revoke>,
                                         binding<Verb::describe>, plain<Verb::health>, extension, destroy};

  Link link_{{&kApi}, this};
  Process& process_;
  const via_host* const host_;
  const std::string type_, addon_, storage_;
  std::uint32_t offers_ = 0;            // written before the instance is given out
  bool known_ = false;
  std::atomic<bool> opened_{false};
  std::atomic<std::uint64_t> drained_{0};  // which one was
  std::uint32_t schema_ = 0;            // of the last open; written before opened_
  std::string plan_, config_;
  std::mutex mutex_;
  std::shared_ptr<Run> run_;            // guarded by mutex_
  std::uint64_t number_ = 0;            // guarded by mutex_
};

class IsolatedLibrary final : public plugins::Library {
 public:
  IsolatedLibrary(const plugins::Services& services, plugins::Image image, const Options& options)
      : Library(std::move(image.manifest)), services_(services), memory_(std::move(image.memory)), options_(options) {}
  ~IsolatedLibrary() override { deinit(); }
  bool isolated() const override { return true; }

  via_status init(const via_host* host, const via_sink* message) override {
    writers_ = services_.executor.create(std::max(1U, services_.executor.threads() / 4));
    for (const plugins::AddonType& type : manifest().types)
      processes_.emplace(type.id, std::make_unique<Process>(Run::Setup{services_, manifest(), type.id, memory_.get(), host,
                                                                       writers_, options_}));
    for (const auto& [type, process] : processes_)
      if (auto run = process->connect(); !run) {
        say(message, run.error().message);
        deinit();
        return status_of(run.error());
      }
    return VIA_OK;
  }
  void deinit() override {
    for (const auto& [type, process] : processes_) process->stop();
    processes_.clear();
    if (writers_ != nullptr) services_.executor.destroy(std::exchange(writers_, nullptr));
  }
  via_status create(const via_host* host, const via_instance_spec& spec, via_instance** out, const via_sink* message) override {
    const auto process = processes_.find(text(spec.type_id));
    if (process == processes_.end()) return VIA_E_NOT_FOUND;
    const auto& context = *static_cast<const plugins::HostContext*>(host->host_data);
    auto proxy = std::make_unique<Proxy>(*process->second, host, process->first, context.instance_id(), context.storage());
    if (auto begun = proxy->begin(); !begun) {
      say(message, begun.error().message);
      return status_of(begun.error());
    }
    *out = proxy.release()->handle();  // destroy() owns it
    return VIA_OK;
  }

 private:
  static void say(const via_sink* sink, std::string_view text) {
    if (sink != nullptr) (void)sink->write(sink->ctx, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
  const plugins::Services& services_;
  const FileHandle memory_;
  const Options options_;
  plugins::Executor::Queue* writers_ = nullptr;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

}  // namespace

std::shared_ptr<plugins::Library> isolate(const plugins::Services& services, plugins::Image image, const Options& options) {
  return std::make_shared<IsolatedLibrary>(services, std::move(image), options);
}

}  // namespace via::isolation
