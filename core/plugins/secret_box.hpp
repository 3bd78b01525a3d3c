// Authenticated encryption for plugins and for core's own secrets: AES-256-GCM under keys derived from the master key
// (HKDF-SHA-256, one per purpose). The box is: version byte 1, 12-byte nonce, ciphertext, 16-byte tag
// (docs/formats.md, "Sealed values"). Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::plugins {

class SecretBox {
 public:
  SecretBox(Secret master_key, Entropy& entropy) : master_(std::move(master_key)), entropy_(entropy) {}
  // `purpose` picks the key ("addon:<id>"), `aad` is bound to the box without being in it.
  Result<std::string> seal(std::string_view purpose, std::string_view aad, std::string_view plain) const;
  Result<Secret> unseal(std::string_view purpose, std::string_view aad, std::string_view box) const;
  // The password of one credential generation, for types whose plugins apply credentials: 43 characters of base64url. It is
  // derived and not stored: nothing at rest holds it, and a bind that is repeated after a crash gives the same one. A binding's
  // id is never used again and its generations count up, so that no password is either.
  Result<Secret> credential(std::string_view binding_id, std::uint32_t generation) const;

 private:
  Result<Secret> derive(std::string_view purpose) const;
  Secret master_;
  Entropy& entropy_;
};

}  // namespace via::plugins
