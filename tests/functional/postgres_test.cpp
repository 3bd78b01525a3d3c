// PostgreSQL as an add-on type of a real host, on a real server: the whole way of an app, and how it moves there from SQLite.
#include "support/postgres_server.hpp"
#include "support/world.hpp"

#include <fstream>
#include <iterator>

namespace via::test {
namespace {

namespace fs = std::filesystem;

class Postgres : public World {
 protected:
  void SetUp() override {
    host.configure(server.settings_toml());
    World::SetUp();
  }
  Runtime with_database(const std::string& app, bool read_only = false) {
    admin("addon.create", {{"type", "postgres"}, {"name", app + "-db"}, {"app", app}, {"bind", "DATABASE"}, {"read_only", read_only}});
    admin("deploy.create", {{"app", app}});
    return issue(app);
  }
  std::string url(const Runtime& runtime) {
    const json answer = caller(runtime).resolve({{"keys", {"DATABASE_URL"}}}).json();
    return answer["values"].empty() ? "missing" : answer["values"][0]["value"].get<std::string>();
  }
  std::string as(const std::string& url, const std::string& sql) {
    std::string out;
    return server.as(url, sql, out) ? out : "refused: " + out;
  }
  static std::string text(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  PostgresServer server;
};

TEST_F(Postgres, AnAppWorksByTheProxyAndByItsUrlUntilItsGenerationIsRevoked) {
  const Runtime api = with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)").status, 200);
  ASSERT_EQ(app.execute("INSERT INTO t VALUES(?, ?)", {1, "proxy"}).status, 200);
  const std::string first = url(api);
  ASSERT_TRUE(first.starts_with("postgresql://via_")) << first;
  EXPECT_EQ(as(first, "INSERT INTO t VALUES(2, 'direct') RETURNING a"), "direct");
  EXPECT_EQ(rows_of(app.query("SELECT a FROM t ORDER BY id")), json({{"proxy"}, {"direct"}}));

  admin("addon.rotate-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}});
  const std::string second = url(api);
  EXPECT_NE(second, first);
  EXPECT_EQ(as(first, "SELECT count(*) FROM t"), "2") << "both work until one is revoked";
  EXPECT_EQ(as(second, "SELECT count(*) FROM t"), "2");
  admin("addon.revoke-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}});
  EXPECT_NE(as(first, "SELECT 1").find("authentication failed"), std::string::npos);
  EXPECT_EQ(as(second, "SELECT count(*) FROM t"), "2");
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{2}})) << "the proxy goes on";

  const Runtime reports = [&] {
    admin("app.create", {{"name", "reports"}});
    admin("addon.bind", {{"app", "reports"}, {"name", "api-db"}, {"binding", "DATABASE"}, {"read_only", true}});
    admin("deploy.create", {{"app", "reports"}});
    return issue("reports");
  }();
  EXPECT_EQ(rows_of(caller(reports).query("SELECT count(*) FROM t")), json({{2}}));
  expect_error(caller(reports).execute("DELETE FROM t"), 403, "scope_denied");
  EXPECT_NE(as(url(reports), "DELETE FROM t").find("refused"), std::string::npos);
  EXPECT_EQ(as(url(reports), "SELECT count(*) FROM t"), "2");

