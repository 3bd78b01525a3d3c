// Two plain classes as a library: one that uses every form a method may have, one that has nothing.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <set>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <via/plugin.hpp>
#include <via/plugin/entry.hpp>
#include <via/testing.hpp>

namespace {

using namespace via::plugin;

std::atomic<int> started{0}, alive{0};

class Sample {
 public:
  explicit Sample(Host host) : host_(host) { ++alive; }
  ~Sample() { --alive; }
  static void start(Host) { ++started; }
  static void stop() { --started; }

  void provision(const Provision& p) {
    if (p.config_json == "refuse") throw Failure(VIA_E_CONFLICT, "it exists with another configuration");
  }
  void open(const Provision&, Control& control) {
    control.progress(1, 2);
    queue_ = host_.queue();
  }
  void close() { queue_ = Queue(); }
  void bind(const Binding& b) { last_secret_ = b.secret; }
  std::string describe(const Binding& b) { return "{\"generation\":" + std::to_string(b.generation) + "}"; }

  void invoke(const Operation& op, Call& call) {
    if (op.name == "throw") throw std::runtime_error("a bug");
    if (op.name == "memory") throw std::bad_alloc();
    if (op.name == "strange") throw 7;
    if (op.name == "refuse") throw Failure(VIA_E_INVALID, "not like this", "bad_thing");
    if (op.name == "forget") return;
    if (op.name == "twice") {
      call.answer("once");
      call.answer();
      call.fail(VIA_E_INTERNAL, "again");
      return;
    }
    if (op.name == "later") {
      queue_.post([call = std::move(call), text = std::string(op.params)]() mutable { call.answer(text); });
      return;
    }
    if (op.name == "much later") {
      queue_.post([call = std::move(call)]() mutable { call.answer("never"); }, std::chrono::hours(1));
      return;
    }
    if (op.name == "drop in a task") {
      queue_.post([call = std::move(call)] {});
      return;
    }
    if (op.name == "until cancelled") {
      auto shared = std::make_shared<std::optional<Call>>();
      via_call* raw = call.raw();
      (void)raw;
      shared->emplace(std::move(call));
      (*shared)->on_cancel([shared] {
        (*shared)->fail(VIA_E_CANCELLED, "as you wish");
        shared->reset();
      });
      return;
    }
    if (op.name == "body") return call.answer(call.body(op.params, 10));
    call.answer(op.caller.may("write") ? "may write" : "may not write");
  }
  bool try_invoke(const Operation& op, Call& call) noexcept {
    if (op.name != "inline") return false;
    call.answer("here");
    return true;
  }
  std::string handle(const HttpRequest& request) {
    if (request.path == "/echo") return std::string(request.body);
    return "{\"path\":" + json_string(request.path) + "}";
  }

  SnapshotFacts take(const Snapshot& s, Control&) { return {"sample/1", 3, std::string(s.dir)}; }
  void restore(const Snapshot&) { throw Failure(VIA_E_INVALID, "that is no snapshot", "snapshot_invalid"); }
  void verify(const Snapshot&) {}
  void drain() {}
  void resume() {}
  std::string stats() { return R"({"bytes_used":5})"; }

