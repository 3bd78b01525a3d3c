// Random requests of the whole key-value API against a model that remembers everything, over several reopens. Times are
// asked about only between requests, where the truth is certain to the millisecond. VIA_MODEL_STEPS and VIA_MODEL_SEED choose
// another run.
#include "tests/unit/kv_history/model.hpp"
#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <chrono>
#include <cstdlib>
#include <random>

namespace via::sqlite::test {
namespace {

using kv::test::How;
using kv::test::Key;
using kv::test::Maybe;
using kv::test::Value;

class ApiModel {
 public:
  explicit ApiModel(uint64_t seed) : random_(seed) {
    for (const char* table : {"kv_store", "other"})
      for (const char* name : {"text", "a/b", "doc", "number", "list", "\xC3\xA4 %/?#"}) keys_.push_back({table, name, {}});
  }

  void run(int64_t steps) {
    for (int64_t step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      advance(below(50) == 0 ? 2'000 : 10);
      change(keys_[static_cast<size_t>(below(static_cast<int64_t>(keys_.size())))]);
      advance(10);
      checkpoints_.push_back(now());
      if (step % 1000 == 999) api_.reopen();
      for (int i = 0; i < 2; ++i) check(keys_[static_cast<size_t>(below(static_cast<int64_t>(keys_.size())))]);
    }
  }

 private:
  struct Named {
    std::string table, name;
    Key key;
  };
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  int64_t now() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() + ahead_ms_;
  }
  void advance(int64_t ms) {
    api_.host.advance(std::chrono::milliseconds(ms));
    ahead_ms_ += ms;
  }
  static std::string target(const Named& k, const std::string& route = {}, const std::string& more = {}) {
    return "/kv/" + encode(k.name) + route + "?table=" + k.table + (more.empty() ? "" : "&" + more);
  }
  HttpAnswer call(std::string_view method, const std::string& where, const std::string& body = {}, std::string_view type = {}) {
    return api_.call(method, where, body, type);
  }

