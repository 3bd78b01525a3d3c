// The host's side of a via_call, without a connection: completion, hand-over, back-pressure, cancellation.
#include "core/plugins/call.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "support/fakes.hpp"

namespace via::plugins {
namespace {

struct Framer final : Call::Framer {
  void begin(Buffer& out, const via_head* head) override {
    out.append(head != nullptr ? "H2|" : "H1|");
    ++begun;
  }
  int begun = 0;
};

struct Waiter final : Call::Waiter {
  void wake() override {
    const std::lock_guard lock(mutex);
    ++woken;
    changed.notify_all();
  }
  void wait_for(int times) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return woken >= times; });
  }
  std::mutex mutex;
  std::condition_variable changed;
  int woken = 0;
};

struct CallTest : ::testing::Test {
  void start(std::uint64_t deadline = 0) { call.start(out, framer, id, deadline); }
  via_status write(std::string_view text, std::uint32_t flags = 0) {
    return c->write(c, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}, flags);
  }
  void complete(via_status st = VIA_OK, std::string_view message = {}, std::string_view details = {}) {
    c->complete(c, st, {message.data(), message.size()}, {details.data(), details.size()});
  }
  // What a connection does: waits, takes chunks until the call is done, then the rest.
  std::string drain(Waiter& waiter) {
    std::string got;
    int wakes = 0;
    for (;;) {
      if (call.wait(waiter)) waiter.wait_for(++wakes);
      const bool done = call.done();
      Buffer chunk;
      while (call.take_chunk(chunk)) {
        got += chunk.view();
        chunk.clear();
      }
      if (done) break;
    }
    return got + std::string(out.view());
  }

  SystemClock clock;
  Buffer out;
  Framer framer;
  via_id id{};
  Call call{clock};
  via_call* c = call.abi();
};

TEST_F(CallTest, ACallThatCompletesInsideIsDoneAndWakesNobody) {
  out.append("before|");
  start();
  EXPECT_FALSE(call.done());
  EXPECT_EQ(write("abc"), VIA_OK);
  complete();
  EXPECT_TRUE(call.done());
  EXPECT_EQ(out.view(), "before|H1|abc");
  EXPECT_EQ(call.body_start(), 10U);
  Waiter waiter;
  EXPECT_FALSE(call.wait(waiter)) << "there is nothing to wait for";
  EXPECT_EQ(waiter.woken, 0);
}

TEST_F(CallTest, WhatAPluginDoesAfterItCompletedChangesNothing) {
  start();
  EXPECT_EQ(write("abc"), VIA_OK);
  complete();
  complete(VIA_E_CONFLICT, "once more", "{}");
  EXPECT_EQ(write("late"), VIA_E_INTERNAL);
  std::uint8_t* buffer = nullptr;
  std::size_t room = 0;
  EXPECT_EQ(c->reserve(c, 10, VIA_WAIT, &buffer, &room), VIA_E_INTERNAL);
  const via_head head{sizeof(via_head), 404, 0, {nullptr, 0}, nullptr, 0};
  EXPECT_EQ(c->head(c, &head), VIA_E_INTERNAL);
  EXPECT_EQ(c->on_cancel(c, [](void*) { FAIL(); }, nullptr), VIA_E_INTERNAL);
  call.cancel();
  EXPECT_EQ(call.status(), VIA_OK);
  EXPECT_EQ(call.message(), "");
  EXPECT_EQ(out.view(), "H1|abc");
}

TEST(ControlCall, TheFirstAnswerStands) {
  SystemClock clock;
  ControlCall call(clock);
  via_call* const c = call.abi();
  c->complete(c, VIA_OK, {nullptr, 0}, {"{}", 2});
  c->complete(c, VIA_E_INTERNAL, {"no", 2}, {nullptr, 0});
  const auto answer = call.wait();
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "{}");
}

TEST_F(CallTest, AnEmptyResultStillHasAHead) {
  start();
  complete();
  EXPECT_EQ(framer.begun, 1);
}

TEST_F(CallTest, CompletionOnAnotherThreadWakesTheWaiterOnce) {
  for (int round = 0; round < 500; ++round) {
    out.clear();
    start();
    Waiter waiter;
    std::thread other([&] {
      EXPECT_EQ(write("x"), VIA_OK);
      complete();
    });
    if (call.wait(waiter)) waiter.wait_for(1);
    EXPECT_TRUE(call.done());
    EXPECT_LE(waiter.woken, 1);
    other.join();
  }
}

