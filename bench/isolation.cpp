// What an operation pays to reach its plugin: in the host's process, and in a process of its own.
//
//   bench_isolation RUNNER ECHO-BUNDLE SQLITE-BUNDLE FOLDER
//     → {"echo":{"inline_ns":N,"invoke_ns":N,"worker_ns":N,"isolated_ns":N,"isolated_16_ns":N},"point":{…}}
//
// inline: try_invoke on the caller's thread; invoke: the same thread, without the short cut; worker: as a request that was not
// inline, there and back; isolated: through the runner, one at a time; isolated_16: sixteen in flight, per operation.
// echo answers 24 bytes with themselves; point is one row by its key. Wall clock, the median of some rounds.
// Thread: one, and what the host starts.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/isolation/isolated_library.hpp"
#include "core/plugins/call.hpp"
#include "core/plugins/plugin_host.hpp"
#include "core/plugins/turn.hpp"

namespace {

using namespace via;
namespace fs = std::filesystem;

constexpr std::size_t kRounds = 5, kAtOnce = 16;
constexpr const char* kAddon = "addon_01jd5000000000000000000000";

[[noreturn]] void wrong(const std::string& what) {
  std::fprintf(stderr, "bench_isolation: %s\n", what.c_str());
  std::exit(1);
}

// A call and whoever waits for it.
class Client final : private plugins::Call::Framer, private plugins::Call::Waiter {
 public:
  explicit Client(const Clock& clock) : call_(clock) {}
  via_call* start() {
    out_.clear();
    call_.start(out_, *this, via_id{}, 0);
    return call_.abi();
  }
  void wait() {
    while (!call_.done()) {
      if (!call_.wait(*this)) continue;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return woken_; });
      woken_ = false;
    }
    if (call_.status() != VIA_OK || out_.empty()) wrong("an operation failed: " + call_.message());
  }

 private:
  void begin(Buffer&, const via_head*) override {}
  void wake() override {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }
  plugins::Call call_;
  Buffer out_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

struct Work {
  plugins::AddonInstance& instance;
  via_op_args args;
};

class Bench {
 public:
  Bench(const fs::path& runner, const fs::path& bundle, std::string type, const fs::path& folder, bool isolated)
      : host_(services_, folder / (isolated ? "isolated" : "inside"), [this, runner, isolated](plugins::Image image) {
          if (!isolated) return plugins::Library::load(std::move(image));
          isolation::Options options;
          options.program = runner;
          return Result<std::shared_ptr<plugins::Library>>(isolation::isolate(services_, std::move(image), options));
        }) {
    auto loaded = host_.load(bundle, plugins::inspect(bundle).sha256, "bundled");
    if (!loaded) wrong(loaded.error().message);
    auto made = host_.instance(kAddon, type, "{}");
    if (!made) wrong(made.error().message);
    instance_ = *made;
    if (auto done = host_.provision(*instance_); !done) wrong(done.error().message);
    if (auto done = instance_->open(); !done) wrong(done.error().message);
  }
  ~Bench() {
    instance_.reset();
    host_.close_all();
  }

