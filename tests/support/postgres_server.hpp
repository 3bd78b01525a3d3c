// A real PostgreSQL server of Debian's in a folder of the test's: own data, own port on 127.0.0.1, passwords by SCRAM. A server does
// not run as root, so it runs as the user postgres where the test does. It ends with the test.
// Thread: one at a time.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace via::test {

class PostgresServer {
 public:
  // Makes the data folder and starts it. Throws std::runtime_error that says what is missing.
  PostgresServer();
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;

  std::uint16_t port() const { return port_; }
  static constexpr const char* kAdmin = "admin";
  const std::string& password() const { return password_; }
  std::filesystem::path password_file() const { return folder_ / "admin.pass"; }
  std::filesystem::path folder() const { return folder_; }
  // [types.postgres.settings] of a host, as JSON and as TOML.
  std::string settings_json() const;
  std::string settings_toml() const;

  enum class Stop { smart, fast, crash };
  void stop(Stop how);
  void start();          // on the same port
  // More lines of postgresql.conf, from the next start on.
  void configure(const std::string& lines);

  // Rows of one statement as the administrator: columns joined by '|'. Throws with what the server said.
  std::vector<std::string> sql(const std::string& statement, const std::string& database = "postgres") const;
  std::string one(const std::string& statement, const std::string& database = "postgres") const;  // the first row, or ""
  // The same with another login; false and the reason where it is refused.
  bool as(const std::string& url, const std::string& statement, std::string& out) const;

 private:
  pid_t run_as_server(std::vector<std::string> command) const;
  std::filesystem::path folder_;
  std::string password_;
  std::uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace via::test
