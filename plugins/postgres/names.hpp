// Names of what the plugin makes on a server. Ids of add-ons and bindings are ULIDs, and each making of an add-on has ten random
// characters beside it: two hosts can share a server, also when one was restored from the other's backup.
//   database and owning role  via_<add-on>_<making>     reading role  via_<add-on>_<making>_ro
//   role of one generation    via_<binding>_<making>_g<n>
// Thread: any (pure).
#pragma once

#include <via/plugin/values.hpp>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace via::postgres {

inline std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}
struct Names {
  Names(const via_id& addon, const std::string& random) : Names("via_" + lower(plugin::text(addon)) + "_" + random) {}
  explicit Names(std::string name) : database(std::move(name)), owner(database), reader(database + "_ro"), making(database.substr(database.rfind('_') + 1)) {}
  std::string database, owner, reader, making;

  std::string binding_prefix(const via_id& binding) const { return "via_" + lower(plugin::text(binding)) + "_" + making + "_g"; }
  std::string generation_role(const via_id& binding, std::uint32_t generation) const {
    return binding_prefix(binding) + std::to_string(generation);
  }
  // Whose role it is, from a name that generation_role() made: the binding as plugin::text() writes it. Nothing for others.
  struct Generation {
    std::string binding;
    std::uint32_t number = 0;
  };
  std::optional<Generation> generation_of(std::string_view role) const {
    constexpr std::size_t kIdSize = 26;
    const std::string middle = "_" + making + "_g";
    if (!role.starts_with("via_") || role.size() <= 4 + kIdSize + middle.size() || role.substr(4 + kIdSize, middle.size()) != middle) return std::nullopt;
    const std::string_view digits = role.substr(4 + kIdSize + middle.size());
    Generation out{std::string(role.substr(4, kIdSize)), 0};
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), out.number);
    if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) return std::nullopt;
    return out;
  }
};

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
