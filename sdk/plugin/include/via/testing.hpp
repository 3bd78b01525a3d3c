// A host without a server, for tests of plugins: every service of via/plugin.h in its simplest form that keeps the
// documented promises, and a call that records how it ended. Include it in test programs only.
// Thread: FakeHost any; FakeCall as via_call; Turn the thread that made it.
#pragma once

#include <via/plugin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace via::testing {

inline std::string to_string(via_str s) { return s.ptr ? std::string(s.ptr, s.len) : std::string(); }
inline via_str str(std::string_view s) { return {s.data(), s.size()}; }

class FakeHost;

// What this thread is while it lives: the bits of via_threadcheck. A test that calls a try_ function makes one with kIo.
class ThreadRole {
 public:
  static constexpr uint32_t kInit = 1, kControl = 2, kData = 4, kIo = 8;
  explicit ThreadRole(uint32_t bits) : before_(now()) { now() = bits; }
  ~ThreadRole() { now() = before_; }
  ThreadRole(const ThreadRole&) = delete;
  static uint32_t& now() {
    thread_local uint32_t bits = 0;
    return bits;
  }

 private:
  const uint32_t before_;
};

// Threads shared by the queues of one host. A queue runs at most `width` tasks at once.
class FakeExecutor {
 public:
  explicit FakeExecutor(size_t threads) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~FakeExecutor() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (auto& t : threads_) t.join();
  }

  struct Queue {
    FakeExecutor* executor;
    uint32_t width;
    uint32_t running = 0;
    bool closing = false;
  };

  Queue* create(uint32_t width) { return new Queue{this, width ? width : 1}; }

  // What was done on a thread where it may not be; empty when nothing was. The first of several.
  std::string broken_rule() const {
    const std::lock_guard lock(mutex_);
    return broken_rule_;
  }

  void destroy(Queue* q) {
    std::vector<Task> dropped;
    if ((ThreadRole::now() & ThreadRole::kIo) != 0) breaks("queue_destroy, which waits, was called on an I/O thread");
    if (current_queue() == q) {
      breaks("queue_destroy was called by a task of its own queue");
      return;  // it would wait for itself
    }
    {
      std::unique_lock lock(mutex_);
      q->closing = true;
      std::erase_if(tasks_, [&](Task& t) {
        if (t.queue != q) return false;
        dropped.push_back(t);
        return true;
      });
      idle_.wait(lock, [&] { return q->running == 0; });
    }
    for (Task& t : dropped) t.fn(t.data, VIA_E_CANCELLED);
    delete q;
  }

  via_status post(Queue* q, uint64_t delay_ns, via_task_fn fn, void* data, uint64_t* id) {
    {
      const std::lock_guard lock(mutex_);
      if (q->closing || ending_ || refuse_posts) return VIA_E_UNAVAILABLE;
      tasks_.push_back({q, Clock::now() + std::chrono::nanoseconds(delay_ns), fn, data, ++last_id_});
      if (id) *id = last_id_;
    }
    wake_.notify_one();
    return VIA_OK;
  }

  void cancel(Queue*, uint64_t id) {
    Task found{};
    {
      const std::lock_guard lock(mutex_);
      for (size_t i = 0; i < tasks_.size(); ++i) {
        if (tasks_[i].id != id) continue;
        found = tasks_[i];
        tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(i));
        idle_.notify_all();
        break;
      }
    }
    if (found.fn) found.fn(found.data, VIA_E_CANCELLED);
  }

  // Waits until no task runs and none is due. A call is answered before the task that answered it has ended.
  void wait_idle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] {
      const auto now = Clock::now();
      return running_ == 0 && std::none_of(tasks_.begin(), tasks_.end(), [&](const Task& t) { return t.due <= now; });
    });
  }

  // Lets the time of every task that waits for it come now.
  void make_due() {
    {
      const std::lock_guard lock(mutex_);
      for (Task& t : tasks_) t.due = Clock::now();
    }
    wake_.notify_all();
  }

  std::atomic<bool> refuse_posts{false};

 private:
  using Clock = std::chrono::steady_clock;
  struct Task {
    Queue* queue;
    Clock::time_point due;
    via_task_fn fn;
    void* data;
    uint64_t id;
  };

  void run() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      const auto now = Clock::now();
      auto next = Clock::time_point::max();
      size_t ready = tasks_.size();
      for (size_t i = 0; i < tasks_.size(); ++i) {
        if (tasks_[i].queue->running >= tasks_[i].queue->width) continue;
        if (tasks_[i].due <= now) {
          ready = i;
          break;
        }
        next = std::min(next, tasks_[i].due);
      }
      if (ready == tasks_.size()) {
        if (next == Clock::time_point::max()) wake_.wait(lock);
        else wake_.wait_until(lock, next);
        continue;
      }
      const Task task = tasks_[ready];
      tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(ready));
      ++task.queue->running;
      ++running_;
      lock.unlock();
      current_queue() = task.queue;
      task.fn(task.data, VIA_OK);
      current_queue() = nullptr;
      lock.lock();
      --task.queue->running;
      --running_;
      idle_.notify_all();
      wake_.notify_all();
    }
  }

  static Queue*& current_queue() {
    thread_local Queue* queue = nullptr;
    return queue;
  }
  void breaks(const char* rule) {
    const std::lock_guard lock(mutex_);
    if (broken_rule_.empty()) broken_rule_ = rule;
  }

  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::string broken_rule_;
  std::vector<Task> tasks_;
  uint64_t last_id_ = 0;
  size_t running_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

