// Base64 of values that come in JSON (RFC 4648, section 4). Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>

namespace via::sqlite {

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

}  // namespace via::sqlite
