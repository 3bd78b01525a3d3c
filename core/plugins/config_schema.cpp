#include "core/plugins/config_schema.hpp"

#include <nlohmann/json.hpp>

namespace via::plugins {
namespace {

using nlohmann::json;

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  return type == "null" && value.is_null();
}

Result<void> check(const json& schema, const json& value, const std::string& where) {
  const auto wrong = [&](const std::string& what) {
    return fail(Code::bad_request, (where.empty() ? "The configuration" : "Configuration '" + where + "'") + " " + what);
  };
  if (const auto type = schema.find("type"); type != schema.end() && !has_type(value, type->get<std::string>()))
    return wrong("must be of type " + type->get<std::string>() + ".");
  if (const auto allowed = schema.find("enum"); allowed != schema.end())
    if (std::find(allowed->begin(), allowed->end(), value) == allowed->end())
      return wrong("must be one of " + allowed->dump() + ".");
  if (value.is_number()) {
    if (const auto low = schema.find("minimum"); low != schema.end() && value < *low)
      return wrong("must be at least " + low->dump() + ".");
    if (const auto high = schema.find("maximum"); high != schema.end() && value > *high)
      return wrong("must be at most " + high->dump() + ".");
  }
  if (!value.is_object()) return {};
  const json properties = schema.value("properties", json::object());
  for (const auto& name : schema.value("required", std::vector<std::string>{}))
    if (!value.contains(name)) return wrong("lacks the member '" + name + "'.");
  for (const auto& [name, inner] : value.items()) {
    const std::string path = where.empty() ? name : where + "." + name;
    if (const auto known = properties.find(name); known != properties.end()) {
      if (auto ok = check(*known, inner, path); !ok) return ok;
    } else if (schema.value("additionalProperties", json(true)) == json(false)) {
      return fail(Code::bad_request, "Configuration '" + path + "' is not known to this add-on type.");
    }
  }
  return {};
}

}  // namespace

Result<void> check_against_schema(const std::string& schema_json, const std::string& config_json) {
  const json config = json::parse(config_json.empty() ? "{}" : config_json, nullptr, false);
  if (config.is_discarded()) return fail(Code::bad_request, "The configuration is not valid JSON.");
  if (schema_json.empty()) {
    if (!config.is_object()) return fail(Code::bad_request, "The configuration must be a JSON object.");
    return {};
  }
  const json schema = json::parse(schema_json, nullptr, false);
  if (!schema.is_object()) return fail(Code::internal, "the type's configuration schema is not valid");
  try {
    return check(schema, config, {});
  } catch (const json::exception&) {
    return fail(Code::internal, "the type's configuration schema is not valid");
  }
}

}  // namespace via::plugins
