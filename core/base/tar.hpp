// The container: ustar blocks as docs/formats.md lays them down. There is exactly one header for a name and a size, so
// a reader that knows both compares 512 bytes and has nothing to interpret. Thread: any (pure).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace via {

inline constexpr std::size_t kTarBlock = 512;
using TarBlock = std::array<char, kTarBlock>;

// Nothing when the name does not fit ustar's two fields (100 for what follows the last slash, 155 before it) or the
// size its eleven octal digits.
std::optional<TarBlock> tar_header(std::string_view name, std::uint64_t bytes);
// The size field of a header: eleven octal digits and a NUL. Nothing for every other form (base 256, spaces, signs).
std::optional<std::uint64_t> tar_size(const TarBlock& header) noexcept;
// Zero bytes between the end of a member and the next block.
constexpr std::size_t tar_padding(std::uint64_t bytes) noexcept {
  return static_cast<std::size_t>((kTarBlock - bytes % kTarBlock) % kTarBlock);
}

}  // namespace via
