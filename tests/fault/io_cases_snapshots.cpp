// Copies of data under faults: snapshots, restore, import and export, archives of the whole host.
#include "fault/io_cases.hpp"

namespace via::test::faults {
namespace {

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

}  // namespace

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

}  // namespace via::test::faults
