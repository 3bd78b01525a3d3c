// The one decision: may this caller do this operation on this binding now? A pure function of the verified claims,
// the caller's grant and the request. Thread: any; no lock, no allocation unless it refuses.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/authorization/grant.hpp"
#include "core/base/error.hpp"
#include "core/identity/claims.hpp"

namespace via::authorization {

struct Allowed {
  const BindingGrant* binding;
  int operation;              // index into the type's operations
  std::uint32_t generation;   // the one named, else the newest live one
};

// instance_unknown when `grant` is null or belongs to another app, deploy or release than the token's; unbound;
// not_found (no such operation); scope_denied; generation_unknown; generation_revoked.
Result<Allowed> decide(const identity::Claims& claims, const InstanceGrant* grant, std::string_view binding,
                       std::string_view operation, std::optional<std::uint32_t> generation);

// The same for the type's own HTTP routes (Allowed::operation is -1).
Result<Allowed> decide_http(const identity::Claims& claims, const InstanceGrant* grant, std::string_view binding,
                            std::optional<std::uint32_t> generation);

// The first half: is this instance running under these claims?
Result<void> check_instance(const identity::Claims& claims, const InstanceGrant* grant);
// Is this generation of the binding live?
Result<void> check_generation(const BindingGrant& binding, std::uint32_t generation);

}  // namespace via::authorization
