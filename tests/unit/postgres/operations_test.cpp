// query, execute, setup and batch on a real server: the same answers as the SQLite type's, and what happens when it goes away.
#include "server_fixture.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <thread>

namespace via::postgres {
namespace {

class PostgresOperations : public PostgresAddon {};

TEST_F(PostgresOperations, ValuesComeBackAsTheyWereSent) {
  ASSERT_EQ(setup("CREATE TABLE t(id bigint PRIMARY KEY, r double precision, s text, b bytea, n numeric, ok boolean, j jsonb)").status, VIA_OK);
  const Result inserted = execute("INSERT INTO t VALUES(?,?,?,?,?,?,?)", {9223372036854775807LL, 0.1, "h\u00e9 \"q\" \\ \n", {{"base64", "AAH/"}}, 12.5, true, "{\"a\":1}"});
  ASSERT_EQ(inserted.status, VIA_OK) << inserted.message;
  EXPECT_EQ(inserted.body, json({{"update_count", 1}, {"last_insert_rowid", 0}}));
  const Result read = query("SELECT * FROM t WHERE id = :id", {{"id", 9223372036854775807LL}});
  ASSERT_EQ(read.status, VIA_OK) << read.message;
  EXPECT_EQ(read.body["columns"], json({"id", "r", "s", "b", "n", "ok", "j"}));
  EXPECT_EQ(read.body["types"], json({"bigint", "double precision", "text", "bytea", "numeric", "boolean", "jsonb"}));
  EXPECT_EQ(read.body["rows"][0], json({9223372036854775807LL, 0.1, "h\u00e9 \"q\" \\ \n", {{"base64", "AAH/"}}, 12.5, 1, "{\"a\": 1}"}));
  EXPECT_EQ(read.body["truncated"], false);
  EXPECT_EQ(run("query", {{"sql", "SELECT id FROM t"}, {"integers", "string"}}).body["rows"][0][0], "9223372036854775807");
  EXPECT_EQ(rows("SELECT NULL::int, 'NaN'::float8, 1e400::numeric > 0, ''::bytea, -0.5::float4, ?::text", {nullptr})[0], json({nullptr, "NaN", 1, {{"base64", ""}}, -0.5, nullptr}));
}

TEST_F(PostgresOperations, AStatementDoesWhatItsOperationIsFor) {
  ASSERT_EQ(setup("CREATE TABLE t(a int); INSERT INTO t VALUES(1),(2)").body, json({{"update_count", 2}}));
  EXPECT_EQ(query("INSERT INTO t VALUES(3)").code(), "sql_denied");
  EXPECT_EQ(query("WITH x AS (INSERT INTO t VALUES(3) RETURNING a) SELECT * FROM x").code(), "sql_denied");
  EXPECT_EQ(execute("SELECT 1").code(), "sql_denied");
  EXPECT_EQ(setup("BEGIN; INSERT INTO t VALUES(5); DELETE FROM t WHERE a=5; COMMIT;").status, VIA_OK);
  for (const char* sql : {"BEGIN; INSERT INTO t VALUES(5)", "INSERT INTO t VALUES(5); COMMIT", "BEGIN; ROLLBACK"}) EXPECT_EQ(setup(sql).code(), "sql_denied") << sql;
  EXPECT_NE(execute("begin").message.find("BEGIN is not allowed"), std::string::npos);
  EXPECT_NE(setup("CREATE ROLE r").message.find("CREATE ROLE is not allowed"), std::string::npos);
  EXPECT_NE(setup("SET search_path=x").message.find("SET is not allowed"), std::string::npos);
  EXPECT_EQ(query("SELECT 1; SELECT 2").status, VIA_E_INVALID);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2);
  const Result returned = execute("UPDATE t SET a = a + ? RETURNING a", {10});
  EXPECT_EQ(returned.body["update_count"], 2);
  EXPECT_EQ(returned.body["rows"], json({{11}, {12}}));
  EXPECT_EQ(execute("CREATE TABLE u(a int)").body["update_count"], 0);
  EXPECT_EQ(execute("DELETE FROM t WHERE a > 11").body["update_count"], 1);
  EXPECT_EQ(run("execute", {{"sql", "DELETE FROM t"}}, {{"read"}, {1}}).status, VIA_E_DENIED);
  EXPECT_EQ(run("query", {{"sql", "SELECT 1"}, {"generation", 2}}).code(), "generation_unknown");
  EXPECT_EQ(run("query", {{"sql", "SELECT 1"}, {"generation", 1}}, {{"read"}, {2}}).code(), "generation_revoked");
}

TEST_F(PostgresOperations, AMistakeIsNamedAndNothingIsDone) {
  ASSERT_EQ(setup("CREATE TABLE t(a int PRIMARY KEY, b text NOT NULL)").status, VIA_OK);
  const Result missing = query("SELECT * FROM nowhere");
  EXPECT_EQ(missing.status, VIA_E_INVALID);
  EXPECT_EQ(missing.code(), "sql_error");
  EXPECT_EQ(missing.details["sqlstate"], "42P01");
  EXPECT_NE(missing.message.find("nowhere"), std::string::npos);
  ASSERT_EQ(execute("INSERT INTO t VALUES(1,'x')").status, VIA_OK);
  const Result twice = execute("INSERT INTO t VALUES(1,'secret-value')");
  EXPECT_EQ(twice.code(), "constraint");
  EXPECT_EQ(twice.message.find("secret-value"), std::string::npos);
  EXPECT_EQ(execute("INSERT INTO t VALUES(2,NULL)").code(), "constraint");
  EXPECT_EQ(execute("INSERT INTO t VALUES(?, ?)", {"no number", "x"}).code(), "sql_error");
  EXPECT_NE(execute("INSERT INTO t VALUES(?, ?)", {3, std::string("a\0b", 3)}).message.find("NUL"), std::string::npos);
  EXPECT_EQ(setup("CREATE TABLE u(a int); CREATE TABLE u(a int)").status, VIA_E_INVALID);
  EXPECT_EQ(query("SELECT * FROM u").details["sqlstate"], "42P01") << "a setup is all or nothing";
  EXPECT_EQ(value("SELECT count(*) FROM t"), 1);
}

TEST_F(PostgresOperations, ABatchIsAllOrNothing) {
  ASSERT_EQ(setup("CREATE TABLE t(a int PRIMARY KEY)").status, VIA_OK);
  const auto step = [](const char* what, const char* sql, json params = json::array()) { return json{{"operation", what}, {"sql", sql}, {"params", std::move(params)}}; };
  const Result good = run("batch", {{"operations", {step("setup", "CREATE TABLE u(a int); INSERT INTO u VALUES(7)"), step("execute", "INSERT INTO t VALUES(?)", {1}),
                                                    step("query", "SELECT a FROM t"), step("execute", "INSERT INTO t VALUES(2) RETURNING a")}}});
  ASSERT_EQ(good.status, VIA_OK) << good.message;
  EXPECT_EQ(good.body["results"][0], json({{"update_count", 1}}));
  EXPECT_EQ(good.body["results"][1]["update_count"], 1);
  EXPECT_EQ(good.body["results"][2]["rows"], json({{1}}));
  EXPECT_EQ(good.body["results"][3]["rows"], json({{2}}));
  const Result bad = run("batch", {{"operations", {step("execute", "INSERT INTO t VALUES(3)"), step("execute", "INSERT INTO t VALUES(1)"), step("execute", "INSERT INTO t VALUES(4)")}}});
  EXPECT_EQ(bad.code(), "constraint");
  EXPECT_EQ(bad.details["statement_index"], 1);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2);
  const Result writes = run("batch", {{"operations", {step("execute", "INSERT INTO t VALUES(5)"), step("query", "WITH x AS (INSERT INTO t VALUES(6) RETURNING 1) SELECT * FROM x")}}});
  EXPECT_EQ(writes.code(), "sql_denied");
  EXPECT_EQ(writes.details["statement_index"], 1);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2);
  EXPECT_EQ(run("batch", {{"operations", {step("execute", "INSERT INTO t VALUES(8)"), step("execute", "DO $$ BEGIN COMMIT; END $$")}}}).status, VIA_E_INVALID);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 2) << "no statement can end the batch's transaction";
}

