// Text of others (app logs, records) made fit to leave the host.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/lifecycle/app_health.hpp"

namespace via::lifecycle {

using nlohmann::json;

namespace {

bool token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

bool same_letter(char a, char b) { return (a | 0x20) == (b | 0x20); }

// From `at` on, the characters of a token; they are replaced when there are at least `least`.
std::size_t replace_run(std::string& text, std::size_t at, std::size_t least) {
  std::size_t end = at;
  while (end < text.size() && token_char(text[end])) ++end;
  if (end - at < least) return at + 1;
  text.replace(at, end - at, "[token]");
  return at + 7;
}

void hide_tokens(std::string& text) {
  // A compact JWT starts with the base64url of {" and has three parts; what a capability URL holds starts with cap_.
  for (const std::string_view start : {"eyJ", "cap_"})
    for (std::size_t at = text.find(start); at != std::string::npos; at = text.find(start, at)) at = replace_run(text, at, 20);
  constexpr std::string_view kBearer = "bearer ";
  for (auto at = text.begin(); (at = std::search(at, text.end(), kBearer.begin(), kBearer.end(), same_letter)) != text.end();) {
    const auto next = replace_run(text, static_cast<std::size_t>(at - text.begin()) + kBearer.size(), 8);
    at = text.begin() + static_cast<std::ptrdiff_t>(std::min(next, text.size()));
  }
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

void hide_paths(std::string& text, const std::string& folder) {
  for (std::size_t at = text.find(folder); at != std::string::npos; at = text.find(folder, at)) {
    std::size_t end = at + folder.size();
    while (end < text.size() && std::string_view(" \t\r\n'\"`,;:)]}>").find(text[end]) == std::string_view::npos) ++end;
    text.replace(at, end - at, "[path]");
    at += 6;
  }
}

}  // namespace

void Redactor::hide(std::string value) {
  if (value.size() < 4) return;  // shorter ones would take the text apart and hide nothing
  values_.push_back(std::move(value));
  std::sort(values_.begin(), values_.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string Redactor::text(std::string_view given) const {
  std::string out(given);
  for (const auto& value : values_) replace_all(out, value, "[value]");
  if (folder_.size() > 1) hide_paths(out, folder_);
  hide_tokens(out);
  return out;
}

json Redactor::all(json value) const {
  if (value.is_string()) return text(value.get_ref<const std::string&>());
  if (value.is_structured())
    for (auto& member : value) member = all(std::move(member));
  return value;
}

}  // namespace via::lifecycle
