// See stream.hpp.
#include "stream.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace via::sql {
namespace {

int poll_ms(Deadline deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count() + 1, 0, 1 << 30));
}

bool is_address(const std::string& host) {
  unsigned char buffer[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, host.c_str(), buffer) == 1 || ::inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

// OpenSSL writes with write(2), so a peer that has gone would end the process. SIGPIPE is blocked for this
// thread while TLS writes, and one that we caused is taken away again.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    if (!was_pending_) {
      const timespec none{};
      while (sigtimedwait(&pipe_, nullptr, &none) == -1 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

}  // namespace

HttpClient::Stream::~Stream() {
  tls_.reset();
  if (fd_ >= 0) ::close(fd_);
}

Io HttpClient::Stream::wait(short events, Deadline deadline) const {
  for (;;) {
    pollfd item{fd_, events, 0};
    const int ready = ::poll(&item, 1, poll_ms(deadline));
    if (ready > 0) return Io::ok;
    if (ready == 0) return Io::timed_out;
    if (errno != EINTR) return Io::failed;
  }
}

Io HttpClient::Stream::wait_tls(int result, Deadline deadline) const {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return wait(POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return wait(POLLOUT, deadline);
    case SSL_ERROR_ZERO_RETURN:
      return Io::closed;
    default:
      return Io::failed;
  }
}

std::unique_ptr<HttpClient::Stream> HttpClient::Stream::open(const Url& url, const std::string& ca_file,
                                                             Deadline deadline, Outcome& outcome) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int looked_up = ::getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &list);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  outcome.failure = Failure::unreachable;
  if (looked_up != 0) {
    outcome.reason = ::gai_strerror(looked_up);
    return nullptr;
  }
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (fd < 0) {
      outcome.reason = std::strerror(errno);
      continue;
    }
    std::unique_ptr<Stream> stream(new Stream(fd));
    int problem = 0;
    if (::connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
      problem = errno;
      if (problem == EINPROGRESS) {
        if (stream->wait(POLLOUT, deadline) == Io::timed_out) {
          outcome.failure = Failure::timed_out;
          outcome.reason = "no connection in time";
          return nullptr;
        }
        socklen_t size = sizeof problem;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size);
      }
    }
    if (problem != 0) {
      outcome.reason = std::strerror(problem);
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (url.tls && !stream->start_tls(url, ca_file, deadline, outcome)) return nullptr;
    outcome.failure = Failure::none;
    return stream;
  }
  return nullptr;
}

bool HttpClient::Stream::start_tls(const Url& url, const std::string& ca_file, Deadline deadline,
                                   Outcome& outcome) {
  const NoSigpipe quiet;
  ERR_clear_error();
  outcome.failure = Failure::tls;
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (!context_) return false;
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  const bool trusted = ca_file.empty()
                           ? SSL_CTX_set_default_verify_paths(context_.get()) == 1
                           : SSL_CTX_load_verify_locations(context_.get(), ca_file.c_str(), nullptr) == 1;
  if (!trusted) {
    outcome.reason = "the certificate authority file cannot be read";
    return false;
  }
  tls_.reset(SSL_new(context_.get()));
  if (!tls_) return false;
  if (is_address(url.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), url.host.c_str());
  } else {
    SSL_set_tlsext_host_name(tls_.get(), url.host.c_str());
    SSL_set1_host(tls_.get(), url.host.c_str());
  }
  SSL_set_fd(tls_.get(), fd_);
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(tls_.get());
    if (result == 1) return true;
    const Io io = wait_tls(result, deadline);
    if (io == Io::ok) continue;
    if (io == Io::timed_out) outcome.failure = Failure::timed_out;
    const long verdict = SSL_get_verify_result(tls_.get());
    outcome.reason = verdict != X509_V_OK  ? X509_verify_cert_error_string(verdict)
                     : io == Io::timed_out ? "no TLS handshake in time"
                                           : "the TLS handshake failed";
    return false;
  }
}

bool HttpClient::Stream::stale() const {
  if (tls_ && SSL_pending(tls_.get()) > 0) return true;
  pollfd item{fd_, POLLIN, 0};
  return ::poll(&item, 1, 0) != 0;
}

Io HttpClient::Stream::write(std::string_view bytes, Deadline deadline, std::size_t& sent) {
  sent = 0;
  while (!bytes.empty()) {
    Io io = Io::ok;
    std::size_t count = 0;
    if (tls_) {
      const NoSigpipe quiet;
      ERR_clear_error();
      const int result = SSL_write_ex(tls_.get(), bytes.data(), bytes.size(), &count);
      if (result != 1) io = wait_tls(result, deadline);
    } else {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        count = static_cast<std::size_t>(n);
      } else if (errno == EAGAIN) {
        io = wait(POLLOUT, deadline);
      } else if (errno != EINTR) {
        io = Io::closed;
      }
    }
    if (io != Io::ok) return io;
    sent += count;
    bytes.remove_prefix(count);
  }
  return Io::ok;
}

Io HttpClient::Stream::read(std::string& out, Deadline deadline) {
  char buffer[65536];
  for (;;) {
    Io io = Io::ok;
    if (tls_) {
      const NoSigpipe quiet;
      ERR_clear_error();
      std::size_t count = 0;
      const int result = SSL_read_ex(tls_.get(), buffer, sizeof buffer, &count);
      if (result == 1) {
        out.append(buffer, count);
        return Io::ok;
      }
      io = wait_tls(result, deadline);
    } else {
      const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n > 0) {
        out.append(buffer, static_cast<std::size_t>(n));
        return Io::ok;
      }
      if (n == 0) return Io::closed;
      if (errno == EAGAIN) {
        io = wait(POLLIN, deadline);
      } else if (errno != EINTR) {
        return Io::closed;
      }
    }
    if (io != Io::ok) return io;
  }
}

}  // namespace via::sql
