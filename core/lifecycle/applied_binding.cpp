// See applied_binding.hpp.
#include "core/lifecycle/applied_binding.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/store/try.hpp"

namespace via::lifecycle {

using nlohmann::json;

Result<Described> apply_binding(plugins::AddonHost& addons, const catalog::Addon& addon, const PlannedBinding& plan,
                                std::uint32_t generation) {
  VIA_TRY_LET(type, addons.type(addon.type));
  VIA_TRY_LET(instance, addons.instance(addon.id, addon.type, addon.config));
  plugins::BindingSpec spec{plan.id, generation, type->scopes_for(plan.read_only)};
  VIA_TRY(addons.bind(*instance, spec));
  VIA_TRY_LET(description, addons.describe(*instance, spec));

  // A descriptor is shown to operators and kept by apps; only a derived value, which is marked as a secret, may hold one, and
  // only where the host made it.
  static constexpr std::string_view kSecret = "${secret}";
  bool refers = description.descriptor.find(kSecret) != std::string::npos;
  if (type->credentials != "plugin-applied")
    for (const auto& [suffix, text] : description.derived) refers = refers || text.find(kSecret) != std::string::npos;
  if (refers)
    return fail(Code::internal, "the plugin refers to ${secret} where it may not: only derived values of a type with "
                                "\"credentials\": \"plugin-applied\" hold secrets");
  auto members = nlohmann::ordered_json::parse("{" + description.descriptor + "}", nullptr, false);
  if (!members.is_object()) return fail(Code::internal, "the plugin's descriptor is not made of JSON members");
  for (const char* own : {"binding", "type", "scope", "generation"}) members.erase(own);
  members["access"] = plan.read_only ? "read_only" : "read_write";
  members["endpoint"] = "/v1/runtime/addons/" + plan.name;
  if (!members.contains("operations")) {
    auto operations = nlohmann::ordered_json::array();
    for (const auto& operation : type->ops) {
      bool allowed = true;
      for (const auto& scope : operation.scopes)
        allowed = allowed && std::find(spec.scopes.begin(), spec.scopes.end(), scope) != spec.scopes.end();
      if (allowed) operations.push_back(operation.name);
    }
    members["operations"] = std::move(operations);
  }
  json derived = json::object();
  for (const auto& [suffix, text] : description.derived)
    if (std::find(type->derived.begin(), type->derived.end(), suffix) != type->derived.end()) derived[suffix] = text;

  const auto replace = json::error_handler_t::replace;
  const std::string object = members.dump(-1, ' ', false, replace);
  return Described{object.substr(1, object.size() - 2), derived.dump(-1, ' ', false, replace)};
}

Result<void> reapply_bindings(plugins::AddonHost& addons, bindings::Bindings& bindings, const catalog::Addon& addon) {
  VIA_TRY_LET(type, addons.type(addon.type));
  if (type->credentials != "plugin-applied") return {};
  VIA_TRY_LET(all, bindings.all_of_addon(addon.id));
  for (const auto& binding : all)
    for (const auto& one : binding.generations) {
      if (!one.live) continue;
      VIA_TRY_LET(described, apply_binding(addons, addon, {binding.id, binding.name, binding.read_only}, one.generation));
      VIA_TRY(bindings.describe_generation(binding.id, one.generation, described.descriptor, described.derived));
    }
  return {};
}

CredentialsAmiss compare_credentials(const std::vector<bindings::Binding>& bound, const std::vector<plugins::AppliedCredential>& applied) {
  CredentialsAmiss out;
  std::vector<plugins::AppliedCredential> expected;
  for (const auto& binding : bound)
    for (const auto& one : binding.generations) {
      if (!one.live) continue;
      expected.push_back({ulid_of(binding.id), one.generation});
      if (std::find(applied.begin(), applied.end(), expected.back()) == applied.end())
        out.missing.push_back({binding.id, binding.name, binding.app, one.generation});
    }
  for (const auto& one : applied) {
    if (std::find(expected.begin(), expected.end(), one) != expected.end()) continue;
    const auto known = std::find_if(bound.begin(), bound.end(), [&](const auto& b) { return ulid_of(b.id) == one.binding; });
    if (known == bound.end())
      out.revived.push_back({"bind_" + to_text(one.binding), {}, {}, one.generation});
    else
      out.revived.push_back({known->id, known->name, known->app, one.generation});
  }
  return out;
}

std::vector<std::string> left_behind_of(const Error& error) {
  std::vector<std::string> out;
  const auto details = json::parse("{" + error.details + "}", nullptr, false);
  if (!details.is_object()) return out;
  const auto left = details.find("left_behind");
  if (left == details.end() || !left->is_array()) return out;
  for (const auto& one : *left)
    if (one.is_string()) out.push_back(one.get<std::string>());
  return out;
}

}  // namespace via::lifecycle
