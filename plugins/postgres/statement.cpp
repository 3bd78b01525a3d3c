// One reader of tokens; everything else walks over what it gives.
#include "plugins/postgres/statement.hpp"

#include "plugins/postgres/errors.hpp"

#include <algorithm>
#include <array>

namespace via::postgres {
namespace {

constexpr size_t kMaximumParameters = 32'766;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool in_word(char c) { return begins_word(c) || is_digit(c) || c == '$'; }

enum class Kind : uint8_t { end, word, number, quoted, semicolon, question, colon, at, dollar, open, close, other, broken };

struct Token {
  Kind kind = Kind::end;
  size_t at = 0, size = 0;
};

// Gives token after token; blanks and comments are skipped.
class Reader {
 public:
  explicit Reader(std::string_view sql) : sql_(sql) {}

  Token next() {
    if (!skip()) return {Kind::broken, pos_, 0};
    const size_t from = pos_;
    if (from == sql_.size()) return {Kind::end, from, 0};
    const auto give = [&](Kind kind, size_t to) {
      pos_ = to;
      return Token{kind, from, to - from};
    };
    const char c = sql_[from];
    if ((c == 'e' || c == 'E') && peek(from + 1) == '\'') return quoted(from, from + 1, true);
    if (begins_word(c)) {
      size_t to = from + 1;
      while (to < sql_.size() && in_word(sql_[to])) ++to;
      return give(Kind::word, to);
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(from + 1)))) {
      size_t to = from + 1;
      while (to < sql_.size() && (begins_word(sql_[to]) || is_digit(sql_[to]) || sql_[to] == '.')) ++to;
      return give(Kind::number, to);
    }
    switch (c) {
      case '\'':
      case '"': return quoted(from, from, false);
      case '$': {
        if (is_digit(peek(from + 1))) {
          size_t to = from + 1;
          while (is_digit(peek(to))) ++to;
          return give(Kind::dollar, to);
        }
        size_t tag = from + 1;
        while (tag < sql_.size() && in_word(sql_[tag]) && sql_[tag] != '$') ++tag;
        if (peek(tag) == '$') {
          const std::string_view fence = sql_.substr(from, tag + 1 - from);
          const size_t end = sql_.find(fence, tag + 1);
          return end == sql_.npos ? Token{Kind::broken, from, 0} : give(Kind::quoted, end + fence.size());
        }
        return tag > from + 1 ? give(Kind::dollar, tag) : give(Kind::other, from + 1);
      }
      case ';': return give(Kind::semicolon, from + 1);
      case '(':
      case '[': return give(Kind::open, from + 1);
      case ')':
      case ']': return give(Kind::close, from + 1);
      case '?': {
        if (peek(from + 1) == '?' || peek(from + 1) == '|' || peek(from + 1) == '&') return give(Kind::other, from + 2);
        size_t to = from + 1;
        while (is_digit(peek(to))) ++to;
        return give(Kind::question, to);
      }
      case ':': {
        if (peek(from + 1) == ':' || peek(from + 1) == '=') return give(Kind::other, from + 2);
        return named(Kind::colon, from);
      }
      case '@': {
        const char before = from == 0 ? ' ' : sql_[from - 1];
        if (std::string_view("<>=@-~!#%^&|`*/+").find(before) != std::string_view::npos) return give(Kind::other, from + 1);
        return named(Kind::at, from);
      }
      default: return give(Kind::other, from + 1);
    }
  }

 private:
  char peek(size_t at) const { return at < sql_.size() ? sql_[at] : '\0'; }

  Token named(Kind kind, size_t from) {
    size_t to = from + 1;
    if (begins_word(peek(to)))
      while (to < sql_.size() && in_word(sql_[to])) ++to;
    pos_ = to;
    return {to > from + 1 ? kind : Kind::other, from, to - from};
  }

  Token quoted(size_t from, size_t quote_at, bool escapes) {
    const char quote = sql_[quote_at];
    for (size_t at = quote_at + 1; at < sql_.size(); ++at) {
      if (escapes && sql_[at] == '\\') {
        ++at;
        continue;
      }
      if (sql_[at] != quote) continue;
      if (peek(at + 1) == quote) {
        ++at;
        continue;
      }
      pos_ = at + 1;
      return {Kind::quoted, from, pos_ - from};
    }
    return {Kind::broken, from, 0};
  }

  bool skip() {
    for (;;) {
      while (pos_ < sql_.size() && is_space(sql_[pos_])) ++pos_;
      if (peek(pos_) == '-' && peek(pos_ + 1) == '-') {
        while (pos_ < sql_.size() && sql_[pos_] != '\n') ++pos_;
        continue;
      }
      if (peek(pos_) == '/' && peek(pos_ + 1) == '*') {
        size_t depth = 1;
        pos_ += 2;
        while (depth > 0) {
          if (pos_ + 1 >= sql_.size()) return false;
          if (sql_[pos_] == '/' && sql_[pos_ + 1] == '*') {
            ++depth;
            pos_ += 2;
          } else if (sql_[pos_] == '*' && sql_[pos_ + 1] == '/') {
            --depth;
            pos_ += 2;
          } else {
            ++pos_;
          }
        }
        continue;
      }
      return true;
    }
  }

