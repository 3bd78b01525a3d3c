// Storage and credentials that somebody changes behind the plugin's back: dropped by hand, put back to an older state, gone with their
// server. What the host says of it, what it hands out meanwhile, what repairs it, and how to let go of what is gone for good.
#include "support/postgres_server.hpp"
#include "support/world.hpp"

#include <sys/stat.h>

#include <fstream>
#include <iostream>

namespace via::test {
namespace {

namespace fs = std::filesystem;

class BehindTheBack : public World {
 protected:
  void TearDown() override {
    if (HasFailure()) std::cerr << host.log();
  }
  json layer(const std::string& addon, const std::string& name) {
    const json status = admin("addon.status", {{"name", addon}});
    for (const json& one : status["layers"])
      if (one["name"] == name) return one;
    return {{"ok", nullptr}, {"detail", "no such layer"}};
  }
  json doctor(const std::string& name) {
    const json said = admin("doctor");
    for (const json& one : said["checks"])
      if (one["name"] == name) return one;
    return {{"ok", nullptr}, {"detail", "no such check"}};
  }
  // The whole error of an admin command.
  Error failure_of(const std::string& command, const json& arguments) {
    cli::SocketTransport socket(host.admin_socket());
    const auto answer = socket.call(command, arguments);
    EXPECT_FALSE(answer) << command << " succeeded";
    return answer ? Error{} : answer.error();
  }
  json audit_of(const std::string& target, const std::string& action) {
    json last;
    const json audit = admin("audit.list", {{"target", target}});
    for (const json& entry : audit["items"])
      if (entry["action"] == action) last = entry;
    return last;
  }
};

bool holds(const json& text, const std::string& part) { return text.dump().find(part) != std::string::npos; }

class PostgresBehindTheBack : public BehindTheBack {
 protected:
  void SetUp() override {
    host.configure(server.settings_toml());
    World::SetUp();
    api = with_database("api");
  }
  Runtime with_database(const std::string& app) {
    admin("addon.create", {{"type", "postgres"}, {"name", app + "-db"}, {"app", app}, {"bind", "DATABASE"}});
    admin("deploy.create", {{"app", app}});
    return issue(app);
  }
  Response resolve() { return caller(api).resolve({{"keys", {"DATABASE_URL"}}}); }
  std::string url() { return resolve().json()["values"][0]["value"]; }
  static std::string role_in(const std::string& url) { return url.substr(13, url.find(':', 13) - 13); }
  static std::string database_in(const std::string& url) {
    const auto from = url.find('/', url.find('@')) + 1;
    return url.substr(from, url.find('?') - from);
  }
  std::string as(const std::string& url, const std::string& sql) {
    std::string out;
    return server.as(url, sql, out) ? out : "refused: " + out;
  }
  json with(json more) const {
    json out = {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}};
    out.update(more);
    return out;
  }
  PostgresServer server;
  Runtime api;
};

TEST_F(PostgresBehindTheBack, ADroppedRoleIsSaidNotHandedOutAndMadeAnewByRepair) {
  const std::string before = url();
  EXPECT_EQ(layer("api-db", "credentials")["ok"], true) << layer("api-db", "credentials");
  server.sql("DROP ROLE \"" + role_in(before) + "\"");
  const json said = layer("api-db", "credentials");
  EXPECT_EQ(said["ok"], false);
  EXPECT_TRUE(holds(said, "generation 1 of DATABASE in app 'api'")) << said;
  EXPECT_TRUE(holds(said, "via addon repair api-db")) << said;
  EXPECT_EQ(doctor("credentials")["ok"], false);
  ASSERT_TRUE(eventually([&] { return resolve().status == 503; })) << resolve().body;
  expect_error(resolve(), 503, "unavailable");
  expect_error(caller(api).resolve(), 503, "unavailable");
  const json refreshed = caller(api).refresh({{"app", "api"}, {"release", api.release}, {"deploy", api.deploy}, {"profile_version", 0},
                                              {"keys", {{{"key", "DATABASE_URL"}, {"scope", "addon"}, {"generation", 1}}}}}).json();
  EXPECT_EQ(refreshed["keys"][0]["code"], "unavailable") << refreshed;
  EXPECT_EQ(caller(api).resolve({{"keys", {"DATABASE"}}}).status, 200) << "the proxy needs no credential of the app's";
  EXPECT_EQ(caller(api).query("SELECT 1").status, 200);

  const json repaired = admin("addon.repair", {{"name", "api-db"}});
  EXPECT_EQ(repaired["credentials"], json({{"applied", 1}, {"ended", 0}}));
  EXPECT_EQ(layer("api-db", "credentials")["ok"], true);
  EXPECT_EQ(doctor("credentials")["ok"], true);
  EXPECT_EQ(as(before, "SELECT 1"), "1") << "the same credential works again";
  EXPECT_EQ(url(), before);
}

TEST_F(PostgresBehindTheBack, AServerPutBackToAnOlderStateIsBroughtToTheGenerationsOfNow) {
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES(1)").status, 200);
  const std::string first = url();
  server.stop(PostgresServer::Stop::fast);
  const fs::path data = server.folder() / "data";
  ASSERT_EQ(run_program({"/bin/cp", "-a", data, server.folder() / "older"}).exit_code, 0);
  server.start();
  admin("addon.rotate-credentials", with(json::object()));
  const std::string second = url();
  admin("addon.revoke-credentials", with({{"generation", 1}}));
  EXPECT_NE(as(first, "SELECT 1").find("refused"), std::string::npos);

  server.stop(PostgresServer::Stop::fast);
  fs::remove_all(data);
  fs::rename(server.folder() / "older", data);
  server.start();
  ASSERT_EQ(as(first, "SELECT 1"), "1") << "what was revoked is back";
  const json said = layer("api-db", "credentials");
  EXPECT_TRUE(holds(said, "gone where the data lies: generation 2 of DATABASE")) << said;
  EXPECT_TRUE(holds(said, "ended here and still there: generation 1 of DATABASE")) << said;
  ASSERT_TRUE(eventually([&] { return resolve().status == 503; }));
  EXPECT_EQ(admin("addon.repair", {{"name", "api-db"}})["credentials"], json({{"applied", 1}, {"ended", 1}}));
  EXPECT_NE(as(first, "SELECT 1").find("refused"), std::string::npos);
  EXPECT_EQ(as(second, "SELECT count(*) FROM t"), "1");
  EXPECT_EQ(url(), second);
}

TEST_F(PostgresBehindTheBack, AnEmptyServerInThePlaceOfTheOldOneIsFilledFromASnapshotNotByAnEmptyDatabase) {
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES(7)").status, 200);
  const json snapshot = admin("addon.snapshot", {{"name", "api-db"}});
  const std::string before = url();
  const std::string database = database_in(before);
  server.sql("DROP DATABASE \"" + database + "\" WITH (FORCE)");
  for (const std::string& role : server.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'via%' ORDER BY length(rolname)"))
    server.sql("DROP ROLE \"" + role + "\"");
  EXPECT_TRUE(holds(layer("api-db", "storage"), "its database is not on the server any more")) << layer("api-db", "storage");
  EXPECT_TRUE(holds(doctor("addons"), "api-db")) << doctor("addons");
  const Error refused = failure_of("addon.repair", {{"name", "api-db"}});
  EXPECT_EQ(refused.wire_name(), "conflict");
  EXPECT_NE(refused.message.find("Restore a snapshot"), std::string::npos) << refused.message;
  EXPECT_EQ(server.one("SELECT count(*) FROM pg_database WHERE datname = '" + database + "'"), "0") << "no empty one was made";

  admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot["id"]}, {"force_after_timeout", 5}});
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{7}}));
  EXPECT_EQ(as(before, "SELECT a FROM t"), "7") << "its credential was made again";
  EXPECT_EQ(layer("api-db", "storage")["ok"], true);
  EXPECT_EQ(layer("api-db", "credentials")["ok"], true);
}

