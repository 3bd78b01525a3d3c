// A key-value table written by hand, so that history and time travel are tested without the endpoints: every change goes
// through record() or skip(), at a time that the test sets.
// Thread: the test's.
#pragma once

#include "plugins/sqlite/kv/host_query.hpp"
#include "plugins/sqlite/kv/retention.hpp"
#include "plugins/sqlite/kv/rollback.hpp"
#include "plugins/sqlite/kv/table.hpp"

#include <via/testing.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

namespace via::sqlite::kv::test {

using Json = nlohmann::json;

class Store {
 public:
  explicit Store(Limits limits = {}) : limits_(limits) {
    std::string pattern = (std::filesystem::temp_directory_path() / "via-kv-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    { const std::ofstream made(path()); }
    open();
    must(ensure_table(connection(), table));
  }
  ~Store() {
    connection_.reset();
    std::error_code ec;
    std::filesystem::remove_all(folder_, ec);
  }

  Connection& connection() { return *connection_; }
  void open() {
    connection_.reset();
    fake_ = std::make_unique<via::testing::FakeHost>(via::testing::FakeHost::Options{folder_, 0, 1, false});
    host_ = std::make_unique<Host>(fake_->host());
    must(Connection::open(path(), Connection::Kind::writer, limits_, *host_, connection_));
    sql("PRAGMA synchronous=OFF");
  }
  void sql(const std::string& text) { ASSERT_EQ(connection_->host_exec(text.c_str()), SQLITE_OK) << sqlite3_errmsg(connection_->db()); }
  static void must(const Failure& f) { ASSERT_FALSE(f) << f.message; }

  std::optional<Entry> current(const std::string& key) {
    std::optional<Travel> travel;
    must(Travel::open(connection(), table, now, travel));
    std::optional<Entry> entry;
    must(travel->current(key, entry));
    return entry;
  }
  void set(const std::string& key, const std::string& value, bool recorded = true, std::optional<int64_t> ttl_ms = {},
           const std::string& type = "text/plain") {
    const auto before = current(key);
    Entry after{value, type, before ? before->created_ms : now, now, ttl_ms ? std::optional<int64_t>(now + *ttl_ms) : std::nullopt};
    {
      HostQuery q(connection(), "INSERT OR REPLACE INTO kv_store VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
      must(q.text(key).blob(value).text(type).integer(after.created_ms).integer(now).integer(after.expires_ms).run());
    }
    must(recorded ? record(connection(), table, key, "set", before ? &*before : nullptr, &after, now) : skip(connection(), table, key, now));
  }
  void del(const std::string& key, bool recorded = true) {
    const auto before = current(key);
    {
      HostQuery q(connection(), "DELETE FROM kv_store WHERE key=?1");
      must(q.text(key).run());
    }
    must(recorded ? record(connection(), table, key, "delete", before ? &*before : nullptr, nullptr, now)
                  : skip(connection(), table, key, now));
  }

  // The value then, "-" when there was none, "gap" when that cannot be told.
  std::string at(const std::string& key, int64_t time) {
    std::optional<Entry> entry;
    const Failure f = get_at(connection(), table, key, time, now, entry);
    if (f) return f.message == "time-travel chain gap" && f.http_status == 409 ? "gap" : f.message;
    return entry ? entry->value : "-";
  }
  Json table_at(int64_t time, const std::string& prefix = {}, int64_t limit = 0) {
    std::string json;
    must(kv::table_at(connection(), table, {prefix, {}, limit}, time, now, json));
    return Json::parse(json);
  }
  Json diff(int64_t from, int64_t to, std::optional<std::vector<std::string>> keys = {}) {
    std::string json;
    must(diff_table(connection(), table, from, to, keys, now, json));
    return Json::parse(json);
  }
  // The answer, or {"refused": status}. Undone when it is refused, as a request is.
  Json rollback(const std::string& key, int64_t steps = 1) {
    return answered([&](std::string& json) { return rollback_key(connection(), table, key, steps, now, json); });
  }
  Json rollback_to(int64_t time, const Selection& selection = {}, bool dry_run = false) {
    return answered([&](std::string& json) { return rollback_table(connection(), table, time, selection, dry_run, now, json); });
  }
  Json history(const std::string& key) {
    std::optional<Travel> travel;
    must(Travel::open(connection(), table, now, travel));
    Json list = Json::array();
    must(travel->operations(key, INT64_MAX, [&](Operation&& o) {
      list.push_back({o.number, o.op, o.before ? Json(o.before->value) : Json(), o.after ? Json(o.after->value) : Json()});
      return true;
    }));
    return list;
  }
  bool has_gaps(const std::string& key) {
    std::optional<Travel> travel;
    must(Travel::open(connection(), table, now, travel));
    bool gaps = false;
    must(travel->has_gaps(key, gaps));
    return gaps;
  }

  Table table;
  int64_t now = 1'000'000'000'000;

 private:
  std::string path() const { return folder_ + "/test.db"; }
  template <class Fn>
  Json answered(const Fn& fn) {
    std::string json;
    sql("SAVEPOINT request");
    const Failure f = fn(json);
    if (f) sql("ROLLBACK TO request");
    sql("RELEASE request");
    return f ? Json{{"refused", f.http_status}, {"error", f.message}} : Json::parse(json);
  }
  Limits limits_;
  std::string folder_;
  std::unique_ptr<via::testing::FakeHost> fake_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace via::sqlite::kv::test
