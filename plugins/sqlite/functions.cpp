// One search structure (KMP above a few bytes) under instr and replace; sets of characters under trim and unhex.
#include "plugins/sqlite/functions.hpp"

#include "plugins/sqlite/engine/look.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace via::sqlite {
namespace {

using View = std::string_view;

using engine::look_for;

// A statement that is stopped gets no result; SQLite ends it at the next opcode.
struct Stopped {};
void go_on(unsigned work) {
  if (look_for(work) != 0) throw Stopped{};
}

// Finds a needle again and again in time linear in haystack plus needle.
class Searcher {
 public:
  explicit Searcher(View needle) : needle_(needle) {
    if (needle.size() <= 16) return;
    fail_.resize(needle.size());
    for (size_t i = 1, k = 0; i < needle.size(); ++i) {
      go_on(kStep);
      while (k > 0 && needle[i] != needle[k]) k = fail_[k - 1];
      if (needle[i] == needle[k]) ++k;
      fail_[i] = static_cast<uint32_t>(k);
    }
  }
  size_t find(View hay, size_t from) const {
    if (from + needle_.size() > hay.size()) return View::npos;
    go_on(kStep);
    if (fail_.empty()) {
      const void* p = memmem(hay.data() + from, hay.size() - from, needle_.data(), needle_.size());
      return p ? static_cast<size_t>(static_cast<const char*>(p) - hay.data()) : View::npos;
    }
    size_t k = 0;
    for (size_t i = from; i < hay.size(); ++i) {
      go_on(kStep);
      while (k > 0 && hay[i] != needle_[k]) k = fail_[k - 1];
      if (hay[i] == needle_[k]) ++k;
      if (k == needle_.size()) return i + 1 - k;
    }
    return View::npos;
  }

