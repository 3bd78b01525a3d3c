// What the operations under faults begin with, and how one sees whether they happened.
#include <algorithm>

#include <sqlite3.h>

#include "fault/io_cases.hpp"

namespace via::test::faults {

Is neither(const std::string& why) {
  ADD_FAILURE() << "neither the old state nor the new: " << why;
  return Is::neither;
}

Is when(bool happened) { return happened ? Is::new_state : Is::old_state; }

std::optional<json> addon(IoFault& t, const std::string& name) {
  return t.ask("addon.status", {{"name", name}});
}

bool has_binding(IoFault& t, const std::string& binding, const std::string& app) {
  const json shown = t.admin("app.show", {{"name", app}});
  return std::any_of(shown["bindings"].begin(), shown["bindings"].end(),
                     [&](const json& b) { return b.value("binding", "") == binding; });
}

json extra_addon(IoFault& t) {
  return t.admin("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}});
}

json extra_bound(IoFault& t) {
  return t.admin("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}, {"bind", "EXTRA"}});
}

json other_with_snapshot(IoFault& t) {
  const Runtime other = t.app_with_database("other");
  EXPECT_EQ(t.caller(other).setup("CREATE TABLE t(a); INSERT INTO t VALUES('first')").status, 200);
  const json snapshot = t.admin("addon.snapshot", {{"name", "other-db"}, {"note", "before"}});
  EXPECT_EQ(t.caller(other).execute("INSERT INTO t VALUES('second')").status, 200);
  return {{"token", other.token}, {"instance", other.instance}, {"snapshot", snapshot.value("id", "")}};
}

json rows_of_other(IoFault& t, const json& about) {
  Caller app(t.host.port(), about.value("token", ""));
  const Response answer = app.query("SELECT a FROM t ORDER BY rowid");
  return answer.status == 200 ? rows_of(answer) : json(answer.body);  // what else it says is in the failure's text
}

std::string config_value(IoFault& t) {
  for (const json listed = t.admin("config.list", {{"app", "steady"}}); const json& item : listed["items"])
    if (item.value("key", "") == "COLOUR") return item.value("value", "");
  return "";
}

std::string one_value(const fs::path& file, const char* sql) {
  sqlite3* db = nullptr;
  std::string out;
  if (sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK)
    sqlite3_exec(
        db, sql,
        [](void* to, int, char** values, char**) {
          *static_cast<std::string*>(to) = values[0] == nullptr ? "" : values[0];
          return 0;
        },
        &out, nullptr);
  sqlite3_close(db);
  return out;
}

}  // namespace via::test::faults