TEST_F(CallTest, EverythingThatIsWrittenIsTakenInOrder) {
  for (int round = 0; round < 100; ++round) {
    out.clear();
    framer.begun = 0;
    start();
    const std::size_t total = Call::kHighWater * 3 + static_cast<std::size_t>(round) * 3001;
    std::thread plugin([&] {
      std::string part(4000, 'a');
      for (std::size_t at = 0; at < total; at += part.size()) {
        part.assign(std::min(part.size(), total - at), static_cast<char>('a' + at / part.size() % 26));
        ASSERT_EQ(write(part, VIA_WAIT), VIA_OK);
      }
      complete();
    });
    Waiter waiter;
    const std::string got = drain(waiter);
    plugin.join();
    ASSERT_EQ(got.size(), total + 3);
    EXPECT_EQ(framer.begun, 1);
    EXPECT_TRUE(call.streaming());
    for (std::size_t at = 0; at < total; at += 4000) ASSERT_EQ(got[3 + at], static_cast<char>('a' + at / 4000 % 26));
  }
}

TEST_F(CallTest, ReserveAndCommitWriteInPlaceAndKeepToTheHighWaterMark) {
  start();
  std::uint8_t* buffer = nullptr;
  std::size_t room = 0;
  std::size_t written = 0;
  via_status st = VIA_OK;
  while ((st = c->reserve(c, 1000, 0, &buffer, &room)) == VIA_OK && written < 10 * Call::kHighWater) {
    ASSERT_GE(room, 1000U);
    std::memset(buffer, 'r', 1000);
    c->commit(c, 1000);
    written += 1000;
  }
  EXPECT_EQ(st, VIA_E_WOULD_BLOCK) << "one full buffer waits, one is full: nothing more without VIA_WAIT";
  EXPECT_LE(written, 2 * Call::kHighWater + 2000);
  EXPECT_EQ(write("more"), VIA_E_WOULD_BLOCK);
  Buffer chunk;
  EXPECT_TRUE(call.take_chunk(chunk));
  EXPECT_EQ(write("more"), VIA_OK);
  complete();
}

TEST_F(CallTest, AWriteThatWaitsEndsAtTheDeadline) {
  start(clock.mono_ns() + 5'000'000);
  const std::string part(Call::kHighWater, 'x');
  via_status st = VIA_OK;
  while (st == VIA_OK) st = write(part, VIA_WAIT);
  EXPECT_EQ(st, VIA_E_DEADLINE);
  complete(st);
  EXPECT_EQ(call.error().code, Code::deadline_exceeded);
}

TEST_F(CallTest, CancellingEndsAWriteThatWaits) {
  start();
  std::thread plugin([&] {
    const std::string part(Call::kHighWater, 'x');
    via_status st = VIA_OK;
    while (st == VIA_OK) st = write(part, VIA_WAIT);
    EXPECT_EQ(st, VIA_E_CANCELLED);
    complete(st);
  });
  Waiter waiter;
  if (call.wait(waiter)) waiter.wait_for(1);  // a buffer is full: the plugin waits, or will
  call.cancel();
  plugin.join();
  EXPECT_TRUE(call.done());
}

TEST_F(CallTest, ACancelFunctionRunsOnceAndNotAfterCompletion) {
  int ran = 0;
  const via_fn count = [](void* data) { ++*static_cast<int*>(data); };
  start();
  EXPECT_EQ(c->on_cancel(c, count, &ran), VIA_OK);
  call.cancel();
  call.cancel();
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(c->on_cancel(c, count, &ran), VIA_OK);
  EXPECT_EQ(ran, 2) << "already cancelled: runs inline";
  complete(VIA_E_CANCELLED);

  start();
  EXPECT_EQ(c->on_cancel(c, count, &ran), VIA_OK);
  complete();
  call.cancel();
  EXPECT_EQ(ran, 2);

  start();
  call.cancel();
  EXPECT_EQ(ran, 2) << "a function of an earlier call is forgotten";
  complete(VIA_E_CANCELLED);
}

TEST_F(CallTest, ACancelFunctionMayCompleteTheCallItself) {
  start();
  EXPECT_EQ(c->on_cancel(c, [](void* data) {
    auto* self = static_cast<CallTest*>(data);
    self->complete(VIA_E_CANCELLED);
  }, this), VIA_OK);
  call.cancel();
  EXPECT_TRUE(call.done());
  EXPECT_EQ(call.status(), VIA_E_CANCELLED);
}