TEST_F(PostgresBehindTheBack, ARevokeThatDoesNotReachTheServerSaysSoAndIsMadeWhenItIsBack) {
  const std::string first = url();
  admin("addon.rotate-credentials", with(json::object()));
  server.stop(PostgresServer::Stop::fast);
  const Error said = failure_of("addon.revoke-credentials", with({{"generation", 1}, {"yes", true}}));
  EXPECT_EQ(said.wire_name(), "unavailable");
  EXPECT_NE(said.message.find("the host serves nothing under it any more"), std::string::npos) << said.message;
  EXPECT_NE(said.message.find("cannot be reached"), std::string::npos) << said.message;
  EXPECT_NE(said.message.find("--forget"), std::string::npos) << said.message;
  const json status = admin("addon.status", {{"name", "api-db"}});
  const std::string id = status["id"];
  const json generations = status["bindings"][0];
  EXPECT_TRUE(holds(generations, "revoked")) << generations;
  server.start();
  EXPECT_TRUE(eventually([&] { return as(first, "SELECT 1").find("refused") != std::string::npos; }, 40'000));
  EXPECT_TRUE(eventually([&] { return holds(audit_of(id, "addon.end-credentials"), "\"generation\":1"); })) << audit_of(id, "addon.end-credentials");
}

TEST_F(PostgresBehindTheBack, ForgetEndsARevokeAndNamesTheRoleThatIsLeft) {
  const std::string first = url();
  admin("addon.rotate-credentials", with(json::object()));
  server.stop(PostgresServer::Stop::fast);
  const json done = admin("addon.revoke-credentials", with({{"generation", 1}, {"yes", true}, {"forget", true}}));
  EXPECT_EQ(done["status"], "revoked");
  ASSERT_EQ(done["left_behind"].size(), 1U) << done;
  EXPECT_EQ(done["left_behind"][0], "role " + role_in(first) + " on PostgreSQL server 'main'");
  server.start();
}

TEST_F(PostgresBehindTheBack, AnAddonWhoseServerIsGoneIsForgottenWithWhatItLeavesBehind) {
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES(7)").status, 200);
  admin("addon.snapshot", {{"name", "api-db"}});
  const std::string database = database_in(url());
  const std::string id = admin("addon.status", {{"name", "api-db"}})["id"];
  server.stop(PostgresServer::Stop::fast);
  const Error first = failure_of("addon.destroy", {{"name", "api-db"}, {"force", true}});
  EXPECT_EQ(first.wire_name(), "unavailable") << first.message;
  EXPECT_NE(first.message.find("cannot be reached"), std::string::npos) << first.message;
  EXPECT_EQ(first.message.find("Free some space"), std::string::npos) << first.message;
  EXPECT_NE(first.message.find("--forget"), std::string::npos) << first.message;
  const Error second = failure_of("addon.destroy", {{"name", "api-db"}, {"no_final_snapshot", true}});
  EXPECT_EQ(second.wire_name(), "unavailable") << second.message;
  EXPECT_NE(second.message.find("--forget"), std::string::npos) << second.message;
  EXPECT_TRUE(holds(layer("api-db", "metadata"), "cannot be reached"));

  const json gone = admin("addon.destroy", {{"name", "api-db"}, {"forget", true}});
  EXPECT_EQ(gone["state"], "destroyed");
  ASSERT_EQ(gone["left_behind"].size(), 1U) << gone;
  EXPECT_TRUE(holds(gone["left_behind"], "database " + database)) << gone;
  EXPECT_TRUE(holds(layer(id, "metadata"), database)) << layer(id, "metadata");
  EXPECT_TRUE(holds(audit_of(id, "addon.destroy"), database));
  EXPECT_EQ(doctor("storage")["ok"], true) << doctor("storage");
  admin("addon.create", {{"type", "sqlite"}, {"name", "api-db"}, {"app", "api"}});  // the name is free

  // The snapshot of before is still there: it can be brought back when there is a server again.
  server.start();
  EXPECT_EQ(server.one("SELECT count(*) FROM pg_database WHERE datname = '" + database + "'"), "1");
  admin("addon.undelete", {{"id", id}, {"name", "again"}});
  admin("deploy.create", {{"app", "api"}});
  EXPECT_EQ(rows_of(caller(issue("api")).query("SELECT a FROM t")), json({{7}}));
}

class SqliteBehindTheBack : public BehindTheBack {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER); INSERT INTO t VALUES(1)").status, 200);
    snapshot = admin("addon.snapshot", {{"name", "api-db"}})["id"];
  }
  fs::path file() { return data_file("api-db", "api"); }
  static mode_t mode_of(const fs::path& path) {
    struct stat st {};
    ::stat(path.c_str(), &st);
    return st.st_mode & 0777;
  }
  Runtime api;
  std::string snapshot;
};