  std::string_view sql_;
  size_t pos_ = 0;
};

bool is(std::string_view word, std::string_view upper) {
  if (word.size() != upper.size()) return false;
  for (size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if ((c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c) != upper[i]) return false;
  }
  return true;
}

Failure unfinished() { return sql_wrong("the SQL text ends within a quote or a comment"); }

// Follows BEGIN ATOMIC … END, the one form of a statement that holds semicolons.
class Body {
 public:
  void word(std::string_view w) {
    if (depth_ == 0) {
      if (is(w, "ATOMIC") && after_begin_) depth_ = 1;
      after_begin_ = is(w, "BEGIN");
    } else if (is(w, "CASE") || is(w, "BEGIN")) {
      ++depth_;
    } else if (is(w, "END")) {
      --depth_;
    }
  }
  bool inside() const { return depth_ > 0; }

 private:
  int depth_ = 0;
  bool after_begin_ = false;
};

struct Verb {
  std::string_view word;
  Use use;
};
constexpr std::array<Verb, 22> kVerbs{{{"SELECT", Use::reads},   {"VALUES", Use::reads},    {"TABLE", Use::reads},    {"SHOW", Use::reads},
                                       {"EXPLAIN", Use::reads},  {"WITH", Use::either},     {"INSERT", Use::writes},  {"UPDATE", Use::writes},
                                       {"MERGE", Use::writes},   {"DELETE", Use::removes},  {"CREATE", Use::writes},  {"ALTER", Use::writes},
                                       {"DROP", Use::removes},   {"TRUNCATE", Use::removes}, {"COMMENT", Use::writes}, {"GRANT", Use::writes},
                                       {"REVOKE", Use::writes},  {"ANALYZE", Use::writes},  {"REINDEX", Use::writes}, {"REFRESH", Use::writes},
                                       {"DO", Use::writes},      {"CALL", Use::writes}}};
constexpr std::array<std::string_view, 10> kNotTheirs{"ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SYSTEM", "SUBSCRIPTION", "PUBLICATION", "SERVER", "EVENT"};

// What the first two words say. A statement may begin with parentheses: (SELECT …) UNION ….
Use use_of(std::string_view first, std::string_view second) {
  for (const Verb& verb : kVerbs) {
    if (!is(first, verb.word)) continue;
    if (is(first, "CREATE") || is(first, "ALTER") || is(first, "DROP"))
      for (const auto what : kNotTheirs)
        if (is(second, what)) return Use::refused;
    return verb.use;
  }
  return Use::refused;
}

// Names the statement by its own first word, and says what to do instead.
std::string why_refused(std::string_view first, std::string_view second) {
  constexpr std::string_view kControl[] = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"};
  std::string word;
  for (const char c : first.substr(0, 20)) word += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  for (const auto control : kControl)
    if (word == control) return sqlwire::control_denied(word);
  for (const auto what : kNotTheirs)
    if (is(second, what) && (word == "CREATE" || word == "ALTER" || word == "DROP"))
      return word + " " + std::string(what) + " is not allowed: roles, databases and what else belongs to the whole server are the host's";
  if (word == "SET" || word == "RESET") return word + " is not allowed: sessions are shared; use set_config() in the statement that needs it";
  if (word == "VACUUM") return "VACUUM is not allowed: the server cleans up by itself";
  if (word == "COPY") return "COPY is not allowed: send rows as statements of a batch, or use DATABASE_URL";
  if (word == "LISTEN" || word == "NOTIFY" || word == "UNLISTEN" || word == "PREPARE" || word == "EXECUTE" || word == "DECLARE" || word == "FETCH" || word == "LOCK" || word == "DISCARD")
    return word + " is not allowed: sessions are shared; use DATABASE_URL for one of your own";
  return word + " is not allowed: statements that read or write rows, and CREATE, ALTER and DROP of what is in the database are";
}

}  // namespace

Failure split(std::string_view script, std::vector<std::string_view>& out) {
  out.clear();
  Reader reader(script);
  Body body;
  size_t from = 0, last = 0;
  bool any = false;
  for (;;) {
    const Token t = reader.next();
    if (t.kind == Kind::broken) return unfinished();
    if (t.kind == Kind::word) body.word(script.substr(t.at, t.size));
    if (t.kind == Kind::end || (t.kind == Kind::semicolon && !body.inside())) {
      if (any) out.push_back(script.substr(from, last - from));
      if (t.kind == Kind::end) return {};
      any = false;
      body = {};
      continue;
    }
    if (!any) from = t.at;
    any = true;
    last = t.at + t.size;
  }
}

