#include "core/net/header_reader.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>

namespace via::net {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t kLongestMethod = 32;

// RFC 9110, section 5.6.2.
constexpr std::array<bool, 256> token_table() {
  std::array<bool, 256> table{};
  for (char c = '0'; c <= '9'; ++c) table[static_cast<std::uint8_t>(c)] = true;
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<std::uint8_t>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<std::uint8_t>(c)] = true;
  for (const char c : {'!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~'})
    table[static_cast<std::uint8_t>(c)] = true;
  return table;
}
constexpr auto kToken = token_table();

bool is_token(std::string_view s) noexcept {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return kToken[static_cast<std::uint8_t>(c)]; });
}

// No control character but the tab. Without branches, so that the compiler takes many bytes at a time.
bool is_field_value(std::string_view s) noexcept {
  unsigned wrong = 0;
  for (const char ch : s) {
    const auto c = static_cast<std::uint8_t>(ch);
    wrong |= static_cast<unsigned>((c < 0x20) & (c != '\t')) | static_cast<unsigned>(c == 0x7f);
  }
  return wrong == 0;
}

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trim(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

Method method_of(std::string_view name) noexcept {
  if (name == "POST") return Method::post;
  if (name == "GET") return Method::get;
  if (name == "PUT") return Method::put;
  if (name == "DELETE") return Method::del;
  if (name == "HEAD") return Method::head;
  if (name == "OPTIONS") return Method::options;
  return Method::other;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool HeaderReader::read(std::string_view header, std::size_t max_fields, Request& request) {
  *this = HeaderReader();
  std::size_t end = header.find('\r');
  if (end == std::string_view::npos || !read_start_line(header.substr(0, end), request)) return false;
  for (std::size_t at = end + 2; at < header.size(); at = end + 2) {
    end = header.find('\n', at);
    if (end == std::string_view::npos || end == at) return malformed();
    --end;  // the CR before it
    const std::string_view line = header.substr(at, end - at);
    if (line.empty()) break;
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return malformed();
    const std::string_view value = trim(line.substr(colon + 1));
    if (!is_field_value(value)) return malformed();
    if (request.fields.size() >= max_fields) {
      refuse(Code::header_too_large, "Too many header fields.");
      continue;
    }
    request.fields.emplace_back(line.substr(0, colon), value);
    take(line.substr(0, colon), value, request);
  }
  return why_ == nullptr;
}

bool HeaderReader::read_start_line(std::string_view line, Request& request) {
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) return malformed();
  const std::string_view method = line.substr(0, first);
  const std::string_view version = line.substr(second + 1);
  request.target = line.substr(first + 1, second - first - 1);
  if (!is_token(method) || method.size() > kLongestMethod || request.target.empty() || !is_field_value(line) ||
      line.find('\t') != std::string_view::npos)
    return malformed();
  if (version == "HTTP/1.1") {
    request.http_1_1 = request.keep_alive = true;
  } else if (version == "HTTP/1.0") {
    request.http_1_1 = request.keep_alive = false;
  } else if (version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.') {
    refuse(Code::version_not_supported, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
  } else {
    return malformed();
  }
  request.method = method_of(method);
  if (request.method == Method::other) {
    const http::verb verb = http::string_to_verb({method.data(), method.size()});
    const bool common = verb == http::verb::connect || verb == http::verb::trace || verb == http::verb::patch;
    refuse(common ? Code::method_not_allowed : Code::unsupported, "The request method is not one this server knows.");
  }
  return true;
}

void HeaderReader::take(std::string_view name, std::string_view value, Request& request) {
  const auto is = [name](std::string_view known) { return equal_ignoring_case(name, known); };
  switch (name.size()) {
    case 4:
      if (is("Host")) {
        ++hosts;
        host = value;
      }
      break;
    case 6:
      if (is("Accept"))
        request.accept = value;
      else if (is("Expect")) {
        if (equal_ignoring_case(value, "100-continue"))
          request.expects_continue = true;
        else
          refuse(Code::expectation_failed, "Only the expectation 100-continue is known.");
      }
      break;
    case 10:
      if (is("Connection")) {
        for (std::size_t at = 0; at <= value.size();) {
          const std::size_t end = std::min(value.find(',', at), value.size());
          const std::string_view option = trim(value.substr(at, end - at));
          if (equal_ignoring_case(option, "close")) request.keep_alive = false;
          if (equal_ignoring_case(option, "keep-alive") && !request.http_1_1) request.keep_alive = true;
          at = end + 1;
        }
      }
      break;
    case 12:
      if (is("Content-Type")) request.content_type = value;
      break;
    case 13:
      if (is("Authorization")) {
        ++authorizations;
        request.authorization = value;
      }
      break;
    case 14:
      if (is("Content-Length")) {
        ++lengths;
        length = value;
      } else if (is("Via-Generation")) {
        if (!request.generation.empty()) refuse(Code::bad_request, "Via-Generation stands twice.");
        request.generation = value;
      }
      break;
    case 15:
      if (is("Idempotency-Key")) request.idempotency_key = value;
      else if (is("Accept-Encoding")) request.accepts_encodings = true;
      break;
    case 16:
      if (is("Content-Encoding")) request.content_encoding = value;
      break;
    case 17:
      if (is("Transfer-Encoding")) {
        ++encodings;
        encoding = value;
      }
      break;
    default: break;
  }
  if (name.find('_') != std::string_view::npos) {
    // Some servers in front read '_' as '-': a field that would then be one we act on is refused.
    std::string twin(name);
    std::replace(twin.begin(), twin.end(), '_', '-');
    if (http::string_to_field(twin) != http::field::unknown || equal_ignoring_case(twin, "Via-Generation") ||
        equal_ignoring_case(twin, "Idempotency-Key"))
      refuse(Code::bad_request, "A header field name has '_' where '-' belongs.");
  }
}

}  // namespace via::net
