// What the host gives to plugins: one Services for the process, one HostContext for each library and each instance.
// The tables behind via_host.get_service are static; a context carries what they work on.
// Thread: as the tags in via/plugin.h say.
#pragma once

#include <map>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/plugins/executor.hpp"
#include "core/plugins/metrics.hpp"
#include "core/plugins/secret_box.hpp"
#include "via/plugin.h"

namespace via::plugins {

struct Services {
  const Clock& clock;
  Logger& log;
  Executor& executor;
  Metrics& metrics;
  const SecretBox& secrets;
  std::map<std::string, std::string> settings = {};  // type id -> what the operator configured for it, as JSON
};

// The tables of a host that works on its own Services.
const void* find_service(const via_host* host, const char* id);

class HostContext {
 public:
  // `storage` empty = a library-wide host, which has no folder. `label` is the type id (or the plugin id). `find` is what
  // via_host.get_service will be: a runner carries some services to its host.
  HostContext(const Services& services, std::string label, std::string instance_id, std::string storage,
              const void* (*find)(const via_host*, const char*) = find_service);
  HostContext(const HostContext&) = delete;
  HostContext& operator=(const HostContext&) = delete;

  const via_host* abi() const noexcept { return &abi_; }
  const Services& services() const noexcept { return services_; }
  const std::string& label() const noexcept { return label_; }
  const std::string& instance_id() const noexcept { return instance_id_; }
  const std::string& storage() const noexcept { return storage_; }
  // Whose share of the workers its queues have (executor.hpp); set before the plugin has it.
  const std::string& group() const noexcept { return group_; }
  void set_group(std::string group) { group_ = std::move(group); }

 private:
  const Services& services_;
  std::string label_, instance_id_, storage_, group_;
  via_host abi_{};
};

}  // namespace via::plugins
