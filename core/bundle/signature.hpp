// Signatures of plugin bundles: Ed25519 (RFC 8032) over a message that begins with the name of its purpose, so that no
// signature made for anything else is one of a bundle (docs/formats.md, "Plugin bundle").
//
// Key files are PEM, as `openssl genpkey -algorithm ed25519` makes them. A public key travels in its raw form, 32 bytes.
// Thread: any (values and pure functions).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::bundle {

struct Signature {
  std::string key;    // 32 bytes: the public key that it is said to be of
  std::string bytes;  // 64
};

// SHA-256 of the raw public key, 64 hexadecimal digits.
std::string fingerprint(std::string_view key);
// The public key of a PEM text, raw. A private key is refused by name: it is in the wrong place.
Result<std::string> read_public_key(std::string_view pem);

class SigningKey {
 public:
  // A private file of this user (0600), PEM without a passphrase.
  static Result<SigningKey> read(const std::filesystem::path& file);
  // A new key in `file` (0600) and its public half in `file`.pub; neither is ever overwritten.
  static Result<SigningKey> create(const std::filesystem::path& file);

  const std::string& public_key() const { return public_; }
  Result<Signature> sign(std::string_view message) const;

 private:
  SigningKey(Secret seed, std::string key) : seed_(std::move(seed)), public_(std::move(key)) {}
  Secret seed_;  // 32 bytes
  std::string public_;
};

bool verify(const Signature& signature, std::string_view message);

// The text of SIGNATURE in a bundle, and back; there is one text for one signature.
std::string to_text(const Signature& signature);
Result<Signature> parse_signature(std::string_view text);

}  // namespace via::bundle
