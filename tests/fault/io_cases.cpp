// The operations that io_test.cpp puts under faults: what they begin with, how they are asked for, and how one sees
// whether they happened. A further operation is one more entry.
#include <algorithm>
#include <ctime>

#include <sqlite3.h>

#include "fault/io_fault.hpp"

namespace via::test {
namespace {

Is neither(const std::string& why) {
  ADD_FAILURE() << "neither the old state nor the new: " << why;
  return Is::neither;
}

Is when(bool happened) { return happened ? Is::new_state : Is::old_state; }

std::optional<json> addon(IoFault& t, const std::string& name = "extra-db") {
  return t.ask("addon.status", {{"name", name}});
}

bool has_binding(IoFault& t, const std::string& binding, const std::string& app = "steady") {
  const json shown = t.admin("app.show", {{"name", app}});
  return std::any_of(shown["bindings"].begin(), shown["bindings"].end(),
                     [&](const json& b) { return b.value("binding", "") == binding; });
}

// An add-on that nothing uses, with no data of an app in it.
json extra_addon(IoFault& t) {
  return t.admin("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}});
}

json extra_bound(IoFault& t) {
  return t.admin("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}, {"bind", "EXTRA"}});
}

// App "other" with rows in its database: "first", then a snapshot, then "second".
json other_with_snapshot(IoFault& t) {
  const Runtime other = t.app_with_database("other");
  EXPECT_EQ(t.caller(other).setup("CREATE TABLE t(a); INSERT INTO t VALUES('first')").status, 200);
  const json snapshot = t.admin("addon.snapshot", {{"name", "other-db"}, {"note", "before"}});
  EXPECT_EQ(t.caller(other).execute("INSERT INTO t VALUES('second')").status, 200);
  return {{"token", other.token}, {"instance", other.instance}, {"snapshot", snapshot.value("id", "")}};
}

json rows_of_other(IoFault& t, const json& about) {
  Caller app(t.host.port(), about.value("token", ""));
  return rows_of(app.query("SELECT a FROM t ORDER BY rowid"));
}

Is restored(IoFault& t, const json& about) {
  const json rows = rows_of_other(t, about);
  if (rows == json({{"first"}})) return Is::new_state;
  if (rows == json({{"first"}, {"second"}})) return Is::old_state;
  return neither("rows " + rows.dump());
}

// One statement on a further database, through the data API.
Response on_database(IoFault& t, const json& about, const std::string& name, const json& item) {
  Caller app(t.host.port(), about.value("token", ""));
  return app.post("/v1/runtime/addons/DATABASE/http/api/v1/sqlite/db?create_db_if_missing=" +
                      std::string(item.contains("query") ? "false" : "true") + "&db=" + name,
                  json{{"transaction", {item}}}.dump());
}

// The same with two databases in the snapshot and a third that came later.
json other_with_several(IoFault& t) {
  const Runtime other = t.app_with_database("other");
  const json token = {{"token", other.token}};
  EXPECT_EQ(t.caller(other).setup("CREATE TABLE t(a); INSERT INTO t VALUES('first')").status, 200);
  EXPECT_EQ(on_database(t, token, "second", {{"statement", "CREATE TABLE t AS SELECT 'first' AS a"}}).status, 200);
  const json snapshot = t.admin("addon.snapshot", {{"name", "other-db"}});
  EXPECT_EQ(t.caller(other).execute("INSERT INTO t VALUES('second')").status, 200);
  EXPECT_EQ(on_database(t, token, "second", {{"statement", "INSERT INTO t VALUES('second')"}}).status, 200);
  EXPECT_EQ(on_database(t, token, "third", {{"statement", "CREATE TABLE t AS SELECT 'first' AS a"}}).status, 200);
  return {{"token", other.token}, {"instance", other.instance}, {"snapshot", snapshot.value("id", "")}};
}

Is restored_together(IoFault& t, const json& about) {
  const Is own = restored(t, about);
  const json query = {{"query", "SELECT group_concat(a) AS a FROM t"}};
  const Response second = on_database(t, about, "second", query), third = on_database(t, about, "third", query);
  const std::string body = second.body + " " + std::to_string(third.status);
  const bool is_new = second.body.find("\"first\"") != std::string::npos && third.status == 404;
  const bool is_old = second.body.find("\"first,second\"") != std::string::npos && third.status == 200;
  if ((own == Is::new_state && is_new) || (own == Is::old_state && is_old)) return own;
  return own == Is::neither ? own : neither("the databases are not of one state: " + body);
}

Is created(IoFault& t) {
  const auto found = addon(t);
  const bool bound = has_binding(t, "EXTRA");
  const std::string state = found ? found->value("state", "") : "none";
  if (state == "active" && bound) return Is::new_state;
  if ((state == "none" || state == "failed") && !bound) return Is::old_state;
  return neither("add-on " + state + (bound ? ", bound" : ", not bound"));
}

Is destroyed(IoFault& t, const json& about) {
  const auto found = addon(t, about.value("id", ""));
  const std::string state = found ? found->value("state", "") : "none";
  if (state == "destroyed") return when(true);
  if (state != "active") return neither("add-on " + state);
  for (const json& layer : (*found)["layers"])
    if (layer.value("name", "") == "storage" && !layer.value("ok", false)) return neither(layer.dump());
  return when(false);
}

// A destroyed add-on's id, with the token of the app that used it.
json destroyed_other(IoFault& t) {
  json about = other_with_snapshot(t);
  about["id"] = t.admin("addon.status", {{"name", "other-db"}}).value("id", "");
  t.admin("addon.destroy", {{"name", "other-db"}, {"force", true}, {"confirm", "other-db"}});
  return about;
}

int instances(IoFault& t, const std::string& app, const std::string& state) {
  int n = 0;
  for (const json listed = t.admin("runtime.list", {{"app", app}}); const json& item : listed["items"])
    n += item.value("state", "") == state ? 1 : 0;
  return n;
}

IoCase app_create() {
  IoCase c;
  c.name = c.command = "app.create";
  c.arguments = [](const json&) { return json{{"name", "fresh"}}; };
  c.state = [](IoFault& t, const json&) { return when(t.ask("app.show", {{"name", "fresh"}}).has_value()); };
  return c;
}

IoCase app_delete() {
  IoCase c;
  c.name = c.command = "app.delete";
  c.prepare = [](IoFault& t) { return t.admin("app.create", {{"name", "fresh"}}); };
  c.arguments = [](const json&) { return json{{"name", "fresh"}}; };
  c.state = [](IoFault& t, const json&) { return when(!t.ask("app.show", {{"name", "fresh"}})); };
  return c;
}

IoCase addon_create() {
  IoCase c;
  c.name = c.command = "addon.create";
  c.arguments = [](const json&) {
    return json{{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}, {"bind", "EXTRA"}};
  };
  c.state = [](IoFault& t, const json&) { return created(t); };
  c.may_fail = true;
  return c;
}

IoCase addon_ensure() {
  IoCase c = addon_create();
  c.name = c.command = "addon.ensure";
  // It may have made the add-on and not the binding: the next `ensure` binds.
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    if (state != "none" && state != "failed" && state != "active") return neither("add-on " + state);
    return when(has_binding(t, "EXTRA"));
  };
  return c;
}

IoCase addon_bind() {
  IoCase c;
  c.name = c.command = "addon.bind";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"name", "extra-db"}, {"binding", "EXTRA"}}; };
  c.state = [](IoFault& t, const json&) { return when(has_binding(t, "EXTRA")); };
  return c;
}

