// The life of an add-on on a real server: database and roles, generations, snapshots, and data that come from SQLite.
#include "server_fixture.hpp"

#include "plugins/postgres/from_sqlite.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>

namespace via::postgres {
namespace {

namespace fs = std::filesystem;

class PostgresLife : public PostgresAddon {
 protected:
  std::string url(std::uint32_t generation = 1) {
    std::string made = json::parse(plugin->describe(generation).body)["derived"]["_URL"];
    const auto at = made.find("${secret}");
    EXPECT_NE(at, std::string::npos) << made;
    return made.replace(at, 9, secret(generation));
  }
  static std::string secret(std::uint32_t generation) { return std::string(kSecret).substr(0, 42) + static_cast<char>('0' + generation); }
  std::string bad(const std::string& url, const std::string& sql) {
    std::string out;
    return server().as(url, sql, out) ? "it worked: " + out : out;
  }
  std::string good(const std::string& url, const std::string& sql) {
    std::string out;
    EXPECT_TRUE(server().as(url, sql, out)) << sql << ": " << out;
    return out;
  }
  // bind with the scopes that a test wants; PluginUnderTest gives both.
  plugin::Answer bind_reader(std::uint32_t generation) {
    const via_str scopes[] = {plugin::str("read")};
    via_binding_args args{};
    args.struct_size = sizeof args;
    args.generation = generation;
    args.binding_id.b[15] = 2;
    args.scopes = scopes;
    args.scopes_len = 1;
    const std::string password = secret(generation);
    args.secret = plugin::bytes(password);
    testing::FakeCall one;
    plugin->instance()->api->bind(plugin->instance(), &args, one.get());
    one.wait();
    EXPECT_EQ(one.status(), VIA_OK) << one.message();
    testing::FakeCall two;
    plugin->instance()->api->describe(plugin->instance(), &args, two.get());
    two.wait();
    return {two.status(), 200, two.details(), two.message(), ""};
  }
};

TEST_F(PostgresLife, EachStepAgainIsFineAndAnotherConfigurationIsNot) {
  EXPECT_TRUE(done(plugin->provision(config_)));
  EXPECT_EQ(plugin->provision(R"({"max_rows":5})").status, VIA_E_CONFLICT);
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_database WHERE datname = '" + database() + "'"), "1");
  EXPECT_TRUE(done(plugin->close()));
  EXPECT_TRUE(done(plugin->close()));
  EXPECT_TRUE(done(plugin->deprovision()));
  EXPECT_TRUE(done(plugin->deprovision()));
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_database WHERE datname LIKE 'via%'"), "0");
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'via%'"), "0");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST_F(PostgresLife, AServerThatIsNotThereLeavesNothingBehind) {
  ASSERT_TRUE(done(plugin->deprovision()));
  server().stop(test::PostgresServer::Stop::fast);
  const auto refused = plugin->provision(config_);
  EXPECT_EQ(refused.status, VIA_E_UNAVAILABLE);
  EXPECT_NE(refused.message.find("cannot be reached"), std::string::npos) << refused.message;
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_TRUE(done(plugin->deprovision())) << "of nothing is fine, also without a server";
  server().start();
}

TEST_F(PostgresLife, TheOperatorsMistakesAreNamed) {
  end();
  const auto with = [&](const std::string& settings, const std::string& config = "{}") {
    testing::FakeHost other({.dir = folder.path().string(), .settings = settings});
    plugin::PluginUnderTest<Postgres> one(other);
    return one.provision(config);
  };
  EXPECT_NE(with("{}").message.find("No PostgreSQL server is configured"), std::string::npos);
  EXPECT_NE(with(R"({"servers":{"a":{"hots":"x"}}})").message.find("servers.a.hots"), std::string::npos);
  EXPECT_NE(with(R"({"servers":{"a":{"port":true}}})").message.find("servers.a.port"), std::string::npos);
  EXPECT_NE(with(R"({"servers":{"a":{},"b":{}}})").message.find("more than one"), std::string::npos);
  EXPECT_NE(with(R"({"servers":{"a":{}}})", R"({"server":"c"})").message.find("'c'"), std::string::npos);
  json wrong = json::parse(server().settings_json());
  const fs::path other = folder.path() / "other.pass";
  std::ofstream(other) << "wrong-canary\n";
  wrong["servers"]["main"]["password_file"] = other.string();
  fs::rename(folder.path() / "addon.json", folder.path() / "aside");  // as if it were made for the first time
  const auto refused = with(wrong.dump());
  EXPECT_EQ(refused.status, VIA_E_UNAVAILABLE);
  EXPECT_NE(refused.message.find("refuses the host's credentials"), std::string::npos) << refused.message;
  EXPECT_EQ(refused.message.find("canary"), std::string::npos);
  fs::remove(other);
  fs::rename(folder.path() / "aside", folder.path() / "addon.json");
  begin({});
}

TEST_F(PostgresLife, AGenerationIsALoginRoleThatEndsWithItsSessions) {
  ASSERT_TRUE(done(plugin->bind(1, secret(1))));
  ASSERT_TRUE(done(plugin->bind(1, secret(1)))) << "again is fine";
  good(url(1), "CREATE TABLE t(a int)");
  good(url(1), "INSERT INTO t VALUES(1)");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 1) << "the proxy works on the same tables";
  ASSERT_TRUE(done(plugin->rotate(2, secret(2))));
  good(url(1), "INSERT INTO t VALUES(2)");
  EXPECT_EQ(good(url(2), "SELECT count(*) FROM t"), "2") << "both live";
  const std::unique_ptr<PGconn, decltype(&PQfinish)> session(PQconnectdb(url(1).c_str()), PQfinish);
  ASSERT_EQ(PQstatus(session.get()), CONNECTION_OK);
  // What it makes when it is itself, not the owner, must not keep it alive.
  PQclear(PQexec(session.get(), "RESET ROLE; SET ROLE NONE"));
  ASSERT_TRUE(done(plugin->revoke(1)));
  PQclear(PQexec(session.get(), "SELECT 1"));
  EXPECT_EQ(PQstatus(session.get()), CONNECTION_BAD);
  EXPECT_NE(bad(url(1), "SELECT 1").find("authentication failed"), std::string::npos);
  EXPECT_EQ(good(url(2), "SELECT count(*) FROM t"), "2");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2);
  ASSERT_TRUE(done(plugin->revoke(1))) << "of nothing is fine";
  ASSERT_TRUE(done(plugin->revoke(0)));
  EXPECT_NE(bad(url(2), "SELECT 1").find("authentication failed"), std::string::npos);
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_roles WHERE rolname LIKE '%\\_g_'"), "0");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2) << "the data are nobody's but the add-on's";
}

