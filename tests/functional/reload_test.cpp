// SIGHUP: what a host takes up while it serves, what it says needs a restart, and that nobody's connection notices.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <thread>

#include "functional/certificate.hpp"
#include "functional/routes.hpp"

namespace via::test {
namespace {

const std::string kHealth = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";

// A TLS connection that stays open; it takes any certificate, because the test wants to see which.
class TlsClient {
 public:
  explicit TlsClient(std::uint16_t port)
      : context_(SSL_CTX_new(TLS_client_method()), SSL_CTX_free), socket_(port), tls_(SSL_new(context_.get()), SSL_free) {
    SSL_set_fd(tls_.get(), socket_.fd());
    connected_ = SSL_connect(tls_.get()) == 1;
  }
  // Of the certificate that the server showed; 0 when there is no connection.
  long serial() const {
    if (!connected_) return 0;
    const Certificate shown(SSL_get1_peer_certificate(tls_.get()), X509_free);
    return ASN1_INTEGER_get(X509_get0_serialNumber(shown.get()));
  }
  bool healthy() {
    if (!connected_ || SSL_write(tls_.get(), kHealth.data(), static_cast<int>(kHealth.size())) <= 0) return false;
    std::string got;
    char buffer[1024];
    while (!got.ends_with("ok\n")) {
      const int n = SSL_read(tls_.get(), buffer, sizeof buffer);
      if (n <= 0) return false;
      got.append(buffer, static_cast<std::size_t>(n));
    }
    return got.starts_with("HTTP/1.1 200");
  }

