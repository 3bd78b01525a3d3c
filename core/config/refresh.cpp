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

// Writes one item's answer and notes what it gave away.
class Items {
 public:
  explicit Items(const Caller& caller) : caller_(caller) {}

  void add(const Item& item) {
    list_ += list_.empty() ? R"({"key":)" : R"(,{"key":)";
    append_json_string(list_, item.key);
    const Named named = look_up(caller_, item.key);
    if (item.addon)
      addon(item, named);
    else
      config(item, named);
    list_ += '}';
  }
  const std::string& list() const { return list_; }
  Given& given() { return given_; }

 private:
  void reject(const Item& item, Code code) {
    list_ += R"(,"status":"rejected","code":)";
    append_json_string(list_, info(code).name);
    given_.rejected.push_back({item.key, item.generation, code});
  }
  void give(const Item& item, std::uint32_t generation) { given_.keys.push_back({item.key, generation}); }

  void config(const Item& item, const Named& named) {
    const Value* value = named.value;
    const std::uint32_t newest = value == nullptr ? 0 : value->generation;
    list_ += R"(,"scope":"config","generation":)" + std::to_string(item.generation <= newest ? newest : item.generation);
    if (value == nullptr) return reject(item, Code::not_found);
    if (item.generation == newest) {
      list_ += R"(,"status":"unchanged")";
      return give(item, newest);
    }
    if (item.generation == 0 || item.generation > newest) return reject(item, Code::generation_unknown);
    if (!value->secret()) {
      list_ += R"(,"status":"updated","value":)";
      append_json_string(list_, value->value);
    } else {
      const auto opened = open_secret(caller_, *value);
      if (!opened) return reject(item, Code::unavailable);
      list_ += R"(,"status":"updated","value":)";
      append_json_string(list_, opened->reveal());
      list_ += R"(,"secret":true)";
    }
    give(item, newest);
  }

  void addon(const Item& item, const Named& named) {
    list_ += R"(,"scope":"addon","generation":)";
    const auto refuse = [&](Code code) {
      list_ += std::to_string(item.generation);
      reject(item, code);
    };
    if (named.binding == nullptr) return refuse(Code::unbound);
    const authorization::BindingGrant& binding = *named.binding;
    // Generations before the release's own belong to other releases, whether they live or not.
    if (item.generation < binding.snapshot_generation || item.generation > binding.newest_generation)
      return refuse(Code::generation_unknown);
    if (!binding.is_live(item.generation)) return refuse(Code::generation_revoked);
    const std::uint32_t newest = newest_live(binding);
    list_ += std::to_string(newest);
    if (named.derived != nullptr && named.derived->find("${secret}") != std::string::npos && is_lost(caller_, binding)) return reject(item, Code::unavailable);
    if (item.generation == newest) {
      list_ += R"(,"status":"unchanged")";
      return give(item, newest);
    }
    if (named.derived != nullptr) {
      const auto filled = fill_template(caller_, binding, *named.derived);
      if (!filled) return reject(item, Code::unavailable);
      list_ += R"(,"status":"updated","value":)";
      append_json_string(list_, filled->reveal());
      list_ += R"(,"secret":true)";
    } else {
      list_ += R"(,"status":"updated","descriptor":)";
      append_descriptor(list_, binding, newest);
    }
    give(item, newest);
  }

  const Caller& caller_;
  std::string list_;
  Given given_;
};

}  // namespace

Result<std::string> refresh(const Caller& caller, std::string_view body, Given* given) {
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

  Items answers(caller);
  for (const Item& item : items) answers.add(item);
  std::string out = R"({"app":)";
  append_json_string(out, app);
  out += R"(,"release":)";
  append_json_string(out, release);
  out += R"(,"deploy":)";
  append_json_string(out, deploy);
  out += R"(,"profile_version":)" + std::to_string(profile_version(caller));
  out += R"(,"keys":[)" + answers.list() + "]}";
  if (given != nullptr) *given = std::move(answers.given());
  return out;
}

}  // namespace via::config