TEST_F(PostgresOperations, WhatARequestSetsIsGoneForTheNext) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(query("SELECT set_config('search_path', 'pg_catalog', false), set_config('default_transaction_read_only', 'off', false), set_config('TimeZone', 'Asia/Tokyo', false)").status, VIA_OK);
    EXPECT_EQ(value("SELECT current_setting('search_path')"), "public");
    EXPECT_EQ(value("SELECT current_setting('TimeZone')"), "UTC");
    EXPECT_EQ(query("WITH x AS (SELECT set_config('transaction_read_only', 'off', true)) SELECT * FROM x").status, VIA_E_INVALID);
  }
  ASSERT_EQ(setup("CREATE TABLE t(a int); CREATE FUNCTION sneak() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t VALUES(1); RETURN 1; END $$").status, VIA_OK);
  EXPECT_EQ(query("SELECT sneak()").code(), "sql_denied");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0);
  EXPECT_EQ(execute("DO $$ BEGIN PERFORM set_config('search_path', 'nowhere', false); END $$").status, VIA_OK);
  EXPECT_EQ(execute("INSERT INTO t VALUES(1)").status, VIA_OK);
}

TEST_F(PostgresOperations, ManyAtOnceAreAllAnswered) {
  ASSERT_EQ(setup("CREATE TABLE t(a int PRIMARY KEY, b int)").status, VIA_OK);
  constexpr int kCalls = 400;
  std::vector<std::unique_ptr<testing::FakeCall>> calls;
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(std::make_unique<testing::FakeCall>());
    if (i % 2 == 0) call(*calls.back(), "query", json{{"sql", "SELECT ?::int * 2"}, {"params", {i}}}.dump());
    else call(*calls.back(), "execute", json{{"sql", "INSERT INTO t VALUES(?, ?)"}, {"params", {i, i}}}.dump());
  }
  for (int i = 0; i < kCalls; ++i) {
    calls[static_cast<std::size_t>(i)]->wait();
    EXPECT_EQ(calls[static_cast<std::size_t>(i)]->status(), VIA_OK) << calls[static_cast<std::size_t>(i)]->message();
    const json body = json::parse(calls[static_cast<std::size_t>(i)]->body());
    if (i % 2 == 0) {
      EXPECT_EQ(body["rows"][0][0], i * 2);
    }
  }
  EXPECT_EQ(value("SELECT count(*) FROM t"), kCalls / 2);
}