  // The request and what it must have left; `more` gets history=false now and then.
  void done(Named& k, bool recorded, Maybe after) { k.key.add(recorded ? How::recorded : How::unrecorded, std::move(after), now()); }
  void change(Named& k) {
    const bool recorded = below(25) != 0;
    const std::string more = recorded ? "" : "history=false";
    const Maybe current = k.key.now(now());
    if (current && current->expires && std::abs(*current->expires - now()) < 500) return;  // about to end
    const int64_t kind = below(20);
    if (kind < 3) return roll_back(k);
    if (kind == 3) return roll_back_table(k.table);
    if (kind < 6) {
      const HttpAnswer r = call("DELETE", target(k, "", more));
      ASSERT_EQ(r.status, current ? 200 : 404) << r.body;
      if (current) return done(k, recorded, {});
      ASSERT_EQ(r.error(), "Key not found");
      return;
    }
    if (kind == 6 && recorded) return set_two(k);
    if (k.name == "number") return count(k, recorded, more, current);
    if (k.name == "list") return change_list(k, recorded, more, current);
    if (k.name == "doc") return change_document(k, recorded, more, current);
    const std::string value = "v" + std::to_string(below(1'000'000));
    const bool ttl = below(8) == 0;
    const HttpAnswer r = call("PUT", target(k, "", more + (ttl ? (more.empty() ? "ttl=1" : "&ttl=1") : "")), value, "text/plain");
    ASSERT_EQ(r.status, 200) << r.body;
    done(k, recorded, Value{value, "text/plain", ttl ? std::optional<int64_t>(now() + 1000) : std::nullopt});
  }
  void count(Named& k, bool recorded, const std::string& more, const Maybe& current) {
    const int64_t delta = below(200) - 100;
    const HttpAnswer r = call("POST", target(k, below(2) == 0 ? "/incr" : "/decr", "delta=" + std::to_string(delta) + (more.empty() ? "" : "&" + more)));
    ASSERT_EQ(r.status, 200) << r.body;
    const std::string left = call("GET", target(k)).body;
    const int64_t before = current ? std::stoll(current->bytes) : 0;
    ASSERT_TRUE(left == std::to_string(before + delta) || left == std::to_string(before - delta)) << left << " after " << before;
    done(k, recorded, Value{left, "text/plain", {}});
  }
  void change_list(Named& k, bool recorded, const std::string& more, const Maybe& current) {
    if (!current) {
      ASSERT_EQ(call("PUT", target(k, "", more), "[]", "application/json").status, 200);
      return done(k, recorded, Value{"[]", "application/json", {}});
    }
    Json list = Json::parse(current->bytes);
    HttpAnswer r;
    if (list.empty() || below(2) == 0) {
      list.push_back(below(100));
      r = call("POST", target(k, "/push", more), list.back().dump(), "application/json");
    } else if (below(2) == 0) {
      list.erase(list.size() - 1);
      r = call("POST", target(k, "/pop", more));
    } else {
      const int64_t at = below(static_cast<int64_t>(list.size()));
      list.erase(static_cast<size_t>(at));
      r = call("POST", target(k, "/remove", "index=" + std::to_string(at) + (more.empty() ? "" : "&" + more)));
    }
    ASSERT_EQ(r.status, 200) << r.body;
    const std::string left = call("GET", target(k)).body;
    ASSERT_EQ(Json::parse(left), list);
    done(k, recorded, Value{left, "application/json", {}});
  }
  void change_document(Named& k, bool recorded, const std::string& more, const Maybe& current) {
    const std::string leaf = std::to_string(below(1000));
    Json document = current ? Json::parse(current->bytes) : Json::parse(R"({"a":{"b":0},"c":"kept"})");
    document["a"]["b"] = Json::parse(leaf);
    const HttpAnswer r = current ? call("PUT", target(k, "", "path=a.b" + (more.empty() ? "" : "&" + more)), leaf, "application/json")
                                 : call("PUT", target(k, "", more), document.dump(), "application/json");
    ASSERT_EQ(r.status, 200) << r.body;
    const std::string left = call("GET", target(k)).body;
    ASSERT_EQ(Json::parse(left), document);
    ASSERT_EQ(call("GET", target(k, "", "path=a.b")).body, leaf);
    done(k, recorded, Value{left, "application/json", {}});
  }
  // Two texts of one table in one batch.
  void set_two(const Named& near) {
    Json items = Json::array();
    std::vector<Named*> changed;
    for (Named& k : keys_) {
      if (k.table != near.table || (k.name != "text" && k.name != "a/b")) continue;
      items.push_back({{"key", k.name}, {"value", "b" + std::to_string(below(1000))}, {"content_type", "text/plain"}});
      changed.push_back(&k);
    }
    const Json body = {{"items", items}};
    const HttpAnswer r = call("POST", "/kv/batch/set?table=" + near.table, body.dump(), "application/json");
    ASSERT_EQ(r.status, 200) << r.body;
    for (size_t i = 0; i < changed.size(); ++i) done(*changed[i], true, Value{items[i]["value"], "text/plain", {}});
  }
  void roll_back(Named& k) {
    if (near(k.key, now())) return;
    const int64_t steps = 1 + below(4), newest = static_cast<int64_t>(k.key.recorded.size());
    int expected = 200;
    if (k.key.moments.empty()) expected = 404;
    else if (newest == 0) expected = 409;
    else if (steps > newest) expected = 400;
    else if (k.key.dark_now()) expected = 409;
    for (int64_t n = newest; expected == 200 && n > newest - steps + 1; --n)
      if (k.key.moments[k.key.recorded[static_cast<size_t>(n - 1)]].began_dark) expected = 409;
    const HttpAnswer r = call("POST", target(k, "/rollback", "steps=" + std::to_string(steps)));
    ASSERT_EQ(r.status, expected) << r.body;
    if (expected != 200) return;
    ASSERT_EQ(r.json()["op_number"], newest + 1);
    done(k, true, live(k.key.moments[k.key.recorded[static_cast<size_t>(newest - steps)]].before, now()));
  }
  void roll_back_table(const std::string& table) {
    if (checkpoints_.empty()) return;
    const int64_t time = checkpoints_[static_cast<size_t>(below(static_cast<int64_t>(checkpoints_.size())))];
    bool gap = false;
    std::vector<std::pair<Named*, Maybe>> changes;
    for (Named& k : keys_) {
      if (k.table != table) continue;
      if (near(k.key, now()) || near(k.key, time)) return;
      Maybe then;
      if (!k.key.at(time, then)) gap = true;
      else if (live(then, now()) != k.key.now(now())) changes.emplace_back(&k, live(then, now()));
    }
    const HttpAnswer r = call("POST", "/kv/rollback?table=" + table + "&confirm=yes&to_timestamp=" + std::to_string(time), "{}", "application/json");
    ASSERT_EQ(r.status, gap ? 409 : 200) << r.body;
    if (gap) return;
    ASSERT_EQ(r.json()["changes"].size(), changes.size()) << r.body;
    for (auto& [k, then] : changes) done(*k, true, then);
  }
  static bool near(const Key& key, int64_t time) {
    for (const auto& m : key.moments)
      if (m.after && m.after->expires && std::abs(*m.after->expires - time) < 500) return true;
    return false;
  }
  void check(const Named& k) {
    if (near(k.key, now())) return;
    const Maybe current = k.key.now(now());
    const HttpAnswer r = call("GET", target(k));
    ASSERT_EQ(r.status, current ? 200 : 404) << k.name;
    if (current) {
      ASSERT_EQ(r.body, current->bytes) << k.name;
      ASSERT_EQ(r.content_type, current->type) << k.name;
    }
    const int64_t time = checkpoints_[static_cast<size_t>(below(static_cast<int64_t>(checkpoints_.size())))];
    if (near(k.key, time)) return;
    Maybe then;
    const bool known = k.key.at(time, then);
    const HttpAnswer past = call("GET", target(k, "", "at_timestamp=" + std::to_string(time)));
    ASSERT_EQ(past.status, !known ? 409 : then ? 200 : 404) << k.name << " at " << time << ": " << past.body;
    if (!known || !then) return;
    ASSERT_EQ(past.body, then->bytes) << k.name;
  }

  std::mt19937_64 random_;
  DataApi api_;
  int64_t ahead_ms_ = 0;
  std::vector<Named> keys_;
  std::vector<int64_t> checkpoints_;
};

TEST(ApiModel, EveryAnswerIsTheTruthOrAGapWhereAChangeWasNotRecorded) {
  const char* steps = std::getenv("VIA_MODEL_STEPS");
  const char* seed = std::getenv("VIA_MODEL_SEED");
  ApiModel(seed ? std::strtoull(seed, nullptr, 10) : 20'260'101).run(steps ? std::atoll(steps) : 2'000);
}

}  // namespace
}  // namespace via::sqlite::test
