// What a database holds arrives as it is, on every way over the wire: one table of values, and the raw bytes of the answers.
#include "functional/routes.hpp"

namespace via::test {
namespace {

struct Case {
  const char* sent;   // as JSON, a parameter
  const char* type;   // as SQLite has it
  const char* told;   // as JSON in a result; null: as it was sent
  const char* api = nullptr;  // where the data API writes it otherwise
};

const Case kCases[] = {
    {"0", "integer", nullptr},
    {"-1", "integer", nullptr},
    {"9007199254740993", "integer", nullptr},
    {"-9007199254740993", "integer", nullptr},
    {"9223372036854775807", "integer", nullptr},
    {"-9223372036854775808", "integer", nullptr},
    {"true", "integer", "1"},
    {"9e999", "real", nullptr},
    {"-9e999", "real", nullptr},
    {"-0.0", "real", nullptr},
    {"0.1", "real", nullptr},
    {"0.30000000000000004", "real", nullptr},
    {"1.7976931348623157e+308", "real", nullptr},
    {"5e-324", "real", nullptr},
    {"2.2250738585072014e-308", "real", nullptr},
    {"1e+22", "real", nullptr},
    {"123456789012345680.0", "real", "123456789012345680.0"},
    {"null", "null", nullptr},
    {"\"\"", "text", nullptr},
    {"\"a\\u0000b\"", "text", nullptr},
    {"\"\\u0000\"", "text", nullptr},
    {"\"\\\"\\\\/\\n\\r\\t\\b\\f\\u001f\"", "text", nullptr},
    {"\"h\u00e9 \xE2\x82\xAC \xF0\x9F\x8C\x8A\"", "text", nullptr},
    {"\"\\ud83c\\udf0a\"", "text", "\"\xF0\x9F\x8C\x8A\""},
    {"\"9e999\"", "text", nullptr},
    {"{\"base64\":\"\"}", "blob", nullptr, "\"\""},
    {"{\"base64\":\"AP8A\"}", "blob", nullptr, "\"AP8A\""},
};

class Values : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    runtime = app_with_database("api");
    ASSERT_EQ(caller(runtime).setup("CREATE TABLE v(x)").status, 200);
  }
  Response data(const std::string& method, const std::string& target, const std::string& body = {}) {
    return Http(host.port()).call(method, "/v1/runtime/addons/DATABASE/http/api/v1/sqlite" + target, body, {{"Authorization", "Bearer " + runtime.token}});
  }
  static std::string told(const Case& c) { return c.told ? c.told : c.sent; }
  static bool holds(const Response& response, const std::string& text) {
    if (response.status == 200 && response.body.find(text) != std::string::npos) return true;
    ADD_FAILURE() << text << " is not in " << response.status << " " << response.body;
    return false;
  }
  Runtime runtime;
};

TEST_F(Values, RoundTripThroughTheOperations) {
  Caller app = caller(runtime);
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.sent);
    const std::string value = told(c), row = "[" + value + ",\"" + c.type + "\"]", params = "\"params\":[" + std::string(c.sent) + "]}";
    holds(app.post(operation_path("query"), R"j({"sql":"SELECT ?1, typeof(?1)",)j" + params), "\"rows\":[" + row + "]");
    ASSERT_EQ(app.execute("DELETE FROM v").status, 200);
    holds(app.post(operation_path("execute"), R"j({"sql":"INSERT INTO v VALUES(?) RETURNING x, typeof(x)",)j" + params), "\"rows\":[" + row + "]");
    for (int i = 0; i < 3; ++i)  // by a worker, then on the I/O thread
      holds(app.post(operation_path("query"), R"j({"sql":"SELECT x, typeof(x) FROM v"})j"), "\"rows\":[" + row + "]");
    holds(app.post(operation_path("query"), R"j({"sql":"SELECT x, typeof(x) FROM v"})j", {{"Accept", "application/x-ndjson"}}), "\n" + row + "\n");
    holds(app.post(operation_path("batch"), R"j({"operations":[{"operation":"query","sql":"SELECT x, typeof(x) FROM v"}]})j"), "\"rows\":[" + row + "]");
  }
}

TEST_F(Values, RoundTripThroughTheDataApi) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.sent);
    const std::string value = c.api ? c.api : told(c);
    holds(data("POST", "/db", R"j({"transaction":[{"statement":"DELETE FROM v"},{"statement":"INSERT INTO v VALUES(?)","values":[)j" + std::string(c.sent) +
                                  R"j(]},{"query":"SELECT x, typeof(x) AS t FROM v"}]})j"),
          "\"resultSet\":[{\"x\":" + value + ",\"t\":\"" + c.type + "\"}]");
    holds(data("POST", "/db", R"j({"resultFormat":"list","transaction":[{"query":"SELECT x FROM v"}]})j"), "\"resultSet\":[[" + value + "]]");
    holds(data("GET", "/query?sql=SELECT+x+FROM+v"), "\"resultSet\":[{\"x\":" + value + "}]");
  }
}

TEST_F(Values, ThatNoColumnHoldsAreRefusedRatherThanChanged) {
  for (const std::string value : {"1e999", "-1e999", "9e998", "9E999", "9e+999", "18446744073709551616", "NaN", "Infinity"}) {
    SCOPED_TRACE(value);
    EXPECT_EQ(caller(runtime).post(operation_path("query"), R"({"sql":"SELECT ?","params":[)" + value + "]}").status, 400);
    EXPECT_EQ(data("POST", "/db", R"({"transaction":[{"query":"SELECT ?","values":[)" + value + "]}]}").status, 400);
  }
}

TEST_F(Values, AreMadeBySqlWithoutLosingAnything) {
  Caller app = caller(runtime);
  holds(app.query("SELECT 1e999, -1e999, 1e999-1e999, 0.1+0.2, CAST(x'61ff62' AS TEXT)"), "[9e999,-9e999,null,0.30000000000000004,\"a\xEF\xBF\xBD" "b\"]");
  ASSERT_EQ(data("PUT", "/kv/k", "1").status, 200);
  ASSERT_EQ(app.execute("UPDATE kv_store SET value=0.1+0.2").status, 200);
  EXPECT_EQ(data("GET", "/kv/k").body, "0.30000000000000004");
  ASSERT_EQ(app.execute("UPDATE kv_store SET value=-1e999").status, 200);
  EXPECT_EQ(data("GET", "/kv/k").body, "-9e999");
}

TEST_F(Values, KeepTheirDigitsInsideOfJsonDocuments) {
  ASSERT_EQ(data("PUT", "/kv/k", R"({"n":9007199254740993,"x":[18446744073709551616,18446744073709551617,1e999,-0.0,1.10]})").status, 200);
  for (const auto& [path, leaf] : {std::pair{"n", "9007199254740993"}, {"x%5B1%5D", "18446744073709551617"}, {"x%5B2%5D", "1e999"}, {"x%5B3%5D", "-0.0"}, {"x%5B4%5D", "1.10"}})
    EXPECT_EQ(data("GET", std::string("/kv/k?path=") + path).body, leaf);
  EXPECT_EQ(data("POST", "/kv/k/incr?path=n").json()["value"], 9007199254740994);
  EXPECT_EQ(data("POST", "/kv/k/remove?path=x", "18446744073709551617").status, 200);
  EXPECT_EQ(data("GET", "/kv/k").body, R"({"n":9007199254740994,"x":[18446744073709551616,1e999,-0.0,1.10]})");
}

}  // namespace
}  // namespace via::test