TEST_F(PostgresOperations, AResultIsCutAtItsLimits) {
  again_with({{"max_rows", 10}, {"max_result_bytes", 2000}});
  const Result many = query("SELECT g FROM generate_series(1, 1000000) g");
  ASSERT_EQ(many.status, VIA_OK) << many.message;
  EXPECT_EQ(many.body["rows"].size(), 10U);
  EXPECT_EQ(many.body["truncated"], true);
  const Result wide = query("SELECT repeat('x', 900) FROM generate_series(1, 100000)");
  ASSERT_EQ(wide.status, VIA_OK) << wide.message;
  EXPECT_LE(wide.body["rows"].size(), 4U);
  EXPECT_EQ(wide.body["truncated"], true);
  EXPECT_EQ(value("SELECT 1"), 1) << "the connections are whole afterwards";
}

TEST_F(PostgresOperations, ARowThatIsTooLargeIsNotTakenIn) {
  again_with({{"max_result_bytes", 1000000}});
  for (int i = 0; i < 3; ++i) {
    const Result huge = query("SELECT repeat('x', 300000000)");
    EXPECT_EQ(huge.code(), "result_too_large") << huge.status << huge.message;
  }
  testing::FakeCall lines;
  call(lines, "query", json{{"sql", "SELECT repeat('x', 300000000)"}}.dump(), {}, "application/x-ndjson");
  lines.wait();
  EXPECT_NE(lines.details().find("result_too_large"), std::string::npos) << lines.details();
  EXPECT_EQ(value("SELECT length(repeat('x', 900000))"), 900000);
  EXPECT_EQ(query("SELECT repeat('x', 900000)").body["rows"][0][0].get<std::string>().size(), 900000U);
}

TEST_F(PostgresOperations, LinesCarryMoreThanTheLimitAndEndWithTheirCount) {
  again_with({{"max_rows", 10}});
  testing::FakeCall one;
  call(one, "query", json{{"sql", "SELECT g AS n FROM generate_series(1, 20000) g"}}.dump(), {}, "application/x-ndjson");
  one.wait();
  ASSERT_EQ(one.status(), VIA_OK) << one.message();
  EXPECT_EQ(one.content_type, "application/x-ndjson");
  EXPECT_TRUE(one.body().starts_with("{\"columns\":[\"n\"],\"types\":[\"integer\"]}\n[1]\n[2]\n"));
  EXPECT_TRUE(one.body().ends_with("[20000]\n{\"row_count\":20000,\"truncated\":false}\n"));
  testing::FakeCall broken;
  call(broken, "query", json{{"sql", "SELECT 10 / (3 - g) FROM generate_series(1, 5) g"}}.dump(), {}, "application/x-ndjson");
  broken.wait();
  EXPECT_NE(broken.body().find("\"code\":\"sql_error\""), std::string::npos) << broken.body();
}

