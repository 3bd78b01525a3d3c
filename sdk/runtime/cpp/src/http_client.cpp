// See http_client.hpp.
#include "http_client.hpp"

#include <algorithm>
#include <charconv>

#include "stream.hpp"

namespace via::sql {
namespace {

constexpr std::size_t kMaxHead = 64U << 10;
constexpr std::size_t kMaxBody = 512U << 20;

template <class N>
bool parse_number(std::string_view text, N& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool parse_head(std::string_view head, HttpResponse& response) {
  if (head.size() < 12 || !head.starts_with("HTTP/1.") || !parse_number(head.substr(9, 3), response.status)) {
    return false;
  }
  for (auto end = head.find("\r\n"); end != std::string_view::npos;) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    response.headers.emplace_back(lower(line.substr(0, colon)), trim(line.substr(colon + 1)));
  }
  return true;
}

}  // namespace

std::optional<Url> Url::parse(std::string_view text) {
  Url url;
  if (text.starts_with("https://")) {
    url.tls = true;
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
  } else {
    return std::nullopt;
  }
  const auto slash = text.find('/');
  std::string_view authority = text.substr(0, slash);
  if (slash != std::string_view::npos) url.path = text.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  url.port = url.tls ? "443" : "80";
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    url.host = authority.substr(1, close - 1);
    authority.remove_prefix(close + 1);
    if (authority.starts_with(':')) port = authority.substr(1);
  } else {
    const auto colon = authority.find(':');
    url.host = authority.substr(0, colon);
    if (colon != std::string_view::npos) port = authority.substr(colon + 1);
  }
  unsigned number = 0;
  if (!port.empty()) {
    if (!parse_number(port, number) || number == 0 || number > 65535) return std::nullopt;
    url.port = port;
  }
  if (url.host.empty() || url.host.find_first_of(" @\r\n\t") != std::string::npos) return std::nullopt;
  return url;
}

std::string_view HttpResponse::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_case_name) return value;
  }
  return {};
}

HttpClient::HttpClient(Url url, std::string ca_file) : url_(std::move(url)), ca_file_(std::move(ca_file)) {}
HttpClient::~HttpClient() = default;

HttpClient::Outcome HttpClient::post(std::string_view path, std::string_view token, std::string_view body,
                                     Deadline deadline) {
  const bool ipv6 = url_.host.find(':') != std::string::npos;
  std::string request = "POST " + url_.path + std::string(path) +
                        " HTTP/1.1\r\nHost: " + (ipv6 ? "[" + url_.host + "]" : url_.host) + ":" + url_.port +
                        "\r\nAuthorization: Bearer " + std::string(token) +
                        "\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n";
  request += body;
  // A server may close a kept connection at any time. One that shows it already is replaced before anything
  // is sent.
  if (stream_ && stream_->stale()) stream_.reset();
  Outcome outcome = exchange(request, deadline);
  if (outcome.failure != Failure::none) stream_.reset();
  return outcome;
}

HttpClient::Outcome HttpClient::exchange(std::string_view request, Deadline deadline) {
  Outcome outcome;
  if (!stream_) {
    stream_ = Stream::open(url_, ca_file_, deadline, outcome);
    if (!stream_) return outcome;
  }
  const auto give_up = [&](Failure failure, const char* reason) {
    outcome.failure = failure;
    outcome.reason = reason;
    return outcome;
  };
  const auto after = [&](Io io) {
    return io == Io::timed_out ? give_up(Failure::timed_out, "no answer in time")
                               : give_up(Failure::lost, "the connection was lost");
  };

  std::size_t sent = 0;
  const Io written = stream_->write(request, deadline, sent);
  outcome.may_have_arrived = sent > 0;
  // A server that refuses early answers and closes before it has read everything: look for that answer.
  if (written == Io::timed_out || (written != Io::ok && sent == 0)) return after(written);

  std::string buffer;
  std::size_t head_end = std::string::npos;
  HttpResponse& response = outcome.response;
  for (;;) {
    while ((head_end = buffer.find("\r\n\r\n")) == std::string::npos) {
      if (buffer.size() > kMaxHead) return give_up(Failure::protocol, "the answer's header is too large");
      if (const Io io = stream_->read(buffer, deadline); io != Io::ok) return after(io);
    }
    response = {};
    if (!parse_head(std::string_view(buffer).substr(0, head_end), response)) {
      return give_up(Failure::protocol, "what answers is no HTTP server");
    }
    buffer.erase(0, head_end + 4);
    if (response.status >= 200) break;  // 100 Continue and its like come before the answer
  }

  std::size_t length = 0;
  if (lower(response.header("transfer-encoding")) == "chunked") {
    const auto read_line = [&](std::string& line) {
      std::size_t end = 0;
      while ((end = buffer.find("\r\n")) == std::string::npos) {
        if (buffer.size() > kMaxHead) return Io::failed;
        if (const Io io = stream_->read(buffer, deadline); io != Io::ok) return io;
      }
      line = buffer.substr(0, end);
      buffer.erase(0, end + 2);
      return Io::ok;
    };
    for (std::string line;;) {
      if (const Io io = read_line(line); io != Io::ok) return after(io);
      std::size_t size = 0;
      if (!parse_number(trim(std::string_view(line).substr(0, line.find(';'))), size, 16) ||
          size > kMaxBody - response.body.size()) {
        return give_up(Failure::protocol, "the answer's chunks are malformed or too large");
      }
      if (size == 0) {
        do {
          if (const Io io = read_line(line); io != Io::ok) return after(io);
        } while (!line.empty());
        break;
      }
      while (buffer.size() < size + 2) {
        if (const Io io = stream_->read(buffer, deadline); io != Io::ok) return after(io);
      }
      response.body.append(buffer, 0, size);
      buffer.erase(0, size + 2);
    }
  } else if (const std::string_view text = response.header("content-length"); !text.empty()) {
    if (!parse_number(text, length) || length > kMaxBody) {
      return give_up(Failure::protocol, "the answer's length is malformed or too large");
    }
    while (buffer.size() < length) {
      if (const Io io = stream_->read(buffer, deadline); io != Io::ok) return after(io);
    }
    response.body = std::move(buffer);
    response.body.resize(length);
  } else if (response.status != 204 && response.status != 304) {
    return give_up(Failure::protocol, "the answer has no length");
  }
  outcome.may_have_arrived = true;
  if (written != Io::ok || lower(response.header("connection")) == "close") stream_.reset();
  return outcome;
}

}  // namespace via::sql