 private:
  Context context_;
  Http socket_;
  Connection tls_;
  bool connected_ = false;
};

class Reload : public World {
 protected:
  void SetUp() override {}
  // Sends SIGHUP and waits until the host has said so often what it thinks of it.
  void hup(const std::string& event = "reloaded") {
    const std::size_t before = count(event);
    host.signal(SIGHUP);
    ASSERT_TRUE(eventually([&] { return count(event) > before; })) << host.log();
  }
  std::size_t count(const std::string& event) const { return occurrences("\"event\":\"" + event + "\""); }
  std::size_t occurrences(const std::string& text) const {
    const std::string log = host.log();
    std::size_t n = 0;
    for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++n;
    return n;
  }
  bool named(const std::string& setting) const {
    return occurrences("\"event\":\"restart_needed\",\"setting\":\"" + setting + "\"") != 0;
  }
  std::filesystem::path certificate = host.folder() / "cert.pem", key = host.folder() / "key.pem";
  std::string tls() const {
    return "[tls]\ncertificate = \"" + certificate.string() + "\"\nkey = \"" + key.string() + "\"\nca = \"" +
           certificate.string() + "\"\n";
  }
};

TEST_F(Reload, ANewCertificateIsServedToNewConnectionsAndOldOnesGoOn) {
  make_certificate(certificate, key, 1);
  host.configure("threads = 2\n" + tls());
  ASSERT_TRUE(host.start()) << host.log();
  TlsClient old(host.port());
  ASSERT_EQ(old.serial(), 1);
  ASSERT_TRUE(old.healthy());
  make_certificate(certificate, key, 2);
  EXPECT_EQ(TlsClient(host.port()).serial(), 1) << "files that are changed are not yet taken up";
  hup();
  for (int i = 0; i < 8; ++i) {  // on both threads
    TlsClient fresh(host.port());
    EXPECT_EQ(fresh.serial(), 2);
    EXPECT_TRUE(fresh.healthy());
  }
  EXPECT_TRUE(old.healthy()) << "on the connection that was open before";
  // Other files, by the configuration.
  const auto other = host.folder() / "other.pem", other_key = host.folder() / "other-key.pem";
  make_certificate(other, other_key, 3);
  const auto first = certificate;
  host.configure("threads = 2\n[tls]\ncertificate = \"" + other.string() + "\"\nkey = \"" + other_key.string() + "\"\nca = \"" +
                 first.string() + "\"\n");
  hup();
  EXPECT_EQ(TlsClient(host.port()).serial(), 3);
  EXPECT_TRUE(old.healthy());
  EXPECT_EQ(count("restart_needed"), 0U);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(Reload, ACertificateOrConfigurationThatIsNotGoodChangesNothing) {
  make_certificate(certificate, key, 1);
  host.configure(tls());
  ASSERT_TRUE(host.start()) << host.log();
  TlsClient old(host.port());
  make_certificate(host.folder() / "stray.pem", key, 2);  // a key that does not fit
  host.configure(tls() + "[limits]\nbody_bytes = 1024\n");
  hup("reload_refused");
  EXPECT_NE(host.log().find("do not fit together"), std::string::npos) << host.log();
  host.configure("lisen = \"127.0.0.1:1\"\n" + tls());
  hup("reload_refused");
  EXPECT_NE(host.log().find("'lisen'"), std::string::npos) << host.log();
  EXPECT_EQ(TlsClient(host.port()).serial(), 1);
  EXPECT_TRUE(old.healthy());
  make_certificate(certificate, key, 3);
  host.configure("");  // TLS would end
  hup();
  EXPECT_TRUE(named("tls.certificate"));
  EXPECT_EQ(TlsClient(host.port()).serial(), 3) << "it goes on, with the files as they are";
  EXPECT_TRUE(old.healthy());
}

TEST_F(Reload, LimitsHoldForConnectionsThatAreOpenFromTheirNextRequestOn) {
  ASSERT_TRUE(host.start()) << host.log();
  const Runtime api = app_with_database("api");
  const std::string body = json{{"sql", "SELECT '" + std::string(4000, 'x') + "'"}}.dump();
  const std::vector<std::pair<std::string, std::string>> headers{{"Authorization", "Bearer " + api.token}};
  Http open(host.port()), begun(host.port());
  ASSERT_EQ(open.call("POST", operation_path("query"), body, headers).status, 200);
  const std::string whole = Http::format("POST", operation_path("query"), body, headers);
  ASSERT_TRUE(begun.send(whole.substr(0, whole.size() - 100)));
  ASSERT_EQ(open.call("POST", operation_path("query"), body, headers).status, 200) << "the host has read the other's beginning";
  host.configure("[limits]\nbody_bytes = 2048\nconnections = 2\n");
  hup();
  ASSERT_TRUE(begun.send(whole.substr(whole.size() - 100)));
  const auto finished = begun.read();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, 200) << "a request keeps the limits that it began with";
  EXPECT_EQ(open.call("POST", operation_path("query"), body, headers).status, 413);
  EXPECT_EQ(begun.call("GET", "/health").status, 200);
  Http second(host.port());
  EXPECT_EQ(second.call("GET", "/health").status, 200);
  Http third(host.port());
  EXPECT_EQ(third.call("GET", "/health").status, 200);
  EXPECT_TRUE(begun.ends(3000) || second.ends(3000)) << "the third took the place of one that was idle";
  host.configure("");
  hup();
  EXPECT_EQ(Http(host.port()).call("POST", operation_path("query"), body, headers).status, 200);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(Reload, TheLogLevelChangesAtOnce) {
  host.configure("[log]\nlevel = \"error\"\n");
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(count("ready"), 0U);
  host.configure("[log]\nlevel = \"info\"\n");
  hup();
  host.configure("[log]\nlevel = \"error\"\n");
  hup();
  EXPECT_EQ(host.stop(), 0);
  EXPECT_EQ(count("stopped"), 0U) << host.log();
}

TEST_F(Reload, WhatNeedsARestartIsNamedAndStaysAsItIs) {
  host.listen.clear();
  host.configure("listen = \"127.0.0.1:0\"\n");
  ASSERT_TRUE(host.start()) << host.log();
  Http open(host.port());
  ASSERT_EQ(open.call("GET", "/health").status, 200);
  host.configure("listen = \"127.0.0.1:1\"\nthreads = 2\n[limits]\nbody_bytes = 1024\n[types.sqlite.settings]\nstatement_memory_mb = 32\n"
                 "[restart]\napi = \"true\"\n");
  for (int i = 0; i < 2; ++i) {  // it is still so the second time
    hup();
    for (const char* setting : {"listen", "threads", "types.sqlite", "restart.api"}) EXPECT_TRUE(named(setting)) << setting;
    EXPECT_EQ(count("restart_needed"), 4U * static_cast<std::size_t>(i + 1)) << host.log();
  }
  EXPECT_EQ(open.call("GET", "/health").status, 200);
  EXPECT_EQ(Http(host.port()).call("POST", "/v1/runtime/config/resolve", std::string(2000, ' ')).status, 413) << "the rest was taken";
}

TEST_F(Reload, RequestsUnderWayNeitherFailNorEnd) {
  make_certificate(certificate, key, 1);
  host.configure("threads = 2\n" + tls());
  ASSERT_TRUE(host.start()) << host.log();
  std::atomic<bool> over{false};
  std::atomic<int> answered{0}, failed{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i)
    clients.emplace_back([&, i] {
      TlsClient kept(host.port());
      while (!over) {
        if (i == 0) failed += TlsClient(host.port()).healthy() ? 0 : 1;
        failed += kept.healthy() ? 0 : 1;
        ++answered;
      }
    });
  for (int i = 0; i < 20; ++i) hup();
  EXPECT_TRUE(eventually([&] { return answered > 200; }));
  over = true;
  for (auto& client : clients) client.join();
  EXPECT_EQ(failed, 0);
}

TEST_F(Reload, TheServiceManagerHearsOfReadyReloadAndStop) {
  const auto path = host.folder() / "notify";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof address.sun_path - 1);
  const FileHandle socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const auto heard = [&] {
    pollfd wait{socket.get(), POLLIN, 0};
    char text[512];
    if (::poll(&wait, 1, 30'000) != 1) return std::string();
    return std::string(text, static_cast<std::size_t>(std::max<ssize_t>(0, ::recv(socket.get(), text, sizeof text, 0))));
  };
  host.environment["NOTIFY_SOCKET"] = path.string();
  host.configure("[limits]\ndrain_timeout_ms = 600000\n");
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(heard(), "READY=1");
  hup();
  EXPECT_TRUE(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
  EXPECT_EQ(heard(), "READY=1");
  EXPECT_EQ(host.stop(), 0);
  const std::string stopping = heard();
  EXPECT_TRUE(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=6")) << stopping << ": over the drain time";
}

}  // namespace
}  // namespace via::test
