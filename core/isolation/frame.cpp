#include "core/isolation/frame.hpp"

#include <openssl/crypto.h>

namespace via::isolation {

std::span<char> FrameReader::room(std::size_t at_least) {
  char* const begin = in_.reserve(at_least);
  return {begin, in_.capacity() - in_.size()};
}

FrameReader::Next FrameReader::next(Frame& out) {
  const std::string_view all = in_.view().substr(at_);
  if (all.size() < kHeaderBytes) return Next::more;
  Reader header(all.substr(0, kHeaderBytes));
  const std::uint32_t length = header.u32();
  const std::uint8_t protocol = header.u8();
  out.kind = static_cast<Kind>(header.u8());
  const std::uint16_t zero = header.u16();
  out.id = header.u64();
  if (length > kMaximumPayload || protocol != kProtocol || zero != 0) return Next::broken;
  if (all.size() < kHeaderBytes + length) return Next::more;
  out.payload = all.substr(kHeaderBytes, length);
  at_ += kHeaderBytes + length;
  return Next::frame;
}

void FrameReader::compact() {
  if (at_ == 0) return;
  OPENSSL_cleanse(in_.data(), at_);  // a frame may have held a credential
  in_.consume(at_);
  at_ = 0;
  in_.shrink(256U << 10);
}

void Packet::begin(Kind kind, std::uint64_t id) {
  (void)finish();
  start_ = bytes_.size();
  u32(0).u8(kProtocol).u8(static_cast<std::uint8_t>(kind)).u16(0).u64(id);
}

std::string_view Packet::finish() {
  if (bytes_.empty()) return {};
  const auto length = static_cast<std::uint32_t>(payload());
  for (std::size_t i = 0; i < 4; ++i) bytes_[start_ + i] = static_cast<char>(static_cast<unsigned char>(length >> (8 * i)));
  return bytes_;
}

Packet& Packet::strings(const via_str* list, std::size_t n) {
  u32(static_cast<std::uint32_t>(n));
  for (std::size_t i = 0; i < n; ++i) bytes(list[i]);
  return *this;
}

Packet& Packet::pairs(const via_pair* list, std::size_t n) {
  u32(static_cast<std::uint32_t>(n));
  for (std::size_t i = 0; i < n; ++i) bytes(list[i].key).bytes(list[i].value);
  return *this;
}

std::string_view Reader::take(std::size_t n) {
  if (!ok_ || rest_.size() < n) {
    fail();
    return {};
  }
  const std::string_view out = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return out;
}

via_id Reader::id() {
  via_id out{};
  const std::string_view b = take(sizeof out.b);
  if (b.size() == sizeof out.b) std::memcpy(out.b, b.data(), sizeof out.b);
  return out;
}

std::string_view Reader::bytes() { return take(u32()); }

via_str Reader::str() {
  const std::string_view b = bytes();
  return {b.data(), b.size()};
}

std::vector<via_str> Reader::strings() {
  const std::uint32_t n = u32();
  if (n > kMaximumItems) fail();
  std::vector<via_str> out;
  for (std::uint32_t i = 0; ok_ && i < n; ++i) out.push_back(str());
  return out;
}

std::vector<via_pair> Reader::pairs() {
  const std::uint32_t n = u32();
  if (n > kMaximumItems) fail();
  std::vector<via_pair> out;
  for (std::uint32_t i = 0; ok_ && i < n; ++i) {
    const via_str key = str();
    out.push_back({key, str()});
  }
  return out;
}

std::string_view Reader::rest() { return take(rest_.size()); }

}  // namespace via::isolation
