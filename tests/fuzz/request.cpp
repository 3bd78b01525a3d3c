// The request parser: the same bytes whole and in pieces give the same requests and the same end; every view lies in
// the buffer; what is handed on keeps the rules that handlers rely on.
#include "target.hpp"

#include <string>

#include "core/net/request_parser.hpp"

namespace {

using via::Buffer;
using via::net::Request;
using via::net::RequestParser;

void check(const Request& r, const Buffer& in) {
  const auto inside = [&](std::string_view v) {
    return v.empty() || (v.data() >= in.data() && v.data() + v.size() <= in.data() + in.size());
  };
  VIA_FUZZ_CHECK(inside(r.target) && inside(r.path) && inside(r.query) && inside(r.body) && inside(r.authorization));
  VIA_FUZZ_CHECK(!r.path.empty() && r.path.front() == '/');
  VIA_FUZZ_CHECK(r.path.find("/../") == std::string_view::npos && r.path.find('\0') == std::string_view::npos);
  int hosts = 0;
  for (const auto& [name, value] : r.fields) {
    VIA_FUZZ_CHECK(inside(name) && inside(value) && !name.empty());
    VIA_FUZZ_CHECK(value.find_first_of("\r\n") == std::string_view::npos);
    std::string lower(name);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    hosts += lower == "host" ? 1 : 0;
  }
  VIA_FUZZ_CHECK(hosts == 1 || (hosts == 0 && !r.http_1_1));
}

// Every request as text, and how it ended. `first` = size of the first piece; later pieces vary with it.
std::string read(std::string_view bytes, std::size_t first) {
  via::net::Limits limits;
  limits.max_body_bytes = 4096;
  limits.max_header_bytes = 1024;
  RequestParser parser(limits);
  Buffer in;
  std::string seen;
  for (std::size_t at = 0, step = first; at < bytes.size(); step = step * 7 % 23 + 1) {
    const std::size_t n = first >= bytes.size() ? bytes.size() : std::min(step, bytes.size() - at);
    in.append(bytes.substr(at, n));
    at += n;
    while (!in.empty()) {
      const auto state = parser.parse(in);
      if (state == RequestParser::State::bad) return seen + std::string(via::info(parser.error().code).name);
      if (state != RequestParser::State::ready) break;
      const Request& r = parser.request();
      check(r, in);
      seen += std::string(r.target) + '|' + std::string(r.body) + '|' + std::to_string(r.fields.size()) + '\n';
      VIA_FUZZ_CHECK(parser.size() <= in.size());
      in.consume(parser.size());
      parser.reset();
    }
  }
  return seen + (in.empty() ? "end" : "wait");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = via::fuzz::text(data, size);
  const std::string whole = read(bytes, size);
  VIA_FUZZ_CHECK(read(bytes, 1) == whole);
  VIA_FUZZ_CHECK(read(bytes, 5) == whole);
  return 0;
}
