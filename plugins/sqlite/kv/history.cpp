// Recording: one look at the key's newest row and one insert per operation.
#include "plugins/sqlite/kv/history.hpp"

#include "plugins/sqlite/kv/host_query.hpp"
#include "plugins/sqlite/kv/retention.hpp"

#include <algorithm>
#include <iterator>

namespace via::sqlite::kv {
namespace {

constexpr const char* kSchema[] = {
    "CREATE TABLE _via_kv_history(id INTEGER PRIMARY KEY, tbl TEXT NOT NULL, key TEXT NOT NULL, op_number INTEGER NOT NULL, "
    "time INTEGER NOT NULL, op TEXT NOT NULL, value BLOB, content_type TEXT, expires_at INTEGER, created_at INTEGER, "
    "gap_at INTEGER, broken INTEGER, old_value BLOB, old_content_type TEXT, old_expires_at INTEGER)",
    "CREATE UNIQUE INDEX _via_kv_history_key ON _via_kv_history(tbl, key, op_number)",
    "CREATE INDEX _via_kv_history_time ON _via_kv_history(tbl, time)",
    "CREATE INDEX _via_kv_history_broken ON _via_kv_history(tbl, key) WHERE broken IS NOT NULL",
};
constexpr int64_t kTrimStep = 64;  // operations between two trims of one key

struct Newest {
  bool found = false;
  int64_t id = 0, op_number = 0, time = 0;
  std::optional<int64_t> gap_at;
  bool same = false;  // its outcome, at the time of asking, is `before`
};

Failure make_schema(Connection& connection) {
  bool exists = false;
  if (Failure f = history_exists(connection, exists)) return f;
  if (exists) return {};
  for (const char* sql : kSchema) {
    if (const int rc = connection.host_exec(sql); rc != SQLITE_OK) return connection.failure(rc);
  }
  return {};
}

// SQLITE_OK, or the code of what failed: SQLITE_ERROR stands for the missing table.
int find_newest(Connection& connection, const Table& table, std::string_view key, const Entry* before, int64_t now_ms, Newest& out) {
  HostQuery q(connection,
              "SELECT id, op_number, time, gap_at, value, content_type, expires_at FROM _via_kv_history "
              "WHERE tbl=?1 AND key=?2 ORDER BY op_number DESC LIMIT 1");
  q.text(table.name()).text(key);
  out = {};
  if (q.next()) {
    out.found = true;
    out.id = q.number(0);
    out.op_number = q.number(1);
    out.time = q.number(2);
    out.gap_at = q.number_or_null(3);
    const std::optional<int64_t> expires = q.number_or_null(6);
    const bool live = !q.is_null(4) && !(expires && *expires <= now_ms);
    if (live && before) {
      out.same = q.bytes(4) == before->value && q.bytes(5) == before->content_type && expires == before->expires_ms;
    } else {
      out.same = !live && !before;
    }
  }
  return q.code();
}

// The same, after the table was made when it is missing.
Failure newest(Connection& connection, const Table& table, std::string_view key, const Entry* before, int64_t now_ms, Newest& out) {
  if (!connection.history_checked) {
    bool exists = false;
    if (Failure f = history_exists(connection, exists)) return f;
    connection.history_checked = true;
  }
  int rc = find_newest(connection, table, key, before, now_ms, out);
  if ((rc & 0xff) == SQLITE_ERROR) {
    if (Failure f = make_schema(connection)) return f;
    rc = find_newest(connection, table, key, before, now_ms, out);
  }
  return rc == SQLITE_OK ? Failure{} : connection.failure(rc);
}

// Rows before the last `keep` stay out, but for one: the outcome that the oldest kept operation began with.
Failure trim(Connection& connection, const Table& table, std::string_view key, int64_t op_number, int64_t now_ms) {
  const int64_t keep = std::max<int64_t>(1, connection.history_operations);
  if (op_number > keep) {
    HostQuery q(connection, "DELETE FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number<?3");
    if (Failure f = q.text(table.name()).text(key).integer(op_number - keep).run()) return f;
  }
  if (connection.history_age_ms > 0) {
    HostQuery q(connection,
                "DELETE FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number<(SELECT max(op_number) FROM _via_kv_history "
                "WHERE tbl=?1 AND key=?2 AND time<=?3)");
    return q.text(table.name()).text(key).integer(now_ms - connection.history_age_ms).run();
  }
  return {};
}

// Every record looks at one other key, so that as many writes as there are keys make a whole pass.
Failure forget_more(Connection& connection, int64_t now_ms) {
  ForgetCursor cursor{connection.history_table, connection.history_key};
  bool done = false;
  if (Failure f = forget(connection, now_ms, 1, cursor, done)) return f;
  connection.history_table = std::move(cursor.table);
  connection.history_key = std::move(cursor.key);
  return {};
}

}  // namespace

bool same_value(const Entry* a, const Entry* b) {
  if (!a || !b) return a == b;
  return a->value == b->value && a->content_type == b->content_type && a->expires_ms == b->expires_ms;
}

Failure history_exists(Connection& connection, bool& exists) {
  int64_t ours = 0, all = 0;
  {
    HostQuery q(connection,
                "SELECT count(*), count(*) FILTER (WHERE sql IN (?1, ?2, ?3, ?4)) FROM sqlite_schema "
                "WHERE tbl_name='_via_kv_history' COLLATE NOCASE");
    for (const char* sql : kSchema) q.text(sql);
    if (q.next()) {
      all = q.number(0);
      ours = q.number(1);
    }
    if (Failure f = q.failed()) return f;
  }
  exists = all != 0;
  if (all == ours && (all == 0 || all == std::ssize(kSchema))) return {};
  return {VIA_E_PRECONDITION, "history_foreign", "the table _via_kv_history of this database was not made by this service"};
}

Failure record(Connection& connection, const Table& table, std::string_view key, std::string_view op, const Entry* before,
               const Entry* after, int64_t now_ms, int64_t* op_number) {
  Newest last;
  if (Failure f = newest(connection, table, key, before, now_ms, last)) return f;
  const bool broken = last.found ? last.gap_at || !last.same : before != nullptr;
  const int64_t number = last.found ? last.op_number + 1 : 1;
  const int64_t time = last.found ? std::max({now_ms, last.time, last.gap_at.value_or(last.time)}) : now_ms;
  {
    HostQuery q(connection,
                "INSERT INTO _via_kv_history(tbl, key, op_number, time, op, value, content_type, expires_at, created_at, broken, "
                "old_value, old_content_type, old_expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    q.text(table.name()).text(key).integer(number).integer(time).text(op);
    if (after) q.blob(after->value).text(after->content_type).integer(after->expires_ms).integer(after->created_ms);
    else q.null().null().null().null();
    if (broken) q.integer(1);
    else q.null();
    if (broken && before) q.blob(before->value).text(before->content_type).integer(before->expires_ms);
    else q.null().null().null();
    if (Failure f = q.run()) return f;
  }
  if (op_number) *op_number = number;
  const int64_t step = std::clamp<int64_t>(connection.history_operations / 8, 1, kTrimStep);
  if (number % step == 0)
    if (Failure f = trim(connection, table, key, number, now_ms)) return f;
  return connection.history_age_ms > 0 ? forget_more(connection, now_ms) : Failure{};
}

Failure skip(Connection& connection, const Table& table, std::string_view key, int64_t now_ms) {
  Newest last;
  if (Failure f = newest(connection, table, key, nullptr, now_ms, last)) return f;
  if (last.found) {
    if (last.gap_at) return {};
    HostQuery q(connection, "UPDATE _via_kv_history SET gap_at=?1 WHERE id=?2");
    return q.integer(std::max(now_ms, last.time)).integer(last.id).run();
  }
  // Known to have been absent before only when this change made it.
  bool made = false;
  {
    HostQuery q(connection, "SELECT created_at FROM \"" + table.name() + "\" WHERE key=?1");
    made = q.text(key).next() && q.number(0) >= now_ms;
  }
  HostQuery q(connection,
              "INSERT INTO _via_kv_history(tbl, key, op_number, time, op, gap_at, broken) VALUES(?1, ?2, 0, ?3, 'skip', ?3, ?4)");
  q.text(table.name()).text(key).integer(now_ms);
  if (made) q.null();
  else q.integer(1);
  return q.run();
}

}  // namespace via::sqlite::kv
