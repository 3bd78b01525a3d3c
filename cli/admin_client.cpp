// See admin_client.hpp. A deliberately small HTTP client: our own server is on the other side, `Connection:
// close` makes the end of the stream the end of the answer, and Content-Length or chunks tell whether all of
// it came.
#include "cli/admin_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "core/base/files.hpp"

namespace via::cli {
namespace {

constexpr std::size_t kMaxResponse = 64U << 20;
constexpr int kMaxWaitMs =
    10 * 60 * 1000;  // for one answer; long operations are waited for, but not for ever

Error closed_early() {
  return fail(
      Code::unavailable,
      "The host closed the connection before it had answered. Look at its log, then run 'via status'.");
}

// A descriptor connected to `path`, or errno in `problem`.
FileHandle connect_to(const std::filesystem::path& path, int& problem) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.size() >= sizeof address.sun_path) {
    problem = ENAMETOOLONG;
    return {};
  }
  std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  FileHandle fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    problem = errno;
    return {};
  }
  problem = 0;
  return fd;
}

Result<void> send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    // A server that refuses early may have answered already: read that instead of failing here.
    if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) return {};
    if (n < 0) return system_error("Sending the request to the host", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> read_to_end(int fd) {
  std::string all;
  char buffer[16384];
  for (;;) {
    pollfd wait{fd, POLLIN, 0};
    const int ready = ::poll(&wait, 1, kMaxWaitMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return fail(Code::deadline_exceeded,
                  "The host did not answer in time. Run 'via status' to see what it does.");
    }
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == ECONNRESET && !all.empty()) return all;
    if (n < 0) return closed_early();
    if (n == 0) return all;
    all.append(buffer, static_cast<std::size_t>(n));
    if (all.size() > kMaxResponse) {
      return fail(Code::body_too_large, "The host's answer is larger than 64 MiB.");
    }
  }
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

template <class N>
bool parse_number(std::string_view text, N& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// The body of a chunked message; false when it is cut short or malformed.
bool join_chunks(std::string_view body, std::string& out) {
  for (;;) {
    const auto line = body.find("\r\n");
    if (line == std::string_view::npos) return false;
    std::size_t size = 0;
    if (!parse_number(trim(body.substr(0, std::min(line, body.find(';')))), size, 16)) return false;
    body.remove_prefix(line + 2);
    if (size == 0) return true;
    if (size > body.size() || body.size() - size < 2) return false;
    out.append(body.substr(0, size));
    body.remove_prefix(size + 2);
  }
}

// The Code of a wire name; a plugin's own name keeps its text and takes the meaning of its status.
Error decode_error(const nlohmann::json& envelope, int status) {
  Error error;
  error.code = status == 404                    ? Code::not_found
               : status == 401                  ? Code::token_missing
               : status == 403                  ? Code::not_allowed
               : status == 408 || status == 504 ? Code::deadline_exceeded
               : status == 409 || status == 412 ? Code::conflict
               : status >= 500                  ? Code::internal
                                                : Code::bad_request;
  const auto found = envelope.find("error");
  if (found == envelope.end() || !found->is_object()) {
    error.message = "The host answered with status " + std::to_string(status) + " and no reason.";
    return error;
  }
  const std::string name = found->value("code", "");
  bool known = false;
  for (int i = 0; i <= static_cast<int>(Code::version_not_supported) && !known; ++i) {
    if (info(static_cast<Code>(i)).name == name) {
      error.code = static_cast<Code>(i);
      known = true;
    }
  }
  if (!known) error.name = name;
  error.message = found->value("message", "");
  for (const auto& [key, value] : found->items()) {
    if (key == "code" || key == "message") continue;
    if (!error.details.empty()) error.details += ',';
    error.details += nlohmann::json(key).dump() + ":" + value.dump();
  }
  return error;
}

}  // namespace

Result<nlohmann::json> parse_admin_response(std::string_view response) {
  const auto head_end = response.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return closed_early();
  std::string_view head = response.substr(0, head_end);
  std::string_view body = response.substr(head_end + 4);

  int status = 0;
  if (head.size() < 12 || !head.starts_with("HTTP/1.") || !parse_number(head.substr(9, 3), status)) {
    return fail(Code::unavailable, "What answers at admin.sock is not a Via host.");
  }
  bool chunked = false;
  std::size_t length = std::string_view::npos;
  for (auto line = head.find("\r\n"); line != std::string_view::npos;) {
    head.remove_prefix(line + 2);
    line = head.find("\r\n");
    const std::string_view field = head.substr(0, line);
    const auto colon = field.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view value = trim(field.substr(colon + 1));
    if (equal_ignoring_case(field.substr(0, colon), "content-length")) {
      if (!parse_number(value, length)) return closed_early();
    } else if (equal_ignoring_case(field.substr(0, colon), "transfer-encoding")) {
      chunked = equal_ignoring_case(value, "chunked");
    }
  }
  std::string joined;
  if (chunked) {
    if (!join_chunks(body, joined)) return closed_early();
    body = joined;
  } else if (length != std::string_view::npos) {
    if (body.size() < length) return closed_early();
    body = body.substr(0, length);
  }

  auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return fail(Code::unavailable, "The host's answer (status " + std::to_string(status) + ") is not JSON.");
  }
  if (status < 200 || status > 299) return decode_error(json, status);
  return succeed(std::move(json));
}

Result<nlohmann::json> SocketTransport::call(std::string_view command, const nlohmann::json& arguments) {
  int problem = 0;
  FileHandle fd = connect_to(socket_, problem);
  if (!fd) return system_error("Connecting to the host's admin socket", problem);
  const std::string body = arguments.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string request = "POST /v1/admin/" + std::string(command) + " HTTP/1.1\r\nHost: via\r\n" +
                        "Content-Type: application/json\r\nConnection: close\r\nContent-Length: " +
                        std::to_string(body.size()) + "\r\n\r\n" + body;
  if (auto sent = send_all(fd.get(), request); !sent) return sent.error();
  auto response = read_to_end(fd.get());
  if (!response) return response.error();
  return parse_admin_response(*response);
}

SocketState probe_socket(const std::filesystem::path& socket) {
  int problem = 0;
  if (connect_to(socket, problem)) return SocketState::listening;
  return problem == EACCES || problem == EPERM ? SocketState::not_allowed : SocketState::absent;
}

Result<std::unique_ptr<AdminTransport>> open_admin(const std::filesystem::path& state_dir, bool may_make,
                                                   const InProcessOpener& in_process) {
  const std::filesystem::path socket = state_dir / "admin.sock";
  for (int attempt = 0;; ++attempt) {
    switch (probe_socket(socket)) {
      case SocketState::listening:
        return std::unique_ptr<AdminTransport>(std::make_unique<SocketTransport>(socket));
      case SocketState::not_allowed:
        return fail(Code::not_allowed, "You may not operate the host in " + state_dir.string() +
                                           ". Run the command as root, as the owner of that folder, or as a "
                                           "member of its operator group.");
      case SocketState::absent:
        break;
    }
    auto host = in_process(state_dir, may_make);
    // A server may have taken the lock between the two looks; its socket is there then.
    if (!host && host.error().code == Code::conflict && attempt == 0) continue;
    return host;
  }
}

}  // namespace via::cli