TEST_F(CallTest, CompleteWaitsForACancelFunctionThatRuns) {
  for (int round = 0; round < 300; ++round) {
    out.clear();
    start();
    struct Shared {
      std::atomic<bool> running{false}, ended{false};
    } shared;
    EXPECT_EQ(c->on_cancel(c, [](void* data) {
      auto* s = static_cast<Shared*>(data);
      s->running = true;
      for (int i = 0; i < 50; ++i) std::this_thread::yield();
      s->ended = true;
    }, &shared), VIA_OK);
    std::thread plugin([&] {
      complete();
      EXPECT_EQ(shared.running, shared.ended) << "the function ran while the call ended";
    });
    call.cancel();
    plugin.join();
  }
}

TEST_F(CallTest, TheHeadIsTakenOnceAndNotAfterTheFirstWrite) {
  const via_head head{sizeof(via_head), 201, 0, {nullptr, 0}, nullptr, 0};
  start();
  EXPECT_EQ(c->head(c, &head), VIA_OK);
  EXPECT_EQ(c->head(c, &head), VIA_E_PRECONDITION);
  EXPECT_EQ(write("x"), VIA_OK);
  EXPECT_EQ(out.view(), "H2|x");
  complete();
  out.clear();
  start();
  EXPECT_EQ(write("x"), VIA_OK);
  EXPECT_EQ(c->head(c, &head), VIA_E_PRECONDITION);
  complete();
}

TEST_F(CallTest, TheBodyIsWhollyInTheArguments) {
  start();
  std::uint8_t byte = 0;
  std::size_t got = 7;
  EXPECT_EQ(c->read(c, &byte, 1, 0, &got), VIA_OK);
  EXPECT_EQ(got, 0U);
  complete();
}

TEST(CallError, EveryStatusHasItsCode) {
  const std::pair<via_status, Code> expected[] = {
      {VIA_E_INVALID, Code::bad_request},       {VIA_E_DENIED, Code::scope_denied},   {VIA_E_NOT_FOUND, Code::not_found},
      {VIA_E_CONFLICT, Code::conflict},         {VIA_E_PRECONDITION, Code::conflict}, {VIA_E_EXHAUSTED, Code::queue_full},
      {VIA_E_UNSUPPORTED, Code::unsupported},   {VIA_E_UNAVAILABLE, Code::unavailable},
      {VIA_E_DEADLINE, Code::deadline_exceeded}, {VIA_E_CANCELLED, Code::unavailable}, {VIA_E_CORRUPT, Code::internal},
      {VIA_E_INTERNAL, Code::internal},         {VIA_E_WOULD_BLOCK, Code::internal},  {77, Code::internal}};
  for (const auto& [status, code] : expected) EXPECT_EQ(error_of(status, "m", "").code, code) << status;
}

TEST(CallError, DetailsReachTheBodyAndCannotReplaceItsOwnMembers) {
  const Error good = error_of(VIA_E_INVALID, "m", R"({"code":"sql_error","sqlite_code":1})");
  EXPECT_EQ(error_body(good, "r"), R"({"error":{"code":"sql_error","message":"m","request_id":"r","sqlite_code":1}})");
  const Error sly = error_of(VIA_E_INVALID, "m", R"({"code":"Not A Code","message":"x","request_id":"y","n":1})");
  EXPECT_EQ(error_body(sly, "r"), R"({"error":{"code":"bad_request","message":"m","request_id":"r","n":1}})");
  for (const char* odd : {"", "[]", "{", "7", "{}", "{\"code\":7}"})
    EXPECT_EQ(error_body(error_of(VIA_E_INVALID, "m", odd), "r"),
              R"({"error":{"code":"bad_request","message":"m","request_id":"r"}})") << odd;
}

TEST(ControlCall, GivesTheDetailsOrTheError) {
  SystemClock clock;
  ControlCall good(clock);
  std::thread other([&] { good.abi()->complete(good.abi(), VIA_OK, {nullptr, 0}, {"{\"a\":1}", 7}); });
  const auto result = good.wait();
  other.join();
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, "{\"a\":1}");
  ControlCall bad(clock);
  bad.abi()->complete(bad.abi(), VIA_E_CONFLICT, {"taken", 5}, {nullptr, 0});
  const auto failure = bad.wait();
  ASSERT_FALSE(failure);
  EXPECT_EQ(failure.error().code, Code::conflict);
  EXPECT_EQ(failure.error().message, "taken");
}

}  // namespace
}  // namespace via::plugins