TEST_F(PostgresOperations, AStatementEndsAtItsDeadlineAndWithItsCaller) {
  ASSERT_EQ(setup("CREATE TABLE t(a int)").status, VIA_OK);
  EXPECT_EQ(run("query", {{"sql", "SELECT pg_sleep(60)"}, {"timeout_ms", 50}}).code(), "deadline_exceeded");
  EXPECT_EQ(run("execute", {{"sql", "INSERT INTO t SELECT 1 FROM pg_sleep(60)"}, {"timeout_ms", 50}}).code(), "deadline_exceeded");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0);
  testing::FakeCall unwanted;
  call(unwanted, "execute", json{{"sql", "INSERT INTO t SELECT 1 FROM pg_sleep(60)"}}.dump());
  unwanted.cancel();
  unwanted.wait();
  EXPECT_EQ(unwanted.status(), VIA_E_CANCELLED) << unwanted.message();
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0);
}

TEST_F(PostgresOperations, AChangedSchemaDoesNotBreakWhatIsPrepared) {
  ASSERT_EQ(setup("CREATE TABLE t(a int); INSERT INTO t VALUES(1)").status, VIA_OK);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rows("SELECT * FROM t"), json({{1}}));
  ASSERT_EQ(setup("ALTER TABLE t ALTER a TYPE text USING 'x' || a").status, VIA_OK);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rows("SELECT * FROM t"), json({{"x1"}}));
  for (int i = 0; i < 600; ++i) ASSERT_EQ(value("SELECT " + std::to_string(i)), i);
}

TEST_F(PostgresOperations, AnAddonAtItsQuotaTakesNoMoreButCanBeEmptied) {
  again_with({{"quota_bytes", 16777216}});
  ASSERT_EQ(setup("CREATE TABLE t(a text)").status, VIA_OK);
  ASSERT_EQ(execute("INSERT INTO t SELECT repeat(md5(g::text), 40) FROM generate_series(1, 20000) g").status, VIA_OK);
  Result last{};
  for (int i = 0; i < 400 && last.code() != "quota_exceeded"; ++i) {
    host->advance(std::chrono::seconds(6));
    last = execute("INSERT INTO t VALUES('x')");
    ::poll(nullptr, 0, 5);
  }
  EXPECT_EQ(last.status, VIA_E_EXHAUSTED);
  EXPECT_EQ(last.code(), "quota_exceeded");
  EXPECT_EQ(query("SELECT count(*) FROM t").status, VIA_OK);
  EXPECT_EQ(execute("TRUNCATE t").status, VIA_OK);
}

TEST_F(PostgresOperations, ConnectionsThatNobodyUsesEnd) {
  ASSERT_EQ(setup("CREATE TABLE t(a int)").status, VIA_OK);
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0);
  const std::string sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = '" + database() + "'";
  EXPECT_NE(server().one(sessions), "0");
  host->advance(std::chrono::minutes(10));
  std::string left;
  for (int i = 0; i < 200 && left != "0"; ++i) {
    host->executor().make_due();
    left = server().one(sessions);
    ::poll(nullptr, 0, 10);
  }
  EXPECT_EQ(left, "0");
  EXPECT_EQ(value("SELECT count(*) FROM t"), 0) << "and are made again";
}

TEST_F(PostgresOperations, AServerThatEndsIsSaidAndComesBackByItself) {
  ASSERT_EQ(setup("CREATE TABLE t(a int)").status, VIA_OK);
  ASSERT_EQ(execute("INSERT INTO t VALUES(1)").status, VIA_OK);
  server().stop(test::PostgresServer::Stop::fast);
  const Result down = execute("INSERT INTO t VALUES(2)");
  EXPECT_EQ(down.status, VIA_E_UNAVAILABLE) << down.message;
  EXPECT_EQ(query("SELECT 1").status, VIA_E_UNAVAILABLE);
  EXPECT_EQ(plugin->health().body.find("\"state\":\"failing\""), 1U) << plugin->health().body;
  server().start();
  host->advance(std::chrono::seconds(5));
  Result back{};
  for (int i = 0; i < 200 && !(back.status == VIA_OK && back.body.is_object()); ++i) {
    host->advance(std::chrono::seconds(1));
    back = query("SELECT count(*) FROM t");
    if (back.status != VIA_OK) ::poll(nullptr, 0, 10);
  }
  EXPECT_EQ(back.body["rows"][0][0], 1);
  EXPECT_EQ(plugin->health().body.find("\"state\":\"ok\""), 1U);
}

