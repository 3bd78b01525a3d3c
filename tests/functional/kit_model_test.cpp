// The key-value API of a real `via kit sqlite` that is killed again and again: what it acknowledged is there, what it did not
// is there wholly or not at all, and its history tells exactly that. Two tests: many connections that change the same keys,
// and random requests against a model. VIA_MODEL_STEPS (default 250), VIA_MODEL_KILL_ONE_IN (12) and VIA_MODEL_SEED choose another run of the model; a
// seed fixes what is drawn, not where a kill meets the kit. Thread: one kit a test; clients that run at once have a
// connection each.
#include <poll.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <iostream>
#include <latch>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "core/base/base64.hpp"
#include "functional/routes.hpp"

namespace via::test {
namespace {

// A connection to the kit. The kit wants to be asked by a name of this machine.
class Client {
 public:
  explicit Client(std::uint16_t port) : http_(port) {}
  bool send(const std::string& method, const std::string& target, const std::string& body = {}, const std::string& type = {}) {
    std::vector<std::pair<std::string, std::string>> headers;
    if (!type.empty()) headers.emplace_back("Content-Type", type);
    std::string request = Http::format(method, "/api/v1/sqlite" + target, body, headers);
    const std::string host = "Host: via\r\n";
    request.replace(request.find(host), host.size(), "Host: localhost:1\r\n");
    return http_.send(request);
  }
  // A status of 0: no whole answer.
  Response read() {
    const auto answer = http_.read(60'000);
    return answer && !answer->cut ? *answer : Response{};
  }
  Response call(const std::string& method, const std::string& target, const std::string& body = {}, const std::string& type = {}) {
    return send(method, target, body, type) ? read() : Response{};
  }
  int fd() const { return http_.fd(); }

 private:
  Http http_;
};

std::string base64(std::string_view bytes) {
  std::string out = base64url_encode(bytes);
  std::replace(out.begin(), out.end(), '-', '+');
  std::replace(out.begin(), out.end(), '_', '/');
  return out.append((4 - out.size() % 4) % 4, '=');
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '/') out += c;
    else out.append({'%', kDigits[byte >> 4], kDigits[byte & 15]});
  }
  return out;
}

// ---- many connections, the same keys

class ManyConnections : public ::testing::Test {
 protected:
  static constexpr int kClients = 64, kCompared = 4;  // keys that are compared and set
  static constexpr int kTurns = 8, kComparisons = 3;  // of each client

  void SetUp() override {
    kit_.kit.emplace();
    ASSERT_TRUE(kit_.start()) << kit_.log();
    Client client(kit_.port());
    ASSERT_EQ(client.call("POST", "/db/create?path=app").status, 200);
    for (int i = 0; i < kCompared; ++i) ASSERT_EQ(client.call("PUT", "/kv/compared" + std::to_string(i) + "?db=app", "0", "text/plain").status, 200);
  }

  // A refusal for want of room did nothing and is asked again.
  static Response insist(Client& client, const std::string& method, const std::string& target, const std::string& body, const std::string& type) {
    for (;;) {
      Response answer = client.call(method, target, body, type);
      if (answer.status != 429 && answer.status != 503) return answer;
    }
  }
  bool took(const Response& answer) {
    if (answer.status == 200) return true;
    const std::lock_guard lock(mutex_);
    if (unexpected_.empty()) unexpected_ = "an answer was: " + answer.head + answer.body;
    return false;
  }

  void count(Client& client) {
    const Response answer = insist(client, "POST", "/kv/count/incr?db=app", "", "");
    if (!took(answer)) return;
    const std::lock_guard lock(mutex_);
    counted_.insert(answer.json()["value"].get<std::int64_t>());
  }
  void append(Client& client, int element) {
    const Response answer = insist(client, "POST", "/kv/list/push?db=app", std::to_string(element), "application/json");
    if (!took(answer)) return;
    const std::lock_guard lock(mutex_);
    appended_[answer.json()["length"].get<std::size_t>()] = element;
  }
  // Adds one, however often another client is faster.
  void compare_and_set(Client& client, int which) {
    const std::string target = "/kv/compared" + std::to_string(which) + "?db=app";
    for (;;) {
      const Response before = insist(client, "GET", target, "", "");
      if (!took(before)) return;
      const Response answer = insist(client, "PUT", target + "&if_match=" + before.body, std::to_string(std::stoll(before.body) + 1), "text/plain");
      if (answer.status == 412) {
        const std::lock_guard lock(mutex_);
        ++mismatches_;
        continue;
      }
      if (!took(answer)) return;
      const std::lock_guard lock(mutex_);
      ++set_[static_cast<std::size_t>(which)];
      return;
    }
  }
  void run_client(int number, std::latch& ready) {
    Client client(kit_.port());
    ready.arrive_and_wait();
    for (int turn = 0; turn < kTurns; ++turn) {
      count(client);
      if (turn < kComparisons) compare_and_set(client, (number + turn) % kCompared);
      append(client, number * kTurns + turn);
    }
  }