TEST_F(SqliteBehindTheBack, AFileThatWasRemovedTakesNoMoreWritesAndComesBackByARestore) {
  const fs::path data = file();
  fs::remove(data);
  const Response refused = caller(api).execute("INSERT INTO t VALUES(2)");
  EXPECT_GE(refused.status, 500) << "acknowledged, it would be gone with the last connection: " << refused.body;
  expect_error(caller(api).execute("INSERT INTO t VALUES(2)"), 503, "unavailable");
  expect_error(caller(api).query("SELECT 1"), 503, "unavailable");
  EXPECT_TRUE(holds(layer("api-db", "storage"), "not there any more")) << layer("api-db", "storage");
  EXPECT_EQ(doctor("addons")["ok"], false);
  const Error lost = failure_of("addon.repair", {{"name", "api-db"}});
  EXPECT_NE(lost.message.find("Restore a snapshot"), std::string::npos) << lost.message;
  EXPECT_FALSE(fs::exists(data)) << "no empty one was made";
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot}, {"force_after_timeout", 5}});
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{1}}));
  EXPECT_EQ(caller(api).execute("INSERT INTO t VALUES(3)").status, 200);
  EXPECT_EQ(layer("api-db", "storage")["ok"], true) << layer("api-db", "storage");
}

TEST_F(SqliteBehindTheBack, AJournalThatWasRemovedIsNoticedBeforeTheNextWriteIsAcknowledged) {
  const fs::path data = file();
  ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES(2)").status, 200);
  fs::remove(data.string() + "-wal");
  EXPECT_TRUE(eventually([&] { return caller(api).execute("INSERT INTO t VALUES(3)").status == 200; })) << "it opens anew";
  host.kill();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t WHERE a = 3")), json({{1}})) << "what was acknowledged is there";
}

