// The encryption around an archive: a header, then chunks of 64 KiB under AES-256-GCM with a key from the passphrase
// (scrypt). Each chunk's nonce is its number and whether it is the last, and the header is bound to every chunk, so
// that cutting, reordering, repeating and joining are all noticed (docs/formats.md, "Backup archive").
//
// A key is used for one archive only: its salt is 32 random bytes. Thread: one at a time; derivation takes time and
// memory (64 MiB with the default cost).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/secret.hpp"

struct evp_cipher_ctx_st;

namespace via::backup {

inline constexpr std::size_t kEnvelopeHeader = 48, kChunk = 64U << 10, kChunkTag = 16;
inline constexpr std::string_view kEnvelopeMagic = "VIA-ENC\n";
// log2 of scrypt's N; what is read is bounded so that a header cannot ask for all memory.
inline constexpr unsigned kDefaultCost = 16, kMinCost = 10, kMaxCost = 20;

class Envelope {
 public:
  // A new header with a fresh salt.
  static Result<Envelope> create(const Secret& passphrase, unsigned cost, Entropy& entropy);
  // The header that was read; `refused` when it is none of this version.
  static Result<Envelope> open(std::string_view header, const Secret& passphrase);
  Envelope(Envelope&&) noexcept = default;
  Envelope& operator=(Envelope&&) noexcept = default;

  const std::string& header() const { return header_; }
  // Both replace `out`. A chunk that does not open is an error without a reason: the caller words it.
  Result<void> seal(std::uint64_t number, bool last, std::string_view plain, std::string& out) const;
  bool unseal(std::uint64_t number, bool last, std::string_view box, std::string& out) const;

 private:
  using Cipher = std::unique_ptr<evp_cipher_ctx_st, void (*)(evp_cipher_ctx_st*)>;
  Envelope(std::string header, Secret key);
  static Result<Envelope> derive(std::string header, const Secret& passphrase, unsigned cost);
  std::string header_;
  Secret key_;
  Cipher cipher_;
};

}  // namespace via::backup
