// Names of what the plugin makes on a server. An add-on's and a binding's id are ULIDs, so two hosts can share a server.
//   database and owning role  via_<add-on>      reading role  via_<add-on>_ro
//   role of one generation    via_<binding>_g<n>
// Thread: any (pure).
#pragma once

#include <via/plugin/values.hpp>

#include <string>
#include <string_view>

namespace via::postgres {

inline std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}
struct Names {
  explicit Names(const via_id& addon) : database("via_" + lower(plugin::text(addon))), owner(database), reader(database + "_ro") {}
  std::string database, owner, reader;
};
inline std::string binding_prefix(const via_id& binding) { return "via_" + lower(plugin::text(binding)) + "_g"; }
inline std::string generation_role(const via_id& binding, std::uint32_t generation) {
  return binding_prefix(binding) + std::to_string(generation);
}

// An identifier and a literal as SQL text writes them (standard_conforming_strings is on in every session of the plugin).
inline std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote) out += quote;
    out += c;
  }
  out += quote;
  return out;
}
inline std::string identifier(std::string_view name) { return quoted(name, '"'); }
inline std::string literal(std::string_view text) { return quoted(text, '\''); }

}  // namespace via::postgres
