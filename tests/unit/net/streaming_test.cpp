// Results of plugin calls on their way to a client: small, streamed, slow, cut, cancelled.
#include "support.hpp"

namespace via::net::test {
namespace {

using plugins::Call;

std::string pattern(std::size_t size, std::size_t seed) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + (i * 31 + seed + i / 977) % 26);
  return out;
}

via_bytes bytes(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

class StreamTest : public ListenerTest {
 protected:
  // A route whose call is worked on by a thread of the pool.
  void route(const std::string& path, std::function<void(via_call*)> work) {
    handler.routes[path] = [this, work = std::move(work)](Exchange& exchange) -> asio::awaitable<void> {
      Call& call = exchange.begin_call(0);
      workers.run([&call, work] { work(call.abi()); });
      co_await exchange.finish_call("ins_test");
    };
  }
  static void end(via_call* c, via_status st = VIA_OK) { c->complete(c, st, {nullptr, 0}, {nullptr, 0}); }
};

TEST_F(StreamTest, ResultsOfEverySizeArriveWhole) {
  // Around the high-water mark and its multiples the hand-over has its corners; many rounds look for the race there.
  const std::size_t mark = Call::kHighWater;
  std::atomic<std::size_t> size{0};
  route("/data", [&](via_call* c) {
    const std::string body = pattern(size, size);
    for (std::size_t at = 0; at < body.size(); at += 8000)
      if (c->write(c, bytes(std::string_view(body).substr(at, 8000)), VIA_WAIT) != VIA_OK) return end(c, VIA_E_CANCELLED);
    end(c);
  });
  start();
  Client client(address());
  for (int round = 0; round < 20; ++round)
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, mark - 1, mark, mark + 1, mark + 8000, 2 * mark,
                                2 * mark + 16'000, 3 * mark + 1, 6 * mark}) {
      size = n;
      const auto answer = client.ask(get("/data"));
      ASSERT_EQ(answer.status, 200);
      ASSERT_TRUE(answer.whole) << n;
      ASSERT_TRUE(answer.body == pattern(n, n)) << n << " bytes, got " << answer.body.size();
    }
}

