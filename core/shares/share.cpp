#include "core/shares/share.hpp"

#include <algorithm>
#include <array>

#include <openssl/crypto.h>

#include "core/base/base64.hpp"

namespace via::shares {
namespace {

constexpr std::string_view kPrefix = "cap_";
constexpr std::size_t kRandomBytes = 32, kTextBytes = 43;

// The columns of select(), in its order: from shares s joined with addons a and apps p.
Share share(const store::Row& r) {
  Share s;
  s.id = r.text(0);
  s.addon_id = r.text(1);
  s.addon = r.text(2);
  s.app = r.text(3);
  s.type = r.text(4);
  if (const auto hash = digest_of_hex(r.text(5))) s.hash = *hash;
  s.read_only = r.integer(6) != 0;
  s.query_only = r.integer(7) != 0;
  s.database = r.text(8);
  s.rate = static_cast<std::uint32_t>(r.integer(9));
  s.note = r.text(10);
  s.created_at = r.integer(11);
  s.expires_at = r.integer(12);
  s.revoked_at = r.integer(13);
  return s;
}

std::string select(std::string_view rest) {
  std::string sql =
      "SELECT s.id, s.addon_id, a.name, p.name, a.type, s.hash, s.read_only, s.query_only, s.database, s.rate, s.note, "
      "s.created_at, s.expires_at, s.revoked_at FROM shares s JOIN addons a ON a.id=s.addon_id JOIN apps p ON p.id=a.app_id ";
  return sql.append(rest);
}

bool base64url_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

Secret make_capability(Entropy& entropy) {
  std::array<std::uint8_t, kRandomBytes> random{};
  entropy.fill(random);
  Secret out(std::string(kPrefix) + base64url_encode(std::span<const std::uint8_t>(random)));
  OPENSSL_cleanse(random.data(), random.size());
  return out;
}

std::optional<Digest> hash_of(std::string_view capability) {
  if (capability.size() != kPrefix.size() + kTextBytes || !capability.starts_with(kPrefix) ||
      !std::all_of(capability.begin(), capability.end(), base64url_char))
    return std::nullopt;
  return sha256(capability);
}

Result<void> Shares::insert(const Share& s) {
  return db_.run(
      "INSERT INTO shares (id, addon_id, hash, read_only, query_only, database, rate, note, created_at, expires_at) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
      s.id, s.addon_id, hex(s.hash), s.read_only, s.query_only, s.database, s.rate, s.note, s.created_at, s.expires_at);
}

Result<std::optional<Share>> Shares::find(const std::string& id) { return db_.one(share, select("WHERE s.id=?1"), id); }

Result<std::vector<Share>> Shares::list(std::string_view addon_id) {
  return db_.all(share, select("WHERE s.revoked_at=0 AND (?1='' OR s.addon_id=?1) ORDER BY s.created_at DESC, s.id DESC"), addon_id);
}

Result<void> Shares::revoke(const std::string& id, std::int64_t now_ms) {
  return db_.run("UPDATE shares SET revoked_at=?2 WHERE id=?1 AND revoked_at=0", id, now_ms);
}

Result<void> Shares::revoke_all_of_addon(const std::string& addon_id, std::int64_t now_ms) {
  return db_.run("UPDATE shares SET revoked_at=?2 WHERE addon_id=?1 AND revoked_at=0", addon_id, now_ms);
}

Result<void> Shares::revoke_all(std::int64_t now_ms) { return db_.run("UPDATE shares SET revoked_at=?1 WHERE revoked_at=0", now_ms); }

}  // namespace via::shares
