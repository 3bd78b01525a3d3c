// What a Connection stands on: the config server of a host, or a SQLite file of the app's own.
// Thread: one at a time.
#pragma once

#include "via/sql.hpp"

namespace via::sql {

class Connection::Backend {
 public:
  virtual ~Backend() = default;
  virtual Rows query(const Statement& statement) = 0;
  virtual Written execute(const Statement& statement) = 0;
  virtual std::int64_t setup(const std::string& sql) = 0;
  virtual std::vector<BatchResult> batch(const std::vector<Statement>& statements) = 0;
  virtual Access access() const noexcept = 0;
  virtual bool managed() const noexcept = 0;
  virtual std::int64_t generation() const noexcept = 0;
};

// A binding, through the config server. Throws Error.
std::unique_ptr<Connection::Backend> open_remote(const std::string& binding, const ConnectOptions& options);
// A file or ":memory:".
std::unique_ptr<Connection::Backend> open_local(const std::string& path, const ConnectOptions& options);

[[noreturn]] inline void raise(const std::string& code, const std::string& message) {
  throw Error(message, {code, 0, 0, {}, {}, false});
}

}  // namespace via::sql