// What a FakeHost is made with.
struct FakeHostOptions {
  std::string dir;
  uint64_t quota_bytes = 0;
  size_t threads = 2;
  bool turns = false;  // offer via.host.turn/1; see Turn
  std::string settings = "{}";  // the operator's, as JSON
};

// The services of one instance; see above.
class FakeHost {
 public:
  using Options = FakeHostOptions;
  explicit FakeHost(Options options) : options_(std::move(options)), executor_(options_.threads) {
    host_.struct_size = sizeof host_;
    host_.abi_major = VIA_ABI_MAJOR;
    host_.abi_minor = VIA_ABI_MINOR;
    host_.host_data = this;
    host_.instance_id.b[0] = 1;
    host_.name = "fake";
    host_.version = "0";
    host_.get_service = &FakeHost::service;
  }
  const via_host* host() const { return &host_; }
  std::vector<std::string> log_lines() const {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  double metric(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    for (size_t i = 0; i < metric_names_.size(); ++i)
      if (metric_names_[i] == name) return metric_sums_[i];
    return 0;
  }
  // Moves the host's clock ahead of the real one.
  void advance(std::chrono::nanoseconds by) { ahead_ += static_cast<uint64_t>(by.count()); }
  uint64_t now() const {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) + ahead_.load();
  }
  FakeExecutor& executor() { return executor_; }

 private:
  friend class Turn;
  static FakeHost& of(const via_host* h) { return *static_cast<FakeHost*>(h->host_data); }

