#include "core/plugins/secret_box.hpp"

#include <array>
#include <memory>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "core/base/base64.hpp"

namespace via::plugins {
namespace {
constexpr std::size_t kNonce = 12, kTag = 16;
constexpr char kVersion = 1;
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

const unsigned char* bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* bytes(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }
Error broken() { return fail(Code::internal, "the cipher failed"); }
}  // namespace

Result<Secret> SecretBox::derive(std::string_view purpose) const {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr), EVP_KDF_free);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()), EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  std::string info = "via/1/" + std::string(purpose);
  std::string key(master_.reveal());
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  std::string out(32, '\0');
  const int ok = context ? EVP_KDF_derive(context.get(), bytes(out), out.size(), params) : 0;
  OPENSSL_cleanse(key.data(), key.size());
  if (ok != 1) return broken();
  return Secret(std::move(out));
}

Result<Secret> SecretBox::credential(std::string_view binding_id, std::uint32_t generation) const {
  auto key = derive("credential:" + std::string(binding_id) + "/" + std::to_string(generation));
  if (!key) return key.error();
  return Secret(base64url_encode(key->reveal()));
}

Result<std::string> SecretBox::seal(std::string_view purpose, std::string_view aad, std::string_view plain) const {
  auto key = derive(purpose);
  if (!key) return key.error();
  std::array<std::uint8_t, kNonce> nonce{};
  entropy_.fill(nonce);
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  std::string box(1 + kNonce + plain.size() + kTag, '\0');
  box[0] = kVersion;
  std::copy(nonce.begin(), nonce.end(), box.begin() + 1);
  int n = 0;
  unsigned char* out = bytes(box) + 1 + kNonce;
  if (!cipher || EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytes(key->reveal()), nonce.data()) != 1 ||
      EVP_EncryptUpdate(cipher.get(), nullptr, &n, bytes(aad), static_cast<int>(aad.size())) != 1 ||
      EVP_EncryptUpdate(cipher.get(), out, &n, bytes(plain), static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(cipher.get(), out + n, &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTag, out + plain.size()) != 1)
    return broken();
  return box;
}

Result<Secret> SecretBox::unseal(std::string_view purpose, std::string_view aad, std::string_view box) const {
  if (box.size() < 1 + kNonce + kTag || box[0] != kVersion)
    return fail(Code::bad_request, "this is not a sealed value of this host");
  auto key = derive(purpose);
  if (!key) return key.error();
  const std::string_view nonce = box.substr(1, kNonce);
  const std::string_view text = box.substr(1 + kNonce, box.size() - 1 - kNonce - kTag);
  std::string tag(box.substr(box.size() - kTag));
  std::string plain(text.size(), '\0');
  const Cipher cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  int n = 0;
  if (!cipher || EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytes(key->reveal()), bytes(nonce)) != 1 ||
      EVP_DecryptUpdate(cipher.get(), nullptr, &n, bytes(aad), static_cast<int>(aad.size())) != 1 ||
      EVP_DecryptUpdate(cipher.get(), bytes(plain), &n, bytes(text), static_cast<int>(text.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTag, tag.data()) != 1 ||
      EVP_DecryptFinal_ex(cipher.get(), bytes(plain) + n, &n) != 1) {
    Secret wiped(std::move(plain));
    return fail(Code::bad_request, "the sealed value was not made by this host for this purpose");
  }
  return Secret(std::move(plain));
}

}  // namespace via::plugins
