// Worker threads and queues: width, order, delay, cancellation, destruction.
#include "core/plugins/executor.hpp"

#include <atomic>
#include <set>

#include <gtest/gtest.h>

#include "core/plugins/metrics.hpp"
#include "core/plugins/turn.hpp"
#include "support/fakes.hpp"

namespace via::plugins {
namespace {

// Counts tasks and lets a test wait for a number of them.
struct Tally {
  std::mutex mutex;
  std::condition_variable changed;
  int ran = 0, cancelled = 0, running = 0, most = 0;
  std::vector<int> order;
  void wait_for(int total) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ran + cancelled >= total; });
  }
};
struct Job {
  Tally* tally;
  int number;
};
const via_task_fn kTask = [](void* data, via_status why) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  Tally& t = *job->tally;
  {
    const std::lock_guard lock(t.mutex);
    t.most = std::max(t.most, ++t.running);
  }
  std::this_thread::yield();
  const std::lock_guard lock(t.mutex);
  --t.running;
  ++(why == VIA_OK ? t.ran : t.cancelled);
  t.order.push_back(job->number);
  t.changed.notify_all();
};
constexpr std::uint64_t kHour = 3'600'000'000'000U;

struct ExecutorTest : ::testing::Test {
  SystemClock clock;
  Tally tally;
  void post(Executor& e, Executor::Queue* q, int number, std::uint64_t delay = 0, std::uint64_t* id = nullptr) {
    ASSERT_EQ(e.post(q, delay, kTask, new Job{&tally, number}, id), VIA_OK);
  }
};

TEST_F(ExecutorTest, AQueueRunsAtMostItsWidthAtOnceAndEverythingOnce) {
  Executor executor(clock, 8);
  for (const std::uint32_t width : {1U, 2U, 5U}) {
    tally.ran = tally.most = 0;
    auto* queue = executor.create(width);
    for (int i = 0; i < 2000; ++i) post(executor, queue, i);
    tally.wait_for(2000);
    EXPECT_LE(tally.most, static_cast<int>(width));
    executor.destroy(queue);
    EXPECT_EQ(tally.ran, 2000);
  }
}

TEST_F(ExecutorTest, ASerialQueueKeepsTheOrder) {
  Executor executor(clock, 4);
  auto* queue = executor.create(1);
  for (int i = 0; i < 3000; ++i) post(executor, queue, i);
  tally.wait_for(3000);
  for (int i = 0; i < 3000; ++i) ASSERT_EQ(tally.order[static_cast<std::size_t>(i)], i);
  executor.destroy(queue);
}

TEST_F(ExecutorTest, DelayedTasksRunInTheOrderOfTheirTime) {
  Executor executor(clock, 2);
  auto* queue = executor.create(1);
  post(executor, queue, 2, 40'000'000);
  post(executor, queue, 1, 20'000'000);
  post(executor, queue, 0);
  tally.wait_for(3);
  EXPECT_EQ(tally.order, (std::vector<int>{0, 1, 2}));
  executor.destroy(queue);
}

TEST_F(ExecutorTest, CancellingATaskRunsItOnceToLetGoOfItsData) {
  Executor executor(clock, 2);
  auto* queue = executor.create(1);
  std::uint64_t id = 0;
  post(executor, queue, 0, kHour, &id);
  executor.cancel(queue, id);
  EXPECT_EQ(tally.cancelled, 1);
  executor.cancel(queue, id);
  executor.cancel(queue, 12345);
  executor.destroy(queue);
  EXPECT_EQ(tally.cancelled + tally.ran, 1);
}

TEST_F(ExecutorTest, DestroyCancelsWhatWaitsAndWaitsForWhatRuns) {
  Executor executor(clock, 4);
  for (int round = 0; round < 50; ++round) {
    Tally mine;
    auto* queue = executor.create(2);
    for (int i = 0; i < 40; ++i)
      ASSERT_EQ(executor.post(queue, i % 3 == 0 ? kHour : 0, kTask, new Job{&mine, i}, nullptr), VIA_OK);
    executor.destroy(queue);
    const std::lock_guard lock(mine.mutex);
    EXPECT_EQ(mine.ran + mine.cancelled, 40);
    EXPECT_EQ(mine.running, 0);
    EXPECT_GE(mine.cancelled, 14);
  }
}

TEST_F(ExecutorTest, ATaskMayDestroyAnotherQueueEvenOnTheOnlyThread) {
  Executor executor(clock, 1);
  struct Both {
    Executor* executor;
    Executor::Queue* other;
    Tally* tally;
  } both{&executor, executor.create(1), &tally};
  auto* first = executor.create(1);
  ASSERT_EQ(executor.post(first, 0, [](void* data, via_status) {
    auto& b = *static_cast<Both*>(data);
    // A place in the line for the only thread, which is this one.
    EXPECT_EQ(b.executor->post(b.other, 0, kTask, new Job{b.tally, 1}, nullptr), VIA_OK);
    b.executor->destroy(b.other);
    const std::lock_guard lock(b.tally->mutex);
    ++b.tally->ran;
    b.tally->changed.notify_all();
  }, &both, nullptr), VIA_OK);
  tally.wait_for(2);
  EXPECT_EQ(tally.cancelled, 1);
  executor.destroy(first);
}

