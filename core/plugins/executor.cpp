#include "core/plugins/executor.hpp"

#include <pthread.h>

#include <algorithm>

namespace via::plugins {

struct Executor::Group {
  std::string name;
  std::uint32_t queues = 0;
  std::uint32_t running = 0;     // tasks
  std::uint32_t own = 1;         // so many run at once whatever others do
  std::deque<Queue*> places;     // of queues that have work and room for it
};

struct Executor::Queue {
  Group* group = nullptr;
  std::int64_t width = 1;
  std::int64_t running = 0;  // tasks running or promised a place
  bool closing = false;
  std::deque<Task> pending;
};

Executor::Executor(const Clock& clock, unsigned max_threads) : clock_(clock), max_threads_(max_threads) {
  own_ = create(max_threads, "host");
  control_ = create(max_threads, "control");
  own_->group->own = control_->group->own = kOwn;
  timekeeper_ = std::thread([this] { timekeeper(); });
}

Executor::~Executor() {
  destroy(control_);
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

Executor::Group* Executor::group_of(std::string_view name) {
  std::string key = name.empty() ? "#" + std::to_string(next_group_++) : std::string(name);
  auto& group = groups_[key];
  if (!group) {
    group = std::make_unique<Group>();
    group->name = std::move(key);
  }
  ++group->queues;
  return group.get();
}

Executor::Queue* Executor::create(std::uint32_t width, std::string_view group) {
  auto queue = std::make_unique<Queue>();
  queue->width = std::max<std::uint32_t>(width, 1);
  const std::lock_guard lock(mutex_);
  queue->group = group_of(group);
  queues_.push_back(std::move(queue));
  return queues_.back().get();
}

void Executor::widen(Queue* queue, int by) {
  const std::lock_guard lock(mutex_);
  queue->width += by;
  for (std::size_t i = 0; i < queue->pending.size() && queue->running < queue->width; ++i)
    if (schedule(queue)) work_.notify_one();
}

void Executor::drop_places(Queue* queue) {
  Group& group = *queue->group;
  const auto gone = static_cast<std::int64_t>(std::erase(group.places, queue));
  queue->running -= gone;
  places_ -= static_cast<std::size_t>(gone);
  if (group.places.empty()) std::erase(ready_, &group);
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
  drop_places(queue);
  std::make_heap(timers_.begin(), timers_.end(), std::greater<>{});
  lock.unlock();
  for (const Task& t : dropped) t.fn(t.data, VIA_E_CANCELLED);
  lock.lock();
  quiet_.wait(lock, [&] { return queue->running == 0; });
  Group* group = queue->group;
  std::erase_if(queues_, [&](const auto& q) { return q.get() == queue; });
  if (--group->queues == 0) groups_.erase(std::string(group->name));
}

unsigned Executor::count_long(const Group* group) const {
  const std::uint64_t now = clock_.mono_ns();
  return static_cast<unsigned>(std::count_if(active_.begin(), active_.end(), [&](const Active& a) {
    return a.began != 0 && now >= a.began + kLongNs && (group == nullptr || a.group == group);
  }));
}

bool Executor::may_start(const Group& group) const {
  if (stopping_) return false;
  if (threads_.size() < max_threads_) return true;
  if (threads_.size() >= std::size_t{max_threads_} * (1 + kMostOver)) return false;
  return group.running + group.places.size() <= group.own || threads_.size() < max_threads_ + std::min(count_long(nullptr), max_threads_);
}

void Executor::start_worker() {
  const std::size_t slot = threads_.size();
  active_.emplace_back();
  threads_.emplace_back([this, slot] { worker(slot); });
}

// Gives the queue one more place in the line, if its width allows. A place that finds nothing to do is harmless. True: a thread
// is to be woken, which its caller does when it has let go of the mutex; one that wakes to a held mutex goes to sleep again.
bool Executor::schedule(Queue* queue) {
  if (queue->running >= queue->width) return false;
  ++queue->running;
  Group& group = *queue->group;
  if (group.places.empty()) ready_.push_back(&group);
  group.places.push_back(queue);
  ++places_;
  const bool wake = idle_ > 0;  // though it may be one that others have been promised
  if (idle_ >= places_) return wake;
  if (may_start(group)) start_worker();
  else if (places_ == 1) time_.notify_one();  // it looks for lost threads while something waits
  return wake;
}

// The one with the fewest running tasks; of equals the one that was served longest ago. None has more than the pool's limit, so
// that what the pool has over it is there for those who have nothing.
Executor::Group* Executor::next_group() {
  Group* best = nullptr;
  for (Group* group : ready_)
    if ((best == nullptr || group->running < best->running) &&
        (group->running < max_threads_ || group->running - count_long(group) < max_threads_))
      best = group;
  return best;
}

Executor::Figures Executor::figures() const {
  const std::lock_guard lock(mutex_);
  Figures out;
  out.threads = static_cast<unsigned>(threads_.size());
  out.running = static_cast<unsigned>(std::count_if(active_.begin(), active_.end(), [](const Active& a) { return a.began != 0; }));
  out.long_running = count_long(nullptr);
  for (const auto& queue : queues_) out.waiting += queue->pending.size();
  return out;
}

via_status Executor::post(Queue* queue, std::uint64_t delay_ns, via_task_fn fn, void* data, std::uint64_t* task_id) {
  std::unique_lock lock(mutex_);
  if (queue->closing || stopping_) return VIA_E_UNAVAILABLE;
  const Task task{next_id_++, fn, data};
  if (task_id != nullptr) *task_id = task.id;
  if (delay_ns == 0) {
    queue->pending.push_back(task);
    const bool wake = schedule(queue);
    lock.unlock();
    if (wake) work_.notify_one();
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

void Executor::run(std::function<void()> work, Lane lane) {
  auto* held = new std::function<void()>(std::move(work));  // crosses a C callback; freed by it
  const via_task_fn task = [](void* data, via_status why) {
    const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(data));
    if (why == VIA_OK) (*owned)();
  };
  if (post(lane == Lane::control ? control_ : own_, 0, task, held, nullptr) != VIA_OK) delete held;
}

void Executor::worker(std::size_t slot) {
  ::pthread_setname_np(::pthread_self(), "via-worker");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    Group* group = nullptr;
    work_.wait(lock, [&] { return (group = next_group()) != nullptr || (stopping_ && places_ == 0); });
    --idle_;
    if (group == nullptr) return;
    Queue* queue = group->places.front();
    group->places.pop_front();
    --places_;
    std::erase(ready_, group);
    if (!group->places.empty()) ready_.push_back(group);
    // A place is kept while the queue has work, so a busy serial queue stays on one thread.
    if (!queue->pending.empty()) {
      const Task task = queue->pending.front();
      queue->pending.pop_front();
      ++group->running;
      active_[slot] = {clock_.mono_ns(), group};
      lock.unlock();
      task.fn(task.data, VIA_OK);
      lock.lock();
      active_[slot] = {};
      --group->running;
    }
    --queue->running;
    if (!queue->pending.empty()) {
      if (schedule(queue)) work_.notify_one();
    } else if (queue->running == 0 && queue->closing) {
      quiet_.notify_all();
    }
  }
}

void Executor::timekeeper() {
  ::pthread_setname_np(::pthread_self(), "via-timer");
  std::unique_lock lock(mutex_);
  constexpr auto kLook = std::chrono::milliseconds(500);
  while (!stopping_) {
    // Threads that are lost to long tasks are replaced when work waits, also when no more of it comes.
    if (const Group* group = places_ > 0 ? next_group() : nullptr; group != nullptr) {
      if (idle_ > 0) work_.notify_one();  // what it may take has changed with the time
      else if (may_start(*group)) start_worker();
    }
    if (timers_.empty()) {
      if (places_ > 0) time_.wait_for(lock, kLook);
      else time_.wait(lock);
      continue;
    }
    const std::uint64_t now = clock_.mono_ns();
    if (timers_.front().due > now) {
      const auto left = std::chrono::nanoseconds(timers_.front().due - now);
      time_.wait_for(lock, places_ > 0 ? std::min<std::chrono::nanoseconds>(left, kLook) : left);
      continue;
    }
    std::pop_heap(timers_.begin(), timers_.end(), std::greater<>{});
    const Timer timer = timers_.back();
    timers_.pop_back();
    timer.queue->pending.push_back(timer.task);
    if (schedule(timer.queue)) work_.notify_one();
  }
}

}  // namespace via::plugins