IoCase addon_unbind() {
  IoCase c;
  c.name = c.command = "addon.unbind";
  c.prepare = extra_bound;
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"target", "EXTRA"}}; };
  c.state = [](IoFault& t, const json&) { return when(!has_binding(t, "EXTRA")); };
  return c;
}

IoCase addon_destroy() {
  IoCase c;
  c.name = c.command = "addon.destroy";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = destroyed;
  c.explains = {"conflict"};
  return c;
}

IoCase addon_undelete() {
  IoCase c;
  c.name = c.command = "addon.undelete";
  c.prepare = destroyed_other;
  c.arguments = [](const json& about) { return json{{"id", about.value("id", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    const Is is = destroyed(t, about);
    return is == Is::neither ? is : when(is == Is::old_state);
  };
  return c;
}

IoCase addon_repair() {
  IoCase c;
  c.name = c.command = "addon.repair";
  c.prepare = [](IoFault& t) {
    t.without_room("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}},
                   "mkdir addons/sqlite/*");
    return json::object();
  };
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    if (state != "active" && state != "failed") return neither("add-on " + state);
    return when(state == "active");
  };
  c.may_fail = true;
  c.tolerated = {"addons"};
  return c;
}

IoCase addon_snapshot() {
  IoCase c;
  c.name = c.command = "addon.snapshot";
  c.prepare = other_with_snapshot;
  c.arguments = [](const json&) { return json{{"name", "other-db"}, {"note", "now"}}; };
  c.state = [](IoFault& t, const json&) {
    const json listed = t.admin("addon.snapshots", {{"name", "other-db"}});
    const std::size_t n = listed["items"].size();
    return n == 1 || n == 2 ? when(n == 2) : neither(listed.dump());
  };
  return c;
}

IoCase snapshot_delete() {
  IoCase c;
  c.name = c.command = "addon.snapshot.delete";
  c.prepare = other_with_snapshot;
  c.arguments = [](const json& about) {
    return json{{"name", "other-db"}, {"snapshot", about.value("snapshot", "")}};
  };
  c.state = [](IoFault& t, const json&) {
    return when(t.admin("addon.snapshots", {{"name", "other-db"}})["items"].empty());
  };
  return c;
}

IoCase addon_restore() {
  IoCase c;
  c.name = c.command = "addon.restore";
  c.prepare = other_with_snapshot;
  c.arguments = [](const json& about) {
    return json{{"name", "other-db"}, {"snapshot", about.value("snapshot", "")}, {"force_after_timeout", 1}};
  };
  c.state = restored;
  return c;
}

IoCase addon_restore_several() {
  IoCase c = addon_restore();
  c.name = "addon.restore of several databases";
  c.prepare = other_with_several;
  c.state = restored_together;
  return c;
}

IoCase addon_import() {
  IoCase c;
  c.name = c.command = "addon.import";
  c.prepare = [](IoFault& t) {
    json about = other_with_snapshot(t);
    Caller app(t.host.port(), about.value("token", ""));
    EXPECT_EQ(app.execute("DELETE FROM t WHERE a = 'second'").status, 200);
    about["file"] = (t.host.folder() / "exported.sqlite").string();
    t.admin("addon.export", {{"name", "other-db"}, {"file", about["file"]}});
    EXPECT_EQ(app.execute("INSERT INTO t VALUES('second')").status, 200);
    return about;
  };
  c.arguments = [](const json& about) {
    return json{{"name", "other-db"}, {"file", about.value("file", "")}, {"force_after_timeout", 1}};
  };
  c.state = restored;
  return c;
}

IoCase addon_drain() {
  IoCase c;
  c.name = c.command = "addon.drain";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) { return when(addon(t)->value("drained", false)); };
  c.tolerated = {"drained"};
  return c;
}

IoCase addon_resume() {
  IoCase c;
  c.name = c.command = "addon.resume";
  c.prepare = [](IoFault& t) {
    extra_addon(t);
    return t.admin("addon.drain", {{"name", "extra-db"}});
  };
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) { return when(!addon(t)->value("drained", true)); };
  c.tolerated = {"drained"};
  return c;
}

