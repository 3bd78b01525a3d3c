// See driver.hpp.
#include "plugins/postgres/driver.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>

namespace via::postgres {
namespace {

constexpr std::uint64_t kLookEveryNs = 10'000'000;   // deadlines and cancellation
constexpr std::uint64_t kLingerNs = 50'000'000;      // a thread kept a little costs less than one woken for each operation

constexpr std::chrono::seconds kComeBack{60};

}  // namespace

Driver::Driver(plugin::Host host) : host_(host) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_ < 0 || event_ < 0) throw plugin::Failure(VIA_E_EXHAUSTED, "The process has no descriptor left.");
  epoll_event e{};
  e.events = EPOLLIN;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &e);
  queue_ = host.queue(1);
}

Driver::~Driver() {
  {
    plugin::Queue ending;
    {
      const std::lock_guard lock(mutex_);  // the task may be about to post its own return
      ending = std::move(queue_);
    }
  }  // waits for the task
  ::close(event_);
  ::close(epoll_);
}

std::uint64_t Driver::now_ns() const { return host_.mono_ns(); }

void Driver::wake() {
  if (!running_) {
    running_ = true;
    try {
      queue_.post([this] { run(); });
    } catch (const plugin::Failure&) {
      running_ = false;  // the library is ending
    }
  } else if (waiting_) {
    waiting_ = false;
    const std::uint64_t one = 1;
    (void)!::write(event_, &one, sizeof one);
  }
}

// Later, to end connections that nobody has used since. Mutex held.
void Driver::come_back() {
  comes_back_ = true;
  try {
    queue_.post(
        [this] {
          {
            const std::lock_guard lock(mutex_);
            comes_back_ = false;
            if (std::exchange(running_, true)) return;  // it is at work already, or will be
          }
          run();
        },
        kComeBack);
  } catch (const plugin::Failure&) {
    comes_back_ = false;
  }
}

void Driver::submit(std::shared_ptr<Pool> pool, std::unique_ptr<Job> job) {
  const std::lock_guard lock(mutex_);
  jobs_.emplace_back(std::move(pool), std::move(job));
  wake();
}

void Driver::command(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  commands_.push_back(std::move(work));
  wake();
}

void Driver::call(std::function<void()> work) {
  struct Done {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto done = std::make_shared<Done>();
  command([work = std::move(work), done] {
    work();
    const std::lock_guard lock(done->mutex);
    done->done = true;
    done->changed.notify_all();
  });
  std::unique_lock lock(done->mutex);
  done->changed.wait(lock, [&] { return done->done; });
}

void Driver::watch(Connection& connection) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.ptr = &connection;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.socket(), &e);
  watched_.insert(&connection);
}

void Driver::unwatch(Connection& connection) {
  touched_.erase(&connection);
  if (watched_.erase(&connection) != 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.socket(), nullptr);
}

void Driver::work_on(Connection& connection) {
  const bool wanted = connection.wants_to_write();
  if (!connection.work()) return connection.pool().lost(connection);  // it is gone now
  if (connection.wants_to_write() == wanted) return;
  epoll_event e{};
  e.events = connection.wants_to_write() ? EPOLLIN | EPOLLOUT : EPOLLIN;
  e.data.ptr = &connection;
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.socket(), &e);
}

void Driver::run() {
  last_use_ns_ = now_ns();
  while (turn()) {
  }
}

bool Driver::turn() {
  std::vector<std::pair<std::shared_ptr<Pool>, std::unique_ptr<Job>>> jobs;
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    waiting_ = false;
    jobs.swap(jobs_);
    commands.swap(commands_);
  }
  for (auto& work : commands) work();
  for (auto& [pool, job] : jobs) pool->take(std::move(job));
  const std::uint64_t now = now_ns();
  bool busy = false;
  for (const auto& pool : pools_) {
    pool->dispatch(now);
    if (now - last_look_ns_ >= kLookEveryNs) pool->look(now);
    busy = busy || pool->busy();
  }
  if (now - last_look_ns_ >= kLookEveryNs) last_look_ns_ = now;
  // All that was sent in this turn leaves in one piece for each connection.
  const std::unordered_set<Connection*> touched = std::move(touched_);
  touched_.clear();
  for (Connection* c : touched)
    if (watched_.contains(c)) work_on(*c);
  if (busy || !jobs.empty() || !commands.empty()) last_use_ns_ = now;
  {
    const std::lock_guard lock(mutex_);
    if (!jobs_.empty() || !commands_.empty() || !touched_.empty()) return true;
    if (!busy && now - last_use_ns_ >= kLingerNs) {
      running_ = false;
      if (!watched_.empty() && !comes_back_) come_back();
      return false;
    }
    waiting_ = true;
  }
  std::array<epoll_event, 64> events;
  const int n = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), busy ? 10 : 25);
  for (int i = 0; i < n; ++i) {
    auto* connection = static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
    if (connection == nullptr) {
      std::uint64_t drained = 0;
      (void)!::read(event_, &drained, sizeof drained);
    } else if (watched_.contains(connection)) {
      work_on(*connection);
    }
  }
  return true;
}

}  // namespace via::postgres
