// One credential generation at its plugin: applied there, and described as the app will be told. What is kept of it is made here,
// once for each generation. Thread: worker; blocks.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/error.hpp"
#include "core/bindings/binding.hpp"
#include "core/catalog/addon.hpp"
#include "core/plugins/addon_host.hpp"

namespace via::lifecycle {

struct Described {
  std::string descriptor, derived;  // as the generations table keeps them
};
struct PlannedBinding {
  std::string id, name;
  bool read_only = false;
};

// The plugin's bind (or rotate) and describe. Again is fine.
Result<Described> apply_binding(plugins::AddonHost& addons, const catalog::Addon& addon, const PlannedBinding& plan,
                                std::uint32_t generation);
// Every generation that lives, of every binding of an add-on whose storage was made anew (a host that was restored), and what its
// apps are told of it. Nothing to do for types whose credentials are the host's.
Result<void> reapply_bindings(plugins::AddonHost& addons, bindings::Bindings& bindings, const catalog::Addon& addon);

}  // namespace via::lifecycle
