// Threads: many operations at once, none on a thread that must not wait, none left behind.
#include <thread>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

void parallel_operations(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (s.ops() == nullptr) skipped("the type has no operations");
  const auto limit = subject.type.value("limits", json::object()).value("parallel_ops", 16U);
  std::vector<std::thread> threads;
  std::atomic<bool> lost{false};
  std::mutex mutex;
  std::string wrong;  // guarded by mutex
  for (unsigned t = 0; t < std::min(8U, std::max(1U, limit)); ++t)
    threads.emplace_back([&, t] {
      try {
        for (std::size_t round = 0; round < 25 && !lost; ++round)
          for (std::size_t i = 0; i < s.op_count(); ++i) {
            Session::Call& call = s.new_call();
            s.invoke_on(call, (i + t) % s.op_count(), "{}");
            if (!call.wait_for(subject.patience)) lost = true;
          }
      } catch (const Broken& why) {
        const std::lock_guard lock(mutex);
        wrong = why.reason;
      }
    });
  for (auto& t : threads) t.join();
  if (!wrong.empty()) broken(wrong);
  if (lost) broken("an operation was never answered while others ran");
  s.no_call_ended_twice();
}

void try_does_not_wait(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  const via_ops_api* api = s.ops();
  if (api == nullptr || !VIA_HAS(via_ops_api, api, try_invoke) || api->try_invoke == nullptr) skipped("the type has no try_invoke");
  for (std::size_t i = 0; i < s.op_count(); ++i) {
    const auto begin = std::chrono::steady_clock::now();
    Session::Call& call = s.new_call();
    s.invoke_on(call, i, "{}");
    const auto used = std::chrono::steady_clock::now() - begin;
    s.ended(call, "an operation");
    // A worker may take long; what is answered on the I/O thread may not. A second is far beyond any bounded work.
    if (used > std::chrono::seconds(1)) broken("try_invoke took more than a second; it must not wait");
  }
}

// The host watches what it is asked for: what waits may not be called on an I/O thread, nor a call be used by two threads.
void where_it_may_be(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  for (int round = 0; round < 5; ++round)
    for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) {
      Session::Call& call = s.new_call();
      call.high_water = 1;  // the client is slow: a second write would wait
      s.invoke_on(call, i, "{}");
      const auto until = std::chrono::steady_clock::now() + subject.patience;
      while (!call.wait_for(std::chrono::milliseconds(1))) {
        call.drain();
        if (std::chrono::steady_clock::now() > until) broken("an operation was never answered");
      }
    }
  if (subject.can_write()) s.must(s.write(), "check.json's write");
  if (subject.can_read()) s.reads_expected();
  s.must(s.health(), "health");
  s.must(s.close(), "close");
  s.destroy();
  s.no_rule_broken();
}

void none_left(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  const std::size_t before = threads_now();
  s.start();
  for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
  s.must(s.close(), "close");
  s.destroy();
  for (int i = 0; i < 50 && threads_now() > before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (threads_now() > before) broken(std::to_string(threads_now() - before) + " threads outlive destroy");
}

}  // namespace

std::vector<Case> thread_cases() {
  return {
      {"threads", "parallel_operations", "operations may run side by side", parallel_operations},
      {"threads", "try_does_not_wait", "try_invoke does not hold up an I/O thread", try_does_not_wait},
      {"threads", "where_it_may_be", "nothing waits on an I/O thread; a call is used by one thread at a time", where_it_may_be},
      {"threads", "none_left", "no thread outlives destroy", none_left},
  };
}

}  // namespace via::check