  void operate(const std::string& op, const std::string& body) {
    args_ = args(op, body);
    Client client(clock_);
    instance_->invoke(args_, client.start());
    client.wait();
  }
  double time(const std::string& op, const std::string& body, std::size_t looks, auto once) {
    args_ = args(op, body);
    std::vector<double> rounds;
    for (std::size_t r = 0; r <= kRounds; ++r) {
      const auto begin = std::chrono::steady_clock::now();
      for (std::size_t i = 0; i < looks; ++i) once();
      const double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
      if (r > 0) rounds.push_back(ns / static_cast<double>(looks));  // the first one warms up
    }
    std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
    return rounds[kRounds / 2];
  }
  double inline_ns(const std::string& op, const std::string& body) {
    Client client(clock_);
    plugins::Turn turn;  // as an I/O thread has one
    turn.enter();
    std::size_t declined = 0;
    const double ns = time(op, body, 50'000, [&] {
      via_call* const call = client.start();
      if (instance_->try_invoke(args_, call) != VIA_OK) {  // until the plugin knows that it is cheap
        ++declined;
        instance_->invoke(args_, call);
      }
      client.wait();
      turn.finish();
    });
    plugins::Turn::leave();
    if (declined > 150'000) wrong("it is not answered inline");  // a slow moment makes a plugin careful for a while
    return ns;
  }
  double invoke_ns(const std::string& op, const std::string& body, std::size_t looks) {
    Client client(clock_);
    return time(op, body, looks, [&] {
      instance_->invoke(args_, client.start());
      client.wait();
    });
  }
  double worker_ns(const std::string& op, const std::string& body) {
    Client client(clock_);
    struct Task {
      Bench& bench;
      via_call* call;
    };
    return time(op, body, 5'000, [&] {
      Task task{*this, client.start()};
      instance_->post([](void* data, via_status) {
        const Task& t = *static_cast<Task*>(data);
        via_call* const call = t.call;
        t.bench.instance_->invoke(t.bench.args_, call);
      }, &task);
      client.wait();
    });
  }
  double at_once_ns(const std::string& op, const std::string& body) {
    std::vector<std::unique_ptr<Client>> clients;
    for (std::size_t i = 0; i < kAtOnce; ++i) clients.push_back(std::make_unique<Client>(clock_));
    return time(op, body, 500, [&] {
             for (auto& client : clients) instance_->invoke(args_, client->start());
             for (auto& client : clients) client->wait();
           }) / kAtOnce;
  }

 private:
  via_op_args args(const std::string& op, const std::string& body) const {
    static constexpr via_str kScopes[] = {{"read", 4}, {"write", 5}};
    static constexpr std::uint32_t kLive[] = {1};
    static constexpr via_caller kCaller{sizeof(via_caller), 1, {{}}, kScopes, 2, kLive, 1};
    const auto index = static_cast<std::uint32_t>(instance_->find_operation(op));
    return {sizeof(via_op_args), index, {op.data(), op.size()}, {"application/json", 16},
            {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, &kCaller, {nullptr, 0}};
  }
  SystemClock clock_;
  SystemEntropy entropy_;
  Logger log_{Logger::Target::none};
  plugins::Executor executor_{clock_, 16};
  plugins::Metrics metrics_;
  const plugins::SecretBox secrets_{Secret(std::string(32, 'k')), entropy_};
  const plugins::Services services_{clock_, log_, executor_, metrics_, secrets_};
  plugins::PluginHost host_;
  std::shared_ptr<plugins::AddonInstance> instance_;
  via_op_args args_{};
};

std::string measure(const fs::path& runner, const fs::path& bundle, const std::string& type, const fs::path& folder, const std::string& op,
                    const std::string& body, const std::vector<std::string>& before) {
  fs::create_directories(folder);
  Bench inside(runner, bundle, type, folder, false), isolated(runner, bundle, type, folder, true);
  for (Bench* bench : {&inside, &isolated})
    for (const std::string& sql : before) bench->operate("setup", sql);
  inside.operate(op, body);
  char text[256];
  std::snprintf(text, sizeof text,
                "{\"inline_ns\":%.0f,\"invoke_ns\":%.0f,\"worker_ns\":%.0f,\"isolated_ns\":%.0f,\"isolated_16_ns\":%.0f}",
                inside.inline_ns(op, body), inside.invoke_ns(op, body, 50'000), inside.worker_ns(op, body), isolated.invoke_ns(op, body, 5'000),
                isolated.at_once_ns(op, body));
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) wrong("usage: bench_isolation RUNNER ECHO-BUNDLE SQLITE-BUNDLE FOLDER");
  const fs::path folder = fs::path(argv[4]), runner = fs::absolute(argv[1]);
  const std::string echo = measure(runner, argv[2], "echo", folder / "echo", "echo", R"({"hello":"world","n":123})", {});
  const std::string point = measure(runner, argv[3], "sqlite", folder / "point", "query", R"({"sql":"SELECT b FROM t WHERE a=?","params":[500]})",
                                    {R"({"sql":"CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 1000) INSERT INTO t SELECT x, 'value '||x FROM c"})"});
  std::printf("{\"echo\":%s,\"point\":%s}\n", echo.c_str(), point.c_str());
}
