#include "core/authorization/decision.hpp"

#include <algorithm>

#include "core/plugins/instance.hpp"

namespace via::authorization {

Result<void> check_instance(const identity::Claims& claims, const InstanceGrant* grant) {
  if (grant == nullptr || grant->app != claims.app || grant->deploy != claims.deploy ||
      grant->release != claims.release || grant->env != claims.env) [[unlikely]]
    return fail(Code::instance_unknown, "This runtime instance is not running any more, or never was.");
  return {};
}

Result<void> check_generation(const BindingGrant& binding, std::uint32_t generation) {
  if (binding.is_live(generation)) [[likely]]
    return {};
  if (generation < binding.snapshot_generation || generation > binding.newest_generation)
    return fail(Code::generation_unknown, "This credential generation does not belong to the binding.");
  return fail(Code::generation_revoked, "This credential generation was revoked. Resolve the binding again.");
}

namespace {

Result<const BindingGrant*> find_binding(const identity::Claims& claims, const InstanceGrant* grant, std::string_view name) {
  if (auto known = check_instance(claims, grant); !known) return known.error();
  const BindingGrant* binding = grant->find(name);
  if (binding == nullptr)
    return fail(Code::unbound, "This release has no binding of that name. Bind it, then deploy again.");
  return binding;
}

// With these scopes and this generation.
Result<Allowed> admit(const BindingGrant& binding, int operation, const std::vector<std::string>& scopes,
                      std::optional<std::uint32_t> generation) {
  for (const std::string& scope : scopes)
    if (std::find(binding.scopes.begin(), binding.scopes.end(), scope) == binding.scopes.end())
      return fail(Code::scope_denied, binding.read_only ? "This binding is read-only."
                                                        : "This binding does not allow the operation.");
  if (generation) {
    if (auto live = check_generation(binding, *generation); !live) return live.error();
    return Allowed{&binding, operation, *generation};
  }
  if (binding.live_generations.empty())
    return fail(Code::generation_revoked, "Every credential generation of this binding was revoked.");
  return Allowed{&binding, operation, binding.live_generations.back()};
}

}  // namespace

Result<Allowed> decide(const identity::Claims& claims, const InstanceGrant* grant, std::string_view binding_name,
                       std::string_view operation, std::optional<std::uint32_t> generation) {
  const auto binding = find_binding(claims, grant, binding_name);
  if (!binding) return binding.error();
  const int op = (*binding)->instance->find_operation(operation);
  if (op < 0) return fail(Code::not_found, "This add-on type has no such operation.");
  return admit(**binding, op, (*binding)->instance->type().ops[static_cast<std::size_t>(op)].scopes, generation);
}

Result<Allowed> decide_http(const identity::Claims& claims, const InstanceGrant* grant, std::string_view binding_name,
                            std::optional<std::uint32_t> generation) {
  const auto binding = find_binding(claims, grant, binding_name);
  if (!binding) return binding.error();
  const plugins::HttpRoutes& http = (*binding)->instance->type().http;
  if (http.prefix.empty()) return fail(Code::not_found, "This add-on type answers no HTTP requests.");
  return admit(**binding, -1, http.scopes, generation);
}

}  // namespace via::authorization
