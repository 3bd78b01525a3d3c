// A request as handlers see it: views into the connection's buffer, checked, never copied.
// Thread: the connection's I/O thread, until the answer has been written.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace via::net {

enum class Method : std::uint8_t { get, head, post, put, del, options, other };

struct Request {
  Method method = Method::other;
  std::string_view target;  // origin form, as sent
  std::string_view path;    // before '?'
  std::string_view query;   // after '?', empty when there is none
  std::string_view authorization, accept, content_type, content_encoding, generation, idempotency_key;
  bool http_1_1 = true;
  bool keep_alive = true;
  bool expects_continue = false;
  bool accepts_encodings = false;  // there is an Accept-Encoding field (encoding.hpp reads it)
  std::vector<std::pair<std::string_view, std::string_view>> fields;  // every header field in order
  std::string_view body;

  void clear() {
    auto kept = std::move(fields);
    kept.clear();
    *this = Request{};
    fields = std::move(kept);
  }
  // The token behind "Bearer ", empty when the field is absent or of another scheme.
  std::string_view bearer() const noexcept {
    constexpr std::string_view kScheme = "Bearer ";
    if (authorization.size() <= kScheme.size()) return {};
    for (std::size_t i = 0; i < kScheme.size(); ++i) {
      const char a = authorization[i];
      const char lower = a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a;
      const char want = kScheme[i] >= 'A' && kScheme[i] <= 'Z' ? static_cast<char>(kScheme[i] + 32) : kScheme[i];
      if (lower != want) return {};
    }
    return authorization.substr(kScheme.size());
  }
};

}  // namespace via::net