  // The values a key went through as its history tells them, oldest first.
  std::vector<std::string> told(Client& client, const std::string& key) {
    const json answer = client.call("GET", "/kv/" + key + "/history?db=app&limit=1000").json();
    EXPECT_EQ(answer["has_gaps"], false) << key;
    std::vector<std::string> out;
    const json operations = answer["operations"];
    for (auto o = operations.rbegin(); o != operations.rend(); ++o) {
      EXPECT_EQ((*o)["op_number"], out.size() + 1) << key;
      EXPECT_EQ((*o)["raw_old_value"], out.empty() ? json() : json(out.back())) << key;
      out.push_back((*o)["raw_new_value"]);
    }
    return out;
  }
  static std::vector<std::string> numbers(std::int64_t first, std::int64_t last) {
    std::vector<std::string> out;
    for (; first <= last; ++first) out.push_back(base64(std::to_string(first)));
    return out;
  }

  HostProcess kit_;
  std::mutex mutex_;
  std::string unexpected_;
  std::set<std::int64_t> counted_;
  std::map<std::size_t, int> appended_;  // by the length the answer told
  std::array<std::int64_t, kCompared> set_{};
  std::int64_t mismatches_ = 0;
};

TEST_F(ManyConnections, LoseNothingOfWhatWasAcknowledgedAndTheHistoryCountsEveryOperation) {
  std::latch ready(kClients);
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back([this, i, &ready] { run_client(i, ready); });
  for (auto& client : clients) client.join();
  ASSERT_EQ(unexpected_, "");
  kit_.kill();
  ASSERT_TRUE(kit_.start()) << kit_.log();
  Client client(kit_.port());

  constexpr std::int64_t kAll = kClients * kTurns;
  EXPECT_EQ(counted_.size(), kAll) << "two increments were told the same value";
  EXPECT_EQ(client.call("GET", "/kv/count?db=app").body, std::to_string(kAll));
  EXPECT_EQ(told(client, "count"), numbers(1, kAll));

  json list = json::array();
  std::set<int> elements;
  std::vector<std::string> lists;
  for (const auto& [length, element] : appended_) {
    elements.insert(element);
    list.push_back(element);
    lists.push_back(base64(list.dump()));
    EXPECT_EQ(length, list.size());
  }
  EXPECT_EQ(elements.size(), kAll);
  EXPECT_EQ(client.call("GET", "/kv/list?db=app").body, list.dump());
  EXPECT_EQ(told(client, "list"), lists);

  for (int i = 0; i < kCompared; ++i) {
    const std::string key = "compared" + std::to_string(i);
    EXPECT_EQ(set_[static_cast<std::size_t>(i)], kClients * kComparisons / kCompared);
    EXPECT_EQ(client.call("GET", "/kv/" + key + "?db=app").body, std::to_string(set_[static_cast<std::size_t>(i)]));
    EXPECT_EQ(told(client, key), numbers(0, set_[static_cast<std::size_t>(i)]));
  }
  EXPECT_GT(mismatches_, 0) << "no comparison ever failed: the clients did not compete";
}

// ---- random requests against a model

struct Value {
  std::string bytes, type;
  bool operator==(const Value&) const = default;
};
using Maybe = std::optional<Value>;

json raw(const Maybe& value) { return value ? json(base64(value->bytes)) : json(); }

struct Operation {
  std::string op;
  Maybe after;
  std::int64_t time = 0;  // as the kit told it; 0 = not asked yet
};

struct Key {
  std::string name;
  std::vector<Operation> operations;

