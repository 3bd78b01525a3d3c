#include <algorithm>
#include <cstring>
#include <set>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "core/base/base64.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/token_json.hpp"

namespace via::identity {
namespace {

using Scalar = std::array<std::uint8_t, 32>;

// The order n of P-256 and n/2 rounded down (SEC 2, section 2.4.2).
constexpr Scalar kOrder = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                           0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
constexpr Scalar kHalfOrder = {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                               0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};

struct FreeOther {
  void operator()(BIO* bio) const noexcept { BIO_free(bio); }
  void operator()(ECDSA_SIG* signature) const noexcept { ECDSA_SIG_free(signature); }
  void operator()(BIGNUM* number) const noexcept { BN_free(number); }
};
using Bio = std::unique_ptr<BIO, FreeOther>;
using EcdsaSignature = std::unique_ptr<ECDSA_SIG, FreeOther>;
using BigNumber = std::unique_ptr<BIGNUM, FreeOther>;

// What OpenSSL leaves in the thread's error queue would be taken for an error of the next TLS call.
struct ClearErrors {
  ~ClearErrors() { ERR_clear_error(); }
};

bool in_range(const std::uint8_t* scalar) {
  static constexpr Scalar kZero{};
  return std::memcmp(scalar, kZero.data(), 32) != 0 && std::memcmp(scalar, kOrder.data(), 32) < 0;
}

// Appends the DER INTEGER of 32 big-endian bytes.
std::size_t put_integer(std::uint8_t* out, const std::uint8_t* scalar) {
  std::size_t skip = 0;
  while (skip < 31 && scalar[skip] == 0) ++skip;
  const std::size_t pad = (scalar[skip] & 0x80U) != 0 ? 1 : 0;
  const std::size_t length = 32 - skip;
  out[0] = 0x02;
  out[1] = static_cast<std::uint8_t>(length + pad);
  out[2] = 0;
  std::memcpy(out + 2 + pad, scalar + skip, length);
  return 2 + pad + length;
}

Error unusable(std::string_view why) {
  return fail(Code::bad_request, "The key cannot be used: " + std::string(why) + ".");
}

// Never ask a terminal for a passphrase.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

Result<std::shared_ptr<const EcKey>> EcKey::adopt(EvpKey key) {
  if (!key || EVP_PKEY_is_a(key.get(), "EC") != 1) return unusable("it is not an elliptic-curve key");
  char group[32] = {};
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key.get(), group, sizeof group, &length) != 1 ||
      std::string_view(group, length) != "prime256v1")
    return unusable("it is not on P-256");
  BIGNUM* x = nullptr;
  BIGNUM* y = nullptr;
  const bool got = EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
                   EVP_PKEY_get_bn_param(key.get(), OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;
  const BigNumber own_x(x), own_y(y);
  Scalar bytes_x{}, bytes_y{};
  if (!got || BN_bn2binpad(x, bytes_x.data(), 32) != 32 || BN_bn2binpad(y, bytes_y.data(), 32) != 32)
    return unusable("it has no public point");
  auto out = std::make_shared<EcKey>();
  out->key_ = std::move(key);
  out->x_ = base64url_encode(bytes_x);
  out->y_ = base64url_encode(bytes_y);
  return std::shared_ptr<const EcKey>(std::move(out));
}

Result<std::shared_ptr<const EcKey>> EcKey::generate() {
  const ClearErrors clear;
  EvpKey key(EVP_EC_gen("P-256"));
  if (!key) return fail(Code::internal, "The system could not make a signing key.");
  return adopt(std::move(key));
}

Result<std::shared_ptr<const EcKey>> EcKey::from_pem(const Secret& pem) {
  const ClearErrors clear;
  const std::string_view text = pem.reveal();
  static constexpr std::string_view kBegin = "-----BEGIN PRIVATE KEY-----\n";
  static constexpr std::string_view kEnd = "-----END PRIVATE KEY-----\n";
  if (!text.starts_with(kBegin) || !text.ends_with(kEnd) || text.find(kEnd) != text.size() - kEnd.size())
    return unusable("its file is empty, truncated or of another form");
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) return fail(Code::internal, "The system could not read a signing key.");
  EvpKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &no_passphrase, nullptr));
  if (!key) return unusable("its file is damaged");
  auto adopted = adopt(std::move(key));
  if (!adopted) return adopted;
  const std::unique_ptr<EVP_PKEY_CTX, FreeEvp> context(EVP_PKEY_CTX_new((*adopted)->key_.get(), nullptr));
  if (!context || EVP_PKEY_check(context.get()) != 1) return unusable("its halves do not belong together");
  return adopted;
}

Result<std::shared_ptr<const EcKey>> EcKey::from_coordinates(std::string_view x, std::string_view y) {
  const ClearErrors clear;
  const auto bytes_x = base64url_decode(x);
  const auto bytes_y = base64url_decode(y);
  if (!bytes_x || !bytes_y || bytes_x->size() != 32 || bytes_y->size() != 32)
    return unusable("a coordinate is not 32 bytes of base64url");
  std::array<std::uint8_t, 65> point{};
  point[0] = 0x04;
  std::memcpy(point.data() + 1, bytes_x->data(), 32);
  std::memcpy(point.data() + 33, bytes_y->data(), 32);
  char group[] = "prime256v1";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()), OSSL_PARAM_construct_end()};
  const std::unique_ptr<EVP_PKEY_CTX, FreeEvp> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* raw = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &raw, EVP_PKEY_PUBLIC_KEY, const_cast<OSSL_PARAM*>(parameters)) != 1)
    return unusable("its point is not on P-256");
  EvpKey key(raw);
  const std::unique_ptr<EVP_PKEY_CTX, FreeEvp> check(EVP_PKEY_CTX_new(key.get(), nullptr));
  if (!check || EVP_PKEY_public_check(check.get()) != 1) return unusable("its point is not on P-256");
  return adopt(std::move(key));
}