  static const void* service(const via_host* h, const char* service_id) {
    static const via_log log{sizeof(via_log), 0, [](const via_host*, int32_t) -> int32_t { return 1; },
                             [](const via_host* host, int32_t, via_str m, const via_pair* kv, size_t n) {
                               std::string line = to_string(m);
                               for (size_t i = 0; i < n; ++i)
                                 line.append(" ").append(to_string(kv[i].key)).append("=").append(to_string(kv[i].value));
                               const std::lock_guard lock(of(host).mutex_);
                               of(host).log_.push_back(line);
                             }};
    static const via_clock clock{sizeof(via_clock), 0, [](const via_host* host) { return of(host).now(); },
                                 [](const via_host* host) {
                                   return static_cast<int64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                                   std::chrono::system_clock::now().time_since_epoch())
                                                                   .count()) +
                                          static_cast<int64_t>(of(host).ahead_.load() / 1'000'000);
                                 }};
    static const via_storage storage{sizeof(via_storage), 0, [](const via_host* host) { return str(of(host).options_.dir); },
                                     [](const via_host* host) { return of(host).options_.quota_bytes; }};
    static const via_settings settings{sizeof(via_settings), 0,
                                       [](const via_host* host) { return str(of(host).options_.settings); }};
    static const via_metrics metrics{
        sizeof(via_metrics), 0,
        [](const via_host* host, uint32_t, via_str name, const via_str*, size_t, uint32_t* out) {
          const std::lock_guard lock(of(host).mutex_);
          of(host).metric_names_.push_back(to_string(name));
          of(host).metric_sums_.push_back(0);
          *out = static_cast<uint32_t>(of(host).metric_names_.size() - 1);
          return static_cast<via_status>(VIA_OK);
        },
        [](const via_host* host, uint32_t id, const via_str*, size_t, double v) {
          const std::lock_guard lock(of(host).mutex_);
          of(host).metric_sums_[id] += v;
        }};
    // Not encryption: a marker, so that a test sees whether a box was used.
    static const via_secretbox box{sizeof(via_secretbox), 0,
                                   [](const via_host*, via_bytes, via_bytes plain, const via_sink* out) {
                                     std::string s = "sealed:";
                                     s.append(reinterpret_cast<const char*>(plain.ptr), plain.len);
                                     return out->write(out->ctx, {reinterpret_cast<const uint8_t*>(s.data()), s.size()});
                                   },
                                   [](const via_host*, via_bytes, via_bytes b, const via_sink* out) {
                                     if (b.len < 7) return static_cast<via_status>(VIA_E_INVALID);
                                     return out->write(out->ctx, {b.ptr + 7, b.len - 7});
                                   }};
    static const via_executor executor{
        sizeof(via_executor), 0,
        [](const via_host* host, uint32_t width, via_queue** out) {
          *out = reinterpret_cast<via_queue*>(of(host).executor_.create(width));
          return static_cast<via_status>(VIA_OK);
        },
        [](via_queue* q) {
          auto* queue = reinterpret_cast<FakeExecutor::Queue*>(q);
          queue->executor->destroy(queue);
        },
        [](via_queue* q, uint64_t delay, via_task_fn fn, void* data, uint64_t* id) {
          auto* queue = reinterpret_cast<FakeExecutor::Queue*>(q);
          return queue->executor->post(queue, delay, fn, data, id);
        },
        [](via_queue* q, uint64_t id) {
          auto* queue = reinterpret_cast<FakeExecutor::Queue*>(q);
          queue->executor->cancel(queue, id);
        }};
    static const via_turn turn{sizeof(via_turn), 0, [](const via_host*, via_fn fn, void* data) {
                                 auto* tasks = turn_tasks();
                                 if (!tasks) return static_cast<via_status>(VIA_E_UNSUPPORTED);
                                 tasks->push_back({fn, data});
                                 return static_cast<via_status>(VIA_OK);
                               }};
    static const via_threadcheck threads{sizeof(via_threadcheck), 0, [](const via_host*) { return ThreadRole::now(); }};
    const std::string_view name = service_id;
    if (name == VIA_HOST_THREADCHECK) return &threads;
    if (name == VIA_HOST_LOG) return &log;
    if (name == VIA_HOST_CLOCK) return &clock;
    if (name == VIA_HOST_STORAGE) return &storage;
    if (name == VIA_HOST_SETTINGS) return &settings;
    if (name == VIA_HOST_METRICS) return &metrics;
    if (name == VIA_HOST_SECRETBOX) return &box;
    if (name == VIA_HOST_EXECUTOR) return &executor;
    if (name == VIA_HOST_TURN && of(h).options_.turns) return &turn;
    return nullptr;
  }

  using TurnTasks = std::vector<std::pair<via_fn, void*>>;
  static TurnTasks*& turn_tasks() {
    thread_local TurnTasks* tasks = nullptr;
    return tasks;
  }

  Options options_;
  via_host host_{};
  mutable std::mutex mutex_;
  std::vector<std::string> log_, metric_names_;
  std::vector<double> metric_sums_;
  std::atomic<uint64_t> ahead_{0};
  FakeExecutor executor_;
};

// While it lives this thread is an I/O thread in one turn; its end runs what was registered.
class Turn {
 public:
  Turn() { FakeHost::turn_tasks() = &tasks_; }
  ~Turn() {
    FakeHost::turn_tasks() = nullptr;
    for (auto& [fn, data] : tasks_) fn(data);
  }
  Turn(const Turn&) = delete;

 private:
  FakeHost::TurnTasks tasks_;
};

