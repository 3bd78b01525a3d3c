// A connected TCP stream, with or without TLS, whose reads and writes end at a deadline.
// Thread: one at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "http_client.hpp"

namespace via::sql {

enum class Io { ok, closed, timed_out, failed };

class HttpClient::Stream {
 public:
  // nullptr and `outcome` filled when there is no connection to be had before the deadline.
  static std::unique_ptr<Stream> open(const Url& url, const std::string& ca_file, Deadline deadline,
                                      Outcome& outcome);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Whether the server has closed it, or said something nobody asked for, since the last answer.
  bool stale() const;
  // Writes all of it; `sent` says how much left.
  Io write(std::string_view bytes, Deadline deadline, std::size_t& sent);
  // Appends what is there, at least one byte.
  Io read(std::string& out, Deadline deadline);

 private:
  explicit Stream(int fd) : fd_(fd) {}
  bool start_tls(const Url& url, const std::string& ca_file, Deadline deadline, Outcome& outcome);
  Io wait(short events, Deadline deadline) const;
  Io wait_tls(int result, Deadline deadline) const;

  int fd_ = -1;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_{nullptr, SSL_free};
};

}  // namespace via::sql
