#include "core/authorization/authority.hpp"

#include <cstring>
#include <mutex>
#include <shared_mutex>

#include <boost/unordered/unordered_flat_map.hpp>

#include "core/plugins/instance.hpp"

namespace via::authorization {
namespace {

constexpr std::size_t kShards = 256;

// Instance ids are random, so a cheap hash spreads them.
struct IdHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};
using Map = boost::unordered_flat_map<std::string, std::shared_ptr<const InstanceGrant>, IdHash, std::equal_to<>>;

// A part of a hash is a hash.
struct DigestHash {
  std::size_t operator()(const Digest& digest) const noexcept {
    std::size_t out = 0;
    std::memcpy(&out, digest.data(), sizeof out);
    return out;
  }
};

std::size_t shard_of(std::string_view id) noexcept { return (IdHash{}(id) >> 24) % kShards; }

}  // namespace

struct Index::Shard {
  Map map;
};

struct Index::ShareMap {
  boost::unordered_flat_map<Digest, std::shared_ptr<const ShareGrant>, DigestHash> map;
};

Index::Index() : shards_(kShards, std::make_shared<const Shard>()), shares_(std::make_shared<const ShareMap>()) {}
Index::~Index() = default;

const InstanceGrant* Index::find(std::string_view instance) const noexcept {
  const Map& map = shards_[shard_of(instance)]->map;
  const auto it = map.find(instance);
  return it == map.end() ? nullptr : it->second.get();
}

std::shared_ptr<const InstanceGrant> Index::share(std::string_view instance) const {
  const Map& map = shards_[shard_of(instance)]->map;
  const auto it = map.find(instance);
  return it == map.end() ? nullptr : it->second;
}

std::size_t Index::size() const noexcept {
  std::size_t n = 0;
  for (const auto& shard : shards_) n += shard->map.size();
  return n;
}

std::shared_ptr<const ShareGrant> Index::find_share(const Digest& hash) const {
  const auto it = shares_->map.find(hash);
  return it == shares_->map.end() ? nullptr : it->second;
}

struct Authority::Impl {
  mutable std::mutex mutex;              // guards current
  std::shared_ptr<const Index> current = std::make_shared<const Index>();
  std::mutex publishing;                 // one publish at a time
  std::shared_mutex wiring;              // shared while the listener is used
  Listener listener;                     // guarded by wiring
};

Authority::Authority() : impl_(std::make_unique<Impl>()) {}
Authority::~Authority() = default;

std::shared_ptr<const Index> Authority::current() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->current;
}

void Authority::set_listener(Listener listener) {
  const std::lock_guard lock(impl_->wiring);
  impl_->listener = std::move(listener);
}

std::vector<std::string> Authority::publish(Change change) {
  const std::lock_guard publishing(impl_->publishing);
  auto next = std::make_shared<Index>(*current());
  std::vector<std::shared_ptr<Index::Shard>> copies(kShards);
  const auto shard = [&](std::string_view id) -> Map& {
    const std::size_t at = shard_of(id);
    if (!copies[at]) {
      copies[at] = std::make_shared<Index::Shard>(*next->shards_[at]);
      next->shards_[at] = copies[at];
    }
    return copies[at]->map;
  };
  std::vector<std::string> touched;
  for (auto& grant : change.granted) {
    touched.push_back(grant->instance);
    shard(grant->instance)[grant->instance] = std::move(grant);
  }
  for (auto& id : change.removed) {
    shard(id).erase(id);
    touched.push_back(std::move(id));
  }
  if (!change.shares.empty() || !change.unshared.empty()) {
    auto shares = std::make_shared<Index::ShareMap>(*next->shares_);
    for (auto& share : change.shares) shares->map.insert_or_assign(share->hash, share);
    for (const auto& share : change.unshared) {
      shares->map.erase(share->hash);
      touched.push_back(share->id);
    }
    next->shares_ = std::move(shares);
  }
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->current = next;
  }
  deliver(next);
  if (!change.takes_away) touched.clear();
  return touched;
}

void Authority::deliver(const std::shared_ptr<const Index>& index) {
  const std::shared_lock wiring(impl_->wiring);
  if (impl_->listener.deliver) impl_->listener.deliver(index);
}

void Authority::quiesce(const std::vector<std::string>& ids) {
  if (ids.empty()) return;
  const std::shared_lock wiring(impl_->wiring);
  if (impl_->listener.quiesce) impl_->listener.quiesce(ids);
}

void Authority::replace_all(std::vector<std::shared_ptr<const InstanceGrant>> all,
                            std::vector<std::shared_ptr<const ShareGrant>> shares) {
  const std::lock_guard publishing(impl_->publishing);
  auto next = std::make_shared<Index>();
  std::vector<std::shared_ptr<Index::Shard>> shards(kShards);
  for (std::size_t i = 0; i < kShards; ++i) {
    shards[i] = std::make_shared<Index::Shard>();
    next->shards_[i] = shards[i];
  }
  for (auto& grant : all) {
    const std::string& id = grant->instance;
    shards[shard_of(id)]->map[id] = std::move(grant);
  }
  auto shared = std::make_shared<Index::ShareMap>();
  for (auto& share : shares) shared->map.insert_or_assign(share->hash, share);
  next->shares_ = std::move(shared);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->current = next;
  }
  deliver(next);
}

}  // namespace via::authorization
