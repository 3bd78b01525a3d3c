#include "core/bundle/signature.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <memory>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "core/base/base64.hpp"
#include "core/base/digest.hpp"
#include "core/base/files.hpp"

namespace via::bundle {
namespace {

constexpr std::size_t kKeyBytes = 32, kSignatureBytes = 64;
constexpr std::string_view kFirstLine = "via-plugin-signature/1\n", kKeyWord = "key ", kSignatureWord = "signature ";

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Context = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

const unsigned char* bytes(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }

Bio reader(std::string_view text) { return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free}; }

// Instead of a prompt on the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

std::string raw_public(EVP_PKEY* key) {
  std::string out(kKeyBytes, '\0');
  std::size_t size = out.size();
  const bool got = EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(out.data()), &size) == 1;
  return got && size == kKeyBytes ? out : std::string();
}

Secret raw_private(EVP_PKEY* key) {
  std::string out(kKeyBytes, '\0');
  std::size_t size = out.size();
  if (EVP_PKEY_get_raw_private_key(key, reinterpret_cast<unsigned char*>(out.data()), &size) != 1 || size != kKeyBytes) out.clear();
  return Secret(std::move(out));
}

// The text that `write` makes of a key.
template <class Write>
Secret pem_of(Write write) {
  const Bio bio(BIO_new(BIO_s_mem()), BIO_free);
  if (!bio || write(bio.get()) != 1) return {};
  char* at = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &at);
  Secret out(std::string(at, static_cast<std::size_t>(size)));
  OPENSSL_cleanse(at, static_cast<std::size_t>(size));
  return out;
}

Result<void> write_new(const fs::path& file, std::string_view text, unsigned mode) {
  FileHandle out(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!out) {
    if (errno == EEXIST)
      return fail(Code::conflict, "'" + file.filename().string() + "' is there already; a key is never overwritten. Name another file.");
    return fail(Code::refused, "'" + file.filename().string() + "' cannot be written: does its folder exist, and may you write there?");
  }
  if (::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) || ::fsync(out.get()) != 0) {
    ::unlink(file.c_str());
    return fail(Code::refused, "'" + file.filename().string() + "' cannot be written.");
  }
  return {};
}

}  // namespace

std::string fingerprint(std::string_view key) { return sha256_hex(key); }

Result<std::string> read_public_key(std::string_view pem) {
  if (pem.find("PRIVATE KEY") != std::string_view::npos)
    return fail(Code::bad_request, "This is a private key. Give the public one, the file beside it that ends in .pub, and keep the private "
                                   "one where the plugin is packed.");
  const Bio bio = reader(pem.substr(0, 16384));
  const Key key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr) : nullptr, EVP_PKEY_free);
  if (!key || EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519)
    return fail(Code::bad_request, "This is not an Ed25519 public key in PEM form. Make a pair of keys: via plugin keygen FILE");
  const std::string out = raw_public(key.get());
  if (out.empty()) return fail(Code::bad_request, "The public key cannot be read.");
  return out;
}

Result<SigningKey> SigningKey::read(const fs::path& file) {
  auto text = read_private_file(file, 16384);
  if (!text) {
    if (text.error().code == Code::not_found)
      return fail(Code::not_found, "The key file does not exist. Make one: via plugin keygen FILE");
    if (text.error().code == Code::not_allowed)
      return fail(Code::not_allowed, "The key file must be a regular file of yours that nobody else can read. Give it mode 0600.");
    return fail(Code::bad_request, "The key file cannot be read.");
  }
  const Secret pem(std::move(*text));
  const Bio bio = reader(pem.reveal());
  const Key key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr, EVP_PKEY_free);
  if (!key || EVP_PKEY_id(key.get()) != EVP_PKEY_ED25519)
    return fail(Code::bad_request, "The key file holds no Ed25519 private key in PEM form without a passphrase. Make one: via plugin keygen FILE");
  Secret seed = raw_private(key.get());
  std::string half = raw_public(key.get());
  if (seed.empty() || half.empty()) return fail(Code::internal, "the private key has no raw form");
  return SigningKey(std::move(seed), std::move(half));
}

Result<SigningKey> SigningKey::create(const fs::path& file) {
  const Key key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), EVP_PKEY_free);
  if (!key) return fail(Code::internal, "Ed25519 is not available");
  Secret seed = raw_private(key.get());
  std::string half = raw_public(key.get());
  const Secret private_pem =
      pem_of([&](BIO* bio) { return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  const Secret public_pem = pem_of([&](BIO* bio) { return PEM_write_bio_PUBKEY(bio, key.get()); });
  if (seed.empty() || half.empty() || private_pem.empty() || public_pem.empty())
    return fail(Code::internal, "the new key cannot be written down");
  const fs::path beside = file.string() + ".pub";
  // The public half first: the pair is there when the private one is.
  if (auto written = write_new(beside, public_pem.reveal(), 0644); !written) return written.error();
  if (auto written = write_new(file, private_pem.reveal(), 0600); !written) {
    ::unlink(beside.c_str());
    return written.error();
  }
  return SigningKey(std::move(seed), std::move(half));
}

Result<Signature> SigningKey::sign(std::string_view message) const {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, bytes(seed_.reveal()), seed_.reveal().size()), EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  Signature out{public_, std::string(kSignatureBytes, '\0')};
  std::size_t size = out.bytes.size();
  if (!key || !context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.bytes.data()), &size, bytes(message), message.size()) != 1 ||
      size != kSignatureBytes)
    return fail(Code::internal, "the signature cannot be made");
  return out;
}

bool verify(const Signature& signature, std::string_view message) {
  if (signature.key.size() != kKeyBytes || signature.bytes.size() != kSignatureBytes) return false;
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes(signature.key), signature.key.size()), EVP_PKEY_free);
  const Context context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes(signature.bytes), signature.bytes.size(), bytes(message), message.size()) == 1;
}

std::string to_text(const Signature& signature) {
  std::string out(kFirstLine);
  out.append(kKeyWord).append(base64url_encode(signature.key)).append("\n");
  out.append(kSignatureWord).append(base64url_encode(signature.bytes)).append("\n");
  return out;
}

Result<Signature> parse_signature(std::string_view text) {
  const auto wrong = [] { return fail(Code::refused, "The bundle's SIGNATURE is not of a form that this version knows."); };
  std::string_view rest = text;
  const auto take = [&](std::string_view word) {
    const bool there = rest.starts_with(word);
    if (there) rest.remove_prefix(word.size());
    return there;
  };
  const auto line = [&] {
    const std::string_view out = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(out.size() + 1, rest.size()));
    return base64url_decode(out).value_or("");
  };
  Signature out;
  if (!take(kFirstLine) || !take(kKeyWord)) return wrong();
  out.key = line();
  if (!take(kSignatureWord)) return wrong();
  out.bytes = line();
  if (out.key.size() != kKeyBytes || out.bytes.size() != kSignatureBytes || to_text(out) != text) return wrong();
  return out;
}

}  // namespace via::bundle
