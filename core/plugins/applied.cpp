#include "core/plugins/applied.hpp"

#include <nlohmann/json.hpp>

namespace via::plugins {

std::optional<std::vector<AppliedCredential>> applied_credentials(std::string_view health_json) {
  const auto said = nlohmann::json::parse(health_json, nullptr, false);
  if (!said.is_object()) return std::nullopt;
  const auto list = said.find("credentials");
  if (list == said.end() || !list->is_array()) return std::nullopt;
  std::vector<AppliedCredential> out;
  for (const auto& one : *list) {
    if (!one.is_object()) return std::nullopt;
    const auto binding = one.find("binding"), generation = one.find("generation");
    AppliedCredential credential;
    if (binding == one.end() || !binding->is_string() || generation == one.end() || !generation->is_number_unsigned() ||
        !parse_ulid(binding->get_ref<const std::string&>(), credential.binding))
      return std::nullopt;
    if (generation->get<std::uint64_t>() > UINT32_MAX) return std::nullopt;
    credential.generation = generation->get<std::uint32_t>();
    out.push_back(credential);
  }
  return out;
}

}  // namespace via::plugins