TEST_F(ExecutorTest, ATaskMayPostToItsOwnQueue) {
  Executor executor(clock, 2);
  struct Chain {
    Executor* executor;
    Executor::Queue* queue;
    Tally* tally;
    int left;
  } chain{&executor, executor.create(1), &tally, 200};
  static constexpr auto kStep = [](void* data, via_status why) {
    auto& c = *static_cast<Chain*>(data);
    if (why == VIA_OK && --c.left > 0) {
      EXPECT_EQ(c.executor->post(c.queue, 0, +[](void* d, via_status w) {
        auto& again = *static_cast<Chain*>(d);
        const std::lock_guard lock(again.tally->mutex);
        ++(w == VIA_OK ? again.tally->ran : again.tally->cancelled);
        again.tally->changed.notify_all();
      }, data, nullptr), VIA_OK);
    }
  };
  ASSERT_EQ(executor.post(chain.queue, 0, +kStep, &chain, nullptr), VIA_OK);
  tally.wait_for(1);
  executor.destroy(chain.queue);
}

TEST_F(ExecutorTest, ManyThreadsPostCancelAndDestroyWithoutLosingATask) {
  Executor executor(clock, 6);
  std::vector<std::thread> users;
  std::atomic<int> posted{0};
  for (int u = 0; u < 6; ++u)
    users.emplace_back([&, u] {
      for (int round = 0; round < 15; ++round) {
        auto* queue = executor.create(static_cast<std::uint32_t>(1 + u % 3));
        std::vector<std::uint64_t> ids;
        for (int i = 0; i < 60; ++i) {
          std::uint64_t id = 0;
          if (executor.post(queue, i % 7 == 0 ? 100'000U * static_cast<unsigned>(i) : 0, kTask, new Job{&tally, i}, &id) ==
              VIA_OK) {
            ++posted;
            ids.push_back(id);
          }
          if (i % 11 == 0) executor.cancel(queue, ids[ids.size() / 2]);
        }
        executor.destroy(queue);
      }
    });
  for (auto& user : users) user.join();
  const std::lock_guard lock(tally.mutex);
  EXPECT_EQ(tally.ran + tally.cancelled, posted.load());
  EXPECT_EQ(tally.running, 0);
}

TEST_F(ExecutorTest, CoresOwnWorkRuns) {
  Executor executor(clock, 3);
  std::mutex mutex;
  std::condition_variable changed;
  int ran = 0;
  for (int i = 0; i < 100; ++i)
    executor.run([&] {
      const std::lock_guard lock(mutex);
      ++ran;
      changed.notify_all();
    });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return ran == 100; });
}

TEST(Turn, TasksOfATurnRunInOrderAtItsEndAndOnce) {
  EXPECT_EQ(Turn::current(), nullptr);
  Turn turn;
  turn.enter();
  EXPECT_EQ(Turn::current(), &turn);
  std::vector<int> seen;
  struct One {
    std::vector<int>* seen;
    int n;
  } a{&seen, 1}, b{&seen, 2};
  const via_fn note = [](void* data) { static_cast<One*>(data)->seen->push_back(static_cast<One*>(data)->n); };
  turn.at_end(note, &a);
  turn.at_end(note, &b);
  EXPECT_TRUE(seen.empty());
  turn.finish();
  turn.finish();
  EXPECT_EQ(seen, (std::vector<int>{1, 2}));
  Turn::leave();
  EXPECT_EQ(Turn::current(), nullptr);
}

TEST(Metrics, TheSameDefinitionGivesTheSameIdAndAnotherIsRefused) {
  Metrics metrics;
  const auto id = metrics.define(Metrics::Kind::counter, "addon_x_total", {"op"});
  ASSERT_NE(id, 0U);
  EXPECT_EQ(metrics.define(Metrics::Kind::counter, "addon_x_total", {"op"}), id);
  EXPECT_EQ(metrics.define(Metrics::Kind::gauge, "addon_x_total", {"op"}), 0U);
  EXPECT_EQ(metrics.define(Metrics::Kind::counter, "addon_x_total", {"other"}), 0U);
  EXPECT_EQ(metrics.define(Metrics::Kind::counter, "not a name", {}), 0U);
  EXPECT_EQ(metrics.define(Metrics::Kind::counter, "addon_y", {"not a label"}), 0U);
}

