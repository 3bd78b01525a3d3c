// The host's services as the plugin uses them, looked up once per instance. Log, clock and storage are required;
// executor is needed to serve writes; metrics and turn may be absent.
// Thread: immutable after construction; any.
#pragma once

#include "plugins/sqlite/engine/memory.hpp"

#include <via/plugin.h>

#include <chrono>
#include <string_view>

namespace via::sqlite {

namespace engine {
void configure() noexcept;  // look.hpp
}

class Host {
 public:
  explicit Host(const via_host* host)
      : host_(host), log_(service<via_log>(VIA_HOST_LOG)), clock_(service<via_clock>(VIA_HOST_CLOCK)),
        storage_(service<via_storage>(VIA_HOST_STORAGE)), executor_(service<via_executor>(VIA_HOST_EXECUTOR)),
        turn_(service<via_turn>(VIA_HOST_TURN)) {
    engine::configure();
    account_ = engine::take_account(engine::limits().addon);
  }
  ~Host() { engine::give_account(account_); }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const via_host* raw() const { return host_; }
  const via_storage* storage() const { return storage_; }
  const via_executor* executor() const { return executor_; }
  const via_turn* turn() const { return turn_; }
  engine::Account* account() const { return account_; }  // of the add-on's memory

  uint64_t now_ns() const {
    if (clock_) return clock_->mono_ns(host_);
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  }
  int64_t unix_ms() const {
    if (clock_) return clock_->unix_ms(host_);
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
  void log(int32_t level, std::string_view message) const {
    if (log_ && log_->enabled(host_, level)) log_->write(host_, level, {message.data(), message.size()}, nullptr, 0);
  }

 private:
  template <class T>
  const T* service(const char* id) const {
    return host_ && host_->get_service ? static_cast<const T*>(host_->get_service(host_, id)) : nullptr;
  }
  const via_host* host_;
  const via_log* log_;
  const via_clock* clock_;
  const via_storage* storage_;
  const via_executor* executor_;
  const via_turn* turn_;
  engine::Account* account_ = nullptr;
};

// What one instance may use, from its configuration and the host's quota.
struct Limits {
  uint64_t quota_bytes = 10ull << 30;
  uint64_t max_rows = 100'000;
  uint64_t max_result_bytes = 16ull << 20;
  uint64_t timeout_ms = 30'000;
  bool further_databases = true;  // may be made beside data.sqlite
  uint64_t max_databases = 1'000;  // of those
  int64_t history_operations = 10'000;  // kept of each key
  int64_t history_age_ms = 0;           // 0: however old
};

}  // namespace via::sqlite