json generations(IoFault& t) {
  const auto found = addon(t, "other-db");
  return found ? (*found)["bindings"][0]["generations"] : json::array();
}

IoCase rotate() {
  IoCase c;
  c.name = c.command = "addon.rotate-credentials";
  c.prepare = other_with_snapshot;
  c.arguments = [](const json&) { return json{{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}}; };
  c.state = [](IoFault& t, const json& about) {
    const json is = generations(t);
    if (!rows_of_other(t, about).is_array()) return neither("the old generation works until it is revoked");
    return is.size() == 1 || is.size() == 2 ? when(is.size() == 2) : neither(is.dump());
  };
  return c;
}

IoCase revoke() {
  IoCase c;
  c.name = c.command = "addon.revoke-credentials";
  c.prepare = [](IoFault& t) {
    json about = other_with_snapshot(t);
    t.admin("addon.rotate-credentials", {{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}});
    return about;
  };
  c.arguments = [](const json&) {
    return json{{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}, {"generation", 1}, {"yes", true}};
  };
  // The caller names the generation it holds, as the client library does.
  c.state = [](IoFault& t, const json& about) {
    std::string first;
    for (const json listed = generations(t); const json& g : listed)
      if (g.value("generation", 0) == 1) first = g.value("status", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.post("/v1/runtime/addons/DATABASE/query", R"({"sql":"SELECT 1"})",
                                {{"Via-Generation", "1"}})
                           .status == 200;
    if (first == "revoked" && !works) return Is::new_state;
    if (first == "live" && works) return Is::old_state;
    return neither("generation 1 is " + first + (works ? " and works" : " and does not work"));
  };
  return c;
}

IoCase deploy_create() {
  IoCase c;
  c.name = c.command = "deploy.create";
  c.prepare = [](IoFault& t) {
    t.admin("app.create", {{"name", "worker"}});
    return t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "1000"}}})["release"];
  };
  c.arguments = [](const json&) { return json{{"app", "worker"}, {"command", {"/bin/sleep", "2000"}}}; };
  c.state = [](IoFault& t, const json& about) {
    EXPECT_TRUE(eventually([&] { return instances(t, "worker", "running") == 1; })) << "one instance runs";
    return when(t.admin("app.show", {{"name", "worker"}}).value("current_release", "") != about.value("id", ""));
  };
  return c;
}

