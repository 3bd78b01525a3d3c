#include "plugins/sqlite/engine/match.hpp"

#include "plugins/sqlite/engine/look.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace via::sqlite::engine {
namespace {

using Byte = unsigned char;

// As sqlite3Utf8Read, which has its own idea of what is malformed.
uint32_t read(const Byte*& p) {
  uint32_t c = *p++;
  if (c < 0xC0) return c;
  c &= c < 0xE0 ? 0x1F : c < 0xF0 ? 0x0F : c < 0xF8 ? 0x07 : c < 0xFC ? 0x03 : c < 0xFE ? 0x01 : 0x00;
  while ((*p & 0xC0) == 0x80) c = (c << 6) + (*p++ & 0x3F);
  if (c < 0x80 || (c & 0xFFFFF800) == 0xD800 || (c & 0xFFFFFFFE) == 0xFFFE) c = 0xFFFD;
  return c;
}

uint32_t lower(uint32_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

struct Item {
  enum Kind : uint8_t { literal, any, set, never } kind = literal;
  bool invert = false;
  uint32_t c = 0;                                      // of a literal
  std::vector<std::pair<uint32_t, uint32_t>> ranges{};  // of a set, both ends included

  bool fits(uint32_t text, bool fold) const {
    switch (kind) {
      case literal: return text == c || (fold && c < 0x80 && text < 0x80 && lower(c) == lower(text));
      case any: return true;
      case set:
        return std::any_of(ranges.begin(), ranges.end(), [&](const auto& r) { return r.first <= text && text <= r.second; }) != invert;
      case never: break;
    }
    return false;
  }
};

using Part = std::vector<Item>;

// The characters that one part tells apart, and for each class of them the items that it fits, a bit for each.
class BitParts {
 public:
  BitParts(const Part& part, bool fold) : words_((part.size() + 63) / 64) {
    edges_ = {0, 0x80};
    const auto edge = [this](uint32_t low, uint32_t high) {
      edges_.push_back(low);
      edges_.push_back(high + 1);
    };
    for (const Item& item : part) {
      if (item.kind == Item::literal) edge(item.c, item.c);
      for (const auto& r : item.ranges) edge(r.first, std::max(r.first, r.second));
    }
    for (uint32_t c = 0; fold && c < 0x80; ++c) edges_.push_back(c);
    std::sort(edges_.begin(), edges_.end());
    edges_.erase(std::unique(edges_.begin(), edges_.end()), edges_.end());
    masks_.assign(edges_.size() * words_, 0);
    for (size_t e = 0; e < edges_.size(); ++e) {
      for (size_t i = 0; i < part.size(); ++i)
        if (part[i].fits(edges_[e], fold)) masks_[e * words_ + i / 64] |= uint64_t{1} << (i % 64);
      if (stopped()) return;
    }
    for (uint32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = slow_mask(c);
  }
  size_t words() const { return words_; }
  const uint64_t* mask(uint32_t c) const { return &masks_[c < ascii_.size() ? ascii_[c] : slow_mask(c)]; }

 private:
  static bool stopped() { return look_for(20'000) != 0; }
  size_t slow_mask(uint32_t c) const {
    return static_cast<size_t>(std::upper_bound(edges_.begin(), edges_.end(), c) - edges_.begin() - 1) * words_;
  }
  const size_t words_;
  std::vector<uint32_t> edges_;  // where a class begins
  std::vector<uint64_t> masks_;
  std::array<size_t, 0x80> ascii_{};
};

class Pattern {
 public:
  bool is(const Byte* pattern, const Byte* info, unsigned other) const {
    return other == other_ && std::memcmp(info, info_.data(), info_.size()) == 0 &&
           std::strcmp(reinterpret_cast<const char*>(pattern), text_.c_str()) == 0;
  }
  Pattern(const Byte* pattern, const Byte* info, unsigned other) : text_(reinterpret_cast<const char*>(pattern)), other_(other) {
    std::copy(info, info + info_.size(), info_.begin());
    parts_.emplace_back();
    bits_.emplace_back();
    const uint32_t all = info[0], one = info[1];
    const bool sets = info[2] != 0;
    for (const Byte* p = pattern;;) {
      const uint32_t c = read(p);
      if (c == 0) break;
      if (c == all) {
        parts_.emplace_back();
        bits_.emplace_back();
      } else if (c == other) {
        parts_.back().push_back(sets ? read_set(p) : escaped(p));
        if (parts_.back().back().kind == Item::never) break;
      } else if (c == one) {
        parts_.back().push_back({Item::any});
      } else {
        parts_.back().push_back({Item::literal, false, c});
      }
    }
    fold_ = info[3] != 0;
  }

  bool matches(const Byte* text) {
    const Byte* p = at(parts_.front(), text);
    if (!p) return false;
    if (parts_.size() == 1) return *p == 0;
    for (size_t i = 1; i + 1 < parts_.size(); ++i)
      if (!(p = find(i, p))) return false;
    const Part& last = parts_.back();
    if (last.empty()) return true;
    const Byte* end = p + std::strlen(reinterpret_cast<const char*>(p));
    const Byte* from = end;
    for (size_t n = 0; n < last.size(); ++n) {
      if (from == p) return false;
      do --from;
      while (from > p && (*from & 0xC0) == 0x80);
    }
    return at(last, from) == end;
  }

 private:
  static Item escaped(const Byte*& p) {
    const uint32_t c = read(p);
    return c == 0 ? Item{Item::never} : Item{Item::literal, false, c};
  }
  static Item read_set(const Byte*& p) {
    Item out{Item::set};
    uint32_t prior = 0, c = read(p);
    const auto single = [&out](uint32_t one) { out.ranges.emplace_back(one, one); };
    if (c == '^') {
      out.invert = true;
      c = read(p);
    }
    if (c == ']') {
      single(']');
      c = read(p);
    }
    while (c != 0 && c != ']') {
      if (c == '-' && *p != ']' && *p != 0 && prior > 0) {
        c = read(p);
        if (prior <= c) out.ranges.emplace_back(prior, c);
        prior = 0;
      } else {
        single(c);
        prior = c;
      }
      c = read(p);
    }
    if (c == 0) return {Item::never};
    return out;
  }

  // Behind the part, when it matches right here.
  const Byte* at(const Part& part, const Byte* text) const {
    for (const Item& item : part) {
      if (*text == 0 || !item.fits(read(text), fold_)) return nullptr;
    }
    return text;
  }

  // Behind the leftmost place where the part matches.
  const Byte* find(size_t index, const Byte* text) {
    const Part& part = parts_[index];
    if (part.empty()) return text;
    const Item& first = part.front();
    char stop[3] = {};
    if (first.kind == Item::literal && first.c < 0x80) {
      stop[0] = static_cast<char>(first.c);
      if (fold_) {
        stop[0] = static_cast<char>(lower(first.c));
        stop[1] = stop[0] >= 'a' && stop[0] <= 'z' ? static_cast<char>(stop[0] - 32) : '\0';
      }
    }
    const Byte* const begin = text;
    size_t wasted = 0;
    while (*text != 0) {
      if (stop[0] != 0) {
        text += std::strcspn(reinterpret_cast<const char*>(text), stop);
        if (*text == 0) return nullptr;
      }
      const Byte* p = text;
      size_t n = 0;
      for (; n < part.size() && *p != 0; ++n)
        if (!part[n].fits(read(p), fold_)) break;
      if (n == part.size()) return p;
      wasted += n;
      if (wasted > 4096 + 8 * static_cast<size_t>(text - begin)) return find_bits(index, text);
      if (look_for(static_cast<unsigned>(8 + 4 * n)) != 0) return nullptr;
      (void)read(text);
    }
    return nullptr;
  }

  const Byte* find_bits(size_t index, const Byte* text) {
    const Part& part = parts_[index];
    if (!bits_[index]) bits_[index].emplace(part, fold_);
    const BitParts& bits = *bits_[index];
    std::vector<uint64_t> state(bits.words(), 0);
    const size_t last_word = (part.size() - 1) / 64;
    const uint64_t last_bit = uint64_t{1} << ((part.size() - 1) % 64);
    while (*text != 0) {
      const uint64_t* mask = bits.mask(read(text));
      uint64_t carry = 1;
      for (size_t w = 0; w < state.size(); ++w) {
        const uint64_t next = state[w] >> 63;
        state[w] = ((state[w] << 1) | carry) & mask[w];
        carry = next;
      }
      if ((state[last_word] & last_bit) != 0) return text;
      if (look_for(static_cast<unsigned>(8 * state.size() + 16)) != 0) return nullptr;
    }
    return nullptr;
  }

  std::string text_;
  std::array<Byte, 4> info_{};
  unsigned other_ = 0;
  bool fold_ = false;
  std::vector<Part> parts_;  // between what matches everything
  std::vector<std::optional<BitParts>> bits_;
};

}  // namespace

int match(const unsigned char* pattern, const unsigned char* text, const unsigned char* info, unsigned other) noexcept {
  try {
    thread_local std::optional<Pattern> kept;
    if (!kept || !kept->is(pattern, info, other)) kept.emplace(pattern, info, other);
    const bool matches = kept->matches(text);
    if (stopping()) kept.reset();  // what it prepared may be unfinished
    return matches ? 0 : 1;
  } catch (...) {
    return 1;
  }
}

}  // namespace via::sqlite::engine