TEST_F(PostgresLife, AReadOnlyBindingCanOnlyRead) {
  ASSERT_EQ(setup("CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY, a int); INSERT INTO t(a) VALUES(1); CREATE SCHEMA more; CREATE TABLE more.u(a int)").status, VIA_OK);
  const plugin::Answer described = bind_reader(1);
  std::string reader = json::parse(described.body)["derived"]["_URL"];
  reader.replace(reader.find("${secret}"), 9, secret(1));
  EXPECT_EQ(json::parse(described.body)["descriptor"]["operations"], json({"query"}));
  EXPECT_EQ(good(reader, "SELECT a FROM t"), "1");
  EXPECT_EQ(good(reader, "SELECT count(*) FROM more.u"), "0") << "also what is made later, in another schema";
  for (const char* sql : {"INSERT INTO t(a) VALUES(2)", "UPDATE t SET a = 2", "DELETE FROM t", "TRUNCATE t", "CREATE TABLE x(a int)", "CREATE TEMP TABLE x(a int)", "DROP TABLE t",
                          "ALTER TABLE t ADD b int", "SELECT nextval('t_id_seq')", "SET ROLE admin", "GRANT SELECT ON t TO PUBLIC"}) {
    EXPECT_NE(bad(reader, std::string("SET default_transaction_read_only = off; ") + sql).find("ERROR"), std::string::npos) << sql;
  }
  const Caller reads{{"read"}, {1}};
  EXPECT_EQ(run("query", {{"sql", "SELECT a FROM t"}}, reads).body["rows"], json({{1}}));
  EXPECT_NE(run("query", {{"sql", "SELECT nextval('t_id_seq')"}}, reads).status, VIA_OK);
  EXPECT_EQ(run("execute", {{"sql", "DELETE FROM t"}}, reads).status, VIA_E_DENIED);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 1);
}