  const json status = admin("addon.status", {{"name", "api-db"}});
  EXPECT_EQ(status["layers"].dump().find("\"ok\":false,\"name\":\"storage\""), std::string::npos) << status;
  admin("addon.unbind", {{"app", "reports"}, {"target", "DATABASE"}});
  admin("addon.destroy", {{"name", "api-db"}, {"force", true}, {"confirm", "api-db"}});
  EXPECT_NE(as(second, "SELECT 1").find("refused"), std::string::npos);
  EXPECT_EQ(server.one("SELECT count(*) FROM pg_database WHERE datname LIKE 'via%'"), "0");
  EXPECT_EQ(server.one("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'via%'"), "0");
  const std::string id = status["id"];
  admin("addon.undelete", {{"id", id}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime again = issue("api");
  EXPECT_EQ(rows_of(caller(again).query("SELECT count(*) FROM t")), json({{2}})) << "the final snapshot brought it back";
  EXPECT_EQ(as(url(again), "SELECT count(*) FROM t"), "2");
}

TEST_F(Postgres, NoPasswordIsAnywhereButInTheAnswerOfResolve) {
  const Runtime api = with_database("api");
  const std::string given = url(api);
  const auto at = given.find(":", 13) + 1;
  const std::string secret = given.substr(at, given.find('@') - at);
  ASSERT_EQ(secret.size(), 43U) << given;
  ASSERT_EQ(caller(api).query("SELECT 1").status, 200);
  std::string shown = metrics() + host.log();
  for (const char* command : {"addon.list", "app.list", "audit.list", "plugin.list", "op.list"}) {
    const json answer = admin(command);
    shown += answer.dump();
  }
  shown += admin("addon.status", {{"name", "api-db"}}).dump() + admin("plugin.show", {{"plugin", "postgres"}}).dump();
  for (const auto& entry : fs::recursive_directory_iterator(host.state_dir()))
    if (entry.is_regular_file()) shown += text(entry.path());
  EXPECT_EQ(shown.find(secret), std::string::npos);
  EXPECT_EQ(shown.find(server.password()), std::string::npos);
  EXPECT_EQ(text(server.folder() / "log").find(secret), std::string::npos) << "also not in the server's log";
}

TEST_F(Postgres, SnapshotsRestoresAndWholeHostBackupsHoldTheData) {
  const Runtime api = with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a TEXT); INSERT INTO t VALUES('kept')").status, 200);
  const json snapshot = admin("addon.snapshot", {{"name", "api-db"}});
  ASSERT_EQ(app.execute("INSERT INTO t VALUES('later')").status, 200);
  const json restored = admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot["id"]}, {"force_after_timeout", 5}});
  EXPECT_EQ(rows_of(app.query("SELECT a FROM t")), json({{"kept"}}));
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", restored["safety_snapshot"]}, {"force_after_timeout", 5}});
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{2}}));
  EXPECT_EQ(as(url(api), "SELECT count(*) FROM t"), "2") << "credentials go on";

  TemporaryFolder folder;
  const fs::path archive = folder.path() / "host.backup", pass = folder.path() / "pass", config = folder.path() / "drill.toml";
  std::ofstream(pass) << "correct horse\n";
  fs::permissions(pass, fs::perms::owner_read);
  std::ofstream(config) << server.settings_toml();
  admin("backup.create", {{"file", archive.string()}, {"passphrase", "correct horse"}});
  ASSERT_EQ(app.execute("INSERT INTO t VALUES('after the backup')").status, 200);
  // Another host on the same server: a drill. The one that runs loses nothing by it.
  HostProcess other;
  const Finished made = run_program({VIA_BINARY, "--state-dir", other.state_dir(), "backup", "restore", archive, "--passphrase-file", pass, "--config", config});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  other.configure(server.settings_toml());
  ASSERT_TRUE(other.start()) << other.log();
  cli::SocketTransport socket(other.admin_socket());
  const auto issued = socket.call("runtime.issue", {{"app", "api"}});
  ASSERT_TRUE(issued) << issued.error().message;
  Caller drill(other.port(), text(fs::path(issued->value("material", "")) / "token"));
  EXPECT_EQ(rows_of(drill.query("SELECT count(*) FROM t")), json({{2}}));
  ASSERT_EQ(drill.execute("DELETE FROM t").status, 200);
  const std::string there = json::parse(drill.resolve({{"keys", {"DATABASE_URL"}}}).body)["values"][0]["value"];
  EXPECT_NE(there, url(api));
  EXPECT_EQ(as(there, "SELECT count(*) FROM t"), "0") << "its credentials are its own";
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t")), json({{3}}));
  EXPECT_EQ(as(url(api), "SELECT count(*) FROM t"), "3");
}

