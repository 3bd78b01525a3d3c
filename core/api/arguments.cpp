#include "core/api/arguments.hpp"

#include "core/base/clock.hpp"

namespace via::api {

using nlohmann::json;

const json* Arguments::find(const char* name) {
  known_.insert(name);
  const auto at = args_.find(name);
  return at == args_.end() || at->is_null() ? nullptr : &*at;
}

void Arguments::problem(const char* name, const std::string& what) {
  if (problem_.empty()) problem_ = "Argument '" + std::string(name) + "' of " + command_ + " " + what + ".";
}

std::string Arguments::text(const char* name) {
  const json* value = find(name);
  if (value == nullptr) {
    problem(name, "is missing");
  } else if (!value->is_string() || value->get_ref<const std::string&>().empty()) {
    problem(name, "must be a string that is not empty");
  } else {
    return value->get<std::string>();
  }
  return {};
}

std::optional<std::string> Arguments::optional_text(const char* name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string() && !value->get_ref<const std::string&>().empty()) return value->get<std::string>();
  problem(name, "must be a string that is not empty");
  return std::nullopt;
}

bool Arguments::flag(const char* name, bool absent) {
  const json* value = find(name);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) {
    problem(name, "must be true or false");
    return false;
  }
  return value->get<bool>();
}

std::optional<std::int64_t> Arguments::optional_integer(const char* name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  constexpr std::int64_t kLimit = std::int64_t{1} << 53;
  if (value->is_number_integer() && (!value->is_number_unsigned() || value->get<std::uint64_t>() <= kLimit)) {
    const auto number = value->get<std::int64_t>();
    if (number >= -kLimit) return number;
  }
  problem(name, "must be a whole number");
  return std::nullopt;
}

lifecycle::Since Arguments::since(const char* name) {
  constexpr std::int64_t kMostSeconds = std::int64_t{1} << 40;
  const json* value = find(name);
  if (value == nullptr) return {};
  if (value->is_number_integer() && value->get<std::int64_t>() >= 0 && value->get<std::int64_t>() <= kMostSeconds)
    return {value->get<std::int64_t>(), 0};
  if (value->is_string())
    if (const auto moment = parse_time(value->get_ref<const std::string&>())) return {0, *moment};
  problem(name, "must be a number of seconds back, or a time such as 2026-11-21T11:54:32Z");
  return {};
}

std::vector<std::string> Arguments::texts(const char* name) {
  std::vector<std::string> out;
  const json* value = find(name);
  if (value == nullptr) return out;
  if (value->is_array())
    for (const auto& item : *value)
      if (item.is_string()) out.push_back(item.get<std::string>());
  if (!value->is_array() || out.size() != value->size()) problem(name, "must be an array of strings");
  return out;
}

std::map<std::string, std::string> Arguments::text_map(const char* name, bool required) {
  std::map<std::string, std::string> out;
  const json* value = find(name);
  if (value == nullptr) {
    if (required) problem(name, "is missing");
    return out;
  }
  if (value->is_object())
    for (const auto& item : value->items())
      if (item.value().is_string()) out.emplace(item.key(), item.value().get<std::string>());
  if (!value->is_object() || out.size() != value->size()) problem(name, "must be an object whose values are strings");
  return out;
}

std::optional<json> Arguments::optional_object(const char* name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_object()) return *value;
  problem(name, "must be an object");
  return std::nullopt;
}

Result<void> Arguments::done() {
  if (!problem_.empty()) return fail(Code::bad_request, problem_);
  for (const auto& item : args_.items()) {
    if (known_.contains(item.key())) continue;
    std::string list;
    for (const auto& name : known_) list += (list.empty() ? "" : ", ") + name;
    return fail(Code::bad_request, "Argument '" + item.key().substr(0, 64) + "' of " + command_ + " is not known. " +
                                       (list.empty() ? "It takes none." : "It takes: " + list + "."));
  }
  return {};
}

}  // namespace via::api
