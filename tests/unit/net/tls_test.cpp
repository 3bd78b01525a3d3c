// The config server behind TLS: a certificate of its own, what is refused, and requests through it.
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "core/base/files.hpp"
#include "support.hpp"

namespace via::net::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::string text_of(const std::function<void(BIO*)>& write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), BIO_free);
  write(memory.get());
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem(const Key& key) {
  return text_of([&](BIO* out) { PEM_write_bio_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
}

std::string self_signed(const Key& key) {
  const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* name = X509_get_subject_name(cert.get());
  const unsigned char host[] = "localhost";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, host, -1, -1, 0);
  X509_set_issuer_name(cert.get(), name);
  X509_sign(cert.get(), key.get(), EVP_sha256());
  return text_of([&](BIO* out) { PEM_write_bio_X509(out, cert.get()); });
}

class TlsTest : public ListenerTest {
 protected:
  TlsTest() {
    EXPECT_TRUE(write_file_atomic(folder.path() / "key.pem", pem(key)));
    EXPECT_TRUE(write_file_atomic(folder.path() / "cert.pem", self_signed(key), 0644));
    settings.tls = std::make_unique<TlsFiles>(TlsFiles{folder.path() / "cert.pem", folder.path() / "key.pem"});
  }
  Code refusal() {
    Listener one(std::move(settings), clock, entropy, log, workers);
    const auto bound = one.bind();
    return bound ? Code::internal : bound.error().code;
  }
  // The answer to a request over TLS of at most this version, empty when there was none.
  std::string ask(const std::string& text, int version) const {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), version);
    const Client client(address());
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), SSL_free);
    SSL_set_fd(ssl.get(), client.fd());
    if (SSL_connect(ssl.get()) != 1) return {};
    SSL_write(ssl.get(), text.data(), static_cast<int>(text.size()));
    std::string out;
    char buffer[4096];
    int n = 0;
    while ((n = SSL_read(ssl.get(), buffer, sizeof buffer)) > 0) out.append(buffer, static_cast<std::size_t>(n));
    return out;
  }
  const std::string request = "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
  Key key{EVP_EC_gen("P-256"), EVP_PKEY_free};
  via::test::TemporaryFolder folder;
};

TEST_F(TlsTest, RequestsAreAnsweredOverTls12And13) {
  start();
  EXPECT_TRUE(listener->tls());
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const std::string answer = ask(request, version);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\n/hello"));
  }
}

TEST_F(TlsTest, OlderVersionsAndPlainHttpGetNoAnswer) {
  start();
  EXPECT_EQ(ask(request, TLS1_1_VERSION), "");
  Client plain(address());
  plain.send(request);
  EXPECT_EQ(plain.until_closed().find("HTTP/1.1"), std::string::npos);
  EXPECT_NE(ask(request, TLS1_3_VERSION), "") << "and the others do not notice";
}

TEST_F(TlsTest, AStreamedResultArrivesOverTls) {
  handler.routes["/data"] = [this](Exchange& exchange) -> asio::awaitable<void> {
    plugins::Call& call = exchange.begin_call(0);
    workers.run([&call] {
      via_call* c = call.abi();
      const std::string part(100'000, 's');
      for (int i = 0; i < 10; ++i)
        (void)c->write(c, {reinterpret_cast<const std::uint8_t*>(part.data()), part.size()}, VIA_WAIT);
      c->complete(c, VIA_OK, {nullptr, 0}, {nullptr, 0});
    });
    co_await exchange.finish_call("ins_test");
  };
  start();
  const std::string answer = ask("GET /data HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", TLS1_3_VERSION);
  EXPECT_EQ(std::count(answer.begin() + static_cast<std::ptrdiff_t>(answer.find("\r\n\r\n")), answer.end(), 's'), 1'000'000);
  EXPECT_TRUE(answer.ends_with("0\r\n\r\n"));
}

TEST_F(TlsTest, APublicAddressIsFineBehindTls) {
  settings.address = "0.0.0.0:0";
  Listener one(std::move(settings), clock, entropy, log, workers);
  EXPECT_TRUE(one.bind());
}

TEST_F(TlsTest, AKeyThatOthersCanReadIsRefused) {
  fs::permissions(folder.path() / "key.pem", fs::perms::group_read, fs::perm_options::add);
  EXPECT_EQ(refusal(), Code::refused);
}

TEST_F(TlsTest, AKeyOfAnotherCertificateIsRefused) {
  const Key other{EVP_EC_gen("P-256"), EVP_PKEY_free};
  ASSERT_TRUE(write_file_atomic(folder.path() / "key.pem", pem(other)));
  EXPECT_EQ(refusal(), Code::refused);
}

TEST_F(TlsTest, AMissingFileIsRefused) {
  fs::remove(folder.path() / "cert.pem");
  EXPECT_EQ(refusal(), Code::refused);
}

}  // namespace
}  // namespace via::net::test