TEST_F(StreamTest, AnAnswerBeforeAStreamLeavesFirst) {
  route("/data", [&](via_call* c) {
    const std::string body = pattern(900'000, 1);
    (void)c->write(c, bytes(std::string_view(body).substr(0, 600'000)), VIA_WAIT);
    (void)c->write(c, bytes(std::string_view(body).substr(600'000)), VIA_WAIT);
    end(c);
  });
  start();
  Client client(address());
  client.send(get("/hello") + get("/data") + get("/hello2"));
  EXPECT_EQ(client.next().body, "/hello");
  EXPECT_EQ(client.next().body, pattern(900'000, 1));
  EXPECT_EQ(client.next().body, "/hello2");
}

TEST_F(StreamTest, AClientThatDoesNotReadHoldsThePluginBackAndLosesNothing) {
  std::atomic<std::size_t> written{0};
  Door full;
  route("/data", [&](via_call* c) {
    const std::string part = pattern(64 * 1024, 3);
    for (int i = 0; i < 400; ++i) {
      via_status st = c->write(c, bytes(part), 0);
      if (st == VIA_E_WOULD_BLOCK) {
        full.open();
        st = c->write(c, bytes(part), VIA_WAIT);
      }
      if (st != VIA_OK) return end(c, st);
      written += part.size();
    }
    end(c);
  });
  start();
  Client client(address());
  client.send(get("/data"));
  full.wait();
  EXPECT_LT(written.load(), 400U * 64 * 1024) << "the plugin must not run ahead of a client that does not read";
  std::string expected;
  for (int i = 0; i < 400; ++i) expected += pattern(64 * 1024, 3);
  const auto answer = client.next();
  EXPECT_TRUE(answer.whole);
  EXPECT_TRUE(answer.body == expected);
}

TEST_F(StreamTest, Http10GetsAStreamThatEndsWithTheConnection) {
  route("/data", [&](via_call* c) {
    for (int i = 0; i < 10; ++i) (void)c->write(c, bytes(pattern(100'000, 5)), VIA_WAIT);
    end(c);
  });
  start();
  Client client(address());
  const auto answer = client.ask("GET /data HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(answer.head.find("Transfer-Encoding"), std::string::npos);
  EXPECT_EQ(answer.body.size(), 1'000'000U);
}

TEST_F(StreamTest, AFailureAfterTheHeadHasLeftCutsTheStream) {
  route("/data", [&](via_call* c) {
    for (int i = 0; i < 10; ++i) (void)c->write(c, bytes(pattern(100'000, 5)), VIA_WAIT);
    end(c, VIA_E_INTERNAL);
  });
  start();
  Client client(address());
  const auto answer = client.ask(get("/data"));
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.whole) << "an answer that failed half way must not look whole";
}

TEST_F(StreamTest, AFailureBeforeTheHeadHasLeftIsAnErrorAndNothingOfTheResultIsSent) {
  route("/data", [&](via_call* c) {
    (void)c->write(c, bytes("{\"rows\":[[1"), VIA_WAIT);
    const std::string text = "no such table: t";
    const std::string details = R"({"code":"sql_error","sqlite_code":1})";
    c->complete(c, VIA_E_INVALID, {text.data(), text.size()}, {details.data(), details.size()});
  });
  start();
  Client client(address());
  const auto answer = client.ask(get("/data"));
  EXPECT_EQ(answer.status, 400);
  EXPECT_TRUE(answer.body.starts_with(R"({"error":{"code":"sql_error","message":"no such table: t","request_id":"req_)"));
  EXPECT_TRUE(answer.body.ends_with(R"(","sqlite_code":1}})"));
  EXPECT_EQ(client.ask(get("/hello")).status, 200) << "the connection goes on";
}

TEST_F(StreamTest, AClientThatLeavesCancelsTheCall) {
  Door cancelled;
  route("/data", [&](via_call* c) {
    const std::string part = pattern(64 * 1024, 3);
    via_status st = VIA_OK;
    while (st == VIA_OK) st = c->write(c, bytes(part), VIA_WAIT);
    EXPECT_EQ(st, VIA_E_CANCELLED);
    EXPECT_NE(c->cancelled(c), 0);
    end(c, st);
    cancelled.open();
  });
  start();
  Client client(address());
  client.send(get("/data"));
  ASSERT_TRUE(client.receive());
  client.close();
  cancelled.wait();
}

TEST_F(StreamTest, ThePluginsHeadIsUsedAndFieldsThatFrameAreNot) {
  route("/data", [&](via_call* c) {
    const auto str = [](std::string_view s) { return via_str{s.data(), s.size()}; };
    const via_pair fields[] = {{str("X-Good"), str("yes")},     {str("Content-Length"), str("1")},
                               {str("Connection"), str("x")},   {str("X-Split"), str("a\r\nX-Evil: b")},
                               {str("X-Evil: c"), str("d")},    {str("transfer-encoding"), str("chunked")}};
    const via_head head{sizeof(via_head), 201, 0, str("application/x-ndjson"), fields, std::size(fields)};
    EXPECT_EQ(c->head(c, &head), VIA_OK);
    EXPECT_EQ(c->head(c, &head), VIA_E_PRECONDITION) << "at most once";
    (void)c->write(c, bytes("{}\n"), VIA_WAIT);
    end(c);
  });
  start();
  Client client(address());
  const auto answer = client.ask(get("/data"));
  EXPECT_EQ(answer.status, 201);
  EXPECT_EQ(answer.body, "{}\n");
  EXPECT_NE(answer.head.find("Content-Type: application/x-ndjson\r\n"), std::string::npos);
  EXPECT_NE(answer.head.find("X-Good: yes\r\n"), std::string::npos);
  EXPECT_EQ(answer.head.find("X-Evil"), std::string::npos);
  EXPECT_EQ(answer.head.find("Connection: x"), std::string::npos);
  EXPECT_EQ(answer.head.find("chunked"), std::string::npos);
}

TEST_F(StreamTest, QuiesceReturnsWhenTheOperationsOfTheInstanceHaveEnded) {
  Door entered;
  std::atomic<bool> ended{false};
  route("/data", [&](via_call* c) {
    // Ends only when it is cancelled, from the cancel function itself.
    struct Job {
      via_call* call;
      std::atomic<bool>* ended;
    };
    auto* job = new Job{c, &ended};
    (void)c->on_cancel(
        c,
        [](void* data) {
          const std::unique_ptr<Job> owned(static_cast<Job*>(data));
          owned->ended->store(true);
          end(owned->call, VIA_E_CANCELLED);
        },
        job);
    entered.open();
  });
  start();
  Client client(address());
  client.send(get("/data"));
  entered.wait();
  listener->quiesce({"ins_test"});
  EXPECT_FALSE(ended) << "what was admitted under the index of now goes on";
  listener->deliver(std::make_shared<const authorization::Index>());
  listener->quiesce({"ins_other"});
  EXPECT_FALSE(ended) << "operations of other instances go on";
  // The connection is marked as working for the instance in the same step that starts the call.
  listener->quiesce({"ins_test"});
  EXPECT_TRUE(ended);
  EXPECT_EQ(client.next().status, 503);
}

TEST_F(StreamTest, ShutdownCancelsACallThatDoesNotEndByItself) {
  settings.limits.drain_timeout_ms = 50;
  Door entered;
  route("/data", [&](via_call* c) {
    entered.open();
    std::string part(300'000, 'x');
    via_status st = VIA_OK;
    while (st == VIA_OK) st = c->write(c, bytes(part), VIA_WAIT);
    end(c, st);
  });
  start();
  Client client(address());
  client.send(get("/data"));
  entered.wait();
  listener->shutdown();
  EXPECT_FALSE(client.next().whole);
}

}  // namespace
}  // namespace via::net::test
