// A table tells which bytes pass as they are; runs of them are copied at once.
#include "plugins/sqlwire/values.hpp"

#include <array>
#include <charconv>
#include <cmath>

namespace via::sqlwire {
namespace {

// 0 plain, 1 escape, 2 beyond ASCII
constexpr std::array<uint8_t, 256> kClass = [] {
  std::array<uint8_t, 256> t{};
  for (size_t i = 0; i < 32; ++i) t[i] = 1;
  t['"'] = t['\\'] = 1;
  for (size_t i = 128; i < 256; ++i) t[i] = 2;
  return t;
}();

// Length of the valid sequence at p, or 0; `bad` is then how many bytes make up the broken piece.
size_t utf8_sequence(const unsigned char* p, const unsigned char* end, size_t& bad) {
  const unsigned c = *p;
  bad = 1;
  size_t n = 0;
  unsigned low = 0x80, high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF) n = 2;
  else if (c >= 0xE0 && c <= 0xEF) {
    n = 3;
    if (c == 0xE0) low = 0xA0;
    if (c == 0xED) high = 0x9F;
  } else if (c >= 0xF0 && c <= 0xF4) {
    n = 4;
    if (c == 0xF0) low = 0x90;
    if (c == 0xF4) high = 0x8F;
  } else return 0;
  for (size_t i = 1; i < n; ++i) {
    if (p + i == end || p[i] < low || p[i] > high) {
      bad = i;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  return n;
}

// As SQLite's own JSON functions write it: a number of JSON that no finite double is.
constexpr std::string_view kInfinity = "9e999", kMinusInfinity = "-9e999";

constexpr char kHex[] = "0123456789abcdef";
constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

bool is_utf8(std::string_view s) {
  const auto* p = reinterpret_cast<const unsigned char*>(s.data());
  const auto* const end = p + s.size();
  for (size_t bad = 0; p != end;) {
    const size_t n = *p < 0x80 ? 1 : utf8_sequence(p, end, bad);
    if (n == 0) return false;
    p += n;
  }
  return true;
}

bool render_text(Output& out, std::string_view text) {
  if (!out.put('"')) return false;
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p != end) {
    const unsigned char* run = p;
    while (p != end) {
      const uint8_t kind = kClass[*p];
      if (kind == 0) {
        ++p;
        continue;
      }
      size_t bad = 0;
      const size_t n = kind == 2 ? utf8_sequence(p, end, bad) : 0;
      if (n == 0) break;
      p += n;
    }
    if (p != run && !out.append({reinterpret_cast<const char*>(run), static_cast<size_t>(p - run)})) return false;
    if (p == end) break;
    if (kClass[*p] == 2) {
      size_t bad = 1;
      utf8_sequence(p, end, bad);
      if (!out.append("\xEF\xBF\xBD")) return false;
      p += bad;
      continue;
    }
    if (!out.ensure(6)) return false;
    char* w = out.cursor();
    *w++ = '\\';
    switch (*p) {
      case '"': *w++ = '"'; break;
      case '\\': *w++ = '\\'; break;
      case '\n': *w++ = 'n'; break;
      case '\r': *w++ = 'r'; break;
      case '\t': *w++ = 't'; break;
      case '\b': *w++ = 'b'; break;
      case '\f': *w++ = 'f'; break;
      default:
        *w++ = 'u';
        *w++ = '0';
        *w++ = '0';
        *w++ = kHex[*p >> 4];
        *w++ = kHex[*p & 15];
    }
    out.advance(w);
    ++p;
  }
  return out.put('"');
}

bool render_integer(Output& out, int64_t n, bool as_text) {
  if (!out.ensure(24)) return false;
  char* w = out.cursor();
  const bool quoted = as_text && (n > (int64_t{1} << 53) || n < -(int64_t{1} << 53));
  if (quoted) *w++ = '"';
  w = std::to_chars(w, w + 21, n).ptr;
  if (quoted) *w++ = '"';
  out.advance(w);
  return true;
}

bool render_real(Output& out, double d) {
  if (!std::isfinite(d)) return out.append(std::isnan(d) ? "null" : d > 0 ? kInfinity : kMinusInfinity);
  if (!out.ensure(40)) return false;
  char* const begin = out.cursor();
  char* w = std::to_chars(begin, begin + 36, d).ptr;
  bool plain = true;
  for (const char* c = begin; c != w; ++c) plain = plain && *c != '.' && *c != 'e';
  if (plain) {
    *w++ = '.';
    *w++ = '0';
  }
  out.advance(w);
  return true;
}

bool reads_as_infinity(std::string_view number, double& out) {
  if (number != kInfinity && number != kMinusInfinity) return false;
  out = number == kInfinity ? HUGE_VAL : -HUGE_VAL;
  return true;
}

bool render_blob(Output& out, const void* data, size_t size) {
  return out.append("{\"base64\":") && render_base64(out, data, size) && out.put('}');
}

bool render_base64(Output& out, const void* data, size_t size) {
  if (!out.put('"')) return false;
  const auto* p = static_cast<const unsigned char*>(data);
  while (size > 0) {
    const size_t take = std::min<size_t>(size, 768);
    if (!out.ensure((take + 2) / 3 * 4)) return false;
    char* w = out.cursor();
    size_t i = 0;
    for (; i + 3 <= take; i += 3, p += 3) {
      const unsigned v = static_cast<unsigned>(p[0]) << 16 | static_cast<unsigned>(p[1]) << 8 | p[2];
      *w++ = kBase64[v >> 18];
      *w++ = kBase64[v >> 12 & 63];
      *w++ = kBase64[v >> 6 & 63];
      *w++ = kBase64[v & 63];
    }
    if (const size_t rest = take - i; rest > 0) {
      const unsigned v = static_cast<unsigned>(p[0]) << 16 | (rest == 2 ? static_cast<unsigned>(p[1]) << 8 : 0u);
      *w++ = kBase64[v >> 18];
      *w++ = kBase64[v >> 12 & 63];
      *w++ = rest == 2 ? kBase64[v >> 6 & 63] : '=';
      *w++ = '=';
      p += rest;
    }
    out.advance(w);
    size -= take;
  }
  return out.put('"');
}

}  // namespace via::sqlwire