Result<Secret> EcKey::to_pem() const {
  const ClearErrors clear;
  const Bio bio(BIO_new(BIO_s_secmem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return fail(Code::internal, "The system could not write a signing key.");
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return Secret(std::string(data, static_cast<std::size_t>(length)));
}

Result<RawSignature> EcKey::sign(std::string_view text) const {
  const ClearErrors clear;
  const Error failed = fail(Code::internal, "The system could not sign.");
  const std::unique_ptr<EVP_MD_CTX, FreeEvp> context(EVP_MD_CTX_new());
  std::array<std::uint8_t, 80> der{};
  std::size_t length = der.size();
  if (!context || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), der.data(), &length, reinterpret_cast<const unsigned char*>(text.data()),
                     text.size()) != 1)
    return failed;
  const unsigned char* cursor = der.data();
  const EcdsaSignature signature(d2i_ECDSA_SIG(nullptr, &cursor, static_cast<long>(length)));
  if (!signature) return failed;
  RawSignature out{};
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out.data(), 32) != 32 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out.data() + 32, 32) != 32)
    return failed;
  if (std::memcmp(out.data() + 32, kHalfOrder.data(), 32) > 0) {
    int borrow = 0;  // s = n - s
    for (int i = 31; i >= 0; --i) {
      int digit = int{kOrder[static_cast<std::size_t>(i)]} - int{out[static_cast<std::size_t>(32 + i)]} - borrow;
      borrow = digit < 0 ? 1 : 0;
      if (digit < 0) digit += 256;
      out[static_cast<std::size_t>(32 + i)] = static_cast<std::uint8_t>(digit);
    }
  }
  return out;
}

bool EcKey::verify(std::string_view text, const RawSignature& signature) const {
  const std::uint8_t* r = signature.data();
  const std::uint8_t* s = signature.data() + 32;
  if (!in_range(r) || !in_range(s) || std::memcmp(s, kHalfOrder.data(), 32) > 0) return false;
  std::array<std::uint8_t, 72> der{};
  der[0] = 0x30;
  std::size_t length = 2;
  length += put_integer(der.data() + length, r);
  length += put_integer(der.data() + length, s);
  der[1] = static_cast<std::uint8_t>(length - 2);
  const ClearErrors clear;
  const std::unique_ptr<EVP_MD_CTX, FreeEvp> context(EVP_MD_CTX_new());
  return context && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), der.data(), length, reinterpret_cast<const unsigned char*>(text.data()),
                          text.size()) == 1;
}

Result<std::shared_ptr<const KeySet>> load_jwks(std::string_view json) {
  const auto refuse = [](std::string_view why) {
    return fail(Code::bad_request, "The key set was refused: " + std::string(why) + ".");
  };
  if (json.size() > (256U << 10)) return refuse("it is larger than 256 KiB");
  const auto tree = Json::parse(json, {.depth = 5, .nodes = 4096});
  if (!tree) return refuse("it is not JSON of the form expected, or a name stands twice");
  const JsonNode* list = tree->member(tree->root(), "keys");
  if (list == nullptr || list->type != JsonNode::Type::array) return refuse("it has no list \"keys\"");

  std::vector<KeySet::Entry> entries;
  std::set<std::string, std::less<>> kids;
  for (const JsonNode* item : tree->children(*list)) {
    const auto text_is = [&](std::string_view name, std::string_view expected, bool optional) {
      const JsonNode* node = tree->member(*item, name);
      if (node == nullptr) return optional;
      return node->type == JsonNode::Type::string && node->text == expected;
    };
    if (item->type != JsonNode::Type::object) return refuse("a key is not an object");
    const std::string* kid = tree->string(*item, "kid");
    if (kid == nullptr || kid->empty() || kid->size() > kMaximumKidBytes) return refuse("a key has no usable kid");
    if (!kids.insert(*kid).second) return refuse("a kid stands twice");
    if (!text_is("kty", "EC", false)) return refuse("a key is not an elliptic-curve key");
    if (!text_is("crv", "P-256", false)) return refuse("a key is not on P-256");
    if (!text_is("use", "sig", true)) return refuse("a key is not for signatures");
    if (!text_is("alg", "ES256", true)) return refuse("a key is for another algorithm");
    if (tree->member(*item, "d") != nullptr) return refuse("it holds a private key");
    if (const JsonNode* operations = tree->member(*item, "key_ops")) {
      const auto allowed = tree->children(*operations);
      if (operations->type != JsonNode::Type::array || allowed.size() != 1 ||
          allowed.front()->type != JsonNode::Type::string || allowed.front()->text != "verify")
        return refuse("a key is not only for verifying");
    }
    const std::string* x = tree->string(*item, "x");
    const std::string* y = tree->string(*item, "y");
    if (x == nullptr || y == nullptr) return refuse("a key lacks a coordinate");
    auto key = EcKey::from_coordinates(*x, *y);
    if (!key) return key.error();
    entries.push_back({*kid, std::move(*key)});
  }
  const std::size_t none = entries.size();
  return std::shared_ptr<const KeySet>(std::make_shared<KeySet>(std::move(entries), none));
}

}  // namespace via::identity
