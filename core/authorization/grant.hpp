// What one running instance may do, in the form the hot path needs it: found by one hash walk, never changed.
//
// Grants are made by lifecycle/ from the control-plane store, owned by the Index and shared with the requests that
// run under them. Thread: any (immutable once published).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/ids.hpp"

namespace via::plugins {
class AddonInstance;
}

namespace via::authorization {

// The binding of a release: an add-on under a stable name.
struct BindingGrant {
  std::string binding;     // "DATABASE"
  std::string binding_id;  // "bind_…"
  Ulid binding_ulid{};     // the same as 16 bytes, so that a request does not parse it
  std::string addon_id;    // "addon_…"
  std::string type;        // the add-on type's id
  bool read_only = false;
  std::vector<std::string> scopes;               // what the release may do, from the type's manifest
  std::vector<std::uint32_t> live_generations;   // ascending; empty = every credential was revoked
  std::uint32_t newest_generation = 0;           // the highest ever made, live or not
  std::string descriptor;                        // members of the descriptor object: "\"mode\":\"proxy\",…"
  std::vector<std::pair<std::string, std::string>> derived;  // {"DATABASE_URL", "${endpoint}"}
  std::shared_ptr<plugins::AddonInstance> instance;          // never null
  std::uint32_t snapshot_generation = 1;  // the release's own; earlier ones belong to other releases (generation_unknown)

  bool is_live(std::uint32_t generation) const noexcept {
    for (const std::uint32_t g : live_generations)
      if (g == generation) return true;
    return false;
  }
};

// Which generation of a binding an instance was last given or presented, so that an operator sees who a revoke would
// hit. One cell lives as long as the instance, through every grant that replaces another. Thread: any.
class GenerationUse {
 public:
  void note(std::uint32_t generation, std::int64_t unix_seconds) noexcept {
    const std::uint64_t now = (static_cast<std::uint64_t>(unix_seconds) << 24) | (generation & 0xffffffU);
    if (last_.load(std::memory_order_relaxed) != now) last_.store(now, std::memory_order_relaxed);
  }
  std::uint32_t generation() const noexcept { return static_cast<std::uint32_t>(last_.load() & 0xffffffU); }  // 0 = none
  std::int64_t unix_seconds() const noexcept { return static_cast<std::int64_t>(last_.load() >> 24); }

 private:
  std::atomic<std::uint64_t> last_{0};  // seconds << 24 | generation
};

// The bindings of one release, in a steady order. A release has a handful: a scan beats a table, but only a scan that
// stays in one array, so the names' hashes lie beside the pointers and a binding is touched when its own matches.
class BindingList {
 public:
  using Bindings = std::vector<std::shared_ptr<const BindingGrant>>;

  BindingList() = default;
  BindingList(Bindings bindings) : bindings_(std::move(bindings)) {  // NOLINT: a list of bindings is one
    names_.reserve(bindings_.size());
    for (const auto& b : bindings_) names_.push_back({hash(b->binding), b.get()});
  }

  // Null when there is none of that name.
  const BindingGrant* find(std::string_view binding) const noexcept {
    const std::uint32_t wanted = hash(binding);
    for (const Name& name : names_)
      if (name.hash == wanted && name.of->binding == binding) return name.of;
    return nullptr;
  }

  const std::shared_ptr<const BindingGrant>& operator[](std::size_t i) const noexcept { return bindings_[i]; }
  std::size_t size() const noexcept { return bindings_.size(); }
  bool empty() const noexcept { return bindings_.empty(); }
  Bindings::const_iterator begin() const noexcept { return bindings_.begin(); }
  Bindings::const_iterator end() const noexcept { return bindings_.end(); }

 private:
  struct Name {
    std::uint32_t hash;
    const BindingGrant* of;
  };
  static std::uint32_t hash(std::string_view name) noexcept {
    return static_cast<std::uint32_t>(std::hash<std::string_view>{}(name));
  }

  Bindings bindings_;
  std::vector<Name> names_;  // in the order of bindings_
};

struct InstanceGrant {
  std::string instance;  // "ins_…"
  std::string app, deploy, release, env;
  BindingList bindings;
  std::vector<std::shared_ptr<GenerationUse>> uses;  // one for each binding, in their order; may be empty in tests

  void note_use(const BindingGrant* binding, std::uint32_t generation, std::int64_t unix_seconds) const noexcept {
    for (std::size_t i = 0; i < uses.size(); ++i)
      if (bindings[i].get() == binding) uses[i]->note(generation, unix_seconds);
  }

  const BindingGrant* find(std::string_view binding) const noexcept { return bindings.find(binding); }
};

}  // namespace via::authorization
