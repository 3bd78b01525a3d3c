// Base64 (RFC 4648): canonical of values that come in JSON, and as people and their tools write it in a URL. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace via::sqlwire {

inline int base64_digit(unsigned char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// Decodes canonical, padded base64 in place; the size afterwards, or -1.
inline int64_t decode_base64(char* data, size_t size) {
  if (size % 4 != 0) return -1;
  char* out = data;
  for (size_t i = 0; i < size; i += 4) {
    const bool last = i + 4 == size;
    const int a = base64_digit(static_cast<unsigned char>(data[i]));
    const int b = base64_digit(static_cast<unsigned char>(data[i + 1]));
    const int c = base64_digit(static_cast<unsigned char>(data[i + 2]));
    const int d = base64_digit(static_cast<unsigned char>(data[i + 3]));
    const bool pad2 = last && data[i + 3] == '=';
    const bool pad1 = pad2 && data[i + 2] == '=';
    if (a < 0 || b < 0 || (c < 0 && !pad1) || (d < 0 && !pad2)) return -1;
    if ((pad1 && (b & 15)) || (pad2 && !pad1 && (c & 3))) return -1;
    *out++ = static_cast<char>(a << 2 | b >> 4);
    if (!pad1) *out++ = static_cast<char>((b & 15) << 4 | c >> 2);
    if (!pad2) *out++ = static_cast<char>((c & 3) << 6 | d);
  }
  return out - data;
}

// Either alphabet, padded or not; false when it is none.
inline bool decode_any_base64(std::string_view s, std::string& out) {
  out.clear();
  while (s.ends_with('=')) s.remove_suffix(1);
  if (s.size() % 4 == 1) return false;
  uint32_t bits = 0;
  int have = 0;
  for (char c : s) {
    if (c == '-' || c == ' ') c = '+';  // a '+' that was not escaped came as a blank
    if (c == '_') c = '/';
    const int digit = base64_digit(static_cast<unsigned char>(c));
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 255);
    }
  }
  return true;
}

}  // namespace via::sqlwire
