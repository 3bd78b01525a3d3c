// An HTTP server for one client at a time on a free port of the loopback. Each request is answered by the
// test's function with raw bytes, so that a test can be as wrong as a server can be.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

namespace via::sql::testing {

struct Request {
  std::string path, token, body;
  nlohmann::json json;
  int connection = 0;  // counts from 1
};

// What to do with a request: bytes to send, and whether to hang up afterwards. Empty bytes and close = no
// answer.
struct Reply {
  std::string bytes;
  bool close = false;
};

inline std::string http(int status, const std::string& body, const std::string& headers = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nVia-Request-Id: req_test\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

inline std::string error(int status, const std::string& code, const std::string& more = "",
                         const std::string& headers = "") {
  return http(status,
              R"({"error":{"code":")" + code + R"(","message":"said","request_id":"req_test")" + more + "}}",
              headers);
}

class FakeServer {
 public:
  using Answer = std::function<Reply(const Request&)>;
  explicit FakeServer(Answer answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 16);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    {
      const std::lock_guard lock(mutex_);
      if (client_ >= 0) ::shutdown(client_, SHUT_RDWR);
    }
    thread_.join();
    ::close(listener_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  // Returns when it has hung up on `count` connections, of its own accord or the client's.
  void wait_until_hung_up(int count) const {
    std::unique_lock lock(mutex_);
    hung_up_.wait(lock, [&] { return ended_ >= count; });
  }

 private:
  void serve() {
    for (int connection = 1; !stopping_; ++connection) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      {
        const std::lock_guard lock(mutex_);
        client_ = client;
      }
      talk(client, connection);
      const std::lock_guard lock(mutex_);
      client_ = -1;
      ::close(client);
      ++ended_;
      hung_up_.notify_all();
    }
  }

  void talk(int client, int connection) {
    std::string buffer;
    char chunk[65536];
    while (!stopping_) {
      const auto head = buffer.find("\r\n\r\n");
      std::size_t length = 0;
      if (head != std::string::npos) {
        const auto at = buffer.find("Content-Length: ");
        length = at < head ? std::stoul(buffer.substr(at + 16)) : 0;
      }
      if (head == std::string::npos || buffer.size() < head + 4 + length) {
        const ssize_t n = ::recv(client, chunk, sizeof chunk, 0);
        if (n <= 0) return;
        buffer.append(chunk, static_cast<std::size_t>(n));
        continue;
      }
      Request request;
      request.connection = connection;
      request.path = buffer.substr(5, buffer.find(' ', 5) - 5);
      const auto token = buffer.find("Authorization: Bearer ");
      request.token = buffer.substr(token + 22, buffer.find("\r\n", token) - token - 22);
      request.body = buffer.substr(head + 4, length);
      request.json = nlohmann::json::parse(request.body, nullptr, false);
      buffer.erase(0, head + 4 + length);
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      const Reply reply = answer_(request);
      ::send(client, reply.bytes.data(), reply.bytes.size(), MSG_NOSIGNAL);
      if (reply.close) return;
    }
  }

  Answer answer_;
  int listener_ = -1, client_ = -1, port_ = 0;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  mutable std::condition_variable hung_up_;
  int ended_ = 0;  // connections
  std::vector<Request> requests_;
  std::thread thread_;
};

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "via_sdk_XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  std::filesystem::path path;
};

}  // namespace via::sql::testing
