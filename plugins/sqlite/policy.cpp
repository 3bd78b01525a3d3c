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

constexpr std::string_view kNoTemporary = "temporary tables, views and triggers are not allowed: connections are shared; use WITH, or a table of your own";
constexpr std::string_view kReserved = "names that begin with sqlite_ or _via_ are not for statements of apps; choose another name";

std::string pragma_denied(const char* name) {
  return std::string("PRAGMA ") + name + " is not allowed: the host decides how a database is kept; table_info, index_list, foreign_key_list and their kin, and user_version can be used";
}
std::string function_denied(const char* name) {
  return std::string("the function ") + name + "() is not allowed: it reaches beyond the database or tells about the host";
}

const char* schema_word(int action) {
  switch (action) {
    case SQLITE_CREATE_TABLE: return "CREATE TABLE";
    case SQLITE_CREATE_INDEX: return "CREATE INDEX";
    case SQLITE_CREATE_VIEW: return "CREATE VIEW";
    case SQLITE_CREATE_TRIGGER: return "CREATE TRIGGER";
    case SQLITE_CREATE_VTABLE: return "CREATE VIRTUAL TABLE";
    case SQLITE_ALTER_TABLE: return "ALTER TABLE";
    case SQLITE_DROP_INDEX: return "DROP INDEX";
    case SQLITE_DROP_VIEW: return "DROP VIEW";
    case SQLITE_DROP_TRIGGER: return "DROP TRIGGER";
    default: return "DROP TABLE";
  }
}

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
  why.clear();
  shadow_suspects.clear();
}

int Policy::callback(void* self, int action, const char* a, const char* b, const char* database, const char* trigger) {
  return static_cast<Policy*>(self)->decide(action, a, b, database, trigger);
}

int Policy::deny(std::string_view because) {
  denied = true;
  if (why.empty()) why = because;
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
      return schema_change(action, a, database);
    case SQLITE_ALTER_TABLE:
      drops_or_alters = alters = true;
      return schema_change(action, b ? b : "", a);
    case SQLITE_CREATE_VIEW:
      creates_view = true;
      return schema_change(action, a, database);
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
      return schema_change(action, a, database);
    case SQLITE_CREATE_INDEX:
      creates_index = true;
      return schema_change(action, a, database);
    case SQLITE_REINDEX:
      // CREATE INDEX fills the new index by it; on its own it is maintenance.
      return creates_index ? SQLITE_OK : deny("REINDEX is not allowed: make the index anew by DROP INDEX and CREATE INDEX in setup");
    case SQLITE_CREATE_VTABLE:
      if (!b || !any_of(b, kModules)) return deny("a virtual table of this kind is not allowed: fts5, rtree and rtree_i32 are");
      return schema_change(action, a, database);
    case SQLITE_TRANSACTION: return deny(sqlwire::control_denied(a));
    case SQLITE_SAVEPOINT: return deny(sqlwire::control_denied(same(a, "BEGIN") ? "SAVEPOINT" : a));
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return deny(std::string(action == SQLITE_ATTACH ? "ATTACH" : "DETACH") + " is not allowed: a request works on one database; bind another add-on, or move data with addon export and import");
    case SQLITE_ANALYZE: return deny("ANALYZE is not allowed: it keeps statistics in tables that are the host's; state the order of a join by CROSS JOIN where it matters");
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
      return deny(kNoTemporary);
    default:
      // What later versions add.
      return deny();
  }
}

int Policy::read(const char* table, const char* database) {
  // ALTER … RENAME COLUMN reads the schema of temp, which is always empty here.
  if (!in_main(database)) return same(table, "sqlite_temp_master") ? SQLITE_OK : deny(kNoTemporary);
  if (starts(table, "sqlite_")) return any_of(table, kReadableSystem) || same(table, "sqlite_temp_master") ? SQLITE_OK : deny(kReserved);
  if (starts(table, "pragma_")) {
    const char* name = table + 7;
    return any_of(name, kReaders) || any_of(name, kValues) ? SQLITE_OK : deny(pragma_denied(name));
  }
  if (starts(table, kReservedPrefix)) return deny(kReserved);
  if (any_of(table, kForbiddenTables)) return deny(std::string("the table ") + table + " of SQLite is not allowed: it shows how the database is stored");
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
  if (!in_main(database)) return alters && same(table, "sqlite_temp_master") ? SQLITE_OK : deny(kNoTemporary);
  // SQLite itself refuses an app's write to the schema table (writable_schema is off); what passes is its own DDL.
  if (any_of(table, kSchemaTables)) return SQLITE_OK;
  // A dump sets where AUTOINCREMENT goes on.
  if (same(table, "sqlite_sequence") && mode == Operation::setup) return SQLITE_OK;
  if (starts(table, "sqlite_")) return drops_or_alters ? SQLITE_OK : deny(kReserved);
  if (starts(table, kReservedPrefix)) return deny(kReserved);
  if (preparing) return read(table, database);
  return SQLITE_OK;
}

int Policy::schema_change(int action, const char* name, const char* database) {
  if (mode == Operation::query) {
    denied_write = true;
    return deny();
  }
  if (!in_main(database)) return deny(kNoTemporary);
  if (starts(name, kReservedPrefix)) return deny(kReserved);
  // While a statement runs, virtual tables make their own tables.
  if (mode != Operation::setup && preparing) {
    denied_schema = true;
    return deny(std::string(schema_word(action)) + " is not allowed here: changes of the schema go through setup");
  }
  return SQLITE_OK;
}

int Policy::pragma(const char* name, const char* argument) {
  if (any_of(name, kReaders)) return SQLITE_OK;
  if (!argument) return any_of(name, kValues) ? SQLITE_OK : deny(pragma_denied(name));
  if (same(name, "user_version")) return mode == Operation::setup ? SQLITE_OK : deny("PRAGMA user_version is set in setup only");
  return deny(pragma_denied(name));
}

int Policy::function(const char* name) {
  if (preparing && bounded) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    bounded = constant_cost(lower);
  }
  if (any_of(name, kForbiddenFunctions)) return deny(function_denied(name));
  // sqlite_version and its kin tell about the host; ALTER TABLE works with internal functions of that prefix.
  if (starts(name, "sqlite_")) {
    const bool internal = starts(name, "sqlite_rename_") || starts(name, "sqlite_drop_") || starts(name, "sqlite_add_") ||
                          same(name, "sqlite_fail") || starts(name, "sqlite_find_") || starts(name, "sqlite_set_");
    return internal && alters ? SQLITE_OK : deny(function_denied(name));
  }
  return SQLITE_OK;
}

}  // namespace via::sqlite