Failure classify(std::string_view sql, Use& use) {
  Reader reader(sql);
  std::string_view words[2];
  size_t n = 0;
  for (Token t = reader.next(); t.kind != Kind::end && n < 2; t = reader.next()) {
    if (t.kind == Kind::broken) return unfinished();
    if (t.kind == Kind::word) words[n++] = sql.substr(t.at, t.size);
    else if (n > 0 || t.kind != Kind::open) break;
  }
  use = use_of(words[0], words[1]);
  return use == Use::refused && n > 0 ? sqlwire::denied_by_policy(why_refused(words[0], words[1])) : n == 0 ? sql_wrong("there is no statement in the SQL text") : Failure{};
}

Failure translate(std::string_view sql, const Request& request, const StatementText& text, Statement& out) {
  out = {};
  std::vector<std::string_view> parts;
  if (Failure f = split(sql, parts)) return f;
  if (parts.empty()) return sqlwire::bad_request("sql is empty");
  if (parts.size() > 1) return sqlwire::bad_request("there is more than one statement; use setup or batch");
  sql = parts.front();
  if (Failure f = classify(sql, out.use)) return f;
  if (text.count == 0) {
    out.sql = sql;
    if (!text.has_params) return {};
  }

  const auto value_named = [&](std::string_view name) -> int64_t {
    for (uint32_t i = 0; i < text.count; ++i) {
      std::string_view known = request.name_of(request.values[text.first + i]);
      if (!known.empty() && (known.front() == ':' || known.front() == '@' || known.front() == '$')) known.remove_prefix(1);
      if (known == name) return i;
    }
    return -1;
  };
  std::vector<uint32_t> place_of(text.named ? text.count : 0, 0);  // $n of a named value, 0 = not yet
  uint32_t largest = 0;
  std::string rewritten;
  size_t copied = 0, brackets = 0;
  Reader reader(sql);
  for (Token t = reader.next(); t.kind != Kind::end; t = reader.next()) {
    const std::string_view token = sql.substr(t.at, t.size);
    if (t.kind == Kind::open && token == "[") ++brackets;
    if (t.kind == Kind::close && token == "]" && brackets > 0) --brackets;
    uint32_t place = 0;
    bool operator_mark = false;
    if (text.named && (t.kind == Kind::colon || t.kind == Kind::at || t.kind == Kind::dollar) && token.size() > 1) {
      const int64_t value = value_named(token.substr(1));
      if (value < 0) {
        if (t.kind == Kind::at || brackets > 0) continue;  // an operator, or a slice of an array
        return sql_wrong("the request gives no value for the parameter " + std::string(token));
      }
      uint32_t& known = place_of[static_cast<size_t>(value)];
      if (known == 0) {
        out.order.push_back(text.first + static_cast<uint32_t>(value));
        known = static_cast<uint32_t>(out.order.size());
      }
      place = known;
    } else if (!text.named && (t.kind == Kind::question || (t.kind == Kind::dollar && is_digit(token.back()) && is_digit(token[1])))) {
      if (token.size() > 1) {
        if (token.size() > 6) return sql_wrong("a parameter's number is too large");
        for (const char c : token.substr(1)) place = place * 10 + static_cast<uint32_t>(c - '0');
        if (place == 0) return sql_wrong("parameters are numbered from 1");
      } else {
        place = largest + 1;
      }
      if (place > kMaximumParameters) return sql_wrong("the statement has too many parameters");
      largest = std::max(largest, place);
    } else if (token == "??") {
      operator_mark = true;
    } else {
      continue;
    }
    rewritten.append(sql.substr(copied, t.at - copied));
    copied = t.at + t.size;
    if (operator_mark) {
      rewritten += '?';
      continue;
    }
    // A name, a number or a dollar beside it must not become a part of it: "$?" would begin a quotation.
    if (!rewritten.empty() && in_word(rewritten.back())) rewritten += ' ';
    rewritten += '$' + std::to_string(place);
    if (copied < sql.size() && in_word(sql[copied])) rewritten += ' ';
  }
  rewritten.append(sql.substr(copied));
  if (text.named) {
    for (uint32_t i = 0; i < text.count; ++i)
      if (place_of[i] == 0)
        return sql_wrong("the statement has no parameter named " + std::string(request.name_of(request.values[text.first + i])));
  } else {
    if (largest != text.count)
      return sql_wrong("the statement has " + std::to_string(largest) + " parameters, the request gives " + std::to_string(text.count));
    for (uint32_t i = 0; i < text.count; ++i) out.order.push_back(text.first + i);
  }
  out.sql = std::move(rewritten);
  return {};
}

}  // namespace via::postgres