TEST_F(PostgresOperations, AConnectionThatIsCutLosesNoReadAndNoAcknowledgedWrite) {
  ASSERT_EQ(setup("CREATE TABLE t(a int)").status, VIA_OK);
  std::atomic<bool> ending{false};
  std::thread cutter([&] {
    while (!ending) {
      server().sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + database() + "'");
      ::poll(nullptr, 0, 15);
    }
  });
  int acknowledged = 0, unknown = 0, refused = 0;
  for (int i = 0; i < 300; ++i) {
    const Result w = execute("INSERT INTO t VALUES(1)");
    if (w.status == VIA_OK) ++acknowledged;
    else if (w.code() == "outcome_unknown") ++unknown;
    else {
      ++refused;
      EXPECT_EQ(w.status, VIA_E_UNAVAILABLE) << w.message << w.details;
    }
    const Result r = query("SELECT count(*) FROM t");
    EXPECT_TRUE(r.status == VIA_OK || r.status == VIA_E_UNAVAILABLE) << r.status << r.message;
  }
  ending = true;
  cutter.join();
  json count;
  for (int i = 0; i < 100 && !count.is_number(); ++i) {
    const Result r = query("SELECT count(*) FROM t");
    if (r.status == VIA_OK) count = r.body["rows"][0][0];
  }
  EXPECT_GE(count.get<int>(), acknowledged);
  EXPECT_LE(count.get<int>(), acknowledged + unknown) << refused << " were said not to be made";
  EXPECT_GT(acknowledged, 50);
}

TEST_F(PostgresOperations, AFullDiskIsSaidAndItsServerGoesOn) {
  ASSERT_EQ(setup("CREATE TABLE t(a text)").status, VIA_OK);
  EXPECT_EQ(execute("DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$").code(), "disk_full");
  const Result damaged = execute("DO $$ BEGIN RAISE EXCEPTION 'could not read file base/1' USING ERRCODE = '58030'; END $$");
  EXPECT_EQ(damaged.status, VIA_E_INTERNAL);
  // A disk that is really full, where this machine lets a test have one of its own.
  const std::filesystem::path disk = server().folder() / "disk";
  std::filesystem::create_directory(disk);
  if (::mount("none", disk.c_str(), "tmpfs", 0, "size=24m,mode=0777") != 0) return;
  const auto inside = disk / "space", reserve = disk / "reserve";
  std::ofstream(reserve, std::ios::binary) << std::string(2u << 20, 'x');
  std::filesystem::create_directory(inside);
  struct stat st {};
  ASSERT_EQ(::stat(server().folder().c_str(), &st), 0);
  ASSERT_EQ(::chown(inside.c_str(), st.st_uid, st.st_gid), 0);
  server().sql("CREATE TABLESPACE tiny LOCATION '" + inside.string() + "'");
  server().sql("GRANT CREATE ON TABLESPACE tiny TO PUBLIC");
  ASSERT_EQ(setup("CREATE TABLE u(a text) TABLESPACE tiny").status, VIA_OK);
  Result last{};
  int rows = 0;
  for (; rows < 400; ++rows) {
    last = execute("INSERT INTO u SELECT string_agg(md5((g * random())::text), '') FROM generate_series(1, 8000) g");
    if (last.status != VIA_OK) break;
  }
  EXPECT_EQ(last.code(), "disk_full") << last.message;
  EXPECT_EQ(value("SELECT count(*) FROM u"), rows) << "what was acknowledged is there, what was refused is not";
  std::filesystem::remove(reserve);  // the operator makes a little room
  EXPECT_EQ(execute("TRUNCATE u").status, VIA_OK);
  EXPECT_EQ(execute("INSERT INTO u VALUES('room again')").status, VIA_OK);
  EXPECT_EQ(setup("DROP TABLE u").status, VIA_OK);
  server().sql("DROP TABLESPACE tiny");
  EXPECT_EQ(::umount(disk.c_str()), 0);
}

}  // namespace
}  // namespace via::postgres