IoCase runtime_issue() {
  IoCase c;
  c.name = c.command = "runtime.issue";
  c.arguments = [](const json&) { return json{{"app", "steady"}}; };
  c.state = [](IoFault& t, const json&) {
    int working = 0;
    for (const json listed = t.admin("runtime.list", {{"app", "steady"}}); const json& item : listed["items"]) {
      if (item.value("state", "") != "running") continue;
      const auto token = t.host.state_dir() / "runtimes" / item.value("id", "") / "token";
      Caller app(t.host.port(), text_of(token));
      if (app.query("SELECT 1").status != 200) return neither("an instance that runs cannot query: " + item.dump());
      ++working;
    }
    return working == 1 || working == 2 ? when(working == 2) : neither(std::to_string(working) + " instances");
  };
  return c;
}

IoCase runtime_stop() {
  IoCase c;
  c.name = c.command = "runtime.stop";
  c.prepare = [](IoFault& t) {
    const Runtime more = t.issue("steady");
    return json{{"instance", more.instance}, {"token", more.token}};
  };
  c.arguments = [](const json& about) { return json{{"instance", about.value("instance", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    std::string state;
    for (const json listed = t.admin("runtime.list", {{"app", "steady"}}); const json& item : listed["items"])
      if (item.value("id", "") == about.value("instance", "")) state = item.value("state", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.query("SELECT 1").status == 200;
    if (state == "stopped" && !works) return Is::new_state;
    if (state == "running" && works) return Is::old_state;
    return neither("the instance is " + state + (works ? " and works" : " and does not work"));
  };
  return c;
}

std::string config_value(IoFault& t) {
  for (const json listed = t.admin("config.list", {{"app", "steady"}}); const json& item : listed["items"])
    if (item.value("key", "") == "COLOUR") return item.value("value", "");
  return "";
}

IoCase config_set() {
  IoCase c;
  c.name = c.command = "config.set";
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"values", {{"COLOUR", "green"}, {"SIZE", "4"}}}}; };
  c.state = [](IoFault& t, const json&) { return when(config_value(t) == "green"); };
  return c;
}

IoCase config_unset() {
  IoCase c;
  c.name = c.command = "config.unset";
  c.prepare = [](IoFault& t) { return t.admin("config.set", {{"app", "steady"}, {"values", {{"COLOUR", "green"}}}}); };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "COLOUR"}}; };
  c.state = [](IoFault& t, const json&) { return when(config_value(t).empty()); };
  return c;
}

IoCase deploy_rollback() {
  IoCase c = deploy_create();
  c.name = c.command = "deploy.rollback";
  c.prepare = [](IoFault& t) {
    t.admin("app.create", {{"name", "worker"}});
    const json first = t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "1000"}}})["release"];
    const json second = t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "2000"}}})["release"];
    return json{{"id", second.value("id", "")}, {"first", first.value("id", "")}};
  };
  c.arguments = [](const json& about) { return json{{"app", "worker"}, {"to", about.value("first", "")}}; };
  return c;
}

int secret_generation(IoFault& t) {
  for (const json listed = t.admin("secret.list", {{"app", "steady"}}); const json& item : listed["items"])
    if (item.value("key", "") == "PASSWORD") return item.value("generation", 0);
  return 0;
}

IoCase secret_set() {
  IoCase c;
  c.name = c.command = "secret.set";
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) > 0); };
  return c;
}

IoCase secret_rotate() {
  IoCase c;
  c.name = c.command = "secret.rotate";
  c.prepare = [](IoFault& t) {
    return t.admin("secret.set", {{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}});
  };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}, {"generate", 32}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) > 1); };
  return c;
}

