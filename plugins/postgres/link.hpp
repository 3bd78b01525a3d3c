// Connections to a server, and one that waits for its answers: what the control calls and the setting up of pooled connections
// use. Thread: one at a time; may block.
#pragma once

#include "plugins/postgres/settings.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace via::postgres {

struct FinishConnection {
  void operator()(PGconn* c) const { PQfinish(c); }
};
using ConnectionPointer = std::unique_ptr<PGconn, FinishConnection>;

struct Login {
  std::string user, password, database;
  std::string options;  // "-c name=value …" of the session
};

// The operator's own login on a database of the server (empty: the maintenance database). Reads the password file.
Failure admin_login(const Server& server, const std::string& database, Login& out);
// Waits at most `seconds`.
Failure connect(const Server& server, const Login& login, int seconds, ConnectionPointer& out);

// Bytes that have come over a connection; 0 where the system does not count them (a socket of the file system).
std::uint64_t received(const PGconn* connection);

// A connection whose calls wait. `give_up` is asked while they do (several times a second); true ends the statement.
class Link {
 public:
  Link() = default;
  explicit Link(ConnectionPointer connection) : connection_(std::move(connection)) {}
  static Failure as_admin(const Server& server, const std::string& database, Link& out, int seconds = 5);

  PGconn* raw() const { return connection_.get(); }
  void give_up_when(std::function<bool()> give_up) { give_up_ = std::move(give_up); }

  Failure run(const std::string& sql) { return run(sql, {}); }
  Failure run(const std::string& sql, const std::vector<std::string>& values, ResultPointer* result = nullptr);
  // The first column of every row; one that is null is left out.
  Failure column(const std::string& sql, const std::vector<std::string>& values, std::vector<std::string>& out);
  Failure exists(const std::string& sql, const std::vector<std::string>& values, bool& out);

 private:
  Failure collect(ResultPointer* result);
  ConnectionPointer connection_;
  std::function<bool()> give_up_;
};

}  // namespace via::postgres
