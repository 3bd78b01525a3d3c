#include "support/http.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace via::test {

std::uint64_t now_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1000 + static_cast<std::uint64_t>(t.tv_nsec) / 1'000'000;
}

std::string Response::header(std::string_view name) const {
  for (const auto& [n, v] : headers)
    if (n.size() == name.size() && ::strncasecmp(n.data(), name.data(), n.size()) == 0) return v;
  return {};
}

int Response::count(std::string_view name) const {
  int found = 0;
  for (const auto& [n, v] : headers)
    if (n.size() == name.size() && ::strncasecmp(n.data(), name.data(), n.size()) == 0) ++found;
  return found;
}

nlohmann::json Response::json() const {
  return nlohmann::json::parse(body, nullptr, false);
}

std::string Response::code() const {
  const auto parsed = json();
  if (!parsed.is_object() || !parsed.contains("error")) return {};
  return parsed["error"].value("code", "");
}

bool Response::closes() const {
  return ::strcasecmp(header("Connection").c_str(), "close") == 0;
}

Http::Http(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    fd_.reset();
    return;
  }
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Http::Http(const std::string& unix_socket) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (unix_socket.size() >= sizeof to.sun_path) {
    fd_.reset();
    return;
  }
  std::memcpy(to.sun_path, unix_socket.c_str(), unix_socket.size() + 1);
  if (::connect(fd_.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fd_.reset();
}

bool Http::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

void Http::end_of_request() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void Http::reset() {
  const linger now{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  fd_.reset();
}

bool Http::fill(std::uint64_t until_ms) {
  if (ended_ || !fd_) return false;
  for (;;) {
    const std::uint64_t now = now_ms();
    pollfd wait{fd_.get(), POLLIN, 0};
    const int ready = ::poll(&wait, 1, now >= until_ms ? 0 : static_cast<int>(until_ms - now));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char buffer[65536];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    in_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }
}

std::optional<Response> Http::read(int wait_ms, bool head_request) {
  const std::uint64_t until = now_ms() + static_cast<std::uint64_t>(wait_ms);
  std::size_t end = 0;
  while ((end = in_.find("\r\n\r\n")) == std::string::npos)
    if (!fill(until)) return std::nullopt;
  Response out;
  out.head = in_.substr(0, end + 4);
  in_.erase(0, end + 4);
  if (out.head.size() < 12 || !out.head.starts_with("HTTP/1.")) return std::nullopt;
  out.status = std::atoi(out.head.c_str() + 9);
  for (std::size_t at = out.head.find("\r\n") + 2; at < end;) {
    const std::size_t line_end = out.head.find("\r\n", at);
    const std::string line = out.head.substr(at, line_end - at);
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos) {
      const std::size_t value = line.find_first_not_of(' ', colon + 1);
      std::string text = value == std::string::npos ? std::string() : line.substr(value);
      text.erase(text.find_last_not_of(' ') + 1);
      out.headers.emplace_back(line.substr(0, colon), std::move(text));
    }
    at = line_end + 2;
  }
  if (head_request || out.status < 200 || out.status == 204) return out;
  const auto need = [&](std::size_t n) {
    while (in_.size() < n)
      if (!fill(until)) return false;
    return true;
  };
  if (::strcasecmp(out.header("Transfer-Encoding").c_str(), "chunked") == 0) {
    for (;;) {
      std::size_t line = 0;
      while ((line = in_.find("\r\n")) == std::string::npos)
        if (!fill(until)) {
          out.cut = true;
          return out;
        }
      const std::size_t size = std::strtoul(in_.c_str(), nullptr, 16);
      if (!need(line + 2 + size + 2)) {
        out.cut = true;
        return out;
      }
      out.body.append(in_, line + 2, size);
      in_.erase(0, line + 2 + size + 2);
      if (size == 0) return out;
    }
  }
  const std::string length = out.header("Content-Length");
  if (length.empty()) {
    while (fill(until)) {
    }
    out.body.swap(in_);
    return out;
  }
  const std::size_t size = std::strtoul(length.c_str(), nullptr, 10);
  out.cut = !need(size);
  out.body = in_.substr(0, size);
  in_.erase(0, out.body.size());
  return out;
}

std::string Http::read_to_end(int wait_ms, bool& closed) {
  const std::uint64_t until = now_ms() + static_cast<std::uint64_t>(wait_ms);
  while (fill(until)) {
  }
  closed = ended_;
  return std::exchange(in_, {});
}

bool Http::ends(int wait_ms) {
  bool closed = false;
  return read_to_end(wait_ms, closed).empty() && closed;
}

std::string Http::format(std::string_view method, std::string_view target, std::string_view body,
                         const std::vector<std::pair<std::string, std::string>>& headers) {
  std::string out(method);
  out.append(" ").append(target).append(" HTTP/1.1\r\nHost: via\r\n");
  for (const auto& [name, value] : headers) out.append(name).append(": ").append(value).append("\r\n");
  if (method == "POST" || method == "PUT" || !body.empty())
    out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
  return out.append("\r\n").append(body);
}

Response Http::call(std::string_view method, std::string_view target, std::string_view body,
                    const std::vector<std::pair<std::string, std::string>>& headers) {
  if (!fd_) return {};
  (void)send(format(method, target, body, headers));
  return read(60'000, method == "HEAD").value_or(Response{});
}

}  // namespace via::test
