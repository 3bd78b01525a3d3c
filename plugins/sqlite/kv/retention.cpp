// One key after the other in the order of the index.
#include "plugins/sqlite/kv/retention.hpp"

#include "plugins/sqlite/kv/host_query.hpp"

namespace via::sqlite::kv {
namespace {

Failure move_horizon(Connection& connection, std::string_view table, int64_t time) {
  HostQuery q(connection,
              "INSERT INTO _via_kv_history(tbl, key, op_number, time, op) VALUES(?1, '', 0, ?2, 'horizon') "
              "ON CONFLICT(tbl, key, op_number) DO UPDATE SET time=max(time, excluded.time)");
  return q.text(table).integer(time).run();
}

}  // namespace

Failure forget(Connection& connection, int64_t now_ms, size_t keys, ForgetCursor& cursor, bool& done) {
  done = true;
  if (connection.history_age_ms <= 0) return {};
  const int64_t edge = now_ms - connection.history_age_ms;
  for (size_t i = 0; i < keys; ++i) {
    {
      HostQuery q(connection, "SELECT tbl, key FROM _via_kv_history WHERE (tbl, key)>(?1, ?2) ORDER BY tbl, key LIMIT 1");
      const ForgetCursor at = cursor;
      if (!q.text(at.table).text(at.key).next()) {
        cursor = {};
        return q.failed();
      }
      cursor.table = q.bytes(0);
      cursor.key = q.bytes(1);
    }
    if (cursor.key.empty()) continue;  // the horizon
    {
      HostQuery q(connection,
                  "DELETE FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number<(SELECT max(op_number) FROM _via_kv_history "
                  "WHERE tbl=?1 AND key=?2 AND time<=?3)");
      if (Failure f = q.text(cursor.table).text(cursor.key).integer(edge).run()) return f;
    }
    int64_t gone = 0;
    {
      HostQuery q(connection,
                  "SELECT id FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND time<=?3 AND gap_at IS NULL "
                  "AND (value IS NULL OR expires_at<=?3) AND op_number=(SELECT max(op_number) FROM _via_kv_history WHERE tbl=?1 AND key=?2)");
      if (q.text(cursor.table).text(cursor.key).integer(edge).next()) gone = q.number(0);
      if (Failure f = q.failed()) return f;
    }
    if (gone == 0) continue;
    HostQuery q(connection, "DELETE FROM _via_kv_history WHERE id=?1");
    if (Failure f = q.integer(gone).run()) return f;
    if (Failure f = move_horizon(connection, cursor.table, edge)) return f;
  }
  done = false;
  return {};
}

}  // namespace via::sqlite::kv