// Records one call. wait() blocks until complete(). `high_water` bytes may lie unread before writes meet back-pressure;
// drain() is the client that reads.
class FakeCall {
 public:
  FakeCall() {
    call_.struct_size = sizeof call_;
    call_.host_data = this;
    call_.cancelled = [](const via_call* c) -> int32_t { return of(c).cancelled_.load() ? 1 : 0; };
    call_.on_cancel = [](via_call* c, via_fn fn, void* data) {
      std::unique_lock lock(of(c).mutex_);
      if (of(c).completions_ > 0) {
        // It never runs once the call is complete.
      } else if (of(c).cancelled_) {
        lock.unlock();
        fn(data);
      } else {
        of(c).on_cancel_ = {fn, data};
      }
      return static_cast<via_status>(VIA_OK);
    };
    call_.read = [](via_call* c, uint8_t* buf, size_t cap, uint32_t, size_t* got) {
      FakeCall& f = of(c);
      *got = std::min(cap, f.more_body.size());
      std::memcpy(buf, f.more_body.data(), *got);
      f.more_body.erase(0, *got);
      return static_cast<via_status>(VIA_OK);
    };
    call_.head = [](via_call* c, const via_head* h) {
      of(c).http_status = h->http_status;
      of(c).content_type = to_string(h->content_type);
      for (size_t i = 0; i < h->headers_len; ++i)
        of(c).headers.emplace_back(to_string(h->headers[i].key), to_string(h->headers[i].value));
      return static_cast<via_status>(VIA_OK);
    };
    call_.write = [](via_call* c, via_bytes chunk, uint32_t flags) {
      FakeCall& f = of(c);
      const Using one(f);
      std::unique_lock lock(f.mutex_);
      if (const via_status st = f.room(lock, flags); st != VIA_OK) return st;
      f.body_.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
      f.unread_ += chunk.len;
      return static_cast<via_status>(VIA_OK);
    };
    call_.reserve = [](via_call* c, size_t min, uint32_t flags, uint8_t** buf, size_t* cap) {
      FakeCall& f = of(c);
      const Using one(f);
      std::unique_lock lock(f.mutex_);
      if (const via_status st = f.room(lock, flags); st != VIA_OK) return st;
      if (f.reserved_.size() < min) f.reserved_.resize(min);
      *buf = reinterpret_cast<uint8_t*>(f.reserved_.data());
      *cap = f.reserved_.size();
      return static_cast<via_status>(VIA_OK);
    };
    call_.commit = [](via_call* c, size_t n) {
      FakeCall& f = of(c);
      const std::lock_guard lock(f.mutex_);
      f.body_.append(f.reserved_, 0, n);
      f.unread_ += n;
    };
    call_.progress = [](via_call* c, uint64_t done, uint64_t total) {
      if (of(c).on_progress) of(c).on_progress(done, total);
    };
    call_.complete = [](via_call* c, via_status st, via_str message, via_str details) {
      FakeCall& f = of(c);
      std::unique_lock lock(f.mutex_);
      f.on_cancel_ = {};
      // As the documented promise is: a function of on_cancel that runs now ends first, unless it is the one that completes.
      f.changed_.wait(lock, [&] { return f.canceller_ == std::thread::id() || f.canceller_ == std::this_thread::get_id(); });
      ++f.completions_;
      f.status_ = st;
      f.message_ = to_string(message);
      f.details_ = to_string(details);
      f.changed_.notify_all();
    };
  }
  FakeCall(const FakeCall&) = delete;

