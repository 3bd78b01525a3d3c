// Random changes and questions against a model that remembers everything: each answer must be the truth, and may be "gap"
// exactly where a change was made without a record. VIA_MODEL_STEPS and VIA_MODEL_SEED choose another run.
#include "tests/unit/kv_history/model.hpp"
#include "tests/unit/kv_history/store.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>

namespace via::sqlite::kv::test {
namespace {

class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), store_(limits()) {
    for (int i = 0; i < 14; ++i) keys_["key/" + std::to_string(i % 4) + "/" + std::to_string(i)];
  }

  void run(int64_t steps) {
    store_.sql("BEGIN");
    for (step_ = 0; step_ < steps && !::testing::Test::HasFailure(); ++step_) {
      if (step_ % 500 == 499) {
        store_.sql("COMMIT");
        if (step_ % 5000 == 4999) store_.open();
        store_.sql("BEGIN");
      }
      tick();
      SCOPED_TRACE("step " + std::to_string(step_));
      one();
    }
    for (auto& [name, key] : keys_) read_history(name, key);
    store_.sql("COMMIT");
  }

 private:
  static Limits limits() {
    Limits l;
    l.history_operations = 1'000'000;
    return l;
  }
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  void tick() {
    if (below(2) == 0) store_.now += below(20);
    if (below(200) == 0) store_.now -= below(50);
  }
  int64_t some_time() {
    const int64_t begin = 1'000'000'000'000 - 1000;
    return below(3) == 0 ? begin + below(std::max<int64_t>(1, store_.now - begin + 10)) : store_.now + 10 - below(500);
  }
  std::pair<const std::string, Key>& some_key() { return *std::next(keys_.begin(), below(static_cast<int64_t>(keys_.size()))); }

  void one() {
    auto& [name, key] = some_key();
    switch (below(20)) {
      case 0: case 1: case 2: case 3: case 4: case 5: case 6:
        return set(name, key, true);
      case 7: case 8:
        return remove(name, key, true);
      case 9:
        return below(4) == 0 ? below(2) == 0 ? set(name, key, false) : remove(name, key, false) : change_by_sql(name, key);
      case 10: case 11:
        return roll_back(name, key);
      case 12:
        return below(4) == 0 ? roll_back_table() : read(name, key);
      case 13:
        return read_table();
      case 14:
        return compare();
      case 15:
        return read_history(name, key);
      default:
        return read(name, key);
    }
  }

  void set(const std::string& name, Key& key, bool recorded) {
    if (!recorded && key.dark_now() && key.moments.back().how == How::by_sql) return;  // nobody could notice the first of two
    const bool json = below(3) == 0;
    std::string bytes = json ? "{\"n\":" + std::to_string(step_) + "}" : std::to_string(below(5));
    const auto ttl = below(6) == 0 ? std::optional<int64_t>(1 + below(100)) : std::nullopt;
    const std::string type = json ? "application/json" : "text/plain";
    store_.set(name, bytes, recorded, ttl, type);
    key.add(recorded ? How::recorded : How::unrecorded,
            Value{bytes, type, ttl ? std::optional<int64_t>(store_.now + *ttl) : std::nullopt}, store_.now, "set");
  }
  void remove(const std::string& name, Key& key, bool recorded) {
    if (!recorded && key.dark_now() && key.moments.back().how == How::by_sql) return;
    if (!key.now(store_.now)) return;
    store_.del(name, recorded);
    key.add(recorded ? How::recorded : How::unrecorded, {}, store_.now, "delete");
  }
  void change_by_sql(const std::string& name, Key& key) {
    if (below(3) != 0 || key.dark_now()) return;
    if (!key.moments.empty() && key.moments.back().after && key.moments.back().after->expires) return;  // would end by itself, unnoticed
    if (key.now(store_.now) && below(3) == 0) {
      store_.sql("DELETE FROM kv_store WHERE key='" + name + "'");
      return key.add(How::by_sql, {}, store_.now);
    }
    const std::string bytes = "sql" + std::to_string(step_);
    store_.sql("INSERT OR REPLACE INTO kv_store VALUES('" + name + "', CAST('" + bytes + "' AS BLOB), 'text/plain', 1, 1, NULL)");
    key.add(How::by_sql, Value{bytes, "text/plain", {}}, store_.now);
  }

  void roll_back(const std::string& name, Key& key) {
    const int64_t steps = below(8) == 0 ? below(60) : 1 + below(4), newest = static_cast<int64_t>(key.recorded.size());
    const Json answer = store_.rollback(name, steps);
    int refused = 0;
    if (steps < 1) refused = 400;
    else if (key.moments.empty()) refused = 404;
    else if (newest == 0) refused = 409;
    else if (steps > newest) refused = 400;
    else if (key.dark_now()) refused = 409;
    for (int64_t n = newest; refused == 0 && n > newest - steps + 1; --n)
      if (key.moments[key.recorded[static_cast<size_t>(n - 1)]].began_dark) refused = 409;
    ASSERT_EQ(answer.value("refused", 0), refused) << answer.dump();
    if (refused != 0) return;
    const Maybe target = live(key.moments[key.recorded[static_cast<size_t>(newest - steps)]].before, store_.now);
    ASSERT_EQ(answer["op_number"], newest + 1);
    ASSERT_EQ(answer["exists"], target.has_value());
    key.add(How::recorded, target, store_.now, "rollback");
    check_current(name, key);
  }

