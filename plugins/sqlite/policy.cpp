// The lists behind the authorizer. Measured behaviour it relies on is noted at the rule.
#include "plugins/sqlite/policy.hpp"

#include "plugins/sqlite/inline_proof.hpp"

#include <strings.h>

#include <algorithm>

namespace via::sqlite {
namespace {

bool same(const char* a, const char* b) { return strcasecmp(a, b) == 0; }
bool starts(const char* s, const char* prefix) { return strncasecmp(s, prefix, std::char_traits<char>::length(prefix)) == 0; }

template <size_t N>
bool any_of(const char* s, const char* const (&list)[N]) {
  return std::any_of(std::begin(list), std::end(list), [s](const char* x) { return same(s, x); });
}

constexpr const char* kReaders[] = {"table_info",       "table_xinfo",       "table_list",   "index_list", "index_info",
                                    "index_xinfo",      "foreign_key_list",  "foreign_key_check"};
constexpr const char* kValues[] = {"user_version", "application_id", "encoding", "data_version", "page_size"};
constexpr const char* kSchemaTables[] = {"sqlite_master", "sqlite_schema"};
constexpr const char* kReadableSystem[] = {"sqlite_master", "sqlite_schema", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"};
constexpr const char* kForbiddenTables[] = {"dbstat", "bytecode", "tables_used", "fts5vocab", "completion"};
constexpr const char* kModules[] = {"fts5", "rtree", "rtree_i32"};
constexpr const char* kForbiddenFunctions[] = {"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit",
                                               "fts5", "fts5_source_id", "fts5_decode", "fts5_rowid"};
constexpr const char* kShadowSuffixes[] = {"_data", "_idx", "_content", "_docsize", "_config", "_node", "_rowid", "_parent"};

bool in_main(const char* database) { return !database || same(database, "main"); }

}  // namespace

std::string_view skip_blank(std::string_view s) {
  for (;;) {
    const size_t n = std::min(s.find_first_not_of(" \t\r\n\f;"), s.size());
    s.remove_prefix(n);
    if (s.starts_with("--")) {
      s.remove_prefix(std::min(s.find('\n'), s.size()));
    } else if (s.starts_with("/*")) {
      const size_t end = s.find("*/", 2);
      s.remove_prefix(end == s.npos ? s.size() : end + 2);
    } else {
      return s;
    }
  }
}

void Policy::begin_prepare(Operation m) {
  mode = m;
  host_sql = false;
  preparing = bounded = true;
  denied = denied_write = denied_schema = drops_or_alters = alters = creates_view = creates_index = inserts = false;
  shadow_suspects.clear();
}

int Policy::callback(void* self, int action, const char* a, const char* b, const char* database, const char* trigger) {
  return static_cast<Policy*>(self)->decide(action, a, b, database, trigger);
}

int Policy::deny() {
  denied = true;
  return SQLITE_DENY;
}

int Policy::decide(int action, const char* a, const char* b, const char* database, const char* trigger) {
  if (host_sql) return SQLITE_OK;
  if (frozen) return deny();
  a = a ? a : "";
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_READ:
      return read(a, database);
    case SQLITE_FUNCTION:
      return function(b ? b : "");
    case SQLITE_PRAGMA:
      return pragma(a, b);
    case SQLITE_INSERT:
      if (!trigger) inserts = true;
      [[fallthrough]];
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      return write(a, database);
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
      drops_or_alters = true;
      return schema_change(a, database);
    case SQLITE_ALTER_TABLE:
      drops_or_alters = alters = true;
      return schema_change(b ? b : "", a);
    case SQLITE_CREATE_VIEW:
      creates_view = true;
      [[fallthrough]];
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
      return schema_change(a, database);
    case SQLITE_CREATE_INDEX:
      creates_index = true;
      return schema_change(a, database);
    case SQLITE_REINDEX:
      // CREATE INDEX fills the new index by it; on its own it is maintenance.
      return creates_index ? SQLITE_OK : deny();
    case SQLITE_CREATE_VTABLE:
      if (!b || !any_of(b, kModules)) return deny();
      return schema_change(a, database);
    default:
      // ATTACH, DETACH, TRANSACTION, SAVEPOINT, ANALYZE, everything temporary, and what later versions add.
      return deny();
  }
}

int Policy::read(const char* table, const char* database) {
  // ALTER … RENAME COLUMN reads the schema of temp, which is always empty here.
  if (!in_main(database)) return same(table, "sqlite_temp_master") ? SQLITE_OK : deny();
  if (starts(table, "sqlite_")) return any_of(table, kReadableSystem) || same(table, "sqlite_temp_master") ? SQLITE_OK : deny();
  if (starts(table, "pragma_")) {
    const char* name = table + 7;
    return any_of(name, kReaders) || any_of(name, kValues) ? SQLITE_OK : deny();
  }
  if (any_of(table, kForbiddenTables) || starts(table, kReservedPrefix)) return deny();
  if (preparing) {
    const std::string_view name = table;
    for (const char* suffix : kShadowSuffixes) {
      const std::string_view s = suffix;
      if (name.size() > s.size() && same(table + name.size() - s.size(), suffix)) {
        shadow_suspects.emplace_back(name.substr(0, name.size() - s.size()));
        break;
      }
    }
  }
  return SQLITE_OK;
}

int Policy::write(const char* table, const char* database) {
  if (mode == Operation::query) {
    denied_write = true;
    return deny();
  }
  if (!in_main(database)) return alters && same(table, "sqlite_temp_master") ? SQLITE_OK : deny();
  // SQLite itself refuses an app's write to the schema table (writable_schema is off); what passes is its own DDL.
  if (any_of(table, kSchemaTables)) return SQLITE_OK;
  if (starts(table, "sqlite_")) return drops_or_alters ? SQLITE_OK : deny();
  if (starts(table, kReservedPrefix)) return deny();
  if (preparing) return read(table, database);
  return SQLITE_OK;
}

int Policy::schema_change(const char* name, const char* database) {
  if (mode == Operation::query) {
    denied_write = true;
    return deny();
  }
  if (!in_main(database) || starts(name, kReservedPrefix)) return deny();
  // While a statement runs, virtual tables make their own tables.
  if (mode != Operation::setup && preparing) {
    denied_schema = true;
    return deny();
  }
  return SQLITE_OK;
}

int Policy::pragma(const char* name, const char* argument) {
  if (any_of(name, kReaders)) return SQLITE_OK;
  if (!argument) return any_of(name, kValues) ? SQLITE_OK : deny();
  if (same(name, "user_version") && mode == Operation::setup) return SQLITE_OK;
  return deny();
}

int Policy::function(const char* name) {
  if (preparing && bounded) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    bounded = constant_cost(lower);
  }
  if (any_of(name, kForbiddenFunctions)) return deny();
  // sqlite_version and its kin tell about the host; ALTER TABLE works with internal functions of that prefix.
  if (starts(name, "sqlite_")) {
    const bool internal = starts(name, "sqlite_rename_") || starts(name, "sqlite_drop_") || starts(name, "sqlite_add_") ||
                          same(name, "sqlite_fail") || starts(name, "sqlite_find_") || starts(name, "sqlite_set_");
    return internal && alters ? SQLITE_OK : deny();
  }
  return SQLITE_OK;
}

}  // namespace via::sqlite