TEST_F(PostgresLife, WhatAnAppLentOrLearntEndsWithItsGeneration) {
  ASSERT_TRUE(done(plugin->bind(1, secret(1))));
  server().sql("CREATE ROLE friend LOGIN PASSWORD 'friend'");
  good(url(1), "CREATE TABLE t(a int)");
  const std::string owner = database();
  // By the proxy an app acts as the owner: it may set the owner's password and lend the role.
  EXPECT_EQ(execute("ALTER ROLE " + owner + " PASSWORD 'mine'").code(), "sql_denied");
  ASSERT_EQ(execute("DO $$ BEGIN EXECUTE 'ALTER ROLE " + owner + " PASSWORD ''mine'''; END $$").status, VIA_OK);
  const bool lent = execute("GRANT " + owner + " TO friend").status == VIA_OK;
  const std::string as_owner = "host=127.0.0.1 port=" + std::to_string(server().port()) + " user=" + owner + " password=mine dbname=" + owner;
  good(as_owner, "SELECT 1");
  const std::unique_ptr<PGconn, decltype(&PQfinish)> session(PQconnectdb(as_owner.c_str()), PQfinish);
  ASSERT_TRUE(done(plugin->revoke(1)));
  EXPECT_NE(bad(as_owner, "SELECT 1").find("authentication failed"), std::string::npos);
  PQclear(PQexec(session.get(), "SELECT 1"));
  EXPECT_EQ(PQstatus(session.get()), CONNECTION_BAD);
  if (lent) {
    EXPECT_NE(bad("host=127.0.0.1 port=" + std::to_string(server().port()) + " user=friend password=friend dbname=" + owner, "SELECT * FROM t").find("denied"), std::string::npos);
  }
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0) << "the proxy goes on";
  server().sql("DROP ROLE friend");
}

TEST_F(PostgresLife, NoOtherDatabaseIsOpenToAnAddonsRoles) {
  ASSERT_TRUE(done(plugin->bind(1, secret(1))));
  server().sql("CREATE DATABASE via_other");
  server().sql("REVOKE ALL ON DATABASE via_other FROM PUBLIC");
  std::string other = url(1);
  other.replace(other.find("/" + database()), database().size() + 1, "/via_other");
  EXPECT_NE(bad(other, "SELECT 1").find("permission denied"), std::string::npos);
  for (const char* sql : {"CREATE ROLE x", "CREATE DATABASE x", "ALTER SYSTEM SET work_mem = '1GB'", "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT pg_read_file('/etc/passwd')",
                          "SET SESSION AUTHORIZATION admin", "CREATE EXTENSION file_fdw"})
    EXPECT_NE(bad(url(1), sql).find("ERROR"), std::string::npos) << sql;
  server().sql("DROP DATABASE via_other");
}

TEST_F(PostgresLife, PasswordsAreInNoLogOfTheServer) {
  ASSERT_TRUE(done(plugin->bind(1, secret(1))));
  EXPECT_EQ(value("SELECT 1"), 1);
  std::ifstream in(server().folder() / "log", std::ios::binary);
  const std::string log(std::istreambuf_iterator<char>(in), {});
  EXPECT_NE(log.find("SCRAM-SHA-256"), std::string::npos) << "statements are logged in this test";
  EXPECT_EQ(log.find(secret(1)), std::string::npos);
  EXPECT_EQ(log.find("admin-s3cret-canary"), std::string::npos);
  for (const auto& line : host->log_lines()) EXPECT_EQ(line.find("s3cret"), std::string::npos);
}