  void roll_back_table() {
    const int64_t time = some_time();
    Selection selection;
    const auto picks = [&] {
      std::vector<std::string> names;
      for (const auto& [name, key] : keys_)
        if (below(3) == 0) names.push_back(name);
      return names;
    };
    if (below(2) == 0) selection.keys = picks();
    if (below(2) == 0) selection.exclude = picks();
    const bool dry_run = below(4) == 0;
    const auto has = [](const std::vector<std::string>& list, const std::string& name) {
      return std::find(list.begin(), list.end(), name) != list.end();
    };
    std::vector<std::pair<Key*, Maybe>> changes;
    Json gap_keys = Json::array();
    for (auto& [name, key] : keys_) {
      if ((selection.keys && !has(*selection.keys, name)) || has(selection.exclude, name)) continue;
      Maybe then;
      if (!key.at(std::min(time, store_.now), then)) gap_keys.push_back(name);
      else if (live(then, store_.now) != key.now(store_.now)) changes.emplace_back(&key, live(then, store_.now));
    }
    const Json answer = store_.rollback_to(time, selection, dry_run);
    if (!gap_keys.empty() && !dry_run) {
      ASSERT_EQ(answer.value("refused", 0), 409) << answer.dump();
      return;
    }
    ASSERT_EQ(answer.value("refused", 0), 0) << answer.dump();
    ASSERT_EQ(answer["gap_keys"], gap_keys);
    ASSERT_EQ(answer["changes"].size(), changes.size()) << answer.dump();
    if (dry_run) return;
    for (auto& [key, then] : changes) key->add(How::recorded, then, store_.now, "rollback");
    for (auto& [name, key] : keys_) check_current(name, key);
  }

  void check_current(const std::string& name, const Key& key) {
    const auto current = store_.current(name);
    const Maybe expected = key.now(store_.now);
    ASSERT_EQ(current.has_value(), expected.has_value()) << name;
    if (!current) return;
    ASSERT_EQ(current->value, expected->bytes) << name;
    ASSERT_EQ(current->content_type, expected->type) << name;
    ASSERT_EQ(current->expires_ms, expected->expires) << name;
  }
  void read(const std::string& name, const Key& key) {
    const int64_t time = some_time();
    Maybe then;
    const bool known = key.at(std::min(time, store_.now), then);
    ASSERT_EQ(store_.at(name, time), !known ? "gap" : then ? then->bytes : "-") << name << " at " << time;
    check_current(name, key);
  }
  void read_table() {
    const int64_t time = some_time();
    const std::string prefix = below(2) == 0 ? "" : "key/" + std::to_string(below(4)) + "/";
    Json entries = Json::array(), gap_keys = Json::array();
    for (const auto& [name, key] : keys_) {
      Maybe then;
      if (!name.starts_with(prefix)) continue;
      if (!key.at(std::min(time, store_.now), then)) gap_keys.push_back(name);
      else if (then) entries.push_back({name, then->bytes, then->type, then->expires ? Json(*then->expires) : Json()});
    }
    const Json answer = store_.table_at(time, prefix);
    Json seen = Json::array();
    for (const Json& e : answer["entries"]) seen.push_back({e["key"], e["value"], e["content_type"], e["expires_at"]});
    ASSERT_EQ(seen, entries) << time;
    ASSERT_EQ(answer["gap_keys"], gap_keys) << time;
    ASSERT_EQ(answer["has_gaps"], !gap_keys.empty());
  }
  void compare() {
    int64_t from = some_time(), to = some_time();
    if (from > to) std::swap(from, to);
    Json changes = Json::array(), gap_keys = Json::array();
    for (const auto& [name, key] : keys_) {
      Maybe a, b;
      if (!key.at(std::min(from, store_.now), a) || !key.at(std::min(to, store_.now), b)) gap_keys.push_back(name);
      else if (a != b) changes.push_back({name, !a ? "created" : !b ? "deleted" : "modified"});
    }
    const Json answer = store_.diff(from, to);
    Json seen = Json::array();
    for (const Json& c : answer["changes"]) seen.push_back({c["key"], c["type"]});
    ASSERT_EQ(seen, changes) << from << " to " << to;
    ASSERT_EQ(answer["gap_keys"], gap_keys);
  }
  void read_history(const std::string& name, const Key& key) {
    if (below(4) != 0) return;
    Json expected = Json::array();
    bool gaps = key.dark_now();
    for (size_t n = key.recorded.size(); n > 0; --n) {
      const Moment& m = key.moments[key.recorded[n - 1]];
      gaps = gaps || m.began_dark;
      if (expected.size() < 40)
        expected.push_back({n, m.op, m.before ? Json(m.before->bytes) : Json(), m.after ? Json(m.after->bytes) : Json()});
    }
    std::optional<Travel> travel;
    Store::must(Travel::open(store_.connection(), store_.table, store_.now, travel));
    Json seen = Json::array();
    Store::must(travel->operations(name, INT64_MAX, [&](Operation&& o) {
      seen.push_back({o.number, o.op, o.before ? Json(o.before->value) : Json(), o.after ? Json(o.after->value) : Json()});
      return seen.size() < 40;
    }));
    ASSERT_EQ(seen, expected) << name;
    ASSERT_EQ(store_.has_gaps(name), gaps) << name;
  }

  std::mt19937_64 random_;
  Store store_;
  std::map<std::string, Key> keys_;
  int64_t step_ = 0;
};

TEST(KvModel, EveryAnswerIsTheTruthOrAGapWhereAChangeWasNotRecorded) {
  const char* steps = std::getenv("VIA_MODEL_STEPS");
  const char* seed = std::getenv("VIA_MODEL_SEED");
  Model(seed ? std::strtoull(seed, nullptr, 10) : 20'260'101).run(steps ? std::atoll(steps) : 20'000);
}

}  // namespace
}  // namespace via::sqlite::kv::test
