// The host's services for one instance, as C++ objects. A service that a host does not have is a harmless nothing
// (logging, metrics, settings) or a Failure that names it (storage, queues, boxes).
// Thread: as the tags in via/plugin.h: all of it any thread, except making and ending a Queue.
#pragma once

#include <via/plugin/values.hpp>

#include <chrono>
#include <filesystem>
#include <initializer_list>
#include <memory>
#include <vector>

namespace via::plugin {

// How much a line of the log matters.
enum class Level : std::int32_t { trace, debug, info, warn, error, critical };

// True on a thread that lets go of tasks that will not run: a Call that ends with such a task is answered "cancelled".
inline bool& letting_go() noexcept {
  static thread_local bool now = false;
  return now;
}

// Work for the host's threads. At most `width` tasks of a queue run at once, so 1 is a serial queue. Its end waits: after
// it no task runs or ever will, and those that waited were destroyed without running.
class Queue {
 public:
  Queue() = default;
  Queue(const via_executor* executor, via_queue* queue) noexcept : executor_(executor), queue_(queue) {}
  Queue(Queue&& other) noexcept { swap(other); }
  Queue& operator=(Queue&& other) noexcept {
    Queue old(std::move(other));
    swap(old);
    return *this;
  }
  ~Queue() {
    if (queue_ != nullptr) executor_->queue_destroy(queue_);
  }
  explicit operator bool() const noexcept { return queue_ != nullptr; }

  // Runs `task` (anything that is called without arguments; it may own what cannot be copied, such as a Call) once.
  // Throws Failure(VIA_E_UNAVAILABLE) when the queue is ending; the task was destroyed then. An exception that leaves
  // the task ends there. Returns an id for cancel().
  template <class Task>
  std::uint64_t post(Task task, std::chrono::nanoseconds delay = {}) {
    auto owned = std::make_unique<Task>(std::move(task));
    std::uint64_t id = 0;
    const via_status status = queue_ == nullptr
                                  ? VIA_E_UNAVAILABLE
                                  : executor_->post(queue_, static_cast<std::uint64_t>(delay.count() > 0 ? delay.count() : 0),
                                                    &run<Task>, owned.get(), &id);
    if (status != VIA_OK) {
      const LettingGo going;
      owned.reset();
      throw Failure(VIA_E_UNAVAILABLE, "The add-on is being closed.");
    }
    (void)owned.release();
    return id;
  }
  // The task does not run if it has not begun.
  void cancel(std::uint64_t id) noexcept {
    if (queue_ != nullptr) executor_->cancel(queue_, id);
  }

 private:
  struct LettingGo {
    LettingGo() noexcept : before(std::exchange(letting_go(), true)) {}
    ~LettingGo() { letting_go() = before; }
    const bool before;
  };
  template <class Task>
  static void run(void* data, via_status why) noexcept {
    std::unique_ptr<Task> task(static_cast<Task*>(data));
    if (why != VIA_OK) {
      const LettingGo going;
      task.reset();
      return;
    }
    try {
      (*task)();
    } catch (...) {
      // A Call that the task still owns is answered when it is destroyed.
    }
  }
  void swap(Queue& other) noexcept {
    std::swap(executor_, other.executor_);
    std::swap(queue_, other.queue_);
  }
  const via_executor* executor_ = nullptr;
  via_queue* queue_ = nullptr;
};

class Host;

// One figure of /metrics; the host puts addon_<type>_ before its name. Made by Host.
class Metric {
 public:
  Metric() = default;
  void record(double value, std::initializer_list<std::string_view> labels = {}) const {
    if (metrics_ == nullptr) return;
    via_str values[8];
    std::size_t n = 0;
    for (const auto label : labels)
      if (n < 8) values[n++] = str(label);
    metrics_->record(host_, id_, values, n, value);
  }

 private:
  friend class Host;
  const via_metrics* metrics_ = nullptr;
  const via_host* host_ = nullptr;
  std::uint32_t id_ = 0;
};

// Valid as long as the instance it was given to; copying it is free.
class Host {
 public:
  explicit Host(const via_host* host) noexcept : host_(host) {}

  const via_host* raw() const noexcept { return host_; }
  const via_id& instance_id() const noexcept { return host_->instance_id; }

  // The table of a service; null when the host has none, or one that ends before one of `members` or has nothing there.
  // Name every member that is used: a table may be of an older minor version than this header, and shorter.
  template <class Table, class... Member>
  const Table* service(const char* id, Member Table::*... members) const noexcept {
    const auto* table = static_cast<const Table*>(host_->get_service(host_, id));
    return table != nullptr && (has(*table, members) && ...) ? table : nullptr;
  }

