// One managed PostgreSQL add-on: a database and its roles on a server that the operator names. The methods are those that
// via/plugin/shell.hpp lists; the SQL operations go through the pool, everything else asks the server itself and waits.
// In the add-on's own folder lies one small file that says which database it is (docs/formats.md).
// Thread: as via/plugin.h tags each call.
#pragma once

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/marker.hpp"
#include "plugins/postgres/snapshot.hpp"

#include <via/plugin.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace via::postgres {

class Postgres {
 public:
  explicit Postgres(plugin::Host host);
  ~Postgres();

  // The event loop that all add-ons of the library share.
  static void start(plugin::Host library);
  static void stop();

  void provision(const plugin::Provision& provision);
  void open(const plugin::Provision& provision);
  void close();
  void deprovision();
  void bind(const plugin::Binding& binding) { make(binding); }
  void rotate(const plugin::Binding& binding) { make(binding); }
  void revoke(const plugin::Binding& binding);
  std::string describe(const plugin::Binding& binding);
  std::string health();
  std::string stats();

  void invoke(const plugin::Operation& operation, plugin::Call& call);
  bool try_invoke(const plugin::Operation& operation, plugin::Call& call) noexcept;

  plugin::SnapshotFacts take(const plugin::Snapshot& snapshot, plugin::Control& control);
  void verify(const plugin::Snapshot& snapshot);
  void restore(const plugin::Snapshot& snapshot, plugin::Control& control);

 private:
  void make(const plugin::Binding& binding);
  // The server that an add-on of this configuration is on; throws where that is not said.
  Server server(const Limits& limits) const;
  // What was provisioned, by the marker; nothing when nothing was.
  struct Made {
    Server server;
    Names names;
    Limits limits;
  };
  std::optional<Made> made() const;
  Failure find(const Marker& marker, Made& out) const;  // the server and the limits
  Made need() const;  // throws when nothing was
  std::shared_ptr<Pool> pool() const;
  void send(std::unique_ptr<Job> job, Pool& pool);
  void stream(const plugin::Operation& operation, plugin::Call& call, const std::string& body, Pool& pool);

  const plugin::Host host_;
  mutable std::mutex mutex_;
  std::shared_ptr<Pool> pool_;  // guarded by mutex_; while open
};

}  // namespace via::postgres
