// SQL texts of apps: where statements end, what they are, and how their parameters are written.
#include "plugins/postgres/statement.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace via::postgres {
namespace {

using nlohmann::json;

struct Translated {
  std::string sql, refusal;
  std::size_t values = 0;
  Use use = Use::refused;
};

Translated translated(const std::string& sql, const json& params = nullptr) {
  Request request;
  json body{{"sql", sql}};
  if (!params.is_null()) body["params"] = params;
  if (const Failure f = sqlwire::parse_request(body.dump(), Operation::execute, request)) return {"", f.message};
  Statement out;
  const Failure f = translate(request.sql(request.statements[0]), request, request.statements[0], out);
  return {f ? "" : out.sql, f.message, out.order.size(), out.use};
}

TEST(PostgresStatement, EveryWayToWriteAParameterBecomesTheServersOwn) {
  EXPECT_EQ(translated("SELECT ?, ?", {1, 2}).sql, "SELECT $1, $2");
  EXPECT_EQ(translated("SELECT ?2, ?1", {1, 2}).sql, "SELECT $2, $1");
  EXPECT_EQ(translated("SELECT $2, $1", {1, 2}).sql, "SELECT $2, $1");
  EXPECT_EQ(translated("SELECT ?1, ?", {1, 2}).sql, "SELECT $1, $2");
  EXPECT_EQ(translated("SELECT :a, @b, $c, :a", {{"a", 1}, {"b", 2}, {"c", 3}}).sql, "SELECT $1, $2, $3, $1");
  EXPECT_EQ(translated("SELECT :a", {{":a", 1}}).sql, "SELECT $1");
  EXPECT_EQ(translated("SELECT :a, :a", {{"a", 1}}).values, 1U);
}

TEST(PostgresStatement, WhatOnlyLooksLikeAParameterStays) {
  EXPECT_EQ(translated("SELECT '?', \"?\", E'\\'?', $$?$$, $x$ ? $x$ -- ?\n /* ? /* ? */ */ , ?", {1}).sql,
            "SELECT '?', \"?\", E'\\'?', $$?$$, $x$ ? $x$ -- ?\n /* ? /* ? */ */ , $1");
  EXPECT_EQ(translated("SELECT a::text, b[1:2] FROM t WHERE c = :c", {{"c", 1}}).sql, "SELECT a::text, b[1:2] FROM t WHERE c = $1");
  EXPECT_EQ(translated("SELECT a[x:y] FROM t WHERE c = :c", {{"c", 1}}).sql, "SELECT a[x:y] FROM t WHERE c = $1");
  EXPECT_EQ(translated("SELECT j ?? 'k', j ?| a, j ?& b, j @> :j", {{"j", "{}"}}).sql, "SELECT j ? 'k', j ?| a, j ?& b, j @> $1") << "as in JDBC";
  EXPECT_EQ(translated("SELECT j ?? 'k' WHERE a = ?", {1}).sql, "SELECT j ? 'k' WHERE a = $1");
  EXPECT_EQ(translated("SELECT j ? 'k'").sql, "SELECT j ? 'k'") << "without values nothing is a parameter";
  EXPECT_EQ(translated("SELECT @ -5, :a", {{"a", 1}}).sql, "SELECT @ -5, $1");
}

TEST(PostgresStatement, AParameterStaysApartFromWhatStandsBesideIt) {
  EXPECT_EQ(translated("SELECT a FROM t WHERE b=?AND c=?", {1, 2}).sql, "SELECT a FROM t WHERE b=$1 AND c=$2");
  EXPECT_EQ(translated("SELECT $?1", {1}).sql, "SELECT $ $1") << "no quotation begins";
  EXPECT_EQ(translated("SELECT a?", {1}).sql, "SELECT a $1");
}

TEST(PostgresStatement, ValuesAndParametersMustMatch) {
  EXPECT_EQ(translated("SELECT ?", {1, 2}).refusal, "the statement has 1 parameters, the request gives 2");
  EXPECT_EQ(translated("SELECT ?, ?", {1}).refusal, "the statement has 2 parameters, the request gives 1");
  EXPECT_EQ(translated("SELECT ?", json::array()).refusal, "the statement has 1 parameters, the request gives 0");
  EXPECT_EQ(translated("SELECT :a", {{"b", 1}}).refusal, "the request gives no value for the parameter :a");
  EXPECT_EQ(translated("SELECT :a", {{"a", 1}, {"b", 1}}).refusal, "the statement has no parameter named b");
  EXPECT_EQ(translated("SELECT ?0", {1}).refusal, "parameters are numbered from 1");
  EXPECT_NE(translated("SELECT ?99999", {1}).refusal, "");
  EXPECT_NE(translated("SELECT ?999999999999", {1}).refusal, "");
}

TEST(PostgresStatement, OneStatementIsOneHoweverItEnds) {
  EXPECT_EQ(translated(" SELECT 1 ; ; -- end").sql, "SELECT 1");
  EXPECT_EQ(translated("SELECT ';'").sql, "SELECT ';'");
  EXPECT_EQ(translated("SELECT 1; SELECT 2").refusal, "there is more than one statement; use setup or batch");
  EXPECT_EQ(translated(" ; /* */ -- x").refusal, "sql is empty");
  for (const char* open : {"SELECT 'a", "SELECT \"a", "SELECT $$a", "SELECT $t$a$$", "SELECT 1 /* /* */", "SELECT E'a\\'"})
    EXPECT_EQ(translated(open).refusal, "the SQL text ends within a quote or a comment") << open;
}

TEST(PostgresStatement, AScriptIsCutWhereItsStatementsEnd) {
  std::vector<std::string_view> parts;
  ASSERT_FALSE(split("CREATE FUNCTION f() RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; SELECT 2; END;\n"
                     "CREATE TABLE t(a text DEFAULT ';'); DO $$ BEGIN PERFORM 1; END $$;;", parts));
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_TRUE(parts[0].ends_with("END"));
  EXPECT_EQ(parts[1], "CREATE TABLE t(a text DEFAULT ';')");
  EXPECT_EQ(parts[2], "DO $$ BEGIN PERFORM 1; END $$");
}

TEST(PostgresStatement, WhatWouldBreakWhatRequestsShareIsRefused) {
  for (const char* sql :
       {"BEGIN", "COMMIT", "/**/ rollback", "END", "ABORT", "SAVEPOINT a", "RELEASE a", "START TRANSACTION", "PREPARE TRANSACTION 'x'", "SET x = 1", "RESET ALL",
        "SET ROLE a", "DISCARD ALL", "COPY t FROM STDIN", "copy t to stdout", "LISTEN a", "NOTIFY a", "UNLISTEN *", "LOAD 'x'", "PREPARE a AS SELECT 1",
        "EXECUTE a", "DEALLOCATE ALL", "DECLARE c CURSOR FOR SELECT 1", "FETCH c", "CLOSE c", "VACUUM", "CHECKPOINT", "LOCK t", "CREATE ROLE a", "ALTER USER a", "DROP DATABASE a",
        "create database a", "ALTER SYSTEM SET a = 1", "CREATE TABLESPACE a LOCATION '/x'", "CREATE SUBSCRIPTION s", "nonsense", "'x'", "1", "IMPORT FOREIGN SCHEMA x",
        "SECURITY LABEL", "CLUSTER", "MOVE c"})
    EXPECT_FALSE(translated(sql).refusal.empty()) << sql;
  EXPECT_EQ(translated("(SELECT 1) UNION (SELECT 2)").use, Use::reads);
  EXPECT_EQ(translated("with x as (select 1) select * from x").use, Use::either);
  EXPECT_EQ(translated("DELETE FROM t").use, Use::removes);
  EXPECT_EQ(translated("create table role(a int)").use, Use::writes) << "only the word behind CREATE counts";
}

}  // namespace
}  // namespace via::postgres
