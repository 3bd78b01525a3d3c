// Shares: add-ons that a capability URL leads to. Who has the URL may use the add-on's own HTTP routes, within the share's
// limits, without any token.
//
// The capability in the URL is 32 random bytes; only its SHA-256 is kept, so that nobody who reads the control plane or a
// backup of it can make the URL. A restore of the whole host revokes those of before.
// Thread: Shares: the control thread; the rest any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/digest.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/secret.hpp"
#include "core/store/database.hpp"

namespace via::shares {

struct Share {
  std::string id, addon_id, addon, app, type;  // "share_…"
  Digest hash{};                               // of the capability
  bool read_only = false;
  bool query_only = false;  // GET of shareable queries and nothing else; read_only as well
  std::string database;     // the one it reaches, empty = all of the add-on's
  std::uint32_t rate = 0;   // requests a second, from 1 to kMaximumRate
  std::string note;
  std::int64_t created_at = 0, expires_at = 0, revoked_at = 0;  // Unix ms, 0 = never

  bool live(std::int64_t now_ms) const { return revoked_at == 0 && (expires_at == 0 || now_ms < expires_at); }
};

inline constexpr std::uint32_t kDefaultRate = 100, kMaximumRate = 100'000;

// "cap_" and 43 characters of base64url.
Secret make_capability(Entropy& entropy);
// The hash of what stands in a URL; nothing when it has not the form of a capability.
std::optional<Digest> hash_of(std::string_view capability);

class Shares {
 public:
  explicit Shares(store::Database& db) : db_(db) {}
  Result<void> insert(const Share& share);
  Result<std::optional<Share>> find(const std::string& id);
  // Those that were not revoked, expired ones as well, newest first; of one add-on, or of all when `addon_id` is empty.
  Result<std::vector<Share>> list(std::string_view addon_id = {});
  Result<void> revoke(const std::string& id, std::int64_t now_ms);
  Result<void> revoke_all_of_addon(const std::string& addon_id, std::int64_t now_ms);
  Result<void> revoke_all(std::int64_t now_ms);

 private:
  store::Database& db_;
};

}  // namespace via::shares
