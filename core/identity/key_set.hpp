// The immutable set of keys behind Keys::current(): what verifies, by exact kid, and the one key that signs.
// Internal to core/identity and its tests.
// Thread: any (immutable; OpenSSL 3 keys may be used from several threads at once).
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/evp.h>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::identity {

inline constexpr std::size_t kMaximumKidBytes = 128;
using RawSignature = std::array<std::uint8_t, 64>;  // r and s, 32 bytes each, big-endian

struct FreeEvp {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const noexcept { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
};
using EvpKey = std::unique_ptr<EVP_PKEY, FreeEvp>;

// One P-256 key, with or without its private half.
class EcKey {
 public:
  static Result<std::shared_ptr<const EcKey>> generate();
  // Unencrypted PKCS#8 and nothing behind it.
  static Result<std::shared_ptr<const EcKey>> from_pem(const Secret& pem);
  // Base64url coordinates of 32 bytes each; the point must be on the curve.
  static Result<std::shared_ptr<const EcKey>> from_coordinates(std::string_view x, std::string_view y);

  Result<Secret> to_pem() const;
  const std::string& x() const { return x_; }
  const std::string& y() const { return y_; }

  // Low s always.
  Result<RawSignature> sign(std::string_view text) const;
  // False for high s and for r or s outside 1 … n-1, whatever OpenSSL says about them.
  bool verify(std::string_view text, const RawSignature& signature) const;

 private:
  static Result<std::shared_ptr<const EcKey>> adopt(EvpKey key);
  EvpKey key_;
  std::string x_, y_;
};

class KeySet {
 public:
  struct Entry {
    std::string kid;
    std::shared_ptr<const EcKey> key;
    std::int64_t good_before_ms = std::numeric_limits<std::int64_t>::max();
  };
  // `signer` is an index into `entries`, or their number when none signs.
  KeySet(std::vector<Entry> entries, std::size_t signer) : entries_(std::move(entries)), signer_(signer) {}

  // Null when no key of this id verifies at `unix_ms`.
  const EcKey* find(std::string_view kid, std::int64_t unix_ms) const noexcept {
    for (const Entry& entry : entries_)
      if (entry.kid == kid) return unix_ms < entry.good_before_ms ? entry.key.get() : nullptr;
    return nullptr;
  }
  const Entry* signer() const noexcept { return signer_ < entries_.size() ? &entries_[signer_] : nullptr; }
  std::size_t size() const noexcept { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
  std::size_t signer_;
};

// Public keys of a JWK set (RFC 7517). bad_request for a kid that is missing, too long or stands twice, for another
// key type, curve, use or algorithm, for coordinates that are not 32 bytes, for a point that is off the curve and for
// private members.
Result<std::shared_ptr<const KeySet>> load_jwks(std::string_view json);

}  // namespace via::identity