  using Field = std::pair<std::string_view, std::string_view>;
  // Never give it a secret, a token, a path or a row.
  void log(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const noexcept {
    const auto* table = service(VIA_HOST_LOG, &via_log::enabled, &via_log::write);
    if (table == nullptr || !table->enabled(host_, static_cast<std::int32_t>(level))) return;
    via_pair pairs[16];
    std::size_t n = 0;
    for (const auto& [key, value] : fields)
      if (n < 16) pairs[n++] = {str(key), str(value)};
    table->write(host_, static_cast<std::int32_t>(level), str(message), pairs, n);
  }

  std::uint64_t mono_ns() const { return need(VIA_HOST_CLOCK, &via_clock::mono_ns)->mono_ns(host_); }
  std::int64_t unix_ms() const { return need(VIA_HOST_CLOCK, &via_clock::unix_ms)->unix_ms(host_); }

  // The add-on's own folder: absolute, 0700, on one filesystem. Nothing outside it is the plugin's to write.
  std::filesystem::path storage() const { return std::string(view(need(VIA_HOST_STORAGE, &via_storage::dir)->dir(host_))); }
  std::uint64_t quota_bytes() const {  // 0 = none
    const auto* table = service(VIA_HOST_STORAGE, &via_storage::quota_bytes);
    return table == nullptr ? 0 : table->quota_bytes(host_);
  }
  // What the operator configured for the type ([types.<id>.settings]), as JSON; "{}" when that is nothing.
  std::string settings() const {
    const auto* table = service(VIA_HOST_SETTINGS, &via_settings::json);
    return table == nullptr ? "{}" : std::string(view(table->json(host_)));
  }

  Queue queue(std::uint32_t width = 1) const {
    const auto* table = need(VIA_HOST_EXECUTOR, &via_executor::queue_create, &via_executor::queue_destroy, &via_executor::post,
                             &via_executor::cancel);
    via_queue* made = nullptr;
    if (table->queue_create(host_, width, &made) != VIA_OK) throw Failure(VIA_E_UNAVAILABLE, "The host has no queue to give.");
    return {table, made};
  }

  // Authenticated encryption under a key of this add-on; `aad` must be the same to unseal and is not in the box.
  std::string seal(std::string_view plain, std::string_view aad = {}) const { return box(&via_secretbox::seal, aad, plain); }
  // Throws Failure(VIA_E_CORRUPT) when the box is not one of this add-on, or was changed.
  std::string unseal(std::string_view sealed, std::string_view aad = {}) const {
    return box(&via_secretbox::unseal, aad, sealed);
  }

  Metric counter(std::string_view name, std::initializer_list<std::string_view> labels = {}) const {
    return metric(0, name, labels);
  }
  Metric gauge(std::string_view name, std::initializer_list<std::string_view> labels = {}) const {
    return metric(1, name, labels);
  }
  Metric histogram(std::string_view name, std::initializer_list<std::string_view> labels = {}) const {
    return metric(2, name, labels);
  }

 private:
  template <class Table, class Member>
  static bool has(const Table& table, Member Table::*member) noexcept {
    const auto end = reinterpret_cast<const char*>(&(table.*member)) - reinterpret_cast<const char*>(&table) + sizeof(Member);
    return table.struct_size >= static_cast<std::size_t>(end) && table.*member != nullptr;
  }
  template <class Table, class... Member>
  const Table* need(const char* id, Member Table::*... members) const {
    const auto* table = service(id, members...);
    if (table == nullptr) throw Failure(VIA_E_UNSUPPORTED, std::string("This host does not offer ") + id + ".");
    return table;
  }
  std::string box(via_status (*via_secretbox::*which)(const via_host*, via_bytes, via_bytes, const via_sink*),
                  std::string_view aad, std::string_view in) const {
    const auto* table = need(VIA_HOST_SECRETBOX, which);
    std::string out;
    const via_sink sink{&out, [](void* ctx, via_bytes chunk) noexcept -> via_status {
                          try {
                            static_cast<std::string*>(ctx)->append(view(chunk));
                            return VIA_OK;
                          } catch (...) {
                            return VIA_E_EXHAUSTED;
                          }
                        }};
    if ((table->*which)(host_, bytes(aad), bytes(in), &sink) != VIA_OK)
      throw Failure(VIA_E_CORRUPT, "A sealed value is not one of this add-on, or was changed.");
    return out;
  }
  Metric metric(std::uint32_t kind, std::string_view name, std::initializer_list<std::string_view> labels) const {
    Metric out;
    const auto* table = service(VIA_HOST_METRICS, &via_metrics::define, &via_metrics::record);
    std::vector<via_str> keys;
    for (const auto label : labels) keys.push_back(str(label));
    if (table == nullptr || table->define(host_, kind, str(name), keys.data(), keys.size(), &out.id_) != VIA_OK) return out;
    out.metrics_ = table;
    out.host_ = host_;
    return out;
  }
  const via_host* host_;
};

}  // namespace via::plugin