TEST_F(PostgresLife, ASnapshotIsRestoredWhole) {
  ASSERT_TRUE(done(plugin->bind(1, secret(1))));
  ASSERT_EQ(setup("CREATE TABLE t(id int PRIMARY KEY, a text); INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1,1000) g; CREATE INDEX i ON t(a)").status, VIA_OK);
  const fs::path taken = folder.path() / "taken";
  fs::create_directory(taken);
  const auto facts = plugin->take(taken.string());
  ASSERT_TRUE(done(facts));
  EXPECT_EQ(json::parse(facts.body)["format"], "postgres/1");
  struct stat st {};
  ASSERT_EQ(::stat((taken / kDumpFile).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_TRUE(done(plugin->verify(taken.string())));
  ASSERT_EQ(execute("DELETE FROM t").body["update_count"], 1000);
  EXPECT_EQ(plugin->restore(taken.string()).status, VIA_E_PRECONDITION) << "it is open";
  ASSERT_TRUE(done(plugin->close()));
  ASSERT_TRUE(done(plugin->restore(taken.string())));
  ASSERT_TRUE(done(plugin->open(config_)));
  EXPECT_EQ(value("SELECT count(*) FROM t"), 1000);
  EXPECT_EQ(execute("INSERT INTO t VALUES(1,'x')").code(), "constraint") << "with its keys";
  EXPECT_EQ(good(url(1), "SELECT count(*) FROM t"), "1000") << "and generations go on";
  EXPECT_EQ(execute("INSERT INTO t VALUES(1001,'x')").status, VIA_OK) << "what was restored is the owner's";
  EXPECT_EQ(run("query", {{"sql", "SELECT count(*) FROM t"}}, {{"read"}, {1}}).status, VIA_OK) << "and the reader reads it";
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_database WHERE datname LIKE 'via%'"), "1");
  // On a server that knows nothing of it.
  ASSERT_TRUE(done(plugin->deprovision()));
  ASSERT_TRUE(done(plugin->provision(config_)));
  ASSERT_TRUE(done(plugin->restore(taken.string())));
  ASSERT_TRUE(done(plugin->open(config_)));
  EXPECT_EQ(value("SELECT count(*) FROM t"), 1000);
}

TEST_F(PostgresLife, ADamagedSnapshotChangesNothing) {
  ASSERT_EQ(setup("CREATE TABLE t(a text); INSERT INTO t SELECT md5(g::text) FROM generate_series(1,5000) g").status, VIA_OK);
  const fs::path taken = folder.path() / "taken";
  fs::create_directory(taken);
  ASSERT_TRUE(done(plugin->take(taken.string())));
  std::ifstream in(taken / kDumpFile, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  const auto refused = [&](const std::string& bytes, const char* what) {
    std::ofstream(taken / kDumpFile, std::ios::binary | std::ios::trunc) << bytes;
    EXPECT_EQ(plugin->verify(taken.string()).status, VIA_E_INVALID) << what;
    EXPECT_TRUE(done(plugin->close()));
    EXPECT_FALSE(plugin->restore(taken.string()).ok()) << what;
    EXPECT_TRUE(done(plugin->open(config_)));
    EXPECT_EQ(value("SELECT count(*) FROM t"), 5000) << what;
  };
  refused("", "empty");
  refused("random bytes that are no dump", "random");
  refused(whole.substr(0, whole.size() / 2), "cut off");
  refused(whole.substr(0, whole.size() - 10), "cut off at the end");
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_database WHERE datname LIKE 'via%'"), "1");
}

class FromSqlite : public PostgresLife {
 protected:
  // Restores a SQLite file of these statements; the answer.
  plugin::Answer moved(const std::string& sql) {
    const fs::path given = folder.path() / "given";
    fs::create_directories(given);
    const fs::path file = given / kDumpFile;
    fs::remove(file);
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(file.c_str(), &db), SQLITE_OK);
    char* why = nullptr;
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &why), SQLITE_OK) << why;
    sqlite3_close(db);
    EXPECT_TRUE(done(plugin->verify(given.string())));
    EXPECT_TRUE(done(plugin->close()));
    const auto answer = plugin->restore(given.string());
    EXPECT_TRUE(done(plugin->open(config_)));
    return answer;
  }
  bool logged(const std::string& part) {
    for (const auto& line : host->log_lines())
      if (line.find(part) != std::string::npos) return true;
    return false;
  }
};