  via_call* get() { return &call_; }
  FakeCall& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return completions_ > 0; });
    return *this;
  }
  // False when the call has not ended in time.
  bool wait_for(std::chrono::nanoseconds limit) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return completions_ > 0; });
  }
  bool done() const {
    const std::lock_guard lock(mutex_);
    return completions_ > 0;
  }
  void set_deadline(uint64_t ns) { call_.deadline_ns = ns; }
  void cancel() {
    std::pair<via_fn, void*> fn{};
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      std::swap(fn, on_cancel_);
      if (fn.first) canceller_ = std::this_thread::get_id();
      changed_.notify_all();
    }
    if (!fn.first) return;
    fn.first(fn.second);
    const std::lock_guard lock(mutex_);
    canceller_ = {};
    changed_.notify_all();
  }
  // Makes the unread bytes read, so that a waiting writer goes on; tells how many there were.
  size_t drain() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
    return std::exchange(unread_, 0);
  }
  void wait_for_unread(size_t bytes) {
    std::unique_lock lock(mutex_);
    blocked_.wait(lock, [&] { return unread_ >= bytes || completions_ > 0; });
  }
  // What was done on a thread where it may not be, or by two at once; empty when nothing was. The first of several.
  std::string broken_rule() const {
    const std::lock_guard lock(mutex_);
    return broken_rule_;
  }
  // Ready for the next call; keeps its memory.
  void clear() {
    cancelled_ = false;
    broken_rule_.clear();
    body_.clear();
    completions_ = 0;
    unread_ = 0;
  }

  via_status status() const { return status_; }
  const std::string& message() const { return message_; }
  const std::string& details() const { return details_; }
  const std::string& body() const { return body_; }
  int completions() const {
    const std::lock_guard lock(mutex_);
    return completions_;
  }

  std::function<void(uint64_t done, uint64_t total)> on_progress;
  std::string more_body, content_type;
  std::vector<std::pair<std::string, std::string>> headers;  // of head()
  int http_status = 200;
  size_t high_water = static_cast<size_t>(-1);

 private:
  static FakeCall& of(const via_call* c) { return *static_cast<FakeCall*>(c->host_data); }
  // One function of [call] that runs.
  class Using {
   public:
    explicit Using(FakeCall& call) : call_(call) {
      if (call_.users_.fetch_add(1) == 0) return;
      const std::lock_guard lock(call_.mutex_);
      if (call_.broken_rule_.empty()) call_.broken_rule_ = "two threads used one call at once";
    }
    ~Using() { call_.users_.fetch_sub(1); }
    Using(const Using&) = delete;

   private:
    FakeCall& call_;
  };
  via_status room(std::unique_lock<std::mutex>& lock, uint32_t flags) {
    if (completions_ > 0 && broken_rule_.empty()) broken_rule_ = "a call was written to after it was completed";
    if (unread_ < high_water) return VIA_OK;
    blocked_.notify_all();
    if ((flags & VIA_WAIT) == 0) return VIA_E_WOULD_BLOCK;
    if ((ThreadRole::now() & ThreadRole::kIo) != 0) {
      if (broken_rule_.empty()) broken_rule_ = "a write waited (VIA_WAIT) on an I/O thread";
      return VIA_E_WOULD_BLOCK;
    }
    changed_.wait(lock, [&] { return unread_ < high_water || cancelled_; });
    return cancelled_ ? VIA_E_CANCELLED : VIA_OK;
  }

  via_call call_{};
  mutable std::mutex mutex_;
  std::condition_variable changed_, blocked_;
  std::atomic<bool> cancelled_{false};
  std::pair<via_fn, void*> on_cancel_{};
  std::thread::id canceller_;  // the thread that runs a function of on_cancel
  std::string body_, reserved_, message_, details_;
  size_t unread_ = 0;
  int completions_ = 0;
  std::atomic<int> users_{0};
  std::string broken_rule_;
  via_status status_ = -1;
};

// The snapshot calls of an instance ("via.snapshot/1") as the host makes them; each returns when the call has ended.
class FakeSnapshots {
 public:
  explicit FakeSnapshots(via_instance* instance)
      : instance_(instance),
        api_(static_cast<const via_snapshot_api*>(instance->api->get_extension(instance, VIA_EXT_SNAPSHOT))) {}
  bool offered() const { return api_ && VIA_HAS(via_snapshot_api, api_, verify); }
  void take(const std::string& dir, FakeCall& call) { run(api_->take, dir, call); }
  // `format`: what take() answered for what lies in `dir`.
  void restore(const std::string& dir, FakeCall& call, std::string_view format = {}) { run(api_->restore, dir, call, format); }
  void verify(const std::string& dir, FakeCall& call, std::string_view format = {}) { run(api_->verify, dir, call, format); }

 private:
  void run(void (*which)(via_instance*, const via_snapshot_args*, via_call*), const std::string& dir, FakeCall& call,
           std::string_view format = {}) {
    via_snapshot_args args{};
    args.struct_size = sizeof args;
    args.snapshot_id.b[0] = 1;
    args.dir = str(dir);
    args.format = str(format);
    which(instance_, &args, call.get());
    call.wait();
  }
  via_instance* instance_;
  const via_snapshot_api* api_;
};

}  // namespace via::testing
