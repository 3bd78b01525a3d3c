// The whole truth about one key, as a model test remembers it: what changed it, how, and what can be known of it.
// Thread: the test's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace via::sqlite::kv::test {

struct Value {
  std::string bytes, type;
  std::optional<int64_t> expires;
  bool operator==(const Value&) const = default;
};
using Maybe = std::optional<Value>;

inline Maybe live(const Maybe& value, int64_t time) { return value && value->expires && *value->expires <= time ? Maybe() : value; }

enum class How { recorded, unrecorded, by_sql };

struct Moment {
  int64_t time;
  How how;
  Maybe after, before;  // before: as the history must tell it, of recorded ones
  bool began_dark;
  std::string op;
};

struct Key {
  std::vector<Moment> moments;
  std::vector<size_t> recorded;  // operation n is moments[recorded[n - 1]]

  Maybe now(int64_t time) const { return moments.empty() ? Maybe() : live(moments.back().after, time); }
  bool dark_now() const { return !moments.empty() && moments.back().how != How::recorded; }

  void add(How how, Maybe after, int64_t now_ms, std::string op = {}) {
    // Nobody knows when SQL did something; what came first is then at no time at all.
    Moment m{how == How::by_sql ? 0 : now_ms, how, std::move(after), {}, dark_now(), std::move(op)};
    if (!moments.empty()) {
      const Moment& last = moments.back();
      m.time = how == How::recorded || last.how == How::recorded ? std::max(now_ms, last.time) : last.time;
      if (how == How::by_sql) m.time = last.time;
      m.before = live(last.after, m.began_dark ? now_ms : m.time);
    }
    if (how == How::recorded) recorded.push_back(moments.size());
    moments.push_back(std::move(m));
  }

  // The truth at a time; false when nobody can know.
  bool at(int64_t time, Maybe& out) const {
    out.reset();
    auto it = std::upper_bound(moments.begin(), moments.end(), time, [](int64_t t, const Moment& m) { return t < m.time; });
    while (it != moments.begin() && std::prev(it)->how != How::recorded) --it;
    if (it == moments.begin()) {  // nothing recorded by then
      if (moments.empty() || moments.front().how == How::recorded) return true;
      return moments.front().how == How::unrecorded && time < moments.front().time;
    }
    if (it != moments.end() && (it->how == How::by_sql || (it->how == How::unrecorded && it->time <= time))) return false;
    out = live(std::prev(it)->after, time);
    return true;
  }
};

}  // namespace via::sqlite::kv::test
