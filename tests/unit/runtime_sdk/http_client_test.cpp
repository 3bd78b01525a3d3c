// URLs, and answers in all the forms HTTP/1.1 allows.
#include <gtest/gtest.h>

#include "fake_server.hpp"
#include "http_client.hpp"

namespace via::sql::testing {
namespace {

TEST(Urls, AreTakenApart) {
  const auto url = Url::parse("https://via.example:8443/base/");
  ASSERT_TRUE(url);
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->host, "via.example");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->path, "/base");
  EXPECT_EQ(Url::parse("http://127.0.0.1")->port, "80");
  EXPECT_EQ(Url::parse("http://[::1]:81")->host, "::1");
  for (const char* bad : {"", "ftp://x", "http://", "http://x:0", "http://x:99999", "http://x:y",
                          "http://a b", "http://user@host", "http://[::1"}) {
    EXPECT_FALSE(Url::parse(bad)) << bad;
  }
}

HttpClient::Outcome ask(const std::string& bytes, bool close = false) {
  FakeServer server([&](const Request&) -> Reply { return {bytes, close}; });
  HttpClient client(*Url::parse(server.url()), "");
  return client.post("/x", "t", "{}", std::chrono::steady_clock::now() + std::chrono::seconds(5));
}

TEST(HttpClient, JoinsChunks) {
  const auto outcome =
      ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;q=1\r\nabcd\r\n10\r\n0123456789abcdef\r\n"
          "0\r\nTrailer: x\r\n\r\n");
  ASSERT_EQ(outcome.failure, HttpClient::Failure::none) << outcome.reason;
  EXPECT_EQ(outcome.response.body, "abcd0123456789abcdef");
}

TEST(HttpClient, SkipsContinueAndReadsHeadersWithoutCase) {
  const auto outcome =
      ask("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-LENGTH:  2 \r\nX-A: b\r\n\r\nok");
  ASSERT_EQ(outcome.failure, HttpClient::Failure::none);
  EXPECT_EQ(outcome.response.status, 201);
  EXPECT_EQ(outcome.response.header("x-a"), "b");
  EXPECT_EQ(outcome.response.body, "ok");
}

TEST(HttpClient, TellsACutAnswerFromAWholeOne) {
  for (const char* bytes : {"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab"}) {
    const auto outcome = ask(bytes, true);
    EXPECT_EQ(outcome.failure, HttpClient::Failure::lost) << bytes;
    EXPECT_TRUE(outcome.may_have_arrived);
  }
}

TEST(HttpClient, RefusesHeadersWithoutEnd) {
  EXPECT_EQ(ask("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'a')).failure, HttpClient::Failure::protocol);
}

TEST(HttpClient, SendsLargeBodiesAndReadsLargeAnswers) {
  const std::string large(8U << 20, 'z');
  FakeServer server([&](const Request& request) -> Reply { return {http(200, request.body)}; });
  HttpClient client(*Url::parse(server.url()), "");
  const auto outcome =
      client.post("/x", "t", large, std::chrono::steady_clock::now() + std::chrono::seconds(30));
  ASSERT_EQ(outcome.failure, HttpClient::Failure::none) << outcome.reason;
  EXPECT_EQ(outcome.response.body.size(), large.size());
}

TEST(HttpClient, TakesANewConnectionWhenToldToClose) {
  FakeServer server([](const Request&) -> Reply { return {http(200, "{}", "Connection: close\r\n"), true}; });
  HttpClient client(*Url::parse(server.url()), "");
  for (int i = 1; i <= 3; ++i) {
    const auto outcome =
        client.post("/x", "t", "{}", std::chrono::steady_clock::now() + std::chrono::seconds(5));
    EXPECT_EQ(outcome.failure, HttpClient::Failure::none);
    EXPECT_EQ(server.requests().back().connection, i);
  }
}

TEST(HttpClient, EndsAtTheDeadline) {
  FakeServer server([](const Request&) -> Reply { return {"HTTP/1.1 200 OK\r\n"}; });
  HttpClient client(*Url::parse(server.url()), "");
  const auto outcome =
      client.post("/x", "t", "{}", std::chrono::steady_clock::now() + std::chrono::milliseconds(20));
  EXPECT_EQ(outcome.failure, HttpClient::Failure::timed_out);
  EXPECT_TRUE(outcome.may_have_arrived);
}

TEST(HttpClient, DoesNotSpeakTlsToAPlainServer) {
  FakeServer server([](const Request&) -> Reply { return {http(200, "{}")}; });
  auto url = *Url::parse(server.url());
  url.tls = true;
  HttpClient client(url, "/nonexistent/ca.pem");
  const auto outcome =
      client.post("/x", "t", "{}", std::chrono::steady_clock::now() + std::chrono::seconds(5));
  EXPECT_EQ(outcome.failure, HttpClient::Failure::tls);
  EXPECT_FALSE(outcome.may_have_arrived);
}

}  // namespace
}  // namespace via::sql::testing
