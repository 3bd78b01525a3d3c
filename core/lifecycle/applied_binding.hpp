// One credential generation at its plugin: applied there, and described as the app will be told. What is kept of it is made here,
// once for each generation. Thread: worker; blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/bindings/binding.hpp"
#include "core/catalog/addon.hpp"
#include "core/plugins/addon_host.hpp"
#include "core/plugins/applied.hpp"

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
// Every generation that lives, of every binding of an add-on whose storage was made anew (a host that was restored) or has lost
// some of them, and what its apps are told of it. Nothing to do for types whose credentials are the host's.
Result<void> reapply_bindings(plugins::AddonHost& addons, bindings::Bindings& bindings, const catalog::Addon& addon);

// What of an add-on's credentials is not at its plugin as the control plane has it.
struct CredentialsAmiss {
  struct One {
    std::string binding_id, binding, app;  // the last two empty when no such binding is known
    std::uint32_t generation = 0;
  };
  std::vector<One> missing;  // live, and gone there: who is told of it cannot log in
  std::vector<One> revived;  // there, and revoked or unknown here: who kept it can still log in
};
// `bound` = Bindings::all_of_addon().
CredentialsAmiss compare_credentials(const std::vector<bindings::Binding>& bound, const std::vector<plugins::AppliedCredential>& applied);

// What an operator is told stays where it is when a plugin could not remove it: the member "left_behind" of its error.
std::vector<std::string> left_behind_of(const Error& error);

}  // namespace via::lifecycle
