#include "core/identity/master_key.hpp"

#include <array>

#include <openssl/crypto.h>

#include "core/base/base64.hpp"
#include "core/base/files.hpp"

namespace via::identity {

Result<Secret> read_master_key(const fs::path& keys) {
  auto text = read_private_file(keys / "master.key", 256);
  if (!text) return text.error();
  auto bytes = base64url_decode(*text);
  OPENSSL_cleanse(text->data(), text->size());
  if (!bytes || bytes->size() != 32) return fail(Code::internal, "the master key file is damaged");
  return Secret(std::move(*bytes));
}

Result<Secret> open_master_key(const fs::path& keys, Entropy& entropy) {
  auto known = read_master_key(keys);
  if (known || known.error().code != Code::not_found) return known;
  std::array<std::uint8_t, 32> bytes{};
  entropy.fill(bytes);
  std::string text = base64url_encode(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  const auto written = write_file_atomic(keys / "master.key", text);
  OPENSSL_cleanse(text.data(), text.size());
  if (!written) return written.error();
  return read_master_key(keys);
}

}  // namespace via::identity
