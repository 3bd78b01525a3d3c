#include "core/base/ids.hpp"

#include <algorithm>
#include <span>

namespace via {
namespace {
__extension__ using Wide = unsigned __int128;
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
}  // namespace

Ulid new_ulid(const Clock& clock, Entropy& entropy) {
  Ulid id{};
  entropy.fill(std::span(id).subspan(6));
  auto ms = static_cast<std::uint64_t>(clock.unix_ms());
  for (int i = 5; i >= 0; --i) {
    id[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(ms & 0xff);
    ms >>= 8;
  }
  return id;
}

std::string to_text(const Ulid& id) {
  // 128 bits as 26 digits of 5 bits; the first digit holds the top 3.
  std::string out(26, '0');
  Wide value = 0;
  for (const std::uint8_t b : id) value = (value << 8) | b;
  for (int i = 25; i >= 0; --i) {
    out[static_cast<std::size_t>(i)] = kAlphabet[static_cast<std::size_t>(value & 31)];
    value >>= 5;
  }
  return out;
}

bool parse_ulid(std::string_view text, Ulid& out) noexcept {
  if (text.size() != 26 || text[0] > '7') return false;
  Wide value = 0;
  for (const char c : text) {
    const auto at = kAlphabet.find(c);
    if (at == std::string_view::npos) return false;
    value = (value << 5) | at;
  }
  for (int i = 15; i >= 0; --i) {
    out[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(value & 0xff);
    value >>= 8;
  }
  return true;
}

std::string new_id(std::string_view prefix, const Clock& clock, Entropy& entropy) {
  std::string out(prefix);
  out += '_';
  out += to_text(new_ulid(clock, entropy));
  return out;
}

Ulid ulid_of(std::string_view id) noexcept {
  Ulid out{};
  const auto at = id.find('_');
  if (at == std::string_view::npos || !parse_ulid(id.substr(at + 1), out)) return Ulid{};
  return out;
}

Result<void> check_name(std::string_view what, std::string_view name) {
  const bool ok = !name.empty() && name.size() <= 63 && lower(name.front()) && name.back() != '-' &&
                  std::all_of(name.begin(), name.end(), [](char c) { return lower(c) || digit(c) || c == '-'; });
  if (ok) return {};
  return fail(Code::bad_request, std::string(what) +
                                     " must be 1 to 63 characters of a-z, 0-9 and '-', start with a letter and not "
                                     "end with '-'.");
}

Result<void> check_key(std::string_view what, std::string_view key) {
  const bool ok = !key.empty() && key.size() <= 127 && !digit(key.front()) &&
                  std::all_of(key.begin(), key.end(), [](char c) { return upper(c) || digit(c) || c == '_'; });
  if (ok) return {};
  return fail(Code::bad_request, std::string(what) +
                                     " must be 1 to 127 characters of A-Z, 0-9 and '_' and not start with a digit "
                                     "(example: DATABASE).");
}

}  // namespace via
