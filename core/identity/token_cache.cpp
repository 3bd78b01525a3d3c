#include <bit>
#include <cstring>

#include <boost/unordered/unordered_flat_map.hpp>
#include <openssl/crypto.h>

#include "core/identity/key_set.hpp"
#include "core/identity/tokens.hpp"

namespace via::identity {
namespace {

// The end of a token is the end of its signature, so 64 of its characters tell tokens apart as well as all of them
// would. Equality compares the whole text. Only verified tokens are stored, so collisions cannot be planted.
struct TailHash {
  using is_avalanching = void;
  std::size_t operator()(std::string_view token) const noexcept {
    constexpr std::size_t kTail = 64;
    char tail[kTail] = {};
    const std::size_t length = token.size() < kTail ? token.size() : kTail;
    std::memcpy(tail, token.data() + (token.size() - length), length);
    std::uint64_t state = 0x9e3779b97f4a7c15U ^ token.size();
    for (std::size_t i = 0; i < kTail; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, tail + i, 8);
      state = std::rotl((state ^ word) * 0xff51afd7ed558ccdU, 29);
    }
    state ^= state >> 32;
    state *= 0xc4ceb9fe1a85ec53U;
    return static_cast<std::size_t>(state ^ (state >> 29));
  }
};

struct Slot {
  std::string token;
  std::shared_ptr<const Claims> claims;
  std::int64_t expires_at = 0;
  bool used = false;
};

}  // namespace

struct TokenCache::Impl {
  explicit Impl(std::size_t most) : capacity(most == 0 ? 1 : most) {}
  ~Impl() { clear(); }

  void drop(Slot& slot) {
    map.erase(slot.token);
    OPENSSL_cleanse(slot.token.data(), slot.token.size());
    slot.token.clear();
    slot.claims.reset();
    slot.used = false;
  }
  void clear() {
    for (Slot& slot : slots)
      if (slot.claims) drop(slot);
    slots.clear();
    free.clear();
    hand = 0;
  }
  // An empty slot. `slots` is reserved for all of them, so the map's views of their texts stay good.
  std::uint32_t take() {
    if (!free.empty()) {
      const std::uint32_t index = free.back();
      free.pop_back();
      return index;
    }
    if (slots.size() < capacity) {
      if (slots.capacity() < capacity) slots.reserve(capacity);
      slots.emplace_back();
      return static_cast<std::uint32_t>(slots.size() - 1);
    }
    for (;; hand = (hand + 1) % slots.size()) {
      Slot& slot = slots[hand];
      if (!slot.used) break;
      slot.used = false;
    }
    const auto index = static_cast<std::uint32_t>(hand);
    hand = (hand + 1) % slots.size();
    drop(slots[index]);
    return index;
  }

  const std::size_t capacity;
  boost::unordered_flat_map<std::string_view, std::uint32_t, TailHash> map;
  std::vector<Slot> slots;
  std::vector<std::uint32_t> free;
  std::size_t hand = 0;
  std::shared_ptr<const KeySet> keys;  // held, so that its address is not given to another
};

TokenCache::TokenCache(std::size_t capacity) : impl_(std::make_unique<Impl>(capacity)) {}
TokenCache::~TokenCache() = default;

const std::shared_ptr<const Claims>* TokenCache::peek(std::string_view token, const KeySet* keys,
                                                      std::int64_t unix_seconds) {
  if (token.empty() || keys != impl_->keys.get()) return nullptr;
  const auto found = impl_->map.find(token);
  if (found == impl_->map.end()) return nullptr;
  const std::uint32_t index = found->second;
  Slot& slot = impl_->slots[index];
  if (unix_seconds >= slot.expires_at) {
    impl_->drop(slot);
    impl_->free.push_back(index);
    return nullptr;
  }
  slot.used = true;
  return &slot.claims;
}

std::shared_ptr<const Claims> TokenCache::find(std::string_view token, const KeySet* keys, std::int64_t unix_seconds) {
  const auto* found = peek(token, keys, unix_seconds);
  return found == nullptr ? nullptr : *found;
}

std::shared_ptr<const Claims> TokenCache::insert(std::string_view token, std::shared_ptr<const KeySet> keys,
                                                 Claims claims) {
  Impl& impl = *impl_;
  auto shared = std::make_shared<const Claims>(std::move(claims));
  if (token.size() > kMaximumTokenBytes) return shared;
  if (keys != impl.keys) {
    impl.clear();
    impl.keys = std::move(keys);
  }
  if (const auto found = impl.map.find(token); found != impl.map.end()) {
    Slot& slot = impl.slots[found->second];
    slot.expires_at = shared->expires_at;
    slot.claims = shared;
    return shared;
  }
  const std::uint32_t index = impl.take();
  Slot& slot = impl.slots[index];
  slot.token.assign(token);
  slot.claims = shared;
  slot.expires_at = shared->expires_at;
  impl.map.emplace(std::string_view(slot.token), index);
  return shared;
}

std::size_t TokenCache::size() const noexcept { return impl_->map.size(); }

}  // namespace via::identity
