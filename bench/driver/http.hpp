// A blocking HTTP/1.1 client on one keep-alive connection, for the admin socket and for idle connections.
// Enough for Via's own answers (Content-Length); not a general client. Thread: one at a time.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace bench {

struct Answer {
  int status = 0;
  std::string body;
};

class Connection {
 public:
  static Connection to_unix(const std::filesystem::path& socket);
  static Connection to_tcp(int port);  // on 127.0.0.1
  ~Connection();
  Connection(Connection&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Answer post(std::string_view path, std::string_view body, std::string_view token = {}) {
    return send("POST", path, body, token);
  }
  Answer send(std::string_view method, std::string_view path, std::string_view body, std::string_view token = {});

 private:
  explicit Connection(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace bench