TEST_F(FromSqlite, TablesRowsAndRulesAreTakenOver) {
  ASSERT_TRUE(done(moved(R"(
    CREATE TABLE Country(Code TEXT PRIMARY KEY, name TEXT NOT NULL, area REAL, flag BLOB, made TEXT DEFAULT CURRENT_TIMESTAMP, n INT DEFAULT 7) WITHOUT ROWID;
    CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT UNIQUE, country TEXT REFERENCES Country(Code) ON DELETE CASCADE, big INTEGER);
    CREATE INDEX city_by_country ON city(country, name);
    CREATE TABLE "Odd Name"("a b" INTEGER, PRIMARY KEY("a b"));
    INSERT INTO Country(Code, name, area, flag) VALUES('FR','France \ tab	and
line',643.5,x'00ff10'),('IS','Ísland',NULL,NULL);
    INSERT INTO city(name, country, big) VALUES('Paris','FR',9223372036854775807),('Reykjavík','IS',-9223372036854775808);
    INSERT INTO "Odd Name" VALUES(1);)")));
  EXPECT_EQ(rows("SELECT code, name, area, flag, n FROM country ORDER BY code"),
            json({{"FR", "France \\ tab\tand\nline", 643.5, {{"base64", "AP8Q"}}, 7}, {"IS", "\u00cdsland", nullptr, nullptr, 7}}));
  EXPECT_EQ(rows("SELECT name, big FROM City ORDER BY id"), json::array({json::array({"Paris", 9223372036854775807LL}), json::array({"Reykjav\u00edk", INT64_MIN})})) << "names without quotes, whatever their case";
  EXPECT_EQ(execute("INSERT INTO city(name, country) VALUES('Lyon','FR') RETURNING id").body["rows"], json({{3}})) << "a key goes on counting";
  EXPECT_EQ(execute("INSERT INTO city(name, country) VALUES('Lyon','FR')").code(), "constraint");
  EXPECT_EQ(execute("INSERT INTO city(name, country) VALUES('Bonn','DE')").code(), "constraint");
  EXPECT_EQ(execute("DELETE FROM country WHERE code = 'IS'").body["update_count"], 1);
  EXPECT_EQ(value("SELECT count(*) FROM city WHERE country = 'IS'"), 0);
  EXPECT_EQ(value("SELECT \"a b\" FROM \"Odd Name\""), 1);
  EXPECT_EQ(value("SELECT count(*) FROM pg_indexes WHERE indexname = 'city_by_country'"), 1);
  EXPECT_EQ(execute("INSERT INTO country(code, name) VALUES('DE','x') RETURNING made IS NOT NULL").body["rows"], json({{1}}));
  EXPECT_EQ(run("query", {{"sql", "SELECT count(*) FROM country"}}, {{"read"}, {1}}).status, VIA_OK);
}

TEST_F(FromSqlite, AFileThatWasLeftInWalModeIsRead) {
  ASSERT_TRUE(done(moved("PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)")));
  EXPECT_EQ(value("SELECT a FROM t"), 1);
}

TEST_F(FromSqlite, ValuesOfMixedTypesAreKept) {
  ASSERT_TRUE(done(moved(R"(CREATE TABLE t(a INTEGER, b, c NUMERIC, d BOOLEAN, e VARCHAR(3), f REAL, g INTEGER);
    INSERT INTO t VALUES(1,'x',1.5,1,'longer than three',1,9007199254740993),('not a number',2,2,0,NULL,2.5,1.5);)")));
  EXPECT_EQ(rows("SELECT a, b, c, d, e, f, g FROM t ORDER BY d DESC"),
            json({{"1", "x", 1.5, 1, "longer than three", 1.0, 9007199254740993LL}, {"not a number", "2", 2, 0, nullptr, 2.5, 1.5}}));
}

TEST_F(FromSqlite, WhatIsNotTakenOverIsSaid) {
  ASSERT_TRUE(done(moved(R"(CREATE TABLE t(a INT CHECK(a > 0), b TEXT DEFAULT (lower('X')), c INT GENERATED ALWAYS AS (a*2) STORED);
    CREATE VIEW v AS SELECT 1; CREATE TRIGGER tr AFTER INSERT ON t BEGIN SELECT 1; END; CREATE INDEX half ON t(a) WHERE a > 1;
    CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO t(a,b) VALUES(2,'y');)")));
  EXPECT_EQ(rows("SELECT a, b, c FROM t"), json({{2, "y", 4}}));
  for (const char* what : {"view v", "trigger tr", "index half", "virtual words", "the default of column b", "CHECK constraints of table t", "column c"}) EXPECT_TRUE(logged(what)) << what;
  EXPECT_EQ(value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 1) << "no table of the virtual one";
}

TEST_F(FromSqlite, WhatCannotBeKeptIsRefusedAndChangesNothing) {
  ASSERT_EQ(setup("CREATE TABLE mine(a int)").status, VIA_OK);
  const auto nul = moved("CREATE TABLE t(a TEXT); INSERT INTO t VALUES('a' || char(0) || 'b')");
  EXPECT_EQ(nul.status, VIA_E_INVALID);
  EXPECT_NE(nul.message.find("NUL"), std::string::npos) << nul.message;
  const auto orphan = moved("PRAGMA foreign_keys=OFF; CREATE TABLE a(id INTEGER PRIMARY KEY); CREATE TABLE b(a INT REFERENCES a(id)); INSERT INTO b VALUES(7)");
  EXPECT_EQ(orphan.status, VIA_E_INVALID);
  EXPECT_NE(orphan.message.find("do not fit"), std::string::npos) << orphan.message;
  EXPECT_EQ(moved("CREATE TABLE x(a); CREATE TABLE \"X \"(a); CREATE TABLE y(a TEXT); INSERT INTO y VALUES(CAST(x'ff' AS TEXT))").status, VIA_E_INVALID) << "no UTF-8";
  EXPECT_EQ(value("SELECT count(*) FROM mine"), 0);
  EXPECT_EQ(server().one("SELECT count(*) FROM pg_database WHERE datname LIKE 'via%'"), "1");
}

}  // namespace
}  // namespace via::postgres
