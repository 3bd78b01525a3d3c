// The bytes between the host and a plugin's runner: frames, and how values are written in them (docs/formats.md, "Isolated
// plugins"). Neither side trusts the other: every read is checked and every length bounded.
//
//   frame = payload length (4) | protocol (1) | kind (1) | zero (2) | id (8) | payload; numbers little-endian
//
// Thread: values; a FrameReader is its reader's.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/buffer.hpp"
#include "via/plugin.h"

namespace via::isolation {

inline constexpr std::uint8_t kProtocol = 1;
inline constexpr std::size_t kHeaderBytes = 16;
inline constexpr std::size_t kMaximumPayload = 1U << 20;
inline constexpr std::size_t kPiece = 128U << 10;        // of a body or a result in one frame
inline constexpr std::size_t kWindow = 256U << 10;       // bytes of one result that the host has not taken yet
inline constexpr std::uint64_t kMaximumBody = 1ULL << 30;
inline constexpr std::size_t kMaximumItems = 4096;       // of a list in a payload

enum class Kind : std::uint8_t {
  // host to runner
  hello = 1, create = 2, destroy = 3, call = 4, body = 5, cancel = 6, window = 7, boxed = 8, stop = 9,
  // runner to host
  ready = 33, refused = 34, created = 35, destroyed = 36, head = 37, data = 38, progress = 39, complete = 40, log = 41,
  define = 42, record = 43, box = 44, fault = 45,
};

struct Frame {
  Kind kind{};
  std::uint64_t id = 0;
  std::string_view payload;  // valid until the reader is fed again
};

// Frames out of a stream of bytes. After `broken` nothing more can be read.
class FrameReader {
 public:
  enum class Next { frame, more, broken };
  // Room to read into; commit() says how much came.
  std::span<char> room(std::size_t at_least = 64U << 10);
  void commit(std::size_t n) { in_.commit(n); }
  Next next(Frame& out);
  // Wipes and forgets what was read out; call when next() said `more`.
  void compact();

 private:
  Buffer in_;
  std::size_t at_ = 0;
};

// One frame being written, or several one after another.
class Packet {
 public:
  Packet(Kind kind, std::uint64_t id) { begin(kind, id); }
  Packet() = default;
  void begin(Kind kind, std::uint64_t id);  // ends the frame before it
  Packet& u8(std::uint8_t v) { return put(&v, 1); }
  Packet& u16(std::uint16_t v) { return number(v); }
  Packet& u32(std::uint32_t v) { return number(v); }
  Packet& u64(std::uint64_t v) { return number(v); }
  Packet& f64(double v) { return number(std::bit_cast<std::uint64_t>(v)); }
  Packet& id(const via_id& v) { return put(v.b, sizeof v.b); }
  Packet& raw(std::string_view bytes) { return put(bytes.data(), bytes.size()); }
  Packet& bytes(std::string_view bytes) { return u32(static_cast<std::uint32_t>(bytes.size())).raw(bytes); }
  Packet& bytes(via_str s) { return bytes(s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len)); }
  Packet& strings(const via_str* list, std::size_t n);
  Packet& pairs(const via_pair* list, std::size_t n);

  std::size_t payload() const noexcept { return bytes_.size() - start_ - kHeaderBytes; }  // of the last frame
  bool fits() const noexcept { return payload() <= kMaximumPayload; }
  bool empty() const noexcept { return bytes_.empty(); }
  // The finished bytes.
  std::string_view finish();

 private:
  Packet& put(const void* data, std::size_t n) {
    bytes_.append(static_cast<const char*>(data), n);
    return *this;
  }
  template <class N>
  Packet& number(N v) {
    unsigned char b[sizeof v];
    for (std::size_t i = 0; i < sizeof v; ++i) b[i] = static_cast<unsigned char>(v >> (8 * i));
    return put(b, sizeof v);
  }
  std::string bytes_;
  std::size_t start_ = 0;
};

// Values out of a payload. After the first one that is not there, everything reads as zero and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view payload) : rest_(payload) {}
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  double f64() { return std::bit_cast<double>(u64()); }
  via_id id();
  std::string_view bytes();
  via_str str();
  std::vector<via_str> strings();
  std::vector<via_pair> pairs();
  std::string_view rest();
  void fail() noexcept {
    ok_ = false;
    rest_ = {};
  }
  // Everything was there and nothing is left.
  bool done() const noexcept { return ok_ && rest_.empty(); }
  bool ok() const noexcept { return ok_; }

 private:
  template <class N>
  N number() {
    const std::string_view b = take(sizeof(N));
    N v = 0;
    for (std::size_t i = 0; i < b.size(); ++i) v = static_cast<N>(v | static_cast<N>(static_cast<N>(static_cast<unsigned char>(b[i])) << (8 * i)));
    return v;
  }
  std::string_view take(std::size_t n);
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace via::isolation
