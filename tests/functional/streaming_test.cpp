// Large results: streamed, bounded in memory, in rows a client can read one by one.
#include "functional/routes.hpp"

#include <sys/socket.h>

#include <poll.h>

namespace via::test {
namespace {

class Streaming : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api", false, {{"max_rows", 1'000'000}, {"max_result_bytes", 200 << 20}});
  }
  std::string rows(int n, int width) const {
    return "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT " + std::to_string(n) +
           ") SELECT x, printf('%.*c', " + std::to_string(width) + ", 'r') FROM c";
  }
  std::string request(const std::string& sql, const std::string& accept) const {
    return Http::format("POST", operation_path("query"), json{{"sql", sql}}.dump(),
                        {{"Authorization", "Bearer " + api.token}, {"Accept", accept}});
  }
  Runtime api;
};

TEST_F(Streaming, NdjsonHasOneRowALineAndTheSameRowsAsJson) {
  Http http(host.port());
  ASSERT_TRUE(http.send(request(rows(5000, 50), "application/x-ndjson")));
  const auto lines = http.read();
  ASSERT_TRUE(lines);
  EXPECT_EQ(lines->status, 200);
  EXPECT_EQ(lines->header("Content-Type"), "application/x-ndjson");
  std::vector<json> parsed;
  for (std::size_t at = 0; at < lines->body.size();) {
    const std::size_t end = lines->body.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    parsed.push_back(json::parse(lines->body.substr(at, end - at)));
    at = end + 1;
  }
  ASSERT_TRUE(http.send(request(rows(5000, 50), "application/json")));
  const json whole = http.read().value_or(Response{}).json();
  ASSERT_EQ(whole["rows"].size(), 5000U);
  EXPECT_GE(parsed.size(), 5000U);
  std::size_t same = 0;
  for (const json& line : parsed)
    if (same < 5000 && (line == whole["rows"][same] ||
                        (line.is_object() && line.contains("row") && line["row"] == whole["rows"][same])))
      ++same;
  EXPECT_EQ(same, 5000U);
}

TEST_F(Streaming, SlowReaderHoldsTheQueryBackAndMemoryStaysBounded) {
  ASSERT_EQ(caller(api).query("SELECT 1").status, 200);
  const std::size_t before = host.resident_kib();
  Http slow(host.port());
  const int small = 16 * 1024;
  ::setsockopt(slow.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ASSERT_TRUE(slow.send(request(rows(100'000, 500), "application/x-ndjson")));  // 50 MB
  pollfd readable{slow.fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&readable, 1, 30'000), 1);
  // Others are served meanwhile, and the producer stands still.
  for (int i = 0; i < 200; ++i) ASSERT_EQ(rows_of(caller(api).query("SELECT 2")), json({{2}}));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(host.resident_kib(), before + 24 * 1024);
#endif
  const auto answer = slow.read(120'000);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->cut);
  EXPECT_GE(std::count(answer->body.begin(), answer->body.end(), '\n'), 100'000);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(host.resident_kib(), before + 24 * 1024);
#endif
  EXPECT_EQ(slow.call("GET", "/health").status, 200) << "the connection goes on";
}

TEST_F(Streaming, ReaderThatStopsReadingIsCutAtTheWriteLimit) {
  ASSERT_EQ(host.stop(), 0);
  host.configure("[limits]\nwrite_timeout_ms = 300\n");
  ASSERT_TRUE(host.start());
  Http stuck(host.port());
  ASSERT_TRUE(stuck.send(request(rows(100'000, 500), "application/x-ndjson")));
  pollfd readable{stuck.fd(), POLLIN, 0};  // served by a thread of its own: counted from the first byte on
  ASSERT_EQ(::poll(&readable, 1, 30'000), 1);
  const std::string gauge = "via_http_connections ";
  EXPECT_TRUE(eventually([&] {
    const std::string text = metrics();
    return std::stoi(text.substr(text.find(gauge, text.find("gauge")) + gauge.size())) <=
           1;  // the scrape's own
  })) << "the connection is ended";
  const auto answer = stuck.read();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->cut);
  EXPECT_EQ(caller(api).query("SELECT 1").status, 200);
}

TEST_F(Streaming, ReaderThatGoesAwayLeavesNothingBehind) {
  ASSERT_EQ(caller(api).query("SELECT 1").status, 200);
  const auto leave = [&](int times) {
    for (int i = 0; i < times; ++i) {
      Http gone(host.port());
      ASSERT_TRUE(
          gone.send(request(rows(100'000, 500), i % 2 == 0 ? "application/x-ndjson" : "application/json")));
      pollfd readable{gone.fd(), POLLIN, 0};
      ASSERT_EQ(::poll(&readable, 1, 30'000), 1);
      gone.reset();
    }
  };
  const auto sockets = [&] {
    const std::string text = metrics(), name = "\nvia_http_connections ";
    return std::stoi(text.substr(text.find(name) + name.size()));
  };
  leave(20);
  EXPECT_TRUE(eventually([&] { return sockets() <= 1; })) << sockets();
  const std::size_t files =
      host.open_files();  // with the connections to the database that are kept for reuse
  leave(20);
  EXPECT_TRUE(eventually([&] { return sockets() <= 1 && host.open_files() <= files + 4; }))
      << host.open_files() << " of " << files;
  EXPECT_EQ(caller(api).query("SELECT 1").status, 200);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(Streaming, ResultOverItsLimitSaysThatItIsTruncated) {
  const Runtime small = app_with_database("small", false, {{"max_rows", 10}});
  const json answer = caller(small).query(rows(100, 5)).json();
  EXPECT_EQ(answer["rows"].size(), 10U);
  EXPECT_EQ(answer["truncated"], true);
  EXPECT_EQ(caller(small).query(rows(10, 5)).json()["truncated"], false);
  const Runtime narrow = app_with_database("narrow", false, {{"max_result_bytes", 1024}});
  const json bytes = caller(narrow).query(rows(100, 100)).json();
  EXPECT_LT(bytes["rows"].size(), 100U);
  EXPECT_EQ(bytes["truncated"], true);
}

TEST_F(Streaming, ErrorInsideOfAStreamIsItsLastLine) {
  // abs() of the smallest integer fails, after many rows have left.
  const std::string sql =
      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) "
      "SELECT x, printf('%.*c', 200, 'r'), abs(CASE x WHEN 15000 THEN -9223372036854775807 - 1 ELSE x END) "
      "FROM c";
  Http http(host.port());
  ASSERT_TRUE(http.send(request(sql, "application/x-ndjson")));
  const auto answer = http.read();
  ASSERT_TRUE(answer);
  if (!answer->cut) {
    const std::size_t end = answer->body.size() - 1;
    const std::string last = answer->body.substr(answer->body.rfind('\n', end - 1) + 1);
    const json parsed = json::parse(last, nullptr, false);
    EXPECT_TRUE(parsed.is_object() && parsed.contains("error")) << last;
  }
  Http whole(host.port());
  ASSERT_TRUE(whole.send(request("SELECT abs(-9223372036854775807 - 1)", "application/x-ndjson")));
  expect_error(whole.read().value_or(Response{}), 400, "sql_error");
}

}  // namespace
}  // namespace via::test
