// What systemd hears of a host that it started (sd_notify(3), Type=notify in packaging/via.service): that it is ready, that it
// reloads, that it stops and how long that may take. Without systemd nothing happens. Made by the command's main, before other
// threads: it takes $NOTIFY_SOCKET out of the environment, so that no child speaks for the host. Thread: main.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace via {

class ServiceManager {
 public:
  ServiceManager();

  void ready() const { say("READY=1"); }
  void reloading() const;  // ready() follows
  // The unit's TimeoutStopSec= may be shorter than what the configuration allows for a drain.
  void stopping(std::chrono::milliseconds at_most) const;

 private:
  void say(std::string_view state) const;  // best effort
  std::string socket_;  // a path, or @ and an abstract name; empty = nobody listens
};

}  // namespace via
