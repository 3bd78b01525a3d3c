// A small HTTP/1.1 client with one kept connection: POST of JSON, TLS when the URL says https, every wait
// bounded by a deadline. It tells what matters for retries: whether a request that failed can have reached
// the server. Thread: one at a time.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace via::sql {

using Deadline = std::chrono::steady_clock::time_point;

struct Url {
  bool tls = false;
  std::string host, port, path;  // path without a trailing '/'
  // nullopt when it is not http:// or https:// with a host.
  static std::optional<Url> parse(std::string_view text);
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string_view header(std::string_view lower_case_name) const;
};

class HttpClient {
 public:
  enum class Failure { none, unreachable, lost, timed_out, tls, protocol };
  struct Outcome {
    Failure failure = Failure::none;
    bool may_have_arrived =
        false;           // bytes of the request left this machine and no answer says what became of it
    std::string reason;  // for people
    HttpResponse response;
  };

  HttpClient(Url url, std::string ca_file);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // One attempt, on the kept connection when it is still alive. Never throws for what the network does.
  Outcome post(std::string_view path, std::string_view token, std::string_view body, Deadline deadline);

 private:
  class Stream;
  Outcome exchange(std::string_view request, Deadline deadline);
  Url url_;
  std::string ca_file_;
  std::unique_ptr<Stream> stream_;
};

}  // namespace via::sql
