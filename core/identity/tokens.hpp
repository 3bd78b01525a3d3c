// Issuing and verifying tokens, and the cache of those that were verified.
//
// Only ES256 with a 64-byte raw signature, low s, canonical base64url; header exactly {alg, kid, typ:"workload+jwt"} (in
// any order; jku, x5u, jwk, crit and everything else that changes meaning is refused); duplicate JSON names, NUL and
// non-integer times are refused; `exp` is required and at most a day after `iat`. Nothing of a token is ever logged
// or put into an error. The signature is checked before any claim decides the answer, so only the holder of an
// authentic token learns more than "malformed" or "signature". RFC 8725 is the list this follows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/secret.hpp"
#include "core/identity/claims.hpp"
#include "core/identity/keys.hpp"

namespace via::identity {

// Thread: any.
class TokenIssuer {
 public:
  TokenIssuer(const Keys& keys, std::string issuer, const Clock& clock, Entropy& entropy);
  // Signs with the active key; fills jti, iat and exp = now + ttl. bad_request when ttl is not 1 s … 1 day.
  Result<Secret> issue(Claims& claims, std::int64_t ttl_seconds) const;
  const std::string& issuer() const noexcept { return issuer_; }

 private:
  const Keys& keys_;
  std::string issuer_;
  const Clock& clock_;
  Entropy& entropy_;
};

// Thread: any. 60 µs and more for each call: not on an I/O thread.
class TokenVerifier {
 public:
  TokenVerifier(const Keys& keys, std::string issuer, const Clock& clock);
  // Claims of an authentic runtime token for this host, or:
  // token_malformed, token_signature, runtime_identity_expired, token_audience (401), build_token, session_token (403).
  Result<Claims> verify(std::string_view token) const;
  // Under a key set taken from Keys::current() before. Who puts the claims into a TokenCache needs this one and the
  // same set for insert(): otherwise a key revoked in between could vouch for an entry of the set behind it.
  Result<Claims> verify(std::string_view token, const KeySet& keys) const;

 private:
  const Keys& keys_;
  std::string issuer_;
  const Clock& clock_;
};

// Longer ones are refused before anything is looked at.
inline constexpr std::size_t kMaximumTokenBytes = 8192;

// What TokenVerifier does, on a key set of its own (see load_jwks in key_set.hpp).
Result<Claims> verify_token(std::string_view token, const KeySet& keys, std::string_view issuer, std::int64_t unix_ms);

// Verified tokens by their whole text. A hit is good while the key set it was verified under is still the current one
// and `exp` has not come. Bounded; of those that were not used of late, the oldest go first. An insert under another
// key set empties the cache. Thread: its I/O thread.
class TokenCache {
 public:
  explicit TokenCache(std::size_t capacity = 8192);
  ~TokenCache();
  // Null when absent, expired at `unix_seconds`, or verified under another key set.
  std::shared_ptr<const Claims> find(std::string_view token, const KeySet* keys, std::int64_t unix_seconds);
  // The same without taking a share; the pointer is good until the next call on this cache.
  const std::shared_ptr<const Claims>* peek(std::string_view token, const KeySet* keys, std::int64_t unix_seconds);
  std::shared_ptr<const Claims> insert(std::string_view token, std::shared_ptr<const KeySet> keys, Claims claims);
  std::size_t size() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::identity