 private:
  static constexpr unsigned kStep = 32;
  View needle_;
  std::vector<uint32_t> fail_;
};

View text_of(sqlite3_value* v) {
  const auto* p = reinterpret_cast<const char*>(sqlite3_value_text(v));
  return {p ? p : "", p ? static_cast<size_t>(sqlite3_value_bytes(v)) : 0};
}
bool is_null(sqlite3_value* v) { return sqlite3_value_type(v) == SQLITE_NULL; }
bool continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

template <auto Body>
void guarded(sqlite3_context* c, int argc, sqlite3_value** argv) {
  try {
    Body(c, argc, argv);
  } catch (const Stopped&) {
    sqlite3_result_error_code(c, SQLITE_INTERRUPT);
  } catch (...) {
    sqlite3_result_error_nomem(c);
  }
}

void instr_body(sqlite3_context* c, int, sqlite3_value** argv) {
  if (is_null(argv[0]) || is_null(argv[1])) return;
  const bool blobs = sqlite3_value_type(argv[0]) == SQLITE_BLOB && sqlite3_value_type(argv[1]) == SQLITE_BLOB;
  View hay, needle;
  if (blobs) {
    hay = {static_cast<const char*>(sqlite3_value_blob(argv[0])), static_cast<size_t>(sqlite3_value_bytes(argv[0]))};
    needle = {static_cast<const char*>(sqlite3_value_blob(argv[1])), static_cast<size_t>(sqlite3_value_bytes(argv[1]))};
  } else {
    hay = text_of(argv[0]);
    needle = text_of(argv[1]);
  }
  if (needle.empty()) return sqlite3_result_int(c, 1);
  if (!blobs && continuation(needle[0])) return sqlite3_result_int(c, hay.starts_with(needle) ? 1 : 0);
  const size_t at = Searcher(needle).find(hay, 0);
  if (at == View::npos) return sqlite3_result_int(c, 0);
  int64_t position = static_cast<int64_t>(at);
  if (!blobs) position -= std::count_if(hay.begin() + (at > 0 ? 1 : 0), hay.begin() + static_cast<std::ptrdiff_t>(at), continuation);
  sqlite3_result_int64(c, position + 1);
}

void replace_body(sqlite3_context* c, int, sqlite3_value** argv) {
  if (is_null(argv[0]) || is_null(argv[1])) return;
  const View hay = text_of(argv[0]);  // first, as the built-in does: a blob becomes text by it
  const View pattern = text_of(argv[1]);
  if (pattern.empty() || pattern[0] == '\0') return sqlite3_result_value(c, argv[0]);
  if (is_null(argv[2])) return;
  const View with = text_of(argv[2]);
  const Searcher search(pattern);
  size_t hits = 0;
  for (size_t at = 0; (at = search.find(hay, at)) != View::npos; at += pattern.size()) ++hits;
  const uint64_t size = hay.size() - hits * pattern.size() + hits * with.size();
  const int limit = sqlite3_limit(sqlite3_context_db_handle(c), SQLITE_LIMIT_LENGTH, -1);
  if (size > static_cast<uint64_t>(limit)) return sqlite3_result_error_toobig(c);
  std::unique_ptr<char, void (*)(void*)> buffer(static_cast<char*>(sqlite3_malloc64(size + 1)), sqlite3_free);
  if (!buffer) return sqlite3_result_error_nomem(c);
  char* w = buffer.get();
  const auto copy = [&w](View v) {
    if (!v.empty()) std::memcpy(w, v.data(), v.size());
    w += v.size();
  };
  size_t from = 0;
  for (size_t at = 0; (at = search.find(hay, from)) != View::npos; from = at + pattern.size()) {
    copy(hay.substr(from, at - from));
    copy(with);
  }
  copy(hay.substr(from));
  sqlite3_result_text64(c, buffer.release(), size, sqlite3_free, SQLITE_UTF8);
}

// The characters of a string, cut as SQLite cuts them.
size_t character(View s) {
  size_t n = 1;
  if (static_cast<unsigned char>(s[0]) >= 0xC0)
    while (n < s.size() && continuation(s[n])) ++n;
  return n;
}

constexpr unsigned kCharacter = 512;  // of work: some take a place in a set
constexpr size_t kLongest = 16;  // a longer "character" is malformed and matches nothing

template <int Side>  // 1 left, 2 right, 3 both
void trim_body(sqlite3_context* c, int, sqlite3_value** argv) {
  if (is_null(argv[0]) || is_null(argv[1])) return;
  View s = text_of(argv[0]);
  bool single[256] = {}, lengths[kLongest + 1] = {};
  std::unordered_set<View> longer;
  for (View set = text_of(argv[1]); !set.empty();) {
    go_on(kCharacter);
    const size_t n = character(set);
    if (n == 1) single[static_cast<unsigned char>(set[0])] = true;
    else if (n <= kLongest) {
      longer.insert(set.substr(0, n));
      lengths[n] = true;
    }
    set.remove_prefix(n);
  }
  const auto cut = [&](bool left) -> size_t {
    go_on(kCharacter);
    if (single[static_cast<unsigned char>(left ? s.front() : s.back())]) return 1;
    for (size_t n = 2; n <= kLongest && n <= s.size() && !longer.empty(); ++n)
      if (lengths[n] && longer.contains(left ? s.substr(0, n) : s.substr(s.size() - n))) return n;
    return 0;
  };
  if constexpr ((Side & 1) != 0)
    for (size_t n = 0; !s.empty() && (n = cut(true)) > 0;) s.remove_prefix(n);
  if constexpr ((Side & 2) != 0)
    for (size_t n = 0; !s.empty() && (n = cut(false)) > 0;) s.remove_suffix(n);
  sqlite3_result_text64(c, s.data(), s.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void unhex_body(sqlite3_context* c, int, sqlite3_value** argv) {
  if (is_null(argv[0]) || is_null(argv[1])) return;
  View s = text_of(argv[0]);
  std::unordered_set<View> passed;
  for (View set = text_of(argv[1]); !set.empty();) {
    go_on(kCharacter);
    const size_t n = character(set);
    passed.insert(set.substr(0, n));
    set.remove_prefix(n);
  }
  s = s.substr(0, s.find('\0'));
  const std::unique_ptr<unsigned char, void (*)(void*)> owned(static_cast<unsigned char*>(sqlite3_malloc64(s.size() / 2 + 1)), sqlite3_free);
  if (!owned) return sqlite3_result_error_nomem(c);
  unsigned char* w = owned.get();
  while (!s.empty()) {
    go_on(64);
    if (const int high = hex_digit(s[0]); high >= 0) {
      const int low = s.size() > 1 ? hex_digit(s[1]) : -1;
      if (low < 0) return;
      *w++ = static_cast<unsigned char>(high << 4 | low);
      s.remove_prefix(2);
      continue;
    }
    const size_t n = character(s);
    if (!passed.contains(s.substr(0, n))) return;
    s.remove_prefix(n);
  }
  sqlite3_result_blob64(c, owned.get(), static_cast<sqlite3_uint64>(w - owned.get()), SQLITE_TRANSIENT);
}

}  // namespace

int register_linear_functions(sqlite3* db) {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
  const auto add = [db](const char* name, int argc, void (*fn)(sqlite3_context*, int, sqlite3_value**)) {
    return sqlite3_create_function_v2(db, name, argc, kFlags, nullptr, fn, nullptr, nullptr, nullptr);
  };
  int rc = add("instr", 2, guarded<instr_body>);
  if (rc == SQLITE_OK) rc = add("replace", 3, guarded<replace_body>);
  if (rc == SQLITE_OK) rc = add("ltrim", 2, guarded<trim_body<1>>);
  if (rc == SQLITE_OK) rc = add("rtrim", 2, guarded<trim_body<2>>);
  if (rc == SQLITE_OK) rc = add("trim", 2, guarded<trim_body<3>>);
  if (rc == SQLITE_OK) rc = add("unhex", 2, guarded<unhex_body>);
  return rc;
}

}  // namespace via::sqlite