TEST_F(SqliteBehindTheBack, AJournalRemovedBeforeTheFirstWriteLosesNone) {
  host.stop();
  ASSERT_TRUE(host.start()) << host.log();
  ASSERT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{1}})) << "opened by a read";
  fs::remove(file().string() + "-wal");
  EXPECT_TRUE(eventually([&] { return caller(api).execute("INSERT INTO t VALUES(3)").status == 200; }));
  host.kill();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t WHERE a = 3")), json({{1}}));
}

TEST_F(SqliteBehindTheBack, AFileThatWasMovedAwayIsWholeAndNothingOfItIsPlayedIntoTheOneInItsPlace) {
  const fs::path data = file(), away = data.parent_path() / "moved.sqlite", other = host.state_dir() / "other.sqlite";
  admin("addon.export", {{"name", "api-db"}, {"file", other.string()}});
  ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES(2)").status, 200);
  fs::rename(data, away);
  fs::rename(other, data);
  EXPECT_TRUE(eventually([&] { return caller(api).execute("INSERT INTO t VALUES(3)").status == 200; }));
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t ORDER BY a")), json({{1}, {3}}));
  // What was acknowledged before is in the file that was moved, and nowhere else.
  host.stop();
  fs::remove(data);
  fs::rename(away, data);
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t ORDER BY a")), json({{1}, {2}}));
}

TEST_F(SqliteBehindTheBack, ReadsAloneNoticeAnotherFileToo) {
  const fs::path data = file(), other = host.state_dir() / "other.sqlite";
  admin("addon.export", {{"name", "api-db"}, {"file", other.string()}});
  ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES(2)").status, 200);
  fs::rename(other, data);
  admin("addon.repair", {{"name", "api-db"}});  // looks at the files, and opens them anew
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t ORDER BY a")), json({{1}}));
  EXPECT_EQ(layer("api-db", "storage")["ok"], true) << layer("api-db", "storage");
}

TEST_F(SqliteBehindTheBack, AnotherFileInItsPlaceIsWhatServes) {
  const fs::path data = file(), other = host.state_dir() / "other.sqlite";
  admin("addon.export", {{"name", "api-db"}, {"file", other.string()}});
  ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES(2)").status, 200);
  fs::rename(other, data);
  fs::permissions(data, fs::perms::owner_read | fs::perms::owner_write);
  const bool noticed = eventually([&] { return caller(api).execute("INSERT INTO t VALUES(3)").status == 200; });
  EXPECT_TRUE(noticed);
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t WHERE a = 2")), json({{0}})) << "what was put there has no such row";
}

TEST_F(SqliteBehindTheBack, FilesThatWereOpenedToOthersAreSaidAndClosedByRepair) {
  const fs::path data = file();
  fs::permissions(data, fs::perms(0644));
  EXPECT_TRUE(holds(layer("api-db", "storage"), "the database file is open to other users")) << layer("api-db", "storage");
  fs::permissions(data, fs::perms(0600));
  fs::permissions(data.parent_path(), fs::perms(0755));
  EXPECT_TRUE(holds(layer("api-db", "storage"), "folder is open to other users")) << layer("api-db", "storage");
  fs::permissions(data, fs::perms(0644));
  admin("addon.repair", {{"name", "api-db"}});
  EXPECT_EQ(mode_of(data), 0600U);
  EXPECT_EQ(mode_of(data.parent_path()), 0700U);
  EXPECT_EQ(layer("api-db", "storage")["ok"], true) << layer("api-db", "storage");
  EXPECT_EQ(rows_of(caller(api).query("SELECT a FROM t")), json({{1}}));
}

TEST_F(SqliteBehindTheBack, AFolderThatIsGoneIsNotReplacedByAnEmptyDatabase) {
  const fs::path folder = file().parent_path();
  fs::remove_all(folder);
  EXPECT_TRUE(holds(layer("api-db", "storage"), "not there any more")) << layer("api-db", "storage");
  const Error lost = failure_of("addon.repair", {{"name", "api-db"}});
  EXPECT_EQ(lost.wire_name(), "conflict");
  EXPECT_NE(lost.message.find("its folder is not there any more"), std::string::npos) << lost.message;
  EXPECT_FALSE(fs::exists(folder / "data.sqlite"));
  admin("addon.destroy", {{"name", "api-db"}, {"force", true}, {"no_final_snapshot", true}});
}

}  // namespace
}  // namespace via::test
