#include "core/plugins/executor.hpp"

#include <pthread.h>

#include <algorithm>

namespace via::plugins {

struct Executor::Queue {
  std::uint32_t width = 1;
  std::uint32_t running = 0;  // tasks running or promised a place in ready_
  bool closing = false;
  std::deque<Task> pending;
};

Executor::Executor(const Clock& clock, unsigned max_threads) : clock_(clock), max_threads_(max_threads) {
  own_ = create(max_threads);
  timekeeper_ = std::thread([this] { timekeeper(); });
}

Executor::~Executor() {
  destroy(own_);
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  time_.notify_all();
  for (auto& t : threads_) t.join();
  timekeeper_.join();
}

Executor::Queue* Executor::create(std::uint32_t width) {
  auto queue = std::make_unique<Queue>();
  queue->width = std::max<std::uint32_t>(width, 1);
  const std::lock_guard lock(mutex_);
  queues_.push_back(std::move(queue));
  return queues_.back().get();
}

void Executor::destroy(Queue* queue) {
  std::vector<Task> dropped;
  std::unique_lock lock(mutex_);
  queue->closing = true;
  dropped.assign(queue->pending.begin(), queue->pending.end());
  queue->pending.clear();
  const auto mine = std::partition(timers_.begin(), timers_.end(), [&](const Timer& t) { return t.queue != queue; });
  for (auto it = mine; it != timers_.end(); ++it) dropped.push_back(it->task);
  timers_.erase(mine, timers_.end());
  // Its places in the line are given back here: the threads that would come to them may be waiting for this one.
  queue->running -= static_cast<std::uint32_t>(std::erase(ready_, queue));
  std::make_heap(timers_.begin(), timers_.end(), std::greater<>{});
  lock.unlock();
  for (const Task& t : dropped) t.fn(t.data, VIA_E_CANCELLED);
  lock.lock();
  quiet_.wait(lock, [&] { return queue->running == 0; });
  std::erase_if(queues_, [&](const auto& q) { return q.get() == queue; });
}

// Gives the queue one more place in the line, if its width allows. A place that finds nothing to do is harmless.
void Executor::schedule(Queue* queue) {
  if (queue->running >= queue->width) return;
  ++queue->running;
  ready_.push_back(queue);
  if (idle_ >= ready_.size())
    work_.notify_one();
  else if (threads_.size() < max_threads_ && !stopping_)
    threads_.emplace_back([this] { worker(); });
}

via_status Executor::post(Queue* queue, std::uint64_t delay_ns, via_task_fn fn, void* data, std::uint64_t* task_id) {
  const std::lock_guard lock(mutex_);
  if (queue->closing || stopping_) return VIA_E_UNAVAILABLE;
  const Task task{next_id_++, fn, data};
  if (task_id != nullptr) *task_id = task.id;
  if (delay_ns == 0) {
    queue->pending.push_back(task);
    schedule(queue);
  } else {
    timers_.push_back({clock_.mono_ns() + delay_ns, queue, task});
    std::push_heap(timers_.begin(), timers_.end(), std::greater<>{});
    if (timers_.front().task.id == task.id) time_.notify_one();
  }
  return VIA_OK;
}

void Executor::cancel(Queue* queue, std::uint64_t task_id) {
  Task found{0, nullptr, nullptr};
  {
    const std::lock_guard lock(mutex_);
    const auto pending =
        std::find_if(queue->pending.begin(), queue->pending.end(), [&](const Task& t) { return t.id == task_id; });
    if (pending != queue->pending.end()) {
      found = *pending;
      queue->pending.erase(pending);
    } else {
      const auto timer =
          std::find_if(timers_.begin(), timers_.end(), [&](const Timer& t) { return t.task.id == task_id; });
      if (timer == timers_.end()) return;
      found = timer->task;
      timers_.erase(timer);
      std::make_heap(timers_.begin(), timers_.end(), std::greater<>{});
    }
  }
  found.fn(found.data, VIA_E_CANCELLED);
}

void Executor::run(std::function<void()> work) {
  auto* held = new std::function<void()>(std::move(work));  // crosses a C callback; freed by it
  const via_task_fn task = [](void* data, via_status why) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(data));
    if (why == VIA_OK) (*owned)();
  };
  if (post(own_, 0, task, held, nullptr) != VIA_OK) delete held;
}

void Executor::worker() {
  ::pthread_setname_np(::pthread_self(), "via-worker");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_.wait(lock, [&] { return stopping_ || !ready_.empty(); });
    --idle_;
    if (ready_.empty()) return;
    Queue* queue = ready_.front();
    ready_.pop_front();
    // A place is kept while the queue has work, so a busy serial queue stays on one thread.
    if (!queue->pending.empty()) {
      const Task task = queue->pending.front();
      queue->pending.pop_front();
      lock.unlock();
      task.fn(task.data, VIA_OK);
      lock.lock();
    }
    --queue->running;
    if (!queue->pending.empty())
      schedule(queue);
    else if (queue->running == 0 && queue->closing)
      quiet_.notify_all();
  }
}

void Executor::timekeeper() {
  ::pthread_setname_np(::pthread_self(), "via-timer");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (timers_.empty()) {
      time_.wait(lock);
      continue;
    }
    const std::uint64_t now = clock_.mono_ns();
    if (timers_.front().due > now) {
      time_.wait_for(lock, std::chrono::nanoseconds(timers_.front().due - now));
      continue;
    }
    std::pop_heap(timers_.begin(), timers_.end(), std::greater<>{});
    const Timer timer = timers_.back();
    timers_.pop_back();
    timer.queue->pending.push_back(timer.task);
    schedule(timer.queue);
  }
}

}  // namespace via::plugins
