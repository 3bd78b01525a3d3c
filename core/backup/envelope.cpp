#include "core/backup/envelope.hpp"

#include <algorithm>

#include <openssl/evp.h>

namespace via::backup {
namespace {

// magic 8, version 1, log2 N 1, r 1, p 1, zero 4, salt 32
constexpr std::size_t kVersionAt = 8, kCostAt = 9, kBlockSizeAt = 10, kParallelAt = 11, kSaltAt = 16, kSalt = 32;
constexpr char kVersion = 1, kBlockSize = 8, kParallel = 1;

const unsigned char* bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* bytes(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

std::array<unsigned char, 12> nonce_of(std::uint64_t number, bool last) {
  std::array<unsigned char, 12> nonce{};
  for (std::size_t i = 0; i < 8; ++i) nonce[10 - i] = static_cast<unsigned char>(number >> (8 * i));
  nonce[11] = last ? 1 : 0;
  return nonce;
}

}  // namespace

Envelope::Envelope(std::string header, Secret key)
    : header_(std::move(header)), key_(std::move(key)), cipher_(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free) {}

Result<Envelope> Envelope::derive(std::string header, const Secret& passphrase, unsigned cost) {
  std::string key(32, '\0');
  const std::string_view word = passphrase.reveal();
  const std::uint64_t n = std::uint64_t{1} << cost;
  // OpenSSL asks for a bound of its own: 128 N r and a little.
  const std::uint64_t memory = 128 * n * kBlockSize + (4U << 20);
  if (EVP_PBE_scrypt(word.data(), word.size(), bytes(header) + kSaltAt, kSalt, n, kBlockSize, kParallel, memory, bytes(key),
                     key.size()) != 1)
    return fail(Code::unavailable, "The key of the backup could not be made: there is not enough memory. Try again.");
  return Envelope(std::move(header), Secret(std::move(key)));
}

Result<Envelope> Envelope::create(const Secret& passphrase, unsigned cost, Entropy& entropy) {
  if (passphrase.empty()) return fail(Code::bad_request, "The passphrase is empty.");
  std::string header(kEnvelopeHeader, '\0');
  std::copy(kEnvelopeMagic.begin(), kEnvelopeMagic.end(), header.begin());
  header[kVersionAt] = kVersion;
  header[kCostAt] = static_cast<char>(std::clamp(cost, kMinCost, kMaxCost));
  header[kBlockSizeAt] = kBlockSize;
  header[kParallelAt] = kParallel;
  entropy.fill({bytes(header) + kSaltAt, kSalt});
  return derive(std::move(header), passphrase, static_cast<unsigned char>(header[kCostAt]));
}

Result<Envelope> Envelope::open(std::string_view header, const Secret& passphrase) {
  const auto refused = [](const char* rule) {
    return fail(Code::refused, std::string("The backup's encryption header is not valid: ") + rule +
                                   ". Nothing was changed. Choose another backup: via backup list");
  };
  if (header.size() != kEnvelopeHeader || !header.starts_with(kEnvelopeMagic)) return refused("it is cut short");
  if (header[kVersionAt] != kVersion) return refused("it is of a version that this Via does not know");
  const auto cost = static_cast<unsigned char>(header[kCostAt]);
  if (cost < kMinCost || cost > kMaxCost || header[kBlockSizeAt] != kBlockSize || header[kParallelAt] != kParallel)
    return refused("its cost is out of range");
  if (header.substr(12, 4) != std::string_view("\0\0\0\0", 4)) return refused("its reserved bytes are not zero");
  return derive(std::string(header), passphrase, cost);
}

Result<void> Envelope::seal(std::uint64_t number, bool last, std::string_view plain, std::string& out) const {
  const auto nonce = nonce_of(number, last);
  out.resize(plain.size() + kChunkTag);
  int n = 0;
  if (!cipher_ ||
      EVP_EncryptInit_ex(cipher_.get(), EVP_aes_256_gcm(), nullptr, bytes(key_.reveal()), nonce.data()) != 1 ||
      EVP_EncryptUpdate(cipher_.get(), nullptr, &n, bytes(header_), static_cast<int>(header_.size())) != 1 ||
      EVP_EncryptUpdate(cipher_.get(), bytes(out), &n, bytes(plain), static_cast<int>(plain.size())) != 1 ||
      EVP_EncryptFinal_ex(cipher_.get(), bytes(out) + n, &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_GCM_GET_TAG, kChunkTag, bytes(out) + plain.size()) != 1)
    return fail(Code::internal, "the cipher failed");
  return {};
}

bool Envelope::unseal(std::uint64_t number, bool last, std::string_view box, std::string& out) const {
  if (box.size() <= kChunkTag || !cipher_) return false;
  const auto nonce = nonce_of(number, last);
  const std::string_view text = box.substr(0, box.size() - kChunkTag);
  std::string tag(box.substr(text.size()));
  out.resize(text.size());
  int n = 0;
  return EVP_DecryptInit_ex(cipher_.get(), EVP_aes_256_gcm(), nullptr, bytes(key_.reveal()), nonce.data()) == 1 &&
         EVP_DecryptUpdate(cipher_.get(), nullptr, &n, bytes(header_), static_cast<int>(header_.size())) == 1 &&
         EVP_DecryptUpdate(cipher_.get(), bytes(out), &n, bytes(text), static_cast<int>(text.size())) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher_.get(), EVP_CTRL_GCM_SET_TAG, kChunkTag, tag.data()) == 1 &&
         EVP_DecryptFinal_ex(cipher_.get(), bytes(out) + n, &n) == 1;
}

}  // namespace via::backup