namespace fs = std::filesystem;

// The first column of the first row; empty when it cannot be read.
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

IoCase addon_export() {
  IoCase c;
  c.name = c.command = "addon.export";
  c.outside = true;
  c.prepare = [](IoFault& t) {
    json about = other_with_snapshot(t);
    about["file"] = (t.outside() / "exported.sqlite").string();
    return about;
  };
  c.arguments = [](const json& about) { return json{{"name", "other-db"}, {"file", about.value("file", "")}}; };
  c.state = [](IoFault&, const json& about) {
    const fs::path file = about.value("file", "");
    if (!fs::exists(file)) return Is::old_state;
    const std::string rows = one_value(file, "SELECT group_concat(a, ' ') FROM t");
    return rows == "first second" ? Is::new_state : neither("the exported file has '" + rows + "'");
  };
  return c;
}

IoCase backup_create(bool encrypted) {
  IoCase c;
  c.command = "backup.create";
  c.name = encrypted ? "backup.create encrypted" : "backup.create";
  c.outside = encrypted;
  c.prepare = [encrypted](IoFault& t) {
    json about = other_with_snapshot(t);
    // The host's own folder for them, or one of somebody else.
    about["file"] = ((encrypted ? t.outside() : t.host.state_dir() / "backups") / "host.backup").string();
    if (!encrypted) {
      fs::create_directory(t.host.state_dir() / "backups");
      fs::permissions(t.host.state_dir() / "backups", fs::perms::owner_all);
    }
    about["archive"] = {{"file", about["file"]}};
    if (encrypted) about["archive"]["passphrase"] = "correct horse";
    return about;
  };
  c.arguments = [](const json& about) { return about["archive"]; };
  // An archive that is whole is of use, and is never taken away again because its row could not be written.
  c.state = [](IoFault& t, const json& about) {
    const json listed = t.admin("backup.list")["items"];
    const bool there = fs::exists(about.value("file", ""));
    if (!there) return listed.empty() ? Is::old_state : neither("a row without a file: " + listed.dump());
    const json seen = t.admin("backup.verify", about["archive"]);
    if (!seen.value("ok", false) || seen["checks"].size() != 3) return neither(seen.dump());
    return Is::new_state;
  };
  return c;
}

// Over a host that has changed since its backup: whichever host stands there afterwards, it is whole, and the replaced
// one is kept.
IoCase backup_restore() {
  IoCase c;
  c.name = "via backup restore";
  c.how = How::in_process;
  c.beside = true;
  c.new_host = true;
  c.words = {"backup", "restore", "", "--yes"};
  c.prepare = [](IoFault& t) {
    const json about = other_with_snapshot(t);
    const fs::path archive = t.host.folder() / "made.backup";
    t.admin("backup.create", {{"file", archive.string()}});
    t.admin("app.create", {{"name", "later"}});
    return json{{"words", {{"2", archive.string()}}}, {"token", about["token"]}};
  };
  c.state = [](IoFault& t, const json& about) {
    Caller old(t.host.port(), about.value("token", ""));
    const int answered = old.query("SELECT a FROM t").status;
    if (t.ask("app.show", {{"name", "later"}}))
      return answered == 200 ? Is::old_state : neither("the old host refuses its tokens");
    if (answered != 401) return neither("the restored host takes a token from before");
    const json issued = t.admin("runtime.issue", {{"app", "other"}});
    Caller fresh(t.host.port(), text_of(fs::path(issued.value("material", "")) / "token"));
    const json rows = rows_of(fresh.query("SELECT a FROM t ORDER BY rowid"));
    if (rows != json({{"first"}, {"second"}})) return neither("rows " + rows.dump());
    t.admin("runtime.stop", {{"instance", issued.value("id", "")}});
    return Is::new_state;
  };
  c.afterwards = [](IoFault& t, const json& about) {
    const auto has_later = [](const fs::path& host) {
      return fs::exists(host / "control-plane.db") &&
             one_value(host / "control-plane.db", "SELECT count(*) FROM apps WHERE name='later'") == "1";
    };
    // The restored host has keys of its own, for which the archive is another host's.
    const int expected = has_later(t.host.state_dir()) ? 0 : 4;
    const Finished again = t.via({"backup", "restore", about["words"].value("2", ""), "--yes"});
    EXPECT_EQ(again.exit_code, expected) << "asked for again: " << again.err;
    int kept = 0;
    for (const auto& path : t.beside()) {
      EXPECT_EQ(path.filename().string().find(".restoring"), std::string::npos) << "left over: " << path.filename();
      kept += has_later(path) ? 1 : 0;
    }
    EXPECT_EQ(kept, 1) << "the host that was replaced is kept";
  };
  return c;
}