TEST_F(Postgres, AnAppMovesFromSqliteWithItsDataByARebindAndADeploy) {
  const Runtime before = app_with_database("api");
  ASSERT_EQ(caller(before).setup("CREATE TABLE Visit(id INTEGER PRIMARY KEY, who TEXT NOT NULL); INSERT INTO Visit(who) VALUES('ada'),('grace')").status, 200);
  TemporaryFolder folder;
  const std::string file = (folder.path() / "api.sqlite").string();
  admin("addon.export", {{"name", "api-db"}, {"file", file}});
  admin("addon.create", {{"type", "postgres"}, {"name", "api-pg"}, {"app", "api"}});
  const json imported = admin("addon.import", {{"name", "api-pg"}, {"file", file}, {"drain", true}, {"restart_bound_apps", true}});
  admin("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  admin("addon.bind", {{"app", "api"}, {"name", "api-pg"}, {"binding", "DATABASE"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime after = issue("api");
  EXPECT_EQ(rows_of(caller(after).query("SELECT who FROM Visit WHERE id = ?", {2})), json({{"grace"}}));
  EXPECT_EQ(caller(after).execute("INSERT INTO visit(who) VALUES(:who)", {{"who", "edsger"}}).status, 200);
  EXPECT_EQ(rows_of(caller(after).query("SELECT max(id) FROM visit")), json({{3}}));
  EXPECT_EQ(rows_of(caller(before).query("SELECT count(*) FROM Visit")), json({{2}})) << "the release that runs keeps what it has";
  // A file that is neither is refused, and nothing changes.
  std::ofstream(folder.path() / "nonsense") << "nonsense";
  EXPECT_EQ(admin_error("addon.import", {{"name", "api-pg"}, {"file", (folder.path() / "nonsense").string()}, {"force_after_timeout", 5}}), "snapshot_invalid");
  EXPECT_EQ(rows_of(caller(after).query("SELECT count(*) FROM visit")), json({{3}}));
}

TEST_F(Postgres, AServerThatGoesAwayIsSaidAndNothingAcknowledgedIsLost) {
  const Runtime api = with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a INTEGER)").status, 200);
  ASSERT_EQ(app.execute("INSERT INTO t VALUES(1)").status, 200);
  server.stop(PostgresServer::Stop::crash);
  const Response down = app.execute("INSERT INTO t VALUES(2)");
  EXPECT_TRUE(down.status == 503 || down.status == 500) << down.body;
  expect_error(app.query("SELECT 1"), 503, "unavailable");
  EXPECT_EQ(admin_error("addon.create", {{"type", "postgres"}, {"name", "other"}, {"app", "api"}}), "unavailable");
  const json status = admin("addon.status", {{"name", "api-db"}});
  EXPECT_NE(status["layers"].dump().find("failing: the PostgreSQL server cannot be reached"), std::string::npos) << status["layers"];
  server.start();
  ASSERT_TRUE(eventually([&] { return app.query("SELECT 1").status == 200; }));
  EXPECT_EQ(rows_of(app.query("SELECT count(*) FROM t WHERE a = 1")), json({{1}}));
  admin("addon.create", {{"type", "postgres"}, {"name", "other"}, {"app", "api"}});
  // The host's own end in the middle of everything.
  host.kill();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t WHERE a = 1")), json({{1}}));
}

TEST(PostgresWithoutServer, ATypeThatIsNotConfiguredSaysWhatToDo) {
  HostProcess host;
  ASSERT_TRUE(host.start()) << host.log();
  const Finished refused = run_program({VIA_BINARY, "--state-dir", host.state_dir(), "addon", "create", "postgres", "db", "--app", "api"});
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
  EXPECT_NE(refused.err.find("[types.postgres.settings.servers.NAME]"), std::string::npos) << refused.err;
  const Finished wrong = run_program({VIA_BINARY, "--state-dir", host.state_dir(), "addon", "create", "postgres", "db", "--app", "api", "--config", "max_rows=0"});
  EXPECT_EQ(wrong.exit_code, 2) << wrong.err;
  EXPECT_NE(wrong.err.find("max_rows"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace via::test