  Maybe after(std::size_t number) const { return number == 0 ? Maybe() : operations[number - 1].after; }
  Maybe now() const { return after(operations.size()); }
  // The number of the last operation until then. All times have been asked.
  std::size_t last_until(std::int64_t time) const {
    const auto it = std::upper_bound(operations.begin(), operations.end(), time, [](std::int64_t t, const Operation& o) { return t < o.time; });
    return static_cast<std::size_t>(it - operations.begin());
  }
};

// A request, what must be answered, and what it leaves when that is a success.
struct Change {
  std::string method, target, body = {}, type = {};
  int status = 200;
  json answer = {};  // members that the answer must have
  std::vector<std::pair<Key*, Operation>> done = {};
  bool whole_table = false;  // what it does to a key depends on every other change that is under way
};

class KilledKit {
 public:
  explicit KilledKit(std::uint64_t seed) : random_(seed) { kit_.kit.emplace(); }

  // One step in so many is a kill in the middle of changes.
  void run(std::int64_t steps, std::int64_t one_in) {
    one_in_ = one_in;
    start();
    for (std::int64_t step = 0; step < steps && !failed(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      if (step % kStepsOfADatabase == 0) begin_database(step);
      if (below(5 * one_in_) == 0) restart();
      if (failed()) break;
      if (below(one_in_) == 0) {
        interrupted();
        for (const Key& key : keys_)
          if (!failed()) check_value(key);
      } else {
        const Change change = draw(some_key());
        finish(change, client_->call(change.method, change.target, change.body, change.type));
      }
      if (!failed()) check();
    }
    check_all();
    std::cout << steps << " steps: " << kills_ << " kills, " << in_ << " unanswered changes were in, " << out_ << " were not, " << acknowledged_
              << " were answered just before\n";
  }

 private:
  static constexpr std::int64_t kStepsOfADatabase = 4'000;

  static bool failed() { return ::testing::Test::HasFailure(); }
  std::int64_t below(std::int64_t n) { return std::uniform_int_distribution<std::int64_t>(0, n - 1)(random_); }
  Key& some_key() { return keys_[static_cast<std::size_t>(below(std::ssize(keys_)))]; }

  // The end of it: every start of the kit adds to it.
  std::string log() const {
    const std::string all = kit_.log();
    return all.substr(all.size() - std::min<std::size_t>(all.size(), 2'000));
  }
  void start() {
    ASSERT_TRUE(kit_.start()) << log();
    client_.emplace(kit_.port());
  }
  void restart() {
    if (below(5) == 0) {
      client_.reset();
      ASSERT_EQ(kit_.stop(), 0) << log();
    } else {
      kit_.kill();
      ++kills_;
    }
    start();
  }
  void begin_database(std::int64_t step) {
    check_all();
    database_ = "model" + std::to_string(step);
    keys_.clear();
    for (const char* name : {"text", "a/b", "number", "list", "\xC3\xA4 %/?#"}) keys_.push_back({name, {}});
    ASSERT_EQ(client_->call("POST", "/db/create?path=" + database_).status, 200);
  }

  std::string target(const Key& key, const std::string& route = {}, const std::string& more = {}) const {
    return "/kv/" + encoded(key.name) + route + "?db=" + database_ + (more.empty() ? "" : "&" + more);
  }
  std::string table(const std::string& route, const std::string& more = {}) const {
    return "/kv" + route + "?db=" + database_ + (more.empty() ? "" : "&" + more);
  }
  Response get(const std::string& where) {
    Response answer = client_->call("GET", where);
    EXPECT_NE(answer.status, 0) << where << ": no answer\n" << log();
    return answer;
  }

  // ---- changes

  Value some_value() {
    switch (below(4)) {
      case 0: return {std::to_string(below(1000)), "text/plain"};
      case 1: return {"[" + std::to_string(below(100)) + "]", "application/json"};
      case 2: return {"{\"a\":" + std::to_string(below(100)) + "}", "application/json"};
      default: return {"v" + std::to_string(below(1'000'000)) + std::string(static_cast<std::size_t>(below(20) == 0 ? 9'000 : 0), 'x'), "text/plain"};
    }
  }
  static Change refused(Change change, int status, const std::string& text) {
    change.status = status;
    change.answer = {{"error", text}};
    return change;
  }
  static Change succeeds(Change change, Key& key, const std::string& op, Maybe after, json answer) {
    answer["success"] = true;
    change.answer = std::move(answer);
    change.done.emplace_back(&key, Operation{op, std::move(after)});
    return change;
  }

  Change draw(Key& key) {
    switch (below(16)) {
      case 0:
      case 1: return set(key);
      case 2: return compare_and_set(key);
      case 3: return remove_key(key);
      case 4:
      case 5: return count(key, below(2) == 0);
      case 6:
      case 7:
      case 8: return push(key);
      case 9: return take(key, "pop", -1);
      case 10: return take(key, "remove", below(4));
      case 11:
      case 12: return roll_back(key);
      case 13: return set_all();
      case 14: return delete_all();
      default: return roll_back_table();
    }
  }
  Change set(Key& key) {
    const Value value = some_value();
    return succeeds({"PUT", target(key), value.bytes, value.type}, key, "set", value, {});
  }
  Change compare_and_set(Key& key) {
    const Value value = some_value();
    const Maybe now = key.now();
    const std::string match = now && below(3) != 0 ? now->bytes : "another";
    const Change change{"PUT", target(key, "", "if_match=" + encoded(match)), value.bytes, value.type};
    if (!now) return refused(change, 412, "Key does not exist for CAS");
    if (now->bytes != match) return refused(change, 412, "Value mismatch for CAS");
    return succeeds(change, key, "set", value, {});
  }
  Change remove_key(Key& key) {
    const Change change{"DELETE", target(key)};
    return key.now() ? succeeds(change, key, "delete", {}, {{"deleted", true}}) : refused(change, 404, "Key not found");
  }
  Change count(Key& key, bool down) {
    const std::int64_t delta = below(200);
    const Change change{"POST", target(key, down ? "/decr" : "/incr", "delta=" + std::to_string(delta))};
    Value value = key.now().value_or(Value{"0", "text/plain"});
    std::int64_t n = 0;
    const char* const end = value.bytes.data() + value.bytes.size();
    if (const auto read = std::from_chars(value.bytes.data(), end, n); read.ec != std::errc() || read.ptr != end)
      return refused(change, 400, "the value is not an integer");
    n += down ? -delta : delta;
    value.bytes = std::to_string(n);
    return succeeds(change, key, down ? "decr" : "incr", value, {{"value", n}});
  }
  Change push(Key& key) {
    const std::int64_t element = below(1000);
    const Change change{"POST", target(key, "/push"), std::to_string(element), "application/json"};
    Value value = key.now().value_or(Value{"[]", "application/json"});
    json list = json::parse(value.bytes, nullptr, false);
    if (!list.is_array()) return refused(change, 400, "the value is not a JSON array");
    list.push_back(element);
    value.bytes = list.dump();
    return succeeds(change, key, "push", value, {{"length", list.size()}});
  }
  // `pop` takes the last element, `remove` the one at the index.
  Change take(Key& key, const std::string& op, std::int64_t index) {
    const Change change{"POST", target(key, "/" + op, op == "pop" ? "" : "index=" + std::to_string(index))};
    Maybe value = key.now();
    if (!value) return refused(change, 404, "Key not found");
    json list = json::parse(value->bytes, nullptr, false);
    if (!list.is_array()) return refused(change, 400, "the value is not a JSON array");
    if (op == "pop" && list.empty()) return refused(change, 400, "the array is empty");
    if (op == "pop") index = std::ssize(list) - 1;
    if (index >= std::ssize(list)) return refused(change, 404, "Element not found");
    const json taken = list[static_cast<std::size_t>(index)];
    list.erase(static_cast<std::size_t>(index));
    value->bytes = list.dump();
    return succeeds(change, key, op, value, {{"value", taken}, {"length", list.size()}});
  }
  Change roll_back(Key& key) {
    const std::size_t steps = static_cast<std::size_t>(1 + below(4)), newest = key.operations.size();
    const Change change{"POST", target(key, "/rollback", "steps=" + std::to_string(steps))};
    if (newest == 0) return refused(change, 404, "Key not found");
    if (steps > newest) return refused(change, 400, "the key has " + std::to_string(newest) + " recorded operations");
    const Maybe after = key.after(newest - steps);
    return succeeds(change, key, "rollback", after,
                    {{"key", key.name}, {"steps", steps}, {"restored_op_number", newest - steps}, {"op_number", newest + 1},
                     {"exists", after.has_value()}});
  }
  Change set_all() {
    Change change{"POST", table("/batch/set"), "", "application/json"};
    change.whole_table = true;
    json items = json::array();
    for (Key& key : keys_) {
      const Value value = some_value();
      items.push_back({{"key", key.name}, {"value", value.bytes}, {"content_type", value.type}});
      change.done.emplace_back(&key, Operation{"set", value});
    }
    change.body = json{{"items", items}}.dump();
    change.answer = {{"success", true}, {"count", items.size()}};
    return change;
  }
  Change delete_all() {
    Change change{"POST", table("/batch/delete"), "", "application/json"};
    change.whole_table = true;
    json names = json::array();
    for (Key& key : keys_) {
      names.push_back(key.name);
      if (key.now()) change.done.emplace_back(&key, Operation{"delete", {}});
    }
    change.body = json{{"keys", names}}.dump();
    change.answer = {{"success", true}, {"deleted", change.done.size()}};
    return change;
  }
  Change roll_back_table() {
    const std::int64_t time = some_time();
    Change change{"POST", table("/rollback", "confirm=yes&to_timestamp=" + std::to_string(time)), "{}", "application/json"};
    change.whole_table = true;
    std::map<std::string, json> changes;
    for (Key& key : keys_) {
      const Maybe then = key.after(key.last_until(time)), now = key.now();
      if (then == now) continue;
      changes[key.name] = {{"key", key.name}, {"type", !now ? "created" : !then ? "deleted" : "modified"}};
      change.done.emplace_back(&key, Operation{"rollback", then});
    }
    change.answer = {{"success", true}, {"changes", json::array()}, {"has_gaps", false}};
    for (auto& [name, one] : changes) change.answer["changes"].push_back(one);
    return change;
  }

  void expect_answer(const Change& change, const Response& answer) {
    ASSERT_EQ(answer.status, change.status) << change.method << " " << change.target << "\n" << answer.body << "\n" << log();
    const json told = answer.json();
    for (const auto& [name, value] : change.answer.items())
      ASSERT_TRUE(told.contains(name) && told[name] == value) << change.target << "\n" << change.answer << "\n" << answer.body;
  }
  void finish(const Change& change, const Response& answer) {
    ASSERT_NO_FATAL_FAILURE(expect_answer(change, answer));
    for (const auto& [key, operation] : change.done) key->operations.push_back(operation);
  }

  // ---- kills in the middle

  // Changes of different keys, or one of the whole table, are under way when the kit is killed. Each is in or out as a
  // whole; an answered one is in.
  void interrupted() {
    std::vector<Change> changes;
    std::set<const Key*> touched;
    for (std::int64_t n = 1 + below(4); n > 0; --n) {
      Change change = draw(some_key());
      if (change.done.empty() || (change.whole_table && !changes.empty())) continue;
      if (std::any_of(change.done.begin(), change.done.end(), [&](const auto& d) { return touched.contains(d.first); })) continue;
      for (const auto& [key, operation] : change.done) touched.insert(key);
      changes.push_back(std::move(change));
      if (changes.back().whole_table) break;
    }
    std::vector<Client> clients;
    for (const Change& change : changes) {
      clients.emplace_back(kit_.port());
      ASSERT_TRUE(clients.back().send(change.method, change.target, change.body, change.type));
    }
    if (!clients.empty()) {  // until the first answer, or until any moment before it
      pollfd answered{clients.front().fd(), POLLIN, 0};
      const timespec moment{0, below(8) == 0 ? 1'000'000'000 - 1 : below(4'000'000)};
      (void)::ppoll(&answered, 1, &moment, nullptr);
    }
    kit_.kill();
    ++kills_;
    std::vector<Response> answers;
    for (Client& client : clients) answers.push_back(client.read());
    ASSERT_NO_FATAL_FAILURE(start());
    for (std::size_t i = 0; i < changes.size(); ++i) ASSERT_NO_FATAL_FAILURE(settle(changes[i], answers[i]));
  }
  void settle(const Change& change, const Response& answer) {
    const bool answered = answer.status != 0;
    if (answered) {
      ASSERT_NO_FATAL_FAILURE(expect_answer(change, answer));
    }
    std::optional<bool> in;
    for (const auto& [key, operation] : change.done) {
      const json newest = get(target(*key, "/history", "limit=1")).json();
      ASSERT_TRUE(newest.contains("operations")) << newest;
      const std::size_t number = newest["operations"].empty() ? 0 : newest["operations"][0]["op_number"].get<std::size_t>();
      const std::size_t before = key->operations.size();
      ASSERT_TRUE(number == before || number == before + 1) << change.target << " after operation " << before << ": " << newest;
      ASSERT_EQ(in.value_or(number > before), number > before) << "a part of one change: " << change.target;
      in = number > before;
    }
    ASSERT_TRUE(*in || !answered) << "acknowledged, and lost: " << change.target;
    ++(answered ? acknowledged_ : *in ? in_ : out_);
    for (const auto& [key, operation] : change.done)
      if (*in) key->operations.push_back(operation);
  }

  // ---- reads

  void check() {
    Key& key = some_key();
    check_value(key);
    if (failed()) return;
    switch (below(5)) {
      case 0: return check_history(key, 1 + below(20));
      case 1: return check_operation(key);
      case 2: return check_past(key);
      case 3: return check_past_table();
      default: return check_difference();
    }
  }
  void check_value(const Key& key) {
    const Maybe now = key.now();
    const Response answer = get(target(key));
    ASSERT_EQ(answer.status, now ? 200 : 404) << key.name << ": " << answer.body;
    if (!now) return;
    ASSERT_EQ(answer.body, now->bytes) << key.name;
    ASSERT_EQ(answer.header("Content-Type"), now->type) << key.name;
  }
  void check_all() {
    for (Key& key : keys_)
      if (!failed()) check_history(key, 1000);
  }
  // Also learns times; one that was told once must stay.
  void check_history(Key& key, std::int64_t limit) {
    const json answer = get(target(key, "/history", "limit=" + std::to_string(limit))).json();
    std::size_t number = key.operations.size();
    ASSERT_EQ(answer["operations"].size(), std::min(number, static_cast<std::size_t>(limit))) << key.name << answer;
    ASSERT_EQ(answer["count"], answer["operations"].size());
    ASSERT_EQ(answer["has_gaps"], false) << key.name;
    std::int64_t later = std::numeric_limits<std::int64_t>::max();
    const json& operations = answer["operations"];
    for (const json& told : operations) {
      Operation& operation = key.operations[number - 1];
      ASSERT_EQ(told["op_number"], number) << key.name;
      ASSERT_EQ(told["operation"]["op"], operation.op) << key.name << " " << number;
      ASSERT_EQ(told["raw_new_value"], raw(operation.after)) << key.name << " " << number;
      ASSERT_EQ(told["raw_old_value"], raw(key.after(number - 1))) << key.name << " " << number;
      const std::int64_t time = told["timestamp"];
      ASSERT_TRUE(operation.time == 0 || operation.time == time) << key.name << " " << number << ": " << operation.time << ", then " << time;
      ASSERT_LE(time, later) << key.name << " " << number;
      operation.time = later = time;
      --number;
    }
  }
  void check_operation(const Key& key) {
    const std::size_t number = static_cast<std::size_t>(below(std::ssize(key.operations) + 2));
    const Response answer = get(target(key, "/snapshot", "op_number=" + std::to_string(number)));
    const bool exists = number >= 1 && number <= key.operations.size();
    ASSERT_EQ(answer.status, exists ? 200 : 404) << key.name << " " << number << ": " << answer.body;
    const json told = answer.json();
    if (!exists) {
      ASSERT_EQ(told["error"], "Operation not found");
      return;
    }
    const Operation& operation = key.operations[number - 1];
    ASSERT_EQ(told["key"], key.name);
    ASSERT_EQ(told["op_number"], number);
    ASSERT_EQ(told["op"], operation.op) << key.name << " " << number;
    ASSERT_EQ(told["exists"], operation.after.has_value()) << key.name << " " << number;
    ASSERT_EQ(told["raw_value"], raw(operation.after)) << key.name << " " << number;
    ASSERT_EQ(told["content_type"], operation.after ? json(operation.after->type) : json()) << key.name << " " << number;
    ASSERT_EQ(told["has_gaps"], false);
  }

  // The time of any operation, or the millisecond before; all times are known afterwards.
  std::int64_t some_time() {
    for (Key& key : keys_)
      if (const auto asked = std::find_if(key.operations.begin(), key.operations.end(), [](const Operation& o) { return o.time == 0; });
          asked != key.operations.end())
        check_history(key, std::min<std::int64_t>(1000, key.operations.end() - asked));
    const Key& key = some_key();
    if (key.operations.empty()) return 1'000;
    return key.operations[static_cast<std::size_t>(below(std::ssize(key.operations)))].time - below(2);
  }
  void check_past(const Key& key) {
    const std::int64_t time = some_time();
    const Maybe then = key.after(key.last_until(time));
    const Response answer = get(target(key, "", "at_timestamp=" + std::to_string(time)));
    ASSERT_EQ(answer.status, then ? 200 : 404) << key.name << " at " << time << ": " << answer.body;
    ASSERT_TRUE(!then || answer.body == then->bytes) << key.name << " at " << time << ": " << answer.body;
  }
  void check_past_table() {
    const std::int64_t time = some_time();
    std::map<std::string, json> entries;
    for (const Key& key : keys_)
      if (const std::size_t number = key.last_until(time); const Maybe then = key.after(number))
        entries[key.name] = {{"raw_value", raw(then)}, {"content_type", then->type}, {"op_number", number}};
    const json told = get(table("/snapshot", "timestamp=" + std::to_string(time))).json();
    ASSERT_EQ(told["has_gaps"], false) << told;
    ASSERT_EQ(told["count"], entries.size()) << told;
    ASSERT_EQ(told["entries"].size(), entries.size()) << told;
    std::size_t at = 0;
    for (const auto& [name, entry] : entries) {
      const json& one = told["entries"][at++];
      ASSERT_EQ(one["key"], name) << told;
      for (const auto& [member, value] : entry.items()) ASSERT_EQ(one[member], value) << name << " at " << time << ": " << member;
    }
  }
  void check_difference() {
    std::int64_t from = some_time(), to = some_time();
    if (from > to) std::swap(from, to);
    std::map<std::string, json> changes;
    for (const Key& key : keys_) {
      const Maybe before = key.after(key.last_until(from)), after = key.after(key.last_until(to));
      if (before == after) continue;
      changes[key.name] = {{"type", !before ? "created" : !after ? "deleted" : "modified"},
                           {"raw_old_value", raw(before)}, {"raw_new_value", raw(after)}};
    }
    const json told = get(table("/diff", "from=" + std::to_string(from) + "&to=" + std::to_string(to))).json();
    ASSERT_EQ(told["has_gaps"], false) << told;
    ASSERT_EQ(told["changes"].size(), changes.size()) << told;
    std::size_t at = 0;
    for (const auto& [name, change] : changes) {
      const json& one = told["changes"][at++];
      ASSERT_EQ(one["key"], name) << told;
      for (const auto& [member, value] : change.items()) ASSERT_EQ(one[member], value) << name << " from " << from << " to " << to << ": " << member;
    }
  }

  std::mt19937_64 random_;
  HostProcess kit_;
  std::optional<Client> client_;
  std::string database_;
  std::vector<Key> keys_;
  std::int64_t one_in_ = 12, kills_ = 0, in_ = 0, out_ = 0, acknowledged_ = 0;
};

TEST(KilledKitModel, EveryAnswerIsTrueAndEveryChangeIsThereAsAWholeOrNotAtAll) {
  const char* steps = std::getenv("VIA_MODEL_STEPS");
  const char* set = std::getenv("VIA_MODEL_SEED");
  const std::uint64_t seed = set ? std::strtoull(set, nullptr, 10) : 20'260'101;
  std::cout << "VIA_MODEL_SEED=" << seed << "\n";
  SCOPED_TRACE("VIA_MODEL_SEED=" + std::to_string(seed));
  const char* one_in = std::getenv("VIA_MODEL_KILL_ONE_IN");
  KilledKit(seed).run(steps ? std::atoll(steps) : 250, one_in ? std::max(1LL, std::atoll(one_in)) : 12);
}

}  // namespace
}  // namespace via::test