 private:
  Host host_;
  Queue queue_;
  std::string last_secret_;
};

struct Bare {
  explicit Bare(Host) {}
};
struct Refuses {
  explicit Refuses(Host) { throw Failure(VIA_E_UNAVAILABLE, "the other side is down"); }
};

VIA_PLUGIN(Type<Sample>{"sample"}, Type<Bare>{"bare"}, Type<Refuses>{"refuses"});

using via::testing::FakeCall;
using via::testing::FakeHost;

class PluginShell : public ::testing::Test {
 protected:
  PluginShell() : host_({.dir = "/nowhere"}) {
    EXPECT_EQ(entry()->init(host_.host(), nullptr), VIA_OK);
    EXPECT_EQ(create("sample", &instance_), VIA_OK);
    provision_.struct_size = sizeof provision_;
    FakeCall opened;
    instance_->api->open(instance_, &provision_, opened.get());
    EXPECT_EQ(opened.wait().status(), VIA_OK);
  }
  ~PluginShell() override {
    FakeCall closed;
    instance_->api->close(instance_, closed.get());
    instance_->api->destroy(instance_);
    entry()->deinit();
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(started, 0);
  }
  static const via_plugin_entry* entry() { return via_plugin_entry_v1_sample(); }
  via_status create(const char* type, via_instance** out) {
    const via_instance_spec spec{sizeof spec, 0, str(type)};
    const via_sink sink{&message_, [](void* ctx, via_bytes chunk) {
                          static_cast<std::string*>(ctx)->append(view(chunk));
                          return static_cast<via_status>(VIA_OK);
                        }};
    return entry()->create(host_.host(), &spec, out, &sink);
  }
  void invoke(const char* name, FakeCall& call, std::string_view params = {}) {
    via_caller caller{};
    caller.struct_size = sizeof caller;
    const via_str scope = str("write");
    caller.scopes = &scope;
    caller.scopes_len = 1;
    via_op_args args{};
    args.struct_size = sizeof args;
    args.op = str(name);
    args.params = bytes(params);
    args.caller = &caller;
    ops()->invoke(instance_, &args, call.get());
  }
  const via_ops_api* ops() {
    return static_cast<const via_ops_api*>(instance_->api->get_extension(instance_, VIA_EXT_OPS));
  }

