// The TLS listener, with a certificate made here.
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/stat.h>

#include "functional/certificate.hpp"
#include "functional/routes.hpp"

namespace via::test {
namespace {

class Tls : public World {
 protected:
  void SetUp() override {
    certificate = host.folder() / "cert.pem";
    key = host.folder() / "key.pem";
    make_certificate(certificate, key);
    host.configure(config());
  }
  std::string config() const {
    return "[tls]\ncertificate = \"" + certificate.string() + "\"\nkey = \"" + key.string() + "\"\nca = \"" +
           certificate.string() + "\"\n";
  }
  // The answer to `request`, over a connection that trusts the certificate; empty when the handshake failed.
  std::string exchange(const std::string& request, int highest = TLS1_3_VERSION,
                       int* renegotiated = nullptr) {
    const Context context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    SSL_CTX_load_verify_locations(context.get(), certificate.c_str(), nullptr);
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), highest);
    SSL_CTX_set_cipher_list(context.get(), "ALL:@SECLEVEL=0");
    const Http socket(host.port());
    const Connection tls(SSL_new(context.get()), SSL_free);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls.get()), "127.0.0.1");
    SSL_set_fd(tls.get(), socket.fd());
    if (SSL_connect(tls.get()) != 1) return {};
    if (renegotiated != nullptr)
      *renegotiated = SSL_renegotiate(tls.get()) == 1 && SSL_do_handshake(tls.get()) == 1;
    if (SSL_write(tls.get(), request.data(), static_cast<int>(request.size())) <= 0) return {};
    std::string out;
    char buffer[4096];
    for (int n = 0; (n = SSL_read(tls.get(), buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(n));
    return out;
  }
  std::filesystem::path certificate, key;
};

TEST_F(Tls, OperationsRunOverTls) {
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_TRUE(host.url().starts_with("https://127.0.0.1:"));
  const Runtime api = app_with_database("api");
  EXPECT_EQ(json::parse(text_of(api.material / "bootstrap.json"))["ca_file"], certificate.string());
  const std::string answer =
      exchange(Http::format("POST", operation_path("query"), R"({"sql":"SELECT 'sealed'"})",
                            {{"Authorization", "Bearer " + api.token}, {"Connection", "close"}}));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_NE(answer.find(R"([["sealed"]])"), std::string::npos) << answer;
  const std::string big = exchange(Http::format(
      "POST", operation_path("query"),
      R"j({"sql":"SELECT printf('%.*c', 90000, 'b') FROM (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3)"})j",
      {{"Authorization", "Bearer " + api.token}, {"Connection", "close"}}));
  EXPECT_GT(big.size(), 270'000U);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(Tls, OldVersionsPlainHttpAndRenegotiationAreRefused) {  // L33
  ASSERT_TRUE(host.start()) << host.log();
  const std::string request = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  EXPECT_TRUE(exchange(request).ends_with("ok\n"));
  EXPECT_TRUE(exchange(request, TLS1_2_VERSION).ends_with("ok\n"));
  EXPECT_TRUE(exchange(request, TLS1_1_VERSION).empty());
  int renegotiated = 0;
  (void)exchange(request, TLS1_2_VERSION, &renegotiated);
  EXPECT_EQ(renegotiated, 0);
  Http plain(host.port());
  ASSERT_TRUE(plain.send(request));
  bool closed = false;
  const std::string said = plain.read_to_end(20'000, closed);
  EXPECT_TRUE(closed);
  EXPECT_EQ(said.find("HTTP/1.1"), std::string::npos) << "no answer in the clear";
  EXPECT_TRUE(exchange(request).ends_with("ok\n"));
}

TEST_F(Tls, PublicListenerIsAllowedWithTls) {
  host.listen = "0.0.0.0:0";
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_TRUE(exchange("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ends_with("ok\n"));
}

TEST_F(Tls, KeyThatOthersCanReadOrThatDoesNotFitIsRefused) {
  ASSERT_EQ(::chmod(key.c_str(), 0644), 0);
  EXPECT_FALSE(host.start());
  EXPECT_EQ(host.exit_code(), 4) << host.log();
  const auto other = host.folder() / "other.pem", other_key = host.folder() / "other-key.pem";
  make_certificate(other, other_key);
  key = other_key;
  host.configure(config());
  EXPECT_FALSE(host.start());
  EXPECT_EQ(host.exit_code(), 4) << host.log();
}

}  // namespace
}  // namespace via::test
