// The host against a runner that lies: whatever comes out of the socket, every call ends once, and nothing else happens.
#include <sys/socket.h>

#include "parts.hpp"

namespace via::isolation::test {
namespace {

// The other end of the socket, by hand. Thread: the test's.
class Peer {
 public:
  explicit Peer(FileHandle socket) : socket_(std::move(socket)) {}
  void send(Packet& packet) { send(packet.finish()); }
  void send(std::string_view bytes) { (void)::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // The next frame of this kind; false when the host has closed.
  bool next(Kind kind, Frame& out) {
    for (;;) {
      FrameReader::Next got = in_.next(out);
      if (got == FrameReader::Next::frame && out.kind == kind) return true;
      if (got == FrameReader::Next::frame) continue;
      const auto room = in_.room();
      const ssize_t n = ::recv(socket_.get(), room.data(), room.size(), 0);
      if (n <= 0) return false;
      in_.commit(static_cast<std::size_t>(n));
    }
  }
  bool closed() {
    Frame frame;
    return !next(static_cast<Kind>(200), frame);
  }

 private:
  FileHandle socket_;
  FrameReader in_;
};

class LyingRunner : public ::testing::Test, protected IsolatedParts {
 protected:
  LyingRunner() {
    manifest.id = "test.fake";
    manifest.abi_major = 1;
    manifest.text = "{}";
    plugins::AddonType type;
    type.id = "fake";
    manifest.types.push_back(type);
    context = std::make_unique<plugins::HostContext>(services, "test.fake", "", "");
    options.grace_ms = 100;
    options.start_ms = 2000;
    writers = executor.create(2);
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    peer = std::make_unique<Peer>(FileHandle(ends[1]));
    lying = std::make_shared<isolation::Run>(isolation::Run::Setup{services, manifest, "fake", -1, context->abi(), writers, options});
    host_end = FileHandle(ends[0]);
  }
  ~LyingRunner() override {
    lying.reset();
    executor.destroy(writers);
  }
  void ready() {
    std::thread answer([this] {
      Frame frame;
      ASSERT_TRUE(peer->next(Kind::hello, frame));
      Packet packet(Kind::ready, 0);
      packet.u16(1).u16(0).bytes(std::string_view("{}"));
      peer->send(packet);
    });
    const auto started = lying->start(std::move(host_end));
    answer.join();
    ASSERT_TRUE(started) << started.error().message;
  }
  // One call that the peer has seen; its id.
  std::uint64_t call(Client& client) {
    const std::string op = "echo";
    lying->submit(Verb::invoke, 1, client.call.abi(),
                [&](Packet& p) { put(p, via_op_args{sizeof(via_op_args), 0, {op.data(), op.size()}, {}, {}, nullptr, {}}); }, {});
    Frame frame;
    EXPECT_TRUE(peer->next(Kind::call, frame));
    return frame.id;
  }
  static Packet complete(std::uint64_t id, via_status status = VIA_OK) {
    Packet packet(Kind::complete, id);
    packet.u32(static_cast<std::uint32_t>(status)).bytes(std::string_view()).bytes(std::string_view());
    return packet;
  }

