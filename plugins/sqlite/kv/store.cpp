// Statements of the key-value store: look-ups and range scans on the key's index, which compares bytes.
#include "plugins/sqlite/kv/store.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/kv/history.hpp"
#include "plugins/sqlite/kv/host_query.hpp"
#include "plugins/sqlite/kv/table.hpp"
#include "plugins/sqlite/writer.hpp"

namespace via::sqlite::kv {
namespace {

Entry entry_of(const HostQuery& q, int first) {
  Entry e;
  e.value = q.bytes(first);
  e.content_type = q.bytes(first + 1);
  e.created_ms = q.number(first + 2);
  e.updated_ms = q.number(first + 3);
  e.expires_ms = q.number_or_null(first + 4);
  return e;
}

Failure look_up(Connection& connection, const Table& table, std::string_view key, int64_t now_ms, std::optional<Entry>& out) {
  HostQuery q(connection, "SELECT value, content_type, created_at, updated_at, expires_at FROM \"" + table.name() + "\" WHERE key=?1");
  if (q.text(key).next()) out = entry_of(q, 0);
  if (out && out->expired(now_ms)) out.reset();
  return q.failed();
}

}  // namespace

Failure check_key(std::string_view key) {
  if (key.empty() || key.size() > kKeyBytes || key.find('\0') != std::string_view::npos)
    return api::error(400, "a key has 1 to 4096 bytes and no NUL");
  return {};
}

Failure get(Connection& connection, const Table& table, std::string_view key, int64_t now_ms, std::optional<Entry>& out) {
  out.reset();
  bool exists = false;
  if (Failure f = find_table(connection, table, exists); f || !exists) return f;
  return look_up(connection, table, key, now_ms, out);
}

Failure list(Connection& connection, const Table& table, std::string_view prefix, int64_t limit, int64_t offset, int64_t now_ms,
             const std::function<bool(std::string_view key, const Entry&)>& each) {
  bool exists = false;
  if (Failure f = find_table(connection, table, exists); f || !exists) return f;
  // The first key behind all that begin with the prefix; a text in valid UTF-8 has no byte 0xff.
  const std::string end = std::string(prefix) + '\xff';
  HostQuery q(connection, "SELECT key, value, content_type, created_at, updated_at, expires_at FROM \"" + table.name() +
                              "\" WHERE key>=?1 AND key<?2 AND (expires_at IS NULL OR expires_at>?3) ORDER BY key LIMIT ?4 OFFSET ?5");
  q.text(prefix).text(end).integer(now_ms).integer(limit).integer(offset);
  while (q.next())
    if (!each(q.bytes(0), entry_of(q, 1))) break;
  return q.failed();
}

namespace {

// Each eighth change of a connection takes away more rows than eight changes make, so the expired ones do not pile up.
constexpr unsigned kSweepEach = 8;
constexpr int kSwept = 64;

constexpr int kSweptIdle = 5'000;
constexpr size_t kTablesLookedAt = 1'000;

// The tables of ours that hold a row whose time is over.
Failure overdue(Connection& connection, int64_t now_ms, std::vector<Table>& out) {
  std::vector<Table> tables;
  {
    HostQuery q(connection, "SELECT name FROM sqlite_schema WHERE type='table' AND sql LIKE '%expires_at INTEGER)'");
    while (q.next() && tables.size() < kTablesLookedAt) {
      Table table;
      if (!Table::parse(q.bytes(0), table)) tables.push_back(std::move(table));
    }
    if (Failure f = q.failed()) return f;
  }
  for (const Table& table : tables) {
    bool exists = false;
    if (find_table(connection, table, exists) || !exists) continue;
    HostQuery q(connection, "SELECT 1 FROM \"" + table.name() + "\" INDEXED BY \"" + table.name() +
                                "_expires\" WHERE expires_at IS NOT NULL AND expires_at<=?1 LIMIT 1");
    if (q.integer(now_ms).next()) out.push_back(table);
  }
  return {};
}

}  // namespace

Failure sweep(Connection& connection, const Table& table, int64_t now_ms, int limit) {
  HostQuery q(connection, "DELETE FROM \"" + table.name() + "\" WHERE rowid IN (SELECT rowid FROM \"" + table.name() + "\" INDEXED BY \"" +
                              table.name() + "_expires\" WHERE expires_at IS NOT NULL AND expires_at<=?1 LIMIT ?2)");
  const Failure f = q.integer(now_ms).integer(limit).run();
  return (q.code() & 0xff) == SQLITE_ERROR ? Failure{} : f;  // no such index
}

bool sweep_idle(Database& database, const Database::Pin& pin) {
  const Host& host = database.host();
  const uint64_t deadline = host.now_ns() + 1'000'000'000;
  const int64_t now_ms = host.unix_ms();
  std::unique_ptr<Connection> c;
  if (database.take_reader(*pin, deadline, c)) return false;
  std::vector<Table> tables;
  {
    const Guarded guarded(database.watchdog(), *c, deadline, nullptr);
    (void)overdue(*c, now_ms, tables);  // what cannot be looked at now is looked at later
  }
  database.give_reader(*pin, std::move(c));
  if (tables.empty()) return false;
  auto job = std::make_unique<Job>();
  job->write = [tables, now_ms](Connection& connection, api::Answer&) -> Failure {
    for (const Table& table : tables) {
      bool exists = false;
      if (find_table(connection, table, exists) || !exists) continue;
      if (Failure f = sweep(connection, table, now_ms, kSweptIdle)) return f;
    }
    return {};
  };
  job->pin = pin.clone();
  Writer& writer = *job->pin->writer;
  return writer.submit(job);
}

Failure change(Connection& connection, const Change& what, const ChangeFn& fn) {
  bool exists = false;
  std::optional<Entry> before, after;
  if (Failure f = find_table(connection, what.table, exists)) return f;
  if (exists)
    if (Failure f = look_up(connection, what.table, what.key, what.now_ms, before)) return f;
  const Entry* was = before ? &*before : nullptr;
  if (Failure f = fn(was, after)) return f;
  if (after) {
    after->created_ms = was ? was->created_ms : what.now_ms;
    after->updated_ms = what.now_ms;
    if (!exists)
      if (Failure f = ensure_table(connection, what.table)) return f;
    HostQuery q(connection, "INSERT INTO \"" + what.table.name() +
                                "\"(key, value, content_type, created_at, updated_at, expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
                                "ON CONFLICT(key) DO UPDATE SET value=excluded.value, content_type=excluded.content_type, "
                                "created_at=excluded.created_at, updated_at=excluded.updated_at, expires_at=excluded.expires_at");
    q.text(what.key).blob(after->value).text(after->content_type).integer(after->created_ms);
    if (Failure f = q.integer(after->updated_ms).integer(after->expires_ms).run()) return f;
  } else if (exists) {
    HostQuery q(connection, "DELETE FROM \"" + what.table.name() + "\" WHERE key=?1");
    if (Failure f = q.text(what.key).run()) return f;
  }
  if (exists && connection.changes++ % kSweepEach == 0)
    if (Failure f = sweep(connection, what.table, what.now_ms, kSwept)) return f;
  if (!what.history) return skip(connection, what.table, what.key, what.now_ms);
  return record(connection, what.table, what.key, what.op, was, after ? &*after : nullptr, what.now_ms);
}

}  // namespace via::sqlite::kv
