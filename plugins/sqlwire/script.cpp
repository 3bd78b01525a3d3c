#include "plugins/sqlwire/script.hpp"

#include <algorithm>

namespace via::sqlwire {
namespace {

constexpr char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
constexpr bool letter(char c) { return (upper(c) >= 'A' && upper(c) <= 'Z') || c == '_'; }

bool is(std::string_view word, std::string_view wanted) {
  return word.size() == wanted.size() && std::equal(word.begin(), word.end(), wanted.begin(), [](char a, char b) { return upper(a) == b; });
}

// Blanks and comments; npos where a comment has no end.
size_t skip(std::string_view s, size_t at) {
  for (;;) {
    while (at < s.size() && std::string_view(" \t\r\n\f").find(s[at]) != std::string_view::npos) ++at;
    if (s.substr(at).starts_with("--")) {
      at = std::min(s.find('\n', at), s.size());
    } else if (s.substr(at).starts_with("/*")) {
      at = s.find("*/", at + 2);
      if (at == std::string_view::npos) return at;
      at += 2;
    } else {
      return at;
    }
  }
}

std::string_view word_at(std::string_view s, size_t at) {
  size_t end = at;
  while (end < s.size() && letter(s[end])) ++end;
  return s.substr(at, end - at);
}

}  // namespace

Control control_of(std::string_view sql, size_t& size) {
  const std::string_view first = word_at(sql, 0);
  Control control = Control::none;
  if (is(first, "BEGIN")) control = Control::begin;
  else if (is(first, "COMMIT") || is(first, "END")) control = Control::commit;
  else if (is(first, "ROLLBACK") || is(first, "SAVEPOINT") || is(first, "RELEASE")) control = Control::other;
  if (control != Control::begin && control != Control::commit) return control;
  size_t at = first.size();
  for (bool mode = control == Control::begin, more = true; more;) {
    const size_t next = skip(sql, at);
    if (next == std::string_view::npos) return Control::other;
    at = next;
    const std::string_view word = word_at(sql, at);
    if (mode && (is(word, "DEFERRED") || is(word, "IMMEDIATE") || is(word, "EXCLUSIVE"))) {
      mode = false;
    } else if (is(word, "TRANSACTION") || is(word, "WORK")) {
      mode = false;
    } else {
      more = false;
    }
    if (more) at += word.size();
  }
  if (at < sql.size() && sql[at] != ';') return Control::other;
  size = at;
  return control;
}

}  // namespace via::sqlwire
