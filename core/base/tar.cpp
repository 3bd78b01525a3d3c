#include "core/base/tar.hpp"

#include <algorithm>
#include <cstddef>

namespace via {
namespace {

// POSIX.1-1988 ustar: offset and length of each field that is not zero here.
constexpr std::size_t kName = 0, kNameSize = 100, kMode = 100, kUid = 108, kGid = 116, kSize = 124, kTime = 136,
                      kChecksum = 148, kType = 156, kMagic = 257, kDevMajor = 329, kDevMinor = 337, kPrefix = 345,
                      kPrefixSize = 155;
constexpr std::size_t kSizeDigits = 11;

void put(TarBlock& block, std::size_t at, std::string_view text) {
  std::copy(text.begin(), text.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
}

void octal(TarBlock& block, std::size_t at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) block[at + i] = static_cast<char>('0' + (value & 7));
}

}  // namespace

std::optional<TarBlock> tar_header(std::string_view name, std::uint64_t bytes) {
  if (name.empty() || bytes >> (3 * kSizeDigits) != 0) return std::nullopt;
  TarBlock block{};
  if (name.size() <= kNameSize) {
    put(block, kName, name);
  } else {
    const auto slash = name.rfind('/');
    if (slash == std::string_view::npos || slash > kPrefixSize || name.size() - slash - 1 > kNameSize) return std::nullopt;
    put(block, kPrefix, name.substr(0, slash));
    put(block, kName, name.substr(slash + 1));
  }
  octal(block, kMode, 7, 0600);
  octal(block, kUid, 7, 0);
  octal(block, kGid, 7, 0);
  octal(block, kSize, kSizeDigits, bytes);
  octal(block, kTime, 11, 0);
  block[kType] = '0';
  put(block, kMagic, std::string_view("ustar\00000", 8));
  octal(block, kDevMajor, 7, 0);
  octal(block, kDevMinor, 7, 0);
  // The checksum counts its own field as eight spaces; it is written as six digits, NUL, space.
  put(block, kChecksum, "        ");
  std::uint64_t sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  octal(block, kChecksum, 6, sum);
  block[kChecksum + 6] = '\0';
  return block;
}

std::optional<std::uint64_t> tar_size(const TarBlock& header) noexcept {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < kSizeDigits; ++i) {
    const char c = header[kSize + i];
    if (c < '0' || c > '7') return std::nullopt;
    out = out << 3 | static_cast<std::uint64_t>(c - '0');
  }
  if (header[kSize + kSizeDigits] != '\0') return std::nullopt;
  return out;
}

}  // namespace via
