// Seals the secrets of apps and opens them again: AES-256-GCM under a key of the app, derived from the master key. A box is
// bound to its key's name and generation, so that one row's box does not open in another's place. Thread: any.
#pragma once

#include <string>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"
#include "core/config/values.hpp"
#include "core/plugins/secret_box.hpp"

namespace via::config {

class Sealer {
 public:
  explicit Sealer(const plugins::SecretBox& box) : box_(box) {}
  Result<std::string> seal(const std::string& app_id, const std::string& key, std::uint32_t generation,
                           const Secret& value) const;
  // `unavailable` when this host cannot open it: its master key is not the one that sealed it.
  Result<Secret> unseal(const std::string& app_id, const Value& value) const;
  // What "${secret}" stands for in a derived value of this generation (plugins::SecretBox::credential).
  Result<Secret> credential(const std::string& binding_id, std::uint32_t generation) const {
    return box_.credential(binding_id, generation);
  }

 private:
  const plugins::SecretBox& box_;
};

}  // namespace via::config