  plugins::Manifest manifest;
  std::unique_ptr<plugins::HostContext> context;
  plugins::Executor::Queue* writers = nullptr;
  std::unique_ptr<Peer> peer;
  FileHandle host_end;
  std::shared_ptr<isolation::Run> lying;
};

TEST_F(LyingRunner, AnHonestAnswerArrives) {
  ready();
  Client client;
  const std::uint64_t id = call(client);
  Packet packet(Kind::data, id);
  packet.raw("hello");
  peer->send(packet);
  packet = complete(id);
  peer->send(packet);
  EXPECT_EQ(client.answer(), "hello");
  EXPECT_FALSE(lying->ended());
}

TEST_F(LyingRunner, AnotherManifestIsNotReady) {
  std::thread answer([this] {
    Frame frame;
    ASSERT_TRUE(peer->next(Kind::hello, frame));
    Packet packet(Kind::ready, 0);
    packet.u16(1).u16(0).bytes(std::string_view("{\"other\":1}"));
    peer->send(packet);
  });
  const auto started = lying->start(std::move(host_end));
  answer.join();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("not the one that its manifest describes"), std::string::npos);
}

TEST_F(LyingRunner, OneThatSaysNothingIsNotWaitedForForEver) {
  options.start_ms = 50;
  lying = std::make_shared<isolation::Run>(isolation::Run::Setup{services, manifest, "fake", -1, context->abi(), writers, options});
  const auto started = lying->start(std::move(host_end));
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("not ready in time"), std::string::npos);
}

// Each is sent while one call is in flight. The run ends, and the call with it.
TEST_F(LyingRunner, WhatBreaksTheProtocolEndsTheRunAndEveryCallOnce) {
  using Make = std::function<std::string(std::uint64_t)>;
  const auto text = [](Packet packet) { return std::string(packet.finish()); };
  const std::pair<const char*, Make> lies[] = {
      {"garbage", [](std::uint64_t) { return std::string(64, '\x7f'); }},
      {"a huge length", [&](std::uint64_t id) { std::string b = text(complete(id)); b[3] = 0x7f; return b; }},
      {"another version", [&](std::uint64_t id) { std::string b = text(complete(id)); b[4] = 2; return b; }},
      {"an unknown kind", [&](std::uint64_t id) { std::string b = text(complete(id)); b[5] = 99; return b; }},
      {"a kind of the host's", [&](std::uint64_t id) { return text(Packet(Kind::call, id)); }},
      {"an unknown call", [&](std::uint64_t id) { return text(complete(id + 1)); }},
      {"a short answer", [&](std::uint64_t id) { Packet p(Kind::complete, id); p.u32(0); return text(std::move(p)); }},
      {"a long answer", [&](std::uint64_t id) { Packet p = complete(id); p.u8(1); return text(std::move(p)); }},
      {"empty data", [&](std::uint64_t id) { return text(Packet(Kind::data, id)); }},
      {"a head without fields", [&](std::uint64_t id) { return text(Packet(Kind::head, id)); }},
      {"two heads", [&](std::uint64_t id) {
         Packet p(Kind::head, id);
         p.u16(200).bytes(std::string_view()).pairs(nullptr, 0);
         p.begin(Kind::head, id);
         p.u16(200).bytes(std::string_view()).pairs(nullptr, 0);
         return text(std::move(p));
       }},
      {"a head after data", [&](std::uint64_t id) {
         Packet p(Kind::data, id);
         p.raw("x");
         p.begin(Kind::head, id);
         p.u16(200).bytes(std::string_view()).pairs(nullptr, 0);
         return text(std::move(p));
       }},
      {"more than the window", [&](std::uint64_t id) {
         Packet p;
         const std::string piece(kMaximumPayload, 'x');
         p.begin(Kind::data, id);
         p.raw(piece);
         return text(std::move(p));
       }},
      {"progress of an operation", [&](std::uint64_t id) { Packet p(Kind::progress, id); p.u64(1).u64(2); return text(std::move(p)); }},
      {"an instance that nobody made", [&](std::uint64_t) { Packet p(Kind::log, 77); p.u32(3).bytes(std::string_view("x")).pairs(nullptr, 0); return text(std::move(p)); }},
      {"a secret box for another instance", [&](std::uint64_t) { Packet p(Kind::box, 1); p.u64(77).u8(0).bytes(std::string_view()).bytes(std::string_view()); return text(std::move(p)); }},
      {"a metric that was not defined", [&](std::uint64_t) { Packet p(Kind::record, 0); p.u32(9).f64(1).strings(nullptr, 0); return text(std::move(p)); }},
      {"a list without an end", [&](std::uint64_t) { Packet p(Kind::define, 0); p.u32(1).u32(0).bytes(std::string_view("x")).u32(0xffffffff); return text(std::move(p)); }},
      {"ready twice", [&](std::uint64_t) { Packet p(Kind::ready, 0); p.u16(1).u16(0).bytes(std::string_view("{}")); return text(std::move(p)); }},
      {"an answer that nobody asked for", [&](std::uint64_t) { return text(Packet(Kind::created, 99)); }},
      {"a fault of the plugin", [&](std::uint64_t) { Packet p(Kind::fault, 0); p.bytes(std::string_view("the plugin answered a call twice")); return text(std::move(p)); }},
      {"the end", [&](std::uint64_t) { return std::string(); }},
  };
  for (const auto& [name, make] : lies) {
    SCOPED_TRACE(name);
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    peer = std::make_unique<Peer>(FileHandle(ends[1]));
    host_end = FileHandle(ends[0]);
    lying = std::make_shared<isolation::Run>(isolation::Run::Setup{services, manifest, "fake", -1, context->abi(), writers, options});
    ready();
    Client client;
    const std::string bytes = make(call(client));
    if (bytes.empty()) peer.reset();
    else peer->send(bytes);
    const std::string said = client.answer();
    EXPECT_TRUE(said.starts_with("unavailable: ")) << said;
    ASSERT_TRUE(lying->wait_gone(5000));
    EXPECT_TRUE(lying->ended());
    if (peer) {
      EXPECT_TRUE(peer->closed());
    }
    Client late;
    lying->submit(Verb::health, 1, late.call.abi(), {}, {});
    EXPECT_TRUE(late.answer().starts_with("unavailable")) << "a call after the end is refused at once";
  }
}

TEST_F(LyingRunner, ASecondAnswerEndsTheRunAndTheFirstOneStands) {
  ready();
  Client client;
  const std::uint64_t id = call(client);
  Packet packet = complete(id, VIA_E_CONFLICT);
  const std::string once(packet.finish());
  peer->send(once + once);
  EXPECT_EQ(client.answer(), "conflict: ");
  EXPECT_TRUE(lying->wait_gone(5000));
  EXPECT_NE(lying->reason().find("not in flight"), std::string::npos);
}

TEST_F(LyingRunner, AStatusThatDoesNotExistIsABug) {
  ready();
  for (const via_status status : {via_status{VIA_E_WOULD_BLOCK}, via_status{99}, via_status{-1}}) {
    Client client;
    Packet packet = complete(call(client), status);
    peer->send(packet);
    EXPECT_TRUE(client.answer().starts_with("internal"));
  }
}

TEST_F(LyingRunner, TheWindowOpensOnlyAsBytesAreTaken) {
  ready();
  Client client;
  const std::uint64_t id = call(client);
  // As much as there is room for, and nobody takes any of it: 512 KiB are in the connection's buffers, the rest is held here.
  std::size_t room = kWindow, sent = 0;
  for (int frames = 0; frames < 3 && sent < 4U << 20; ++frames) {
    while (room > 0) {
      Packet packet(Kind::data, id);
      packet.raw(std::string(std::min(room, kPiece), 'x'));
      peer->send(packet);
      sent += std::min(room, kPiece);
      room -= std::min(room, kPiece);
    }
    if (frames == 2) break;
    Frame frame;
    while (room < kWindow / 2 && peer->next(Kind::window, frame)) room += Reader(frame.payload).u64();
  }
  EXPECT_FALSE(client.call.done());
  std::thread rest([&] {
    Packet packet = complete(id);
    peer->send(packet);
  });
  EXPECT_EQ(client.answer().size(), sent);
  rest.join();
  EXPECT_FALSE(lying->ended());
}

TEST_F(LyingRunner, ACallThatIsNotAnsweredEndsTheRunAfterItsDeadline) {
  ready();
  Client client(50);
  (void)call(client);
  EXPECT_TRUE(client.answer().starts_with("unavailable"));
  EXPECT_TRUE(lying->wait_gone(5000));
  EXPECT_NE(lying->reason().find("did not end within its time"), std::string::npos);
}

TEST_F(LyingRunner, OneThatDoesNotReadHoldsUpNobodyForEver) {
  ready();
  Client client(50);
  const std::string body(8U << 20, 'x');
  lying->submit(Verb::invoke, 1, client.call.abi(),
              [&](Packet& p) { put(p, via_op_args{sizeof(via_op_args), 0, {}, {}, {}, nullptr, {}}); },
              {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()});
  EXPECT_TRUE(client.answer().starts_with("unavailable"));
}

TEST_F(LyingRunner, TheArgumentsOfACallOutliveItsEarlyAnswer) {
  ready();
  auto body = std::make_unique<std::string>(8U << 20, 'x');
  Client client;
  std::thread caller([&] {
    lying->submit(Verb::invoke, 1, client.call.abi(),
                [&](Packet& p) { put(p, via_op_args{sizeof(via_op_args), 0, {}, {}, {}, nullptr, {}}); },
                {reinterpret_cast<const std::uint8_t*>(body->data()), body->size()});
  });
  Frame frame;
  ASSERT_TRUE(peer->next(Kind::call, frame));
  Packet packet = complete(frame.id);
  peer->send(packet);
  std::size_t got = kPiece;
  while (got < body->size() && peer->next(Kind::body, frame)) got += frame.payload.size();
  EXPECT_EQ(client.answer(), "");
  body.reset();
  caller.join();
}

}  // namespace
}  // namespace via::isolation::test