  FakeHost host_;
  via_instance* instance_ = nullptr;
  via_provision_args provision_{};
  std::string message_;
};

TEST_F(PluginShell, CreatesTheTypesItNamesAndNoOther) {
  via_instance* out = nullptr;
  EXPECT_EQ(create("other", &out), VIA_E_NOT_FOUND);
  EXPECT_EQ(out, nullptr);
  EXPECT_EQ(create("refuses", &out), VIA_E_UNAVAILABLE);
  EXPECT_EQ(out, nullptr);
  EXPECT_EQ(message_, "the other side is down");
}

TEST_F(PluginShell, OffersWhatTheClassHas) {
  for (const char* id : {VIA_EXT_OPS, VIA_EXT_HTTP, VIA_EXT_SNAPSHOT, VIA_EXT_DRAIN, VIA_EXT_STATS})
    EXPECT_NE(instance_->api->get_extension(instance_, id), nullptr) << id;
  EXPECT_EQ(instance_->api->get_extension(instance_, VIA_EXT_MIGRATE), nullptr);
  EXPECT_EQ(instance_->api->get_extension(instance_, "via.ops/2"), nullptr);
  EXPECT_NE(ops()->try_invoke, nullptr);
}

TEST_F(PluginShell, AClassWithoutMethodsAnswersEveryCoreCall) {
  via_instance* bare = nullptr;
  ASSERT_EQ(create("bare", &bare), VIA_OK);
  via_binding_args binding{};
  binding.struct_size = sizeof binding;
  const auto done = [&](auto&& make) {
    FakeCall call;
    make(call.get());
    EXPECT_EQ(call.wait().status(), VIA_OK);
    EXPECT_EQ(call.completions(), 1);
    return call.details();
  };
  const via_instance_api& api = *bare->api;
  done([&](via_call* c) { api.provision(bare, &provision_, c); });
  done([&](via_call* c) { api.open(bare, &provision_, c); });
  done([&](via_call* c) { api.bind(bare, &binding, c); });
  done([&](via_call* c) { api.rotate(bare, &binding, c); });
  EXPECT_NE(done([&](via_call* c) { api.describe(bare, &binding, c); }).find("${endpoint}"), std::string::npos);
  EXPECT_NE(done([&](via_call* c) { api.health(bare, c); }).find("\"ok\""), std::string::npos);
  done([&](via_call* c) { api.revoke(bare, &binding, c); });
  done([&](via_call* c) { api.close(bare, c); });
  done([&](via_call* c) { api.deprovision(bare, c); });
  for (const char* id : {VIA_EXT_OPS, VIA_EXT_HTTP, VIA_EXT_SNAPSHOT, VIA_EXT_DRAIN, VIA_EXT_STATS, VIA_EXT_MIGRATE})
    EXPECT_EQ(api.get_extension(bare, id), nullptr) << id;
  api.destroy(bare);
}

TEST_F(PluginShell, NoExceptionCrosses) {
  const struct {
    const char* name;
    via_status status;
    const char *message, *details;
  } kCases[] = {{"throw", VIA_E_INTERNAL, "a bug", ""},
                {"memory", VIA_E_EXHAUSTED, "The plugin has no memory left.", ""},
                {"strange", VIA_E_INTERNAL, "The plugin threw something unknown.", ""},
                {"refuse", VIA_E_INVALID, "not like this", R"({"code":"bad_thing"})"}};
  for (const auto& c : kCases) {
    FakeCall call;
    invoke(c.name, call);
    EXPECT_EQ(call.wait().status(), c.status) << c.name;
    EXPECT_EQ(call.message(), c.message);
    EXPECT_EQ(call.details(), c.details);
    EXPECT_EQ(call.completions(), 1);
  }
}

TEST_F(PluginShell, AForgottenCallIsAnswered) {
  for (const char* name : {"forget", "drop in a task"}) {
    FakeCall call;
    invoke(name, call);
    EXPECT_EQ(call.wait().status(), VIA_E_INTERNAL) << name;
    EXPECT_EQ(call.completions(), 1);
  }
}

TEST_F(PluginShell, ASecondAnswerIsNotSent) {
  FakeCall call;
  invoke("twice", call);
  EXPECT_EQ(call.wait().status(), VIA_OK);
  EXPECT_EQ(call.body(), "once");
  EXPECT_EQ(call.completions(), 1);
}

TEST_F(PluginShell, ACallMayBeAnsweredLater) {
  FakeCall call;
  invoke("later", call, "params are copied");
  EXPECT_EQ(call.wait().status(), VIA_OK);
  EXPECT_EQ(call.body(), "params are copied");
}

TEST_F(PluginShell, ATaskThatNeverRanCancelsItsCall) {
  FakeCall call;
  invoke("much later", call);
  FakeCall closed;
  instance_->api->close(instance_, closed.get());
  EXPECT_EQ(closed.wait().status(), VIA_OK);
  EXPECT_EQ(call.wait().status(), VIA_E_CANCELLED);
  EXPECT_EQ(call.completions(), 1);
}

TEST_F(PluginShell, APostToAClosedInstanceAnswersTheCall) {
  FakeCall closed;
  instance_->api->close(instance_, closed.get());
  FakeCall call;
  invoke("later", call);
  EXPECT_EQ(call.wait().status(), VIA_E_CANCELLED);
  EXPECT_EQ(call.completions(), 1);
}

TEST_F(PluginShell, ACancelFunctionMayAnswerTheCall) {
  FakeCall call;
  invoke("until cancelled", call);
  EXPECT_FALSE(call.done());
  call.cancel();
  EXPECT_EQ(call.wait().status(), VIA_E_CANCELLED);
  EXPECT_EQ(call.message(), "as you wish");
  EXPECT_EQ(call.completions(), 1);

  FakeCall before;
  before.cancel();
  invoke("until cancelled", before);
  EXPECT_EQ(before.wait().status(), VIA_E_CANCELLED);
  EXPECT_EQ(before.completions(), 1);
}

TEST_F(PluginShell, ABodyIsReadToItsEndAndNotBeyondItsLimit) {
  FakeCall call;
  call.more_body = "67890";
  invoke("body", call, "12345");
  EXPECT_EQ(call.wait().body(), "1234567890");
  FakeCall large;
  large.more_body = "6789012";
  invoke("body", large, "12345");
  EXPECT_EQ(large.wait().status(), VIA_E_EXHAUSTED);
}

TEST_F(PluginShell, WhatIsNotTakenInlineIsLeftUntouched) {
  via_op_args args{};
  args.struct_size = sizeof args;
  args.op = str("inline");
  FakeCall taken;
  EXPECT_EQ(ops()->try_invoke(instance_, &args, taken.get()), VIA_OK);
  EXPECT_EQ(taken.body(), "here");
  args.op = str("later");
  FakeCall left;
  EXPECT_EQ(ops()->try_invoke(instance_, &args, left.get()), VIA_E_WOULD_BLOCK);
  EXPECT_EQ(left.completions(), 0);
}

TEST_F(PluginShell, WhatAMethodReturnsIsTheAnswer) {
  const auto* http = static_cast<const via_http_api*>(instance_->api->get_extension(instance_, VIA_EXT_HTTP));
  EXPECT_EQ(http->try_handle, nullptr);
  via_http_request request{};
  request.struct_size = sizeof request;
  request.path = str("/a\"b");
  FakeCall call;
  http->handle(instance_, &request, call.get());
  EXPECT_EQ(call.wait().body(), R"({"path":"/a\"b"})");
}

