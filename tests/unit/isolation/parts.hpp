// A host whose plugins run in processes of their own, and one operation as a connection makes it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "core/isolation/isolated_library.hpp"
#include "core/plugins/call.hpp"
#include "unit/plugins/bundle.hpp"

namespace via::isolation::test {

namespace fs = std::filesystem;
using plugins::test::Bundle;

inline constexpr const char* kAddon = "addon_01jd5000000000000000000000";
inline constexpr const char* kBinding = "bind_01jd5000000000000000000000";

// What a connection does with a call: waits, takes the chunks of a stream, and the end.
class Client final : private plugins::Call::Framer, private plugins::Call::Waiter {
 public:
  explicit Client(std::uint64_t deadline_ms = 0) {
    call.start(out_, *this, via_id{}, deadline_ms == 0 ? 0 : clock_.mono_ns() + deadline_ms * 1'000'000U);
  }
  // Everything until the end; "code: message" when it failed.
  std::string answer() {
    std::string got;
    for (;;) {
      if (call.wait(*this)) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return woken_; });
        woken_ = false;
      }
      const bool done = call.done();
      Buffer chunk;
      while (call.take_chunk(chunk)) {
        got += chunk.view();
        chunk.clear();
      }
      if (done) break;
    }
    if (call.status() != VIA_OK) return std::string(call.error().wire_name()) + ": " + call.error().message;
    return got + std::string(out_.view());
  }
  int status = 200;
  std::string content_type = "application/json";

 private:
  SystemClock clock_;
  Buffer out_;

 public:
  plugins::Call call{clock_};

 private:
  void begin(Buffer&, const via_head* head) override {
    if (head == nullptr) return;
    status = head->http_status;
    content_type.assign(head->content_type.ptr, head->content_type.len);
  }
  void wake() override {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

inline void invoke(plugins::AddonInstance& instance, const std::string& op, const std::string& body, via_call* call) {
  const via_str scope{"read", 4};
  const std::uint32_t live[] = {1, 2};
  via_caller caller{};
  caller.struct_size = sizeof caller;
  caller.generation = 2;
  caller.scopes = &scope;
  caller.scopes_len = 1;
  caller.live_generations = live;
  caller.live_generations_len = 2;
  const via_op_args args{sizeof(via_op_args), 0, {op.data(), op.size()}, {"application/json", 16},
                         {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, &caller, {nullptr, 0}};
  instance.invoke(args, call);
}

inline std::string run(plugins::AddonInstance& instance, const std::string& op, const std::string& body = "",
                       std::uint64_t deadline_ms = 0) {
  Client client(deadline_ms);
  invoke(instance, op, body, client.call.abi());
  return client.answer();
}

// Polls; false when it does not come true within ten seconds.
template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    ::poll(nullptr, 0, 1);
  }
  return false;
}

// A host of which every plugin is isolated. Pauses are short, so that tests are.
struct IsolatedParts : plugins::test::HostParts {
  IsolatedParts() {
    options.program = VIA_PLUGIN_RUNNER;
    options.grace_ms = 300;
    options.first_pause_ms = 40;
    options.most_pause_ms = 80;
    options.start_ms = 20'000;
  }
  // What a sanitizer found in a runner is in the log.
  ~IsolatedParts() { EXPECT_EQ(logged().find("Sanitizer"), std::string::npos) << logged(); }
  Result<plugins::PluginRecord> load(const Bundle& b) { return host().load(b.folder, b.pin(), "pinned"); }
  plugins::PluginHost& host() {
    if (!host_)
      host_ = std::make_unique<plugins::PluginHost>(services, state.path() / "addons", [this](plugins::Image image) {
        return Result<std::shared_ptr<plugins::Library>>(isolate(services, std::move(image), options));
      });
    return *host_;
  }
  // An add-on that is provisioned.
  std::shared_ptr<plugins::AddonInstance> addon(const std::string& type, const std::string& id = kAddon) {
    auto made = host().instance(id, type, "{}");
    if (!made || !host().provision(**made)) return nullptr;
    return *made;
  }
  // Ends every process; what was logged can be read afterwards.
  std::string logged() {
    host_.reset();
    std::string out;
    for (const std::string& line : *lines) out += line + "\n";
    return out;
  }
  std::string metric(const std::string& name) const {
    const std::string text = metrics.text();
    const auto at = text.find("\n" + name);
    return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }

  Options options;

 private:
  std::unique_ptr<plugins::PluginHost> host_;
};

inline pid_t pid_of(plugins::AddonInstance& instance) { return static_cast<pid_t>(std::atol(run(instance, "where").c_str())); }
inline bool gone(pid_t pid) { return ::kill(pid, 0) != 0; }

}  // namespace via::isolation::test
