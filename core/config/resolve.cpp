#include "core/config/resolve.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include "core/base/json_text.hpp"
#include "core/config/answer.hpp"
#include "core/store/try.hpp"

namespace via::config {

Named look_up(const Caller& caller, std::string_view key) {
  Named found;
  for (const auto& binding : caller.grant.bindings)
    if (binding->binding == key) {
      found.binding = binding.get();
      return found;
    }
  for (const auto& binding : caller.grant.bindings)
    for (const auto& [name, text] : binding->derived)
      if (name == key) {
        found.binding = binding.get();
        found.derived = &text;
        return found;
      }
  if (caller.config != nullptr) found.value = caller.config->find(key);
  return found;
}

std::uint32_t newest_live(const authorization::BindingGrant& binding) {
  return binding.live_generations.empty() ? 0 : binding.live_generations.back();
}

bool holds_secret(const authorization::BindingGrant& binding) {
  return newest_live(binding) != 0 && std::any_of(binding.derived.begin(), binding.derived.end(), [](const auto& one) { return one.second.find("${secret}") != std::string::npos; });
}

bool is_lost(const Caller& caller, const authorization::BindingGrant& binding) {
  return caller.lost != nullptr && std::find(caller.lost->begin(), caller.lost->end(), &binding) != caller.lost->end();
}

Error lost_credential(const authorization::BindingGrant& binding) {
  return fail(Code::unavailable, "The credential of binding " + binding.binding +
                                     " is gone where its data lies, so nobody can log in with it. An operator puts it right: via addon repair " + binding.addon_id);
}

Result<Secret> fill_template(const Caller& caller, const authorization::BindingGrant& binding, std::string_view text) {
  static constexpr std::string_view kEndpoint = "${endpoint}", kSecret = "${secret}";
  std::string out;
  for (;;) {
    const auto at = text.find("${");
    out += text.substr(0, at);
    if (at == std::string_view::npos) return Secret(std::move(out));
    text.remove_prefix(at);
    if (text.starts_with(kEndpoint)) {
      out.append(caller.config_url).append("/v1/runtime/addons/").append(binding.binding);
      text.remove_prefix(kEndpoint.size());
    } else if (text.starts_with(kSecret)) {
      if (is_lost(caller, binding)) return lost_credential(binding);
      if (caller.sealer == nullptr) return fail(Code::unavailable, "Secrets cannot be opened here.");
      const auto secret = caller.sealer->credential(binding.binding_id, newest_live(binding));
      if (!secret) return secret.error();
      out += secret->reveal();
      text.remove_prefix(kSecret.size());
    } else {
      out += "${";
      text.remove_prefix(2);
    }
  }
}

void append_descriptor(std::string& out, const authorization::BindingGrant& binding, std::uint32_t generation) {
  out += R"({"binding":)";
  append_json_string(out, binding.binding);
  out += R"(,"type":)";
  append_json_string(out, binding.type);
  out += R"(,"scope":"addon","generation":)" + std::to_string(generation);
  if (!binding.descriptor.empty()) {
    out += ',';
    out += binding.descriptor;
  }
  out += '}';
}

Result<nlohmann::json> parse_body(std::string_view body) {
  auto parsed = body.empty() ? nlohmann::json::object() : nlohmann::json::parse(body, nullptr, false);
  if (parsed.is_discarded()) return fail(Code::invalid_json, "The request body is not valid JSON.");
  if (!parsed.is_object()) return fail(Code::bad_request, "The request body must be a JSON object.");
  return {boost::system::in_place_value, std::move(parsed)};
}

std::int64_t profile_version(const Caller& caller) {
  return caller.config == nullptr ? 0 : caller.config->profile_version;
}

Result<Secret> open_secret(const Caller& caller, const Value& value) {
  if (caller.sealer == nullptr || caller.config == nullptr)
    return fail(Code::unavailable, "Secrets cannot be opened here.");
  return caller.sealer->unseal(caller.config->app_id, value);
}

namespace {

struct Answer {
  std::string values, descriptors, missing;
  std::optional<Error> failed;  // the first credential that is lost
  Given given;
  static std::string& next(std::string& list) {
    if (!list.empty()) list += ',';
    return list;
  }
};

void add_missing(Answer& answer, std::string_view key) {
  append_json_string(Answer::next(answer.missing), key);
  ++answer.given.missing;
}

void add_value(Answer& answer, const Caller& caller, const Value& value) {
  Secret opened;
  if (value.secret()) {
    auto plain = open_secret(caller, value);
    if (!plain) return add_missing(answer, value.key);
    opened = std::move(*plain);
  }
  answer.given.keys.push_back({value.key, value.generation});
  std::string& out = Answer::next(answer.values);
  out += R"({"key":)";
  append_json_string(out, value.key);
  out += R"(,"scope":"config","generation":)" + std::to_string(value.generation) + R"(,"value":)";
  append_json_string(out, value.secret() ? opened.reveal() : std::string_view(value.value));
  out += value.secret() ? R"(,"secret":true})" : "}";
}

void add_descriptor(Answer& answer, const authorization::BindingGrant& binding) {
  append_descriptor(Answer::next(answer.descriptors), binding, newest_live(binding));
  answer.given.keys.push_back({binding.binding, newest_live(binding)});
}

void add_derived(Answer& answer, const Caller& caller, const authorization::BindingGrant& binding,
                 std::string_view key, std::string_view text) {
  const auto filled = fill_template(caller, binding, text);
  if (!filled) {
    if (is_lost(caller, binding) && !answer.failed) answer.failed = filled.error();
    return add_missing(answer, key);
  }
  answer.given.keys.push_back({std::string(key), newest_live(binding)});
  std::string& out = Answer::next(answer.values);
  out += R"({"key":)";
  append_json_string(out, key);
  out += R"(,"scope":"addon","generation":)" + std::to_string(newest_live(binding)) + R"(,"value":)";
  append_json_string(out, filled->reveal());
  out += R"(,"secret":true})";
}

void add_everything(Answer& answer, const Caller& caller) {
  for (const auto& binding : caller.grant.bindings) {
    if (newest_live(*binding) == 0) continue;
    add_descriptor(answer, *binding);
    for (const auto& [key, text] : binding->derived) add_derived(answer, caller, *binding, key, text);
  }
  if (caller.config == nullptr) return;
  for (const auto& value : caller.config->values) {
    const Named named = look_up(caller, value.key);
    if (named.value != nullptr) add_value(answer, caller, value);  // a binding of that name would win
  }
}

void add_key(Answer& answer, const Caller& caller, const std::string& key) {
  const Named named = look_up(caller, key);
  if (named.value != nullptr) {
    add_value(answer, caller, *named.value);
  } else if (named.binding != nullptr && newest_live(*named.binding) != 0) {
    if (named.derived != nullptr)
      add_derived(answer, caller, *named.binding, key, *named.derived);
    else
      add_descriptor(answer, *named.binding);
  } else {
    add_missing(answer, key);
  }
}

}  // namespace

Result<std::string> resolve(const Caller& caller, std::string_view body, Given* given) {
  VIA_TRY_LET(request, parse_body(body));
  Answer answer;
  if (const auto keys = request.find("keys"); keys == request.end()) {
    add_everything(answer, caller);
  } else {
    if (!keys->is_array()) return fail(Code::bad_request, "'keys' must be an array of strings.");
    if (keys->size() > kMaximumKeys) return fail(Code::bad_request, "'keys' has too many entries.");
    std::set<std::string_view> seen;
    for (const auto& key : *keys) {
      if (!key.is_string()) return fail(Code::bad_request, "'keys' must be an array of strings.");
      const auto& name = key.get_ref<const std::string&>();
      if (name.size() > kMaximumKeyBytes) return fail(Code::bad_request, "'keys' has an entry that is too long.");
      if (seen.insert(name).second) add_key(answer, caller, name);
    }
  }
  if (answer.failed) return *answer.failed;
  std::string out = R"({"app":)";
  append_json_string(out, caller.grant.app);
  out += R"(,"release":)";
  append_json_string(out, caller.grant.release);
  out += R"(,"deploy":)";
  append_json_string(out, caller.grant.deploy);
  out += R"(,"profile_version":)" + std::to_string(profile_version(caller));
  out += R"(,"values":[)" + answer.values + R"(],"descriptors":[)" + answer.descriptors + R"(],"missing":[)" +
         answer.missing + "]}";
  if (given != nullptr) *given = std::move(answer.given);
  return out;
}

}  // namespace via::config