TEST_F(PluginShell, AMethodThatReturnsItsAnswerIsGivenTheWholeBody) {
  const auto* http = static_cast<const via_http_api*>(instance_->api->get_extension(instance_, VIA_EXT_HTTP));
  via_http_request request{};
  request.struct_size = sizeof request;
  request.path = str("/echo");
  request.body = bytes("first,");
  FakeCall call;
  call.more_body = std::string(40'000, 'x') + "last";
  http->handle(instance_, &request, call.get());
  EXPECT_EQ(call.wait().body(), "first," + std::string(40'000, 'x') + "last");
}

TEST(PluginCall, ThatIsMovedAwayOrAnsweredIsHarmless) {
  FakeCall fake;
  Call call(fake.get());
  Call other(std::move(call));
  for (Call* empty : {&call, &other}) {
    if (empty == &other) other.answer("once");
    EXPECT_TRUE(empty->answered());
    EXPECT_TRUE(empty->cancelled());
    EXPECT_EQ(empty->deadline_ns(), 0U);
    EXPECT_EQ(empty->request_id().b[0], 0);
    EXPECT_THROW(empty->write("x"), Failure);
    EXPECT_THROW(empty->head(200, "text/plain"), Failure);
    EXPECT_THROW((void)empty->body("x", 10), Failure);
    bool ran = false;
    empty->on_cancel([&] { ran = true; });
    EXPECT_FALSE(ran);
    empty->progress(1, 2);
    empty->answer("again");
    empty->result("{}");
    empty->fail(VIA_E_INTERNAL, "again");
    EXPECT_EQ(empty->release(), nullptr);
  }
  EXPECT_EQ(fake.completions(), 1);
  EXPECT_EQ(fake.body(), "once");
}

TEST(PluginCall, WhatIsWrittenToACancelledCallEndsItAsCancelledAlsoInATask) {
  FakeHost host({.dir = "/nowhere"});
  FakeCall fake;
  fake.high_water = 0;  // every write waits
  {
    Queue queue = Host(host.host()).queue();
    queue.post([call = Call(fake.get())]() mutable { call.answer("never sent"); });
    fake.wait_for_unread(0);
    fake.cancel();
    fake.wait();
  }
  EXPECT_EQ(fake.status(), VIA_E_CANCELLED);
}

TEST(PluginCall, OnCancelMayBeSetAgainAndTheLastOneRuns) {
  FakeCall fake;
  Call call(fake.get());
  int first = 0, second = 0, third = 0;
  call.on_cancel([&] { ++first; });
  call.on_cancel([&] { ++second; });
  fake.cancel();
  EXPECT_EQ(first, 0);
  EXPECT_EQ(second, 1);
  call.on_cancel([&] { ++third; });
  EXPECT_EQ(third, 1) << "it is cancelled already";
  call.on_cancel([] { throw 7; });
  call.answer();
  EXPECT_EQ(fake.status(), VIA_OK);
}

TEST(PluginCall, GivenAwayItsCancelFunctionDoesNotRunAndIsNotFreedUnderTheHost) {
  FakeCall fake;
  auto owned = std::make_shared<int>(7);
  int ran = 0;
  via_call* raw = nullptr;
  {
    Call call(fake.get());
    call.on_cancel([&ran, owned] { ++ran; });
    raw = call.release();
  }
  EXPECT_EQ(owned.use_count(), 1) << "what it held is let go of";
  fake.cancel();
  EXPECT_EQ(ran, 0);
  raw->complete(raw, VIA_OK, {}, {});
  EXPECT_EQ(fake.completions(), 1);
}

TEST(PluginCall, AnswersAndCancellationsRace) {
  for (int round = 0; round < 2000; ++round) {
    FakeCall fake;
    auto shared = std::make_shared<std::mutex>();
    std::atomic<int> ran{0};
    Call call(fake.get());
    std::thread canceller([&] { fake.cancel(); });
    call.on_cancel([&ran, shared] { ++ran; });
    if (round % 2 == 0) call.on_cancel([&ran, shared] { ++ran; });
    call.answer("done");
    const int when_complete = ran;  // never once complete() has returned
    canceller.join();
    EXPECT_EQ(fake.completions(), 1);
    EXPECT_EQ(ran, when_complete);
    EXPECT_LE(ran, 2);
  }
}

TEST(PluginCall, ATryThatBeganSomethingAndReturnsFalseIsEndedNotForgotten) {
  struct Half {
    explicit Half(Host) {}
    void invoke(const Operation&, Call& call) { call.answer("whole"); }
    bool try_invoke(const Operation&, Call& call) noexcept {
      call.on_cancel([] {});
      return false;
    }
  };
  FakeHost host({.dir = "/nowhere"});
  via_instance* made = nullptr;
  ASSERT_EQ(Shell<Half>::create(host.host(), &made, nullptr), VIA_OK);
  const auto* ops = static_cast<const via_ops_api*>(made->api->get_extension(made, VIA_EXT_OPS));
  via_op_args args{};
  args.struct_size = sizeof args;
  FakeCall call;
  EXPECT_EQ(ops->try_invoke(made, &args, call.get()), VIA_OK);
  EXPECT_EQ(call.wait().status(), VIA_E_INTERNAL);
  call.cancel();
  made->api->destroy(made);
}

TEST(PluginQueue, TasksThatAreLetGoOfTogetherAreAllCancelled) {
  FakeHost host({.dir = "/nowhere"});
  FakeCall inner, outer;
  struct Refused {  // in its end it tries to go on elsewhere, and is refused
    Queue* elsewhere;
    FakeCall* with;
    ~Refused() {
      try {
        if (elsewhere) elsewhere->post([call = Call(with->get())] {});
      } catch (const Failure&) {
      }
    }
  };
  Queue none;
  {
    Queue queue = Host(host.host()).queue();
    queue.post([call = Call(outer.get()), refused = std::make_unique<Refused>(Refused{&none, &inner})] {}, std::chrono::hours(1));
  }
  EXPECT_EQ(inner.wait().status(), VIA_E_CANCELLED);
  EXPECT_EQ(outer.wait().status(), VIA_E_CANCELLED) << "also what went after it";
}

TEST(PluginLibrary, AStartThatFailsEndsWhatHadStarted) {
  struct First {
    explicit First(Host) {}
    static void start(Host) { ++started; }
    static void stop() { --started; }
  };
  struct Second {
    explicit Second(Host) {}
    static void start(Host) { throw Failure(VIA_E_UNSUPPORTED, "not on this machine"); }
    static void stop() { started = 100; }
  };
  FakeHost host({.dir = "/nowhere"});
  EXPECT_EQ(start_all(host.host(), nullptr, Type<First>{"first"}, Type<Second>{"second"}), VIA_E_UNSUPPORTED);
  EXPECT_EQ(started, 0);
}

TEST_F(PluginShell, ControlResultsAndFailuresCross) {
  FakeCall refused;
  auto args = provision_;
  args.config_json = str("refuse");
  instance_->api->provision(instance_, &args, refused.get());
  EXPECT_EQ(refused.wait().status(), VIA_E_CONFLICT);

  via::testing::FakeSnapshots snapshots(instance_);
  ASSERT_TRUE(snapshots.offered());
  FakeCall taken;
  snapshots.take("here", taken);
  EXPECT_EQ(taken.details(), R"({"format":"sample/1","schema":3,"position":"here"})");
  FakeCall restored;
  snapshots.restore("here", restored);
  EXPECT_EQ(restored.details(), R"({"code":"snapshot_invalid"})");
}

}  // namespace