TEST(Metrics, WhatWasRecordedIsInTheText) {
  Metrics metrics;
  const auto counter = metrics.define(Metrics::Kind::counter, "addon_x_total", {"op"});
  const auto gauge = metrics.define(Metrics::Kind::gauge, "addon_x_size", {});
  const auto histogram = metrics.define(Metrics::Kind::histogram, "addon_x_seconds", {});
  metrics.record(counter, {"a\"b\n"}, 2);
  metrics.record(counter, {"a\"b\n"}, 3);
  metrics.record(counter, {"q"}, -5);  // a counter never falls
  metrics.record(counter, {}, 1);      // wrong number of labels
  metrics.record(gauge, {}, 7);
  metrics.record(histogram, {}, 0.003);
  metrics.record(0, {}, 1);
  metrics.record(99, {}, 1);
  metrics.add_source([](std::string& text) { text += "extra 1\n"; });
  const std::string text = metrics.text();
  EXPECT_NE(text.find("addon_x_total{op=\"a\\\"b\\n\"} 5"), std::string::npos) << text;
  EXPECT_NE(text.find("addon_x_size 7"), std::string::npos);
  EXPECT_NE(text.find("addon_x_seconds_count 1"), std::string::npos);
  EXPECT_EQ(text.find("-5"), std::string::npos);
  EXPECT_TRUE(text.ends_with("extra 1\n"));
}

TEST(Metrics, ThePluginsLabelsCannotFillTheMemory) {
  Metrics metrics;
  const auto id = metrics.define(Metrics::Kind::counter, "addon_x_total", {"key"});
  for (int i = 0; i < 12'000; ++i) metrics.record(id, {std::to_string(i)}, 1);
  const std::string text = metrics.text();
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 10'010);
}


// Tasks that wait until they are let go, and count how many of them run.
struct Held {
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0, ended = 0;
  bool open = false;
  static void run(void* data, via_status why) {
    auto& h = *static_cast<Held*>(data);
    std::unique_lock lock(h.mutex);
    if (why == VIA_OK) {
      ++h.running;
      h.changed.notify_all();
      h.changed.wait(lock, [&] { return h.open; });
      --h.running;
    }
    ++h.ended;
    h.changed.notify_all();
  }
  void wait_running(int n) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return running >= n; });
  }
  void let_go() {
    const std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
  void wait_ended(int n) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended >= n; });
  }
};

TEST(Executor, AGroupWithNothingRunningDoesNotWaitForOneThatHasEveryThread) {
  const SystemClock clock;
  Executor executor(clock, 4);
  auto* greedy = executor.create(64, "app:greedy");
  auto* modest = executor.create(64, "app:modest");
  Held hog, one;
  for (int i = 0; i < 40; ++i) ASSERT_EQ(executor.post(greedy, 0, Held::run, &hog, nullptr), VIA_OK);
  hog.wait_running(4);
  ASSERT_EQ(executor.post(modest, 0, Held::run, &one, nullptr), VIA_OK);
  one.wait_running(1);
  Held done;
  executor.run([&] { Held::run(&done, VIA_OK); });
  done.wait_running(1);  // nor does the host itself
  {
    const std::lock_guard lock(hog.mutex);
    EXPECT_EQ(hog.running, 4) << "what the pool has over its limit is for those who have nothing";
  }
  for (Held* h : {&done, &one, &hog}) h->let_go();
  hog.wait_ended(40);
  one.wait_ended(1);
  done.wait_ended(1);
  executor.destroy(greedy);
  executor.destroy(modest);
}

TEST(Executor, QueuesOfOneGroupShareWhatTheGroupHas) {
  const SystemClock clock;
  Executor executor(clock, 2);
  auto* a = executor.create(8, "app:one");
  auto* b = executor.create(8, "app:one");
  Held first, second;
  for (int i = 0; i < 2; ++i) ASSERT_EQ(executor.post(a, 0, Held::run, &first, nullptr), VIA_OK);
  first.wait_running(2);
  ASSERT_EQ(executor.post(b, 0, Held::run, &second, nullptr), VIA_OK);
  {
    const std::lock_guard lock(second.mutex);
    EXPECT_EQ(second.running, 0);
  }
  first.let_go();
  second.wait_running(1);
  second.let_go();
  second.wait_ended(1);
  executor.destroy(a);
  executor.destroy(b);
}

TEST(Executor, ALostThreadIsReplaced) {
  const SystemClock clock;
  Executor executor(clock, 1);
  auto* queue = executor.create(2, "app:one");
  Held lost, next;
  ASSERT_EQ(executor.post(queue, 0, Held::run, &lost, nullptr), VIA_OK);
  lost.wait_running(1);
  ASSERT_EQ(executor.post(queue, 0, Held::run, &next, nullptr), VIA_OK);
  next.wait_running(1);  // after kLong, though nobody posts any more
  EXPECT_EQ(executor.figures().long_running, 1U);
  lost.let_go();
  next.let_go();
  lost.wait_ended(1);
  next.wait_ended(1);
  executor.destroy(queue);
}

TEST(Executor, AWidenedQueueRunsBesideATaskThatWasGivenUp) {
  const SystemClock clock;
  Executor executor(clock, 4);
  auto* queue = executor.create(1, "app:one");
  Held lost, next;
  ASSERT_EQ(executor.post(queue, 0, Held::run, &lost, nullptr), VIA_OK);
  lost.wait_running(1);
  ASSERT_EQ(executor.post(queue, 0, Held::run, &next, nullptr), VIA_OK);
  executor.widen(queue, 1);
  next.wait_running(1);
  lost.let_go();
  next.let_go();
  lost.wait_ended(1);
  next.wait_ended(1);
  executor.widen(queue, -1);
  executor.destroy(queue);
}

}  // namespace
}  // namespace via::plugins
