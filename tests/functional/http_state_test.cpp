// Hostile clients in time and state (section B of the list of hostile HTTP): slow, early, many, gone.
#include "functional/routes.hpp"

#include <sys/socket.h>

#include <thread>

namespace via::test {
namespace {

class HttpState : public World {
 protected:
  void start_with(const std::string& toml) {
    ASSERT_EQ(host.stop(), 0);
    host.configure(toml);
    ASSERT_TRUE(host.start()) << host.log();
  }
};

TEST_F(HttpState, SilentAndSlowClientsAreEndedAtTheirLimits) {  // L01, L03
  start_with("[limits]\nheader_timeout_ms = 300\nbody_timeout_ms = 300\nidle_timeout_ms = 300\n");
  std::vector<std::unique_ptr<Http>> silent;
  for (int i = 0; i < 200; ++i) silent.push_back(std::make_unique<Http>(host.port()));
  Http slow_header(host.port()), slow_body(host.port()), idle(host.port());
  ASSERT_TRUE(slow_header.send("GET /health HTTP/1.1\r\nHost: a\r\n"));
  ASSERT_TRUE(
      slow_body.send("POST /v1/runtime/config/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"));
  EXPECT_EQ(idle.call("GET", "/health").status, 200);
  for (Http* slow : {&slow_header, &slow_body}) {
    const auto answer = slow->read();
    ASSERT_TRUE(answer);
    expect_error(*answer, 408, "request_timeout");
    EXPECT_TRUE(slow->ends());
  }
  EXPECT_TRUE(idle.ends());
  for (auto& one : silent) EXPECT_TRUE(one->ends());
  EXPECT_EQ(Http(host.port()).call("GET", "/health").status, 200);
}

TEST_F(HttpState, DrippingBodyIsEndedAlthoughBytesKeepComing) {
  start_with("[limits]\nbody_timeout_ms = 400\n");
  Http http(host.port());
  ASSERT_TRUE(
      http.send("POST /v1/runtime/config/resolve HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n"));
  std::optional<Response> answer;
  EXPECT_TRUE(eventually([&] {
    (void)http.send("x");
    answer = http.read(5);
    return answer.has_value();
  }));
  ASSERT_TRUE(answer);
  expect_error(*answer, 408, "request_timeout");
}

TEST_F(HttpState, PipelineOfTenThousandIsAnsweredInOrderAndEndsAtTheBurstLimit) {  // L05
  Http http(host.port());
  std::string burst;
  for (int i = 0; i < 10'000; ++i)
    burst += "GET /health?n=" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  std::thread writer([&] { (void)http.send(burst); });
  int answers = 0;
  bool closed = false;
  while (const auto answer = http.read()) {
    ASSERT_EQ(answer->status, 200);
    ++answers;
    if (answer->closes()) {
      closed = true;
      break;
    }
  }
  ::shutdown(http.fd(), SHUT_RDWR);
  writer.join();
  EXPECT_GE(answers, 1000);
  EXPECT_TRUE(closed || answers == 10'000);
  EXPECT_LT(answers, 10'000) << "one burst does not hold the thread for ever";
}

TEST_F(HttpState, ResetInsideOfARequestLeavesNothingBehind) {  // L07
  const Runtime api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  const std::string request =
      Http::format("POST", operation_path("execute"), R"j({"sql":"INSERT INTO t(b) VALUES('half')"})j",
                   {{"Authorization", "Bearer " + api.token}});
  const std::size_t files = host.open_files();
  for (int i = 0; i < 100; ++i) {
    Http http(host.port());
    ASSERT_TRUE(http.send(request.substr(0, request.size() - 1 - static_cast<std::size_t>(i % 40))));
    http.reset();
  }
  EXPECT_TRUE(eventually([&] { return host.open_files() <= files + 2; }))
      << host.open_files() << " of " << files;
  EXPECT_EQ(rows_of(caller(api).query("SELECT count(*) FROM t")), json({{0}}));
  EXPECT_EQ(caller(api).execute("INSERT INTO t(b) VALUES('whole')").status, 200);
}

TEST_F(HttpState, RequestByteByByteIsServed) {  // L11
  const Runtime api = app_with_database("api");
  Http http(host.port());
  for (const char c : Http::format("POST", operation_path("query"), R"({"sql":"SELECT 'slow but right'"})",
                                   {{"Authorization", "Bearer " + api.token}}))
    ASSERT_TRUE(http.send({&c, 1}));
  const auto answer = http.read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(rows_of(*answer), json({{"slow but right"}}));
}

TEST_F(HttpState, BodiesAreNotParsedBeforeTheCallerIsKnown) {  // L17
  std::string bomb = "[";
  for (int i = 0; i < 250'000; ++i) bomb += "[],";
  bomb += "[]]";
  for (const char* path :
       {"/v1/runtime/config/resolve", "/v1/runtime/config/refresh", "/v1/runtime/addons/DATABASE/query"}) {
    expect_error(Caller(host.port(), "").post(path, bomb), 401, "token_missing");
    expect_error(Caller(host.port(), "x.y.z").post(path, bomb), 401, "token_malformed");
    expect_error(Caller(host.port(), "x.y.z").post(path, "{ not json"), 401, "token_malformed");
  }
}

TEST_F(HttpState, ContinueIsSentOnlyToThoseWhoMaySend) {  // H89
  const Runtime api = app_with_database("api");
  const std::string body = R"({"sql":"SELECT 7"})";
  const auto head = [&](const std::string& token) {
    return "POST " + operation_path("query") + " HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token +
           "\r\nExpect: 100-continue\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  };
  Http good(host.port());
  ASSERT_TRUE(good.send(head(api.token)));
  const auto go_on = good.read();
  ASSERT_TRUE(go_on);
  EXPECT_EQ(go_on->status, 100);
  ASSERT_TRUE(good.send(body));
  EXPECT_EQ(rows_of(good.read().value_or(Response{})), json({{7}}));
  Http bad(host.port());
  ASSERT_TRUE(bad.send(head("nobody")));
  const auto refused = bad.read();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 401);
  EXPECT_TRUE(bad.ends());
}

TEST_F(HttpState, ANewConnectionTakesThePlaceOfAnIdleOneAndNeverOfOneThatHasBegun) {
  start_with("[limits]\nconnections = 20\n");
  std::vector<std::unique_ptr<Http>> idle, begun;
  for (int i = 0; i < 20; ++i) {
    idle.push_back(std::make_unique<Http>(host.port()));
    ASSERT_EQ(idle.back()->call("GET", "/health").status, 200);
  }
  for (int i = 0; i < 20; ++i) {
    begun.push_back(std::make_unique<Http>(host.port()));
    ASSERT_EQ(begun.back()->call("GET", "/health").status, 200) << i;
    ASSERT_TRUE(begun.back()->send("GET /health HTTP/1.1\r\n"));
  }
  for (auto& one : idle) EXPECT_TRUE(one->ends());
  EXPECT_TRUE(eventually([&] { return Http(host.port()).ends(1000); })) << "there is no place left";
  for (auto& one : begun) {
    ASSERT_TRUE(one->send("Host: x\r\n\r\n"));
    const auto answer = one->read();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
  }
  begun.clear();
  EXPECT_TRUE(eventually([&] { return Http(host.port()).call("GET", "/health").status == 200; }));
}

TEST_F(HttpState, OneThousandIdleConnectionsHoldLittleAndDelayNobody) {
  const Runtime api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a)").status, 200);
  const std::size_t before = host.resident_kib(), files = host.open_files();
  std::vector<std::unique_ptr<Http>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<Http>(host.port()));
    ASSERT_TRUE(idle.back()->connected());
    if (i % 2 == 0) {
      ASSERT_EQ(idle.back()->call("GET", "/health").status, 200);
    }
  }
  EXPECT_EQ(rows_of(caller(api).query("SELECT 1")), json({{1}}));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(host.resident_kib(), before + 32 * 1024);
#endif
  for (int i = 1; i < 1000; i += 37)
    EXPECT_EQ(idle[static_cast<std::size_t>(i)]->call("GET", "/health").status, 200);
  idle.clear();
  // A few more than before: connections to the database that are kept for reuse.
  EXPECT_TRUE(eventually([&] { return host.open_files() <= files + 20; }))
      << host.open_files() << " of " << files;
}

TEST_F(HttpState, ManyUnknownTokensLeaveMemoryFlat) {  // J97
  const Runtime api = app_with_database("api");
  Http http(host.port());
  const auto burst = [&](int from) {
    std::string requests;
    for (int i = from; i < from + 500; ++i) {
      const std::string token = sign(
          json{{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", "key_" + std::to_string(i)}}.dump(), "{}");
      requests +=
          Http::format("POST", "/v1/runtime/config/resolve", "{}", {{"Authorization", "Bearer " + token}});
    }
    ASSERT_TRUE(http.send(requests));
    for (int i = 0; i < 500; ++i) ASSERT_EQ(http.read().value_or(Response{}).status, 401);
  };
  burst(0);
  [[maybe_unused]] const std::size_t before = host.resident_kib();
  for (int i = 1; i < 6; ++i) burst(i * 500);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(host.resident_kib(), before + 4 * 1024);
#endif
  EXPECT_EQ(rows_of(caller(api).query("SELECT 1")), json({{1}}));
}

TEST_F(HttpState, ValuesNeverBecomeHeaderLines) {  // L23
  const Runtime api = app_with_database("api");
  const Response answer = caller(api).query("SELECT 'a' || char(13) || char(10) || 'X-Evil: 1'");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.header("X-Evil").empty());
  EXPECT_EQ(rows_of(answer), json({{"a\r\nX-Evil: 1"}}));
  EXPECT_EQ(answer.count("Via-Request-Id"), 1);
}

}  // namespace
}  // namespace via::test
