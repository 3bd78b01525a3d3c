#include "bench/driver/http.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "bench/driver/system.hpp"

namespace bench {
namespace {

int connected(int family, const sockaddr* address, socklen_t size) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, address, size) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    throw Failed("connect: " + why);
  }
  const timeval limit{180, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

}  // namespace

Connection Connection::to_unix(const std::filesystem::path& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = socket.string();
  if (path.size() >= sizeof address.sun_path) throw Failed("the path of the socket is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  return Connection(connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address));
}

Connection Connection::to_tcp(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = connected(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return Connection(fd);
}

Connection::~Connection() {
  if (fd_ >= 0) ::close(fd_);
}

Answer Connection::send(std::string_view method, std::string_view path, std::string_view body, std::string_view token) {
  std::string out = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  if (!token.empty()) out.append("Authorization: Bearer ").append(token).append("\r\n");
  out.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  for (std::size_t at = 0; at < out.size();) {
    const ssize_t n = ::send(fd_, out.data() + at, out.size() - at, MSG_NOSIGNAL);
    if (n <= 0) throw Failed("the connection broke while sending");
    at += static_cast<std::size_t>(n);
  }
  std::string in;
  std::size_t head = std::string::npos, length = 0;
  while (head == std::string::npos || in.size() < head + length) {
    char bytes[16384];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) throw Failed("no answer to " + std::string(path));
    in.append(bytes, static_cast<std::size_t>(n));
    if (head == std::string::npos && (head = in.find("\r\n\r\n")) != std::string::npos) {
      head += 4;
      const auto at = in.find("Content-Length:");
      if (at == std::string::npos || at > head) throw Failed("an answer without a length to " + std::string(path));
      length = std::strtoull(in.c_str() + at + 15, nullptr, 10);
    }
  }
  return {std::atoi(in.c_str() + 9), in.substr(head, length)};
}

}  // namespace bench