std::string active_key(IoFault& t) {
  for (const json listed = t.admin("identity.keys.list"); const json& key : listed["items"])
    if (key.value("state", "") == "active") return key.value("kid", "");
  return "";
}

IoCase keys_rotate() {
  IoCase c;
  c.name = c.command = "identity.keys.rotate";
  c.prepare = [](IoFault& t) { return json{{"kid", active_key(t)}}; };
  c.arguments = [](const json&) { return json::object(); };
  c.state = [](IoFault& t, const json& about) { return when(active_key(t) != about.value("kid", "")); };
  return c;
}

IoCase keys_revoke() {
  IoCase c;
  c.name = c.command = "identity.keys.revoke";
  c.prepare = [](IoFault& t) {
    const json other = other_with_snapshot(t);
    const std::string kid = active_key(t);
    t.admin("identity.keys.rotate");
    // Tokens are told apart by the second they were issued in.
    const std::int64_t now = std::time(nullptr);
    EXPECT_TRUE(eventually([&] { return std::time(nullptr) > now + 1; }));
    t.replace_steady();
    return json{{"kid", kid}, {"token", other["token"]}};
  };
  c.arguments = [](const json& about) { return json{{"kid", about.value("kid", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    std::string is;
    for (const json listed = t.admin("identity.keys.list"); const json& key : listed["items"])
      if (key.value("kid", "") == about.value("kid", "")) is = key.value("state", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.query("SELECT 1").status == 200;
    if (is == "revoked" && !works) return Is::new_state;
    if (is == "retiring" && works) return Is::old_state;
    return neither("the key is " + is + " and its token " + (works ? "works" : "does not work"));
  };
  return c;
}

// An instance whose day is over; the repair issues a new one in its place, with its own material's folder.
IoCase app_repair() {
  IoCase c;
  c.name = c.command = "app.repair";
  c.prepare = [](IoFault& t) {
    t.admin("runtime.stop", {{"instance", other_with_snapshot(t)["instance"]}});
    const json issued = t.admin("runtime.issue", {{"app", "other"}, {"ttl_seconds", 3600}});
    EXPECT_EQ(t.host.stop(), 0);
    const std::string id = issued.value("id", "");
    one_value(t.host.state_dir() / "control-plane.db",
              ("UPDATE instances SET issued_at=issued_at-7200000, expires_at=expires_at-7200000 WHERE id='" + id + "'").c_str());
    EXPECT_TRUE(t.host.start()) << "which ends it";
    return json{{"token", (fs::path(issued.value("material", "")) / "token").string()}};
  };
  c.arguments = [](const json&) { return json{{"name", "other"}}; };
  c.state = [](IoFault& t, const json& about) {
    const fs::path token = about.value("token", "");
    if (!fs::exists(token)) return Is::old_state;
    Caller app(t.host.port(), text_of(token));
    const int answered = app.query("SELECT 1").status;
    return answered == 200 ? Is::new_state : neither("the token answers " + std::to_string(answered));
  };
  return c;
}

IoCase manifest_apply() {
  IoCase c;
  c.name = c.command = "app.manifest.apply";
  c.arguments = [](const json&) {
    return json{{"manifest",
                 "[app]\nname = \"steady\"\n\n[[addons]]\ntype = \"sqlite\"\nname = \"extra-db\"\nbind = \"EXTRA\"\n\n"
                 "[config]\nCOLOUR = \"green\"\n"}};
  };
  // What it made before a fault stays, and applying it again makes the rest.
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    const bool bound = has_binding(t, "EXTRA"), set = config_value(t) == "green";
    if (state != "none" && state != "failed" && state != "active") return neither("add-on " + state);
    if ((bound && state != "active") || (set && !bound)) return neither("in another order than it is made in");
    return when(set);
  };
  c.may_fail = true;
  return c;
}

IoCase secret_unset() {
  IoCase c;
  c.name = c.command = "secret.unset";
  c.prepare = [](IoFault& t) {
    return t.admin("secret.set", {{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}});
  };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) == 0); };
  return c;
}

