// Listeners and sessions over the loopback: order, limits, refusals, shutdown.
#include "core/net/io_thread.hpp"
#include "support.hpp"

#include <time.h>

#include <future>

#include <boost/asio/post.hpp>

namespace via::net::test {
namespace {

TEST_F(ListenerTest, PipelinedRequestsAreAnsweredInOrderInOneSend) {
  start();
  Client client(address());
  std::string burst;
  for (int i = 0; i < 30; ++i) burst += get("/hello" + std::to_string(i));
  client.send(burst);
  ASSERT_TRUE(client.receive());
  for (int i = 0; i < 30; ++i) {
    ASSERT_NE(client.got.find("\r\n\r\n"), std::string::npos) << "answer " << i << " came in another send";
    EXPECT_EQ(client.next().body, "/hello" + std::to_string(i));
  }
}

TEST_F(ListenerTest, ARequestThatArrivesByteByByteIsAnswered) {
  start();
  Client client(address());
  const std::string request = "POST /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody";
  for (const char c : request) client.send({&c, 1});
  EXPECT_EQ(client.next().body, "/hellobody");
}

TEST_F(ListenerTest, ConnectionsAboveTheLimitAreClosedAndAFreedPlaceIsGivenAgain) {
  settings.limits.max_connections = 3;
  start();
  std::vector<std::unique_ptr<Client>> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(std::make_unique<Client>(address()));
    ASSERT_EQ(held.back()->ask(get("/hello")).status, 200);
    held.back()->send("GET /hel");  // one that has begun does not give way
  }
  Client refused(address());
  EXPECT_EQ(refused.until_closed(), "");
  held.pop_back();
  int status = 0;
  for (int i = 0; i < 10'000 && status != 200; ++i) {  // the server learns of the closing in its own time
    Client again(address());
    status = again.ask(get("/hello")).status;
  }
  EXPECT_EQ(status, 200);
  held[0]->send("lo HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(held[0]->next().status, 200) << "those that had a place kept it";
}

TEST_F(ListenerTest, AHeaderThatDoesNotEndIsAnswered408AndClosed) {
  settings.limits.header_timeout_ms = 100;
  start();
  Client client(address());
  client.send("GET /hello HTTP/1.1\r\nHo");
  EXPECT_EQ(client.next().status, 408);
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, AConnectionThatSendsNothingIsClosedWithoutAnAnswer) {
  settings.limits.header_timeout_ms = 100;
  start();
  Client client(address());
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, AConnectionThatIsIdleTooLongIsClosed) {
  settings.limits.idle_timeout_ms = 100;
  start();
  Client client(address());
  EXPECT_EQ(client.ask(get("/hello")).status, 200);
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, ABodyThatDoesNotArriveIsAnswered408AndClosed) {
  settings.limits.body_timeout_ms = 100;
  start();
  Client client(address());
  client.send("POST /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf");
  EXPECT_EQ(client.next().status, 408);
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, ABurstOverTheLimitEndsTheConnectionAfterThatManyAnswers) {
  settings.limits.max_pipelined_burst = 5;
  start();
  Client client(address());
  std::string burst;
  for (int i = 0; i < 20; ++i) burst += get("/hello" + std::to_string(i));
  client.send(burst);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.next().body, "/hello" + std::to_string(i));
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, AMalformedRequestIsRefusedAndWhatFollowsIsNotRead) {
  start();
  Client client(address());
  client.send("POST /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
              get("/hello"));
  const auto answer = client.next();
  EXPECT_EQ(answer.status, 400);
  EXPECT_NE(answer.head.find("Connection: close"), std::string::npos);
  EXPECT_NE(answer.body.find("\"code\":\"bad_request\""), std::string::npos);
  EXPECT_EQ(client.until_closed(), "");
}

TEST_F(ListenerTest, AnAnswerBeforeARefusalIsStillSent) {
  start();
  Client client(address());
  client.send(get("/hello") + "BROKEN\r\n\r\n");
  EXPECT_EQ(client.next().status, 200);
  EXPECT_EQ(client.next().status, 400);
}

TEST_F(ListenerTest, AnExpectedBodyIsAskedForOnlyWhenItIsWanted) {
  start();
  const std::string head = "POST /hello HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 4\r\n";
  Client wanted(address());
  EXPECT_EQ(wanted.ask(head + "Authorization: Bearer t\r\n\r\n").status, 100);
  EXPECT_EQ(wanted.ask("body").body, "/hellobody");
  Client refused(address());
  const auto answer = refused.ask(head + "\r\n");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(refused.until_closed(), "");
}

TEST_F(ListenerTest, HeadHasTheLengthAndNoBody) {
  start();
  Client client(address());
  client.send("HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_NE(client.next(true).head.find("Content-Length:          6"), std::string::npos);
  EXPECT_EQ(client.ask(get("/hello2")).body, "/hello2");
}

TEST_F(ListenerTest, EveryAnswerHasARequestIdOfItsOwn) {
  settings.threads = 2;
  start();
  std::map<std::string, int> ids;
  for (int c = 0; c < 4; ++c) {
    Client client(address());
    for (int i = 0; i < 10; ++i) {
      const auto answer = client.ask(get("/hello"));
      const auto at = answer.head.find("Via-Request-Id: req_");
      ASSERT_NE(at, std::string::npos);
      ++ids[answer.head.substr(at + 16, 36)];
    }
  }
  EXPECT_EQ(ids.size(), 40U);
}

TEST_F(ListenerTest, ShutdownLetsABusyRequestFinishAndClosesIdleConnections) {
  Door entered, leave;
  handler.routes["/block"] = [&](Exchange& exchange) -> asio::awaitable<void> {
    co_await exchange.on_worker([&] {
      entered.open();
      leave.wait();
    });
    exchange.respond(200, "text/plain", "done");
  };
  start();
  Client idle(address());
  ASSERT_EQ(idle.ask(get("/hello")).status, 200);
  Client busy(address());
  busy.send(get("/block"));
  entered.wait();
  std::thread stopper([&] { listener->shutdown(); });
  EXPECT_EQ(idle.until_closed(), "");
  leave.open();
  EXPECT_EQ(busy.next().body, "done");
  EXPECT_EQ(busy.until_closed(), "");
  stopper.join();
  Client late(address());
  EXPECT_FALSE(late.connected() && late.ask(get("/hello")).status != 0);
}

TEST_F(ListenerTest, ShutdownEndsAfterTheDrainTimeEvenWhenAClientDoesNotFinish) {
  settings.limits.drain_timeout_ms = 50;
  start();
  Client half(address());
  half.send("GET /hello HTTP/1.1\r\nHo");
  Client other(address());
  ASSERT_EQ(other.ask(get("/hello")).status, 200);  // so the first one was read too
  listener->shutdown();
  half.until_closed();
}

TEST_F(ListenerTest, ANewIndexIsInUseByEveryThreadWhenDeliverReturns) {
  settings.threads = 3;
  std::mutex mutex;
  std::vector<const authorization::Index*> seen;
  handler.routes["/index"] = [&](Exchange& exchange) -> asio::awaitable<void> {
    const std::lock_guard lock(mutex);
    seen.push_back(&exchange.thread().index());
    exchange.respond(200, "text/plain", "");
    co_return;
  };
  start();
  for (int round = 0; round < 20; ++round) {
    const auto index = std::make_shared<const authorization::Index>();
    listener->deliver(index);
    seen.clear();
    for (int c = 0; c < 6; ++c) {
      Client client(address());
      ASSERT_EQ(client.ask(get("/index")).status, 200);
    }
    for (const auto* one : seen) EXPECT_EQ(one, index.get());
  }
}

TEST_F(ListenerTest, ADescriptorLessAddressIsRefusedWithAnExample) {
  for (const char* wrong : {"", "8181", ":8181", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "host:80",
                            "127.0.0.1:80x", "::1:80x"}) {
    settings = {};
    settings.address = wrong;
    Listener one(std::move(settings), clock, entropy, log, workers);
    const auto bound = one.bind();
    ASSERT_FALSE(bound) << wrong;
    EXPECT_EQ(bound.error().code, Code::bad_request) << wrong;
  }
}

TEST_F(ListenerTest, APublicAddressInTheClearIsRefusedUnlessItWasAllowed) {
  for (const bool allow : {false, true}) {
    settings = {};
    settings.address = "0.0.0.0:0";
    settings.allow_public_plaintext = allow;
    Listener one(std::move(settings), clock, entropy, log, workers);
    const auto bound = one.bind();
    EXPECT_EQ(bound.has_value(), allow);
    if (!bound) {
      EXPECT_EQ(bound.error().code, Code::refused);
    }
  }
}

TEST_F(ListenerTest, AnAddressInUseIsAConflict) {
  start();
  ListenerSettings same;
  same.address = address();
  Listener second(std::move(same), clock, entropy, log, workers);
  const auto bound = second.bind();
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().code, Code::conflict);
}

TEST_F(ListenerTest, TheCountersAddUp) {
  start();
  {
    Client client(address());
    ASSERT_EQ(client.ask(get("/hello")).status, 200);
    ASSERT_EQ(client.ask(get("/nothing")).status, 404);
  }
  listener->shutdown();
  std::string text;
  append_metrics(listener->threads(), text);
  EXPECT_NE(text.find("via_http_requests_total{class=\"2xx\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("via_http_requests_total{class=\"4xx\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("via_http_request_seconds_count 2\n"), std::string::npos);
  EXPECT_NE(text.find("via_http_connections 0\n"), std::string::npos);
}

TEST(IoThread, CountsAndLogsTheTurnsThatHoldIt) {
  SystemClock clock;
  SystemEntropy entropy;
  Limits limits;
  plugins::Executor workers(clock, 1);
  auto lines = std::make_shared<std::vector<std::string>>();
  Logger log(lines);
  ByteBudget memory(0, 0);
  IoThread thread(clock, entropy, limits, workers, memory);
  thread.log_to(log);
  std::promise<void> done;
  boost::asio::post(thread.context(), [&] {
    const auto cpu_ms = [] {
      timespec t{};
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
      return t.tv_sec * 1000 + t.tv_nsec / 1'000'000;
    };
    for (const auto until = cpu_ms() + 40; cpu_ms() < until;) {
    }
    boost::asio::post(thread.context(), [] {});
  });
  thread.start();
  while (thread.counters().long_turns.load() == 0) std::this_thread::yield();
  boost::asio::post(thread.context(), [&] { done.set_value(); });
  done.get_future().wait();
  thread.stop();
  thread.join();
  EXPECT_EQ(thread.counters().long_turns.load(), 1u);
  ASSERT_EQ(lines->size(), 1u);
  EXPECT_NE(lines->front().find("io_turn_long"), std::string::npos);
  EXPECT_NE(lines->front().find("\"ms\""), std::string::npos);
}

}  // namespace
}  // namespace via::net::test
