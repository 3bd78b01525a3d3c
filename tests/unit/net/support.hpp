// A listener on a free port of the loopback with a small handler behind it, and a client that speaks raw bytes.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "core/net/listener.hpp"
#include "support/fakes.hpp"

namespace via::net::test {

namespace asio = boost::asio;

// A door that tests open: wait() returns once open() was called.
class Door {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class Client {
 public:
  explicit Client(const std::string& address) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{20, 0};  // a test that hangs fails instead
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // One read; false at the end of the stream (or a reset).
  bool receive() {
    char buffer[65536];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    got.append(buffer, static_cast<std::size_t>(n));
    return true;
  }
  std::string until_closed() {
    while (receive()) {
    }
    return std::exchange(got, {});
  }

  struct Response {
    int status = 0;
    std::string head, body;
    bool whole = false;
  };
  // The next response, with its body decoded; status 0 when the connection ended before its head did.
  Response next(bool head_only = false) {
    Response out;
    std::size_t end = 0;
    while ((end = got.find("\r\n\r\n")) == std::string::npos)
      if (!receive()) return out;
    out.head = got.substr(0, end + 4);
    got.erase(0, end + 4);
    out.status = std::stoi(out.head.substr(9, 3));
    if (out.status == 100 || head_only) {
      out.whole = true;
    } else if (const auto at = out.head.find("Content-Length:"); at != std::string::npos) {
      const std::size_t size = std::stoul(out.head.substr(at + 15));
      while (got.size() < size)
        if (!receive()) return out;
      out.body = got.substr(0, size);
      got.erase(0, size);
      out.whole = true;
    } else if (out.head.find("Transfer-Encoding: chunked") != std::string::npos) {
      for (;;) {
        std::size_t line = 0;
        while ((line = got.find("\r\n")) == std::string::npos)
          if (!receive()) return out;
        const std::size_t size = std::stoul(got.substr(0, line), nullptr, 16);
        while (got.size() < line + 2 + size + 2)
          if (!receive()) return out;
        out.body += got.substr(line + 2, size);
        got.erase(0, line + 2 + size + 2);
        if (size == 0) {
          out.whole = true;
          break;
        }
      }
    } else {
      out.body = until_closed();
    }
    return out;
  }
  Response ask(std::string_view request) {
    send(request);
    return next();
  }
  std::string got;

 private:
  int fd_;
  bool connected_ = false;
};

inline std::string get(const std::string& path) { return "GET " + path + " HTTP/1.1\r\nHost: t\r\n\r\n"; }

// /hello… answers at once; other paths go to the function that a test put there, on the connection's thread.
class TestHandler final : public Handler {
 public:
  using Serve = std::function<asio::awaitable<void>(Exchange&)>;
  std::map<std::string, Serve, std::less<>> routes;

  bool try_serve(Exchange& exchange, Pending&) override {
    if (!exchange.request().path.starts_with("/hello")) return false;
    exchange.respond(200, "text/plain", std::string(exchange.request().target) + std::string(exchange.request().body));
    return true;
  }
  asio::awaitable<void> serve(Exchange& exchange, Pending) override {
    const auto route = routes.find(exchange.request().path);
    if (route == routes.end())
      exchange.fail(via::fail(Code::not_found, "There is nothing at this path."));
    else
      co_await route->second(exchange);
  }
  asio::awaitable<void> before_body(Exchange& exchange) override {
    if (exchange.request().bearer().empty()) exchange.fail(via::fail(Code::token_missing, "Send a token."));
    co_return;
  }
};

class ListenerTest : public ::testing::Test {
 protected:
  void start() {
    listener = std::make_unique<Listener>(std::move(settings), clock, entropy, log, workers);
    ASSERT_TRUE(listener->bind());
    listener->start(handler);
  }
  ListenerTest() { settings.address = "127.0.0.1:0"; }
  void TearDown() override { listener.reset(); }
  std::string address() const { return listener->address(); }

  SystemClock clock;
  via::test::FakeEntropy entropy;
  Logger log{Logger::Target::none};
  plugins::Executor workers{clock, 8};
  ListenerSettings settings;
  TestHandler handler;
  std::unique_ptr<Listener> listener;
};

}  // namespace via::net::test