// Cancelled while it copies: nothing is left of it. What is faulted is the end of the operation.
IoCase op_cancel() {
  IoCase c;
  c.name = "op.cancel";
  c.explains = {"not begun", "not ended"};  // either way the copy is there whole or not at all
  c.how = How::command;
  c.prepare = [](IoFault& t) { return other_with_snapshot(t); };
  c.act = [](IoFault& t, const json&) -> std::string {
    const auto begun = t.ask("addon.snapshot", {{"name", "other-db"}, {"note", "now"}, {"wait", false}});
    if (!begun) return "not begun";
    const std::string id = begun->value("operation", "");
    (void)t.ask("op.cancel", {{"operation", id}});  // it may be over already
    const auto ended = t.ask("op.wait", {{"operation", id}});
    return ended && ended->value("state", "") != "running" ? "" : "not ended";
  };
  c.state = [](IoFault& t, const json&) {
    const json listed = t.admin("addon.snapshots", {{"name", "other-db"}});
    const std::size_t n = listed["items"].size();
    return n == 1 || n == 2 ? Is::new_state : neither(listed.dump());
  };
  return c;
}

IoCase command_line() {
  IoCase c = addon_create();
  c.name = "via addon create";
  c.how = How::in_process;
  c.words = {"addon", "create", "sqlite", "extra-db", "--app", "steady", "--bind", "EXTRA"};
  return c;
}

IoCase first_start() {
  IoCase c;
  c.name = "first start";
  c.how = How::first_start;
  c.state = [](IoFault& t, const json&) {
    const json app = t.admin("app.create", {{"name", "first"}});
    return when(app.value("name", "") == "first");
  };
  return c;
}

IoCase start() {
  IoCase c;
  c.name = "start";
  c.how = How::start;
  c.state = [](IoFault&, const json&) { return Is::new_state; };
  return c;
}

// The start behind a host that was killed in the middle of an operation.
IoCase start_after(IoCase killed, double part) {
  IoCase c;
  c.name = "start after " + killed.name;
  c.how = How::start;
  c.may_fail = killed.may_fail;
  c.outside = killed.outside;
  // An index that cannot be made is not an empty log.
  c.always = {"ENOSPC from here on: ftruncate control-plane.db-shm #1", "EIO: open control-plane.db-shm #1"};
  c.prepare = [killed, part](IoFault& t) {
    const json about = killed.prepare ? killed.prepare(t) : json::object();
    t.kill_at(killed.command, killed.arguments(about), part);
    return about;
  };
  // Either is right; a third state is not. With an end that recovery chose, the tests of the operation are the judge.
  c.state = [killed](IoFault& t, const json& about) {
    const Is is = killed.state(t, about);
    return is == Is::neither ? is : Is::new_state;
  };
  return c;
}

}  // namespace

const std::vector<IoCase>& io_cases() {
  static const std::vector<IoCase> all{
      app_create(),     app_delete(),     addon_create(),    addon_ensure(),
      addon_bind(),     addon_unbind(),   addon_destroy(),   addon_undelete(),
      addon_repair(),   addon_snapshot(), snapshot_delete(), addon_restore(), addon_restore_several(),
      addon_import(),   addon_drain(),    addon_resume(),    rotate(),
      revoke(),         deploy_create(),  runtime_issue(),   runtime_stop(),
      deploy_rollback(), config_set(),    config_unset(),    secret_set(),
      secret_rotate(),  secret_unset(),   addon_export(),    backup_create(false),
      backup_create(true), keys_rotate(), keys_revoke(),     app_repair(),
      manifest_apply(), op_cancel(),      command_line(),    backup_restore(),
      first_start(),    start(),
      start_after(addon_create(), 0.5),   start_after(addon_destroy(), 0.6),
      start_after(addon_restore(), 0.6),  start_after(addon_restore_several(), 0.5),
      start_after(deploy_create(), 0.7),
      start_after(addon_undelete(), 0.6), start_after(addon_import(), 0.8),
      start_after(rotate(), 0.6),         start_after(revoke(), 0.6),
      start_after(deploy_rollback(), 0.7), start_after(backup_create(false), 0.9),
      start_after(addon_export(), 0.8),   start_after(keys_rotate(), 0.7),
      start_after(keys_revoke(), 0.7),    start_after(manifest_apply(), 0.6),
  };
  return all;
}

}  // namespace via::test
