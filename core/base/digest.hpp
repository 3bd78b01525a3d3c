// SHA-256, in pieces. Thread: one for each object.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace via {

using Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  // 64 lower-case hexadecimal digits. Ends the object's use.
  std::string hex();

 private:
  evp_md_ctx_st* context_;
};

std::string sha256_hex(std::string_view bytes);
Digest sha256(std::string_view bytes) noexcept;

std::string hex(const Digest& digest);                       // 64 lower-case digits
std::optional<Digest> digest_of_hex(std::string_view text);  // exactly 64 of them

}  // namespace via
