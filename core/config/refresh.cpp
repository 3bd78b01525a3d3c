#include <limits>

#include "core/base/json_text.hpp"
#include "core/config/answer.hpp"
#include "core/store/try.hpp"

namespace via::config {
namespace {

struct Item {
  std::string key;
  bool addon = false;  // scope "addon", else "config"
  std::uint32_t generation = 0;
};

Result<std::string> need_text(const nlohmann::json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_string())
    return fail(Code::bad_request, std::string("'") + name + "' must be given, as a string.");
  return at->get<std::string>();
}

// A non-negative integer of at most `maximum`.
Result<std::uint64_t> need_number(const nlohmann::json& object, const char* name, std::uint64_t maximum) {
  const auto at = object.find(name);
  if (at == object.end() || !at->is_number_unsigned() || at->get<std::uint64_t>() > maximum)
    return fail(Code::bad_request, std::string("'") + name + "' must be given, as a number of 0 or more.");
  return at->get<std::uint64_t>();
}

Result<Item> parse_item(const nlohmann::json& json) {
  if (!json.is_object()) return fail(Code::bad_request, "'keys' must be an array of objects {key, scope, generation}.");
  VIA_TRY_LET(key, need_text(json, "key"));
  VIA_TRY_LET(scope, need_text(json, "scope"));
  VIA_TRY_LET(generation, need_number(json, "generation", std::numeric_limits<std::uint32_t>::max()));
  if (key.size() > kMaximumKeyBytes) return fail(Code::bad_request, "'keys' has a key that is too long.");
  if (scope != "addon" && scope != "config")
    return fail(Code::bad_request, "'scope' must be \"addon\" or \"config\".");
  return Item{std::move(key), scope == "addon", static_cast<std::uint32_t>(generation)};
}

void rejected(std::string& out, Code code) {
  out += R"(,"status":"rejected","code":)";
  append_json_string(out, info(code).name);
}

void answer_config(std::string& out, const Item& item, const Named& named) {
  const Value* value = named.value;
  const std::uint32_t newest = value == nullptr ? 0 : value->generation;
  out += R"(,"scope":"config","generation":)" + std::to_string(item.generation <= newest ? newest : item.generation);
  if (value == nullptr) return rejected(out, Code::not_found);
  if (item.generation == newest) {
    out += R"(,"status":"unchanged")";
  } else if (item.generation == 0 || item.generation > newest) {
    rejected(out, Code::generation_unknown);
  } else {
    out += R"(,"status":"updated","value":)";
    append_json_string(out, value->value);
  }
}

void answer_addon(std::string& out, const Item& item, const Named& named, const Caller& caller) {
  out += R"(,"scope":"addon","generation":)";
  const auto refuse = [&](Code code) {
    out += std::to_string(item.generation);
    rejected(out, code);
  };
  if (named.binding == nullptr) return refuse(Code::unbound);
  const authorization::BindingGrant& binding = *named.binding;
  // Generations before the release's own belong to other releases, whether they live or not.
  if (item.generation < binding.snapshot_generation || item.generation > binding.newest_generation)
    return refuse(Code::generation_unknown);
  if (!binding.is_live(item.generation)) return refuse(Code::generation_revoked);
  const std::uint32_t newest = newest_live(binding);
  out += std::to_string(newest);
  if (item.generation == newest) {
    out += R"(,"status":"unchanged")";
    return;
  }
  out += R"(,"status":"updated")";
  if (named.derived != nullptr) {
    out += R"(,"value":)";
    append_json_string(out, fill_template(caller, binding, *named.derived));
    out += R"(,"secret":true)";
  } else {
    out += R"(,"descriptor":)";
    append_descriptor(out, binding, newest);
  }
}

}  // namespace

Result<std::string> refresh(const Caller& caller, std::string_view body) {
  VIA_TRY_LET(request, parse_body(body));
  VIA_TRY_LET(app, need_text(request, "app"));
  VIA_TRY_LET(release, need_text(request, "release"));
  VIA_TRY_LET(deploy, need_text(request, "deploy"));
  VIA_TRY_LET(version, need_number(request, "profile_version", std::numeric_limits<std::int64_t>::max()));
  const auto keys = request.find("keys");
  if (keys == request.end() || !keys->is_array())
    return fail(Code::bad_request, "'keys' must be given, as an array of objects {key, scope, generation}.");
  if (keys->size() > kMaximumKeys) return fail(Code::bad_request, "'keys' has too many entries.");
  std::vector<Item> items;
  items.reserve(keys->size());
  for (const auto& key : *keys) {
    VIA_TRY_LET(item, parse_item(key));
    items.push_back(std::move(item));
  }
  if (app != caller.grant.app || release != caller.grant.release || deploy != caller.grant.deploy)
    return fail(Code::unbound, "This app, release or deploy is not the caller's. Call resolve again.");
  if (static_cast<std::int64_t>(version) > profile_version(caller))
    return fail(Code::stale_claims, "This profile version was never given out. Call resolve again.");

  std::string list;
  for (const Item& item : items) {
    list += list.empty() ? R"({"key":)" : R"(,{"key":)";
    append_json_string(list, item.key);
    const Named named = look_up(caller, item.key);
    if (item.addon)
      answer_addon(list, item, named, caller);
    else
      answer_config(list, item, named);
    list += '}';
  }
  std::string out = R"({"app":)";
  append_json_string(out, app);
  out += R"(,"release":)";
  append_json_string(out, release);
  out += R"(,"deploy":)";
  append_json_string(out, deploy);
  out += R"(,"profile_version":)" + std::to_string(profile_version(caller));
  out += R"(,"keys":[)" + list + "]}";
  return out;
}

}  // namespace via::config
