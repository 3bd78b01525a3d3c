// The shape of a table is its text in the schema: whoever changes the table changes that.
#include "plugins/sqlite/kv/table.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/kv/host_query.hpp"

#include <algorithm>

namespace via::sqlite::kv {
namespace {

constexpr size_t kCheckedTables = 64;

std::string definition(const Table& table) {
  return "CREATE TABLE \"" + table.name() +
         "\"(key TEXT PRIMARY KEY NOT NULL, value BLOB, content_type TEXT, created_at INTEGER, updated_at INTEGER, expires_at INTEGER)";
}

std::string expiry_index(const Table& table) {
  return "CREATE INDEX \"" + table.name() + "_expires\" ON \"" + table.name() + "\"(expires_at) WHERE expires_at IS NOT NULL";
}

}  // namespace

Failure find_table(Connection& connection, const Table& table, bool& exists) {
  exists = false;
  int64_t version = 0;
  {
    HostQuery schema(connection, "PRAGMA schema_version");
    if (schema.next()) version = schema.number(0);
    if (Failure f = schema.failed()) return f;
  }
  std::vector<std::string>& checked = connection.checked_tables;
  if (version != connection.checked_schema) {
    checked.clear();
    connection.checked_schema = version;
  } else if (std::find(checked.begin(), checked.end(), table.name()) != checked.end()) {
    exists = true;
    return {};
  }
  bool ours = true;
  HostQuery q(connection, "SELECT type, name, sql FROM sqlite_schema WHERE (name=?1 COLLATE NOCASE AND type<>'trigger') OR "
                          "(type='trigger' AND tbl_name=?1 COLLATE NOCASE)");
  q.text(table.name());
  while (q.next()) {
    exists = true;
    ours = ours && q.bytes(0) == "table" && q.bytes(1) == table.name() && q.bytes(2) == definition(table);
  }
  if (Failure f = q.failed()) return f;
  if (!ours) return api::error(400, table.name() + " is not a key-value table");
  if (exists && checked.size() < kCheckedTables) checked.push_back(table.name());
  return {};
}

Failure ensure_table(Connection& connection, const Table& table) {
  bool exists = false;
  if (Failure f = find_table(connection, table, exists); f || exists) return f;
  for (const std::string& sql : {definition(table), expiry_index(table)})
    if (const int rc = connection.host_exec(sql.c_str()); rc != SQLITE_OK) return connection.failure(rc);
  return {};
}

}  // namespace via::sqlite::kv
