#include "core/net/request_parser.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/base/json_text.hpp"

namespace via::net {
namespace {

constexpr std::size_t kChunkWaste = 256 * 1024;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

RequestParser::RequestParser(const Limits& limits) : limits_(limits) {}
RequestParser::~RequestParser() = default;

void RequestParser::reset() {
  request_.clear();
  scanned_ = header_size_ = length_ = chunk_read_ = body_size_ = size_ = 0;
  chunked_ = false;
  base_ = nullptr;
}

RequestParser::State RequestParser::bad(Code code, const char* message) {
  error_ = fail(code, message);
  return State::bad;
}

RequestParser::State RequestParser::parse(Buffer& in) {
  if (header_size_ == 0) {
    if (scanned_ == 0) {
      max_header_ = limits_.max_header_bytes;
      max_fields_ = limits_.max_fields;
      max_body_ = limits_.max_body_bytes;
    }
    const State state = parse_header(in);
    if (state != State::need_body) return state;
  } else if (in.data() != base_) {
    rebase(base_, in.data());
  }
  return parse_body(in);
}

RequestParser::State RequestParser::parse_header(Buffer& in) {
  // Find the end first, so that the header is read once and whole.
  const std::string_view bytes = in.view().substr(0, max_header_);
  std::size_t at = scanned_;  // the start of a line
  std::size_t end = 0;
  while (end == 0) {
    const void* found = at < bytes.size() ? std::memchr(bytes.data() + at, '\n', bytes.size() - at) : nullptr;
    if (found == nullptr) break;
    const auto lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
    if (lf == 0 || bytes[lf - 1] != '\r') return bad(Code::bad_request, "A header line does not end in CR LF.");
    if (lf == 1) return bad(Code::bad_request, "The request starts with an empty line.");
    if (at > 0 && (bytes[at] == ' ' || bytes[at] == '\t')) return bad(Code::bad_request, "A header line is folded.");
    if (lf >= 3 && bytes[lf - 2] == '\n') end = lf + 1;
    at = lf + 1;
  }
  scanned_ = at;
  if (end == 0) {
    if (in.size() > bytes.size()) return bad(Code::header_too_large, "The header is too large.");
    return State::need_header;
  }

  HeaderReader& header = header_;
  if (!header.read(bytes.substr(0, end), max_fields_, request_)) return bad(header.code(), header.why());
  if (header.hosts > 1 || (header.hosts == 0 && request_.http_1_1))
    return bad(Code::bad_request, "There must be exactly one Host field.");
  if (header.hosts == 1 && (header.host.empty() || header.host.find_first_of(" \t/@,?#\\") != std::string_view::npos))
    return bad(Code::bad_request, "The Host field is not a host.");
  if (header.authorizations > 1) return bad(Code::bad_request, "There must be at most one Authorization field.");
  if (header.lengths > 1) return bad(Code::bad_request, "There must be at most one Content-Length field.");
  if (header.encodings > 0) {
    if (header.encodings > 1 || header.lengths > 0 || !request_.http_1_1)
      return bad(Code::bad_request, "Transfer-Encoding cannot be used this way.");
    if (!equal_ignoring_case(header.encoding, "chunked")) return bad(Code::unsupported, "Only the transfer encoding chunked is known.");
    chunked_ = true;
  }
  if (header.lengths == 1) {
    const std::string_view digits = header.length;
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0') ||
        !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
      return bad(Code::bad_request, "Content-Length must be a decimal number.");
    std::uint64_t n = 0;
    const auto [p, err] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (err != std::errc() || n > max_body_) return bad(Code::body_too_large, "The body is too large.");
    length_ = static_cast<std::size_t>(n);
  }
  if (!check_target()) return State::bad;
  if (!request_.content_encoding.empty() && !equal_ignoring_case(request_.content_encoding, "identity"))
    return bad(Code::unsupported_media_type, "Request bodies must not be compressed.");
  header_size_ = end;
  base_ = in.data();
  chunk_read_ = end;
  return State::need_body;
}

// Origin form, plain ASCII, no dot segments, no doubled or hidden slashes. A percent-encoded slash is let through only
// behind /http/, /c/ and a kit's /api/, where add-on routes have keys in their paths.
bool RequestParser::check_target() {
  const std::string_view target = request_.target;
  const auto refuse = [this](const char* why) {
    bad(Code::bad_request, why);
    return false;
  };
  if (target.empty() || target[0] != '/') return refuse("The request target must start with '/'.");
  bool plain = true, dotted = false;
  std::size_t question = std::string_view::npos;
  for (std::size_t i = 0; i < target.size(); ++i) {
    const char c = target[i];
    if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>')
      return refuse("The request target has a character that is not allowed.");
    plain = plain && c != '%';
    if (c == '?' && question == std::string_view::npos) question = i;
    dotted = dotted || (c == '/' && i + 1 < target.size() && (target[i + 1] == '/' || target[i + 1] == '.'));
  }
  request_.path = target.substr(0, question);
  request_.query = question == std::string_view::npos ? std::string_view() : target.substr(question + 1);
  const std::string_view path = request_.path;
  if (dotted) {
    for (std::size_t at = 0; (at = path.find('/', at)) != std::string_view::npos; ++at) {
      const std::string_view segment = path.substr(at + 1, std::min(path.find('/', at + 1), path.size()) - at - 1);
      if (segment == "." || segment == ".." || (segment.empty() && at + 1 < path.size()))
        return refuse("The request path has an empty or a dot segment.");
    }
  }
  if (plain) return true;
  const bool keyed = path.starts_with("/c/") || path.starts_with("/api/") || path.find("/http/") != std::string_view::npos;
  std::string decoded;
  for (std::size_t i = 0; i < target.size(); ++i) {
    if (target[i] != '%') {
      decoded += target[i];
      continue;
    }
    const int high = i + 2 < target.size() ? hex_digit(target[i + 1]) : -1;
    const int low = i + 2 < target.size() ? hex_digit(target[i + 2]) : -1;
    if (high < 0 || low < 0) return refuse("The request target has a broken percent escape.");
    const char c = static_cast<char>(high * 16 + low);
    i += 2;
    const bool in_path = i < path.size();
    if (c == '\0') return refuse("The request target has an escaped NUL.");
    if (in_path && (c == '.' || ((c == '/' || c == '\\') && !keyed)))
      return refuse("The request path has an escaped dot or slash.");
    decoded += c;
  }
  if (!is_utf8(decoded)) return refuse("The request target is not UTF-8.");
  return true;
}

void RequestParser::rebase(const char* from, const char* to) {
  const auto move = [&](std::string_view& v) {
    if (v.data() != nullptr) v = {to + (v.data() - from), v.size()};
  };
  for (std::string_view* v : {&request_.target, &request_.path, &request_.query, &request_.authorization,
                              &request_.accept, &request_.content_type, &request_.content_encoding,
                              &request_.generation, &request_.idempotency_key})
    move(*v);
  for (auto& [name, value] : request_.fields) {
    move(name);
    move(value);
  }
  base_ = to;
}

RequestParser::State RequestParser::parse_body(Buffer& in) {
  if (chunked_) return parse_chunks(in);
  size_ = header_size_ + length_;
  if (in.size() < size_) {
    // Room for all of it now: it is read in place and the views move at most once.
    in.reserve(size_ - in.size());
    if (in.data() != base_) rebase(base_, in.data());
    return State::need_body;
  }
  request_.body = in.view().substr(header_size_, length_);
  return State::ready;
}

// Decodes chunks in place: chunk-size is 1 to 16 hex digits, an extension is skipped when it is harmless, trailer
// fields are refused (nobody here reads them, and they are a way to smuggle).
RequestParser::State RequestParser::parse_chunks(Buffer& in) {
  for (;;) {
    const std::string_view rest = in.view().substr(chunk_read_);
    const auto line_end = rest.find('\n');
    if (line_end == std::string_view::npos) {
      if (rest.size() > 300) return bad(Code::bad_request, "A chunk header is too long.");
      return State::need_body;
    }
    if (line_end > 300 || line_end == 0 || rest[line_end - 1] != '\r')
      return bad(Code::bad_request, "A chunk header is not well-formed.");
    const std::string_view line = rest.substr(0, line_end - 1);
    std::size_t digits = 0;
    std::uint64_t n = 0;
    while (digits < line.size() && hex_digit(line[digits]) >= 0) {
      if (digits == 16) return bad(Code::bad_request, "A chunk size is too long.");
      n = n * 16 + static_cast<std::uint64_t>(hex_digit(line[digits]));
      ++digits;
    }
    if (digits == 0) return bad(Code::bad_request, "A chunk has no size.");
    const std::string_view extension = line.substr(digits);
    if (!extension.empty()) {
      const bool harmless = extension[0] == ';' && std::count(extension.begin(), extension.end(), '"') % 2 == 0 &&
                            std::all_of(extension.begin(), extension.end(), [](char c) { return c > 0x20 && c < 0x7f; });
      if (!harmless) return bad(Code::bad_request, "A chunk extension is not well-formed.");
    }
    if (n == 0) {
      if (rest.size() < line_end + 3) return State::need_body;
      if (rest.substr(line_end + 1, 2) != "\r\n") return bad(Code::bad_request, "Trailer fields are not accepted.");
      size_ = chunk_read_ + line_end + 3;
      request_.body = in.view().substr(header_size_, body_size_);
      return State::ready;
    }
    if (n > max_body_ - body_size_) return bad(Code::body_too_large, "The body is too large.");
    const auto chunk = static_cast<std::size_t>(n);
    if (rest.size() < line_end + 1 + chunk + 2) {
      in.reserve(line_end + 1 + chunk + 2 - rest.size());
      if (in.data() != base_) rebase(base_, in.data());
      return State::need_body;
    }
    if (rest.substr(line_end + 1 + chunk, 2) != "\r\n") return bad(Code::bad_request, "A chunk does not end in CR LF.");
    std::memmove(in.data() + header_size_ + body_size_, rest.data() + line_end + 1, chunk);
    body_size_ += chunk;
    chunk_read_ += line_end + 1 + chunk + 2;
    // What was between the chunks goes, so that tiny chunks with long headers do not fill the memory.
    const std::size_t decoded = header_size_ + body_size_;
    if (chunk_read_ - decoded >= kChunkWaste) {
      const std::size_t left = in.size() - chunk_read_;
      std::memmove(in.data() + decoded, in.data() + chunk_read_, left);
      in.truncate(decoded + left);
      chunk_read_ = decoded;
    }
  }
}

}  // namespace via::net
