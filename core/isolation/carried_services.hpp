// The host services of a plugin in a runner: log, metrics and secret box are carried to the host, the rest is here.
// Thread: any, as the tags in via/plugin.h say; a secret box call waits for the host's answer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "core/isolation/channel.hpp"
#include "core/plugins/host_services.hpp"

namespace via::isolation {

// The way to the host, for all instances of a runner.
class Carrier {
 public:
  explicit Carrier(Channel& channel) : channel_(channel) {}
  Channel& channel() noexcept { return channel_; }
  void set_level(int level) noexcept { level_ = level; }
  int level() const noexcept { return level_; }

  // Seals or unseals at the host.
  via_status box(std::uint64_t instance, bool seal, std::string_view aad, std::string_view bytes, std::string& out);
  // The host's answer; false when nobody asked.
  bool answer(std::uint64_t id, via_status status, std::string_view bytes);
  // The host has gone: nothing will be answered any more.
  void close();

 private:
  struct Asked {
    bool answered = false;
    via_status status = VIA_E_UNAVAILABLE;
    std::string bytes;
  };
  Channel& channel_;
  int level_ = 2;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Asked*> asked_;  // guarded by mutex_
  std::uint64_t last_ = 0;                 // guarded by mutex_
  bool closed_ = false;                    // guarded by mutex_
};

class CarriedContext final : public plugins::HostContext {
 public:
  // `number` is how the host knows the instance; 0 for the library.
  CarriedContext(const plugins::Services& services, Carrier& carrier, std::uint64_t number, std::string label,
                 std::string instance_id, std::string storage);
  Carrier& carrier() const noexcept { return carrier_; }
  std::uint64_t number() const noexcept { return number_; }

 private:
  Carrier& carrier_;
  const std::uint64_t number_;
};

}  // namespace via::isolation
