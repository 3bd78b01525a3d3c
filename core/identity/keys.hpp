// The signing keys of this installation: P-256 keys in <state-dir>/keys/, one PEM file each (0600), and their states
// in keys.json, both replaced atomically. prepared -> active -> retiring -> revoked.
//
// `prepared` is published but does not sign yet, `active` signs (exactly one), `retiring` still verifies, `revoked`
// does neither and stays listed. Loading refuses unreadable, truncated, empty, foreign, group-readable or linked
// files, keys that are not on P-256 and a key id that stands twice.
//
// A retiring key verifies for one more day, which is the longest life of a token, and counts as revoked from then on
// whether or not anything is written. The private half of a revoked key is deleted. A prepared key does not verify:
// nothing can have been signed with it.
// Thread: any; changes take a mutex and replace an immutable KeySet.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"

namespace via::identity {

enum class KeyState { prepared, active, retiring, revoked };
std::string_view to_string(KeyState state) noexcept;

struct KeyInfo {
  std::string kid;
  KeyState state = KeyState::prepared;
  std::int64_t created_at = 0, activated_at = 0, retires_at = 0;  // Unix ms, 0 = not yet
};

class KeySet;  // immutable: verification and signing keys by kid

class Keys {
 public:
  // Opens the folder, or makes it with a first active key when it is empty and `create` is set.
  static Result<std::unique_ptr<Keys>> open(std::filesystem::path folder, bool create, const Clock& clock,
                                            Entropy& entropy);
  ~Keys();

  std::vector<KeyInfo> list() const;
  Result<KeyInfo> rotate();                       // the active key starts to retire, a new one becomes active
  bool discard_unlisted();                        // files of keys whose list was never written; false = not all could be removed
  Result<void> revoke(std::string_view kid);      // not_found; refused for the only active key
  std::shared_ptr<const KeySet> current() const;  // changes identity when a state changes
  // The identity of current() without taking a share of it: one atomic load, for TokenCache::find and peek. Only to be
  // compared, never followed.
  const KeySet* peek() const noexcept;
  std::string jwks() const;                       // {"keys":[…]} of every key that is not revoked

 private:
  Keys();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::identity
