// The owner of the authorization index, and the one way to change what instances may do.
//
// The index is immutable and replaced after each control-plane commit. Every I/O thread holds a reference of its own
// and is told of a new one by a task on its event loop, so the hot path reads it with no lock and no shared counter.
// Thread: publish() one caller at a time (lifecycle's control thread; blocks for a turn of each I/O thread); current() any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/authorization/grant.hpp"
#include "core/authorization/share_grant.hpp"

namespace via::authorization {

class Index {
 public:
  Index();
  ~Index();
  // Null when the instance is unknown or stopped.
  const InstanceGrant* find(std::string_view instance) const noexcept;
  // The same, kept alive beyond this index.
  std::shared_ptr<const InstanceGrant> share(std::string_view instance) const;
  std::size_t size() const noexcept;
  // Null when no share has a capability of this hash.
  std::shared_ptr<const ShareGrant> find_share(const Digest& hash) const;

 private:
  friend class Authority;
  struct Shard;
  struct ShareMap;
  std::vector<std::shared_ptr<const Shard>> shards_;  // by hash of the instance id; a change copies one shard
  std::shared_ptr<const ShareMap> shares_;            // by hash; a change of one copies the map
};

struct Change {
  std::vector<std::shared_ptr<const InstanceGrant>> granted;  // new, or replacing the one with the same id
  std::vector<std::string> removed;                           // instance ids
  bool takes_away = false;  // some right ended: quiesce() follows
  std::vector<std::shared_ptr<const ShareGrant>> shares{};    // new ones
  std::vector<std::shared_ptr<const ShareGrant>> unshared{};  // those that end
};

class Authority {
 public:
  Authority();
  ~Authority();

  std::shared_ptr<const Index> current() const;

  // Makes the change visible and returns when every I/O thread uses the new index: from then on nothing is authorised under
  // the old grants. What may still run under them: the answer, empty unless takes_away, is for quiesce().
  [[nodiscard]] std::vector<std::string> publish(Change change);
  // Returns when no operation that was admitted before runs for these instances or shares: those that go on are cancelled, and
  // given up when they do not hear of it. Bounded by some two seconds whatever they do; nothing of them is delivered or
  // committed after it. Thread: any, several at once; blocks, so never under the control plane's lock.
  void quiesce(const std::vector<std::string>& ids);
  // The same with the whole world at once (start). Takes nothing away.
  void replace_all(std::vector<std::shared_ptr<const InstanceGrant>> all, std::vector<std::shared_ptr<const ShareGrant>> shares = {});

  // Wired by the server. `deliver(index)` gives the index to every I/O thread and returns when all have it;
  // `quiesce(ids)` returns when no operation admitted before it runs for these instances or shares.
  struct Listener {
    std::function<void(std::shared_ptr<const Index>)> deliver;
    std::function<void(const std::vector<std::string>& ids)> quiesce;
  };
  void set_listener(Listener listener);

 private:
  struct Impl;
  void deliver(const std::shared_ptr<const Index>& index);
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::authorization
