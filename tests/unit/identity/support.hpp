// Tokens made by hand: whatever header and payload a test wants, signed with a key of an open keys folder.
#pragma once

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/base/base64.hpp"
#include "core/base/files.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/keys.hpp"
#include "core/identity/tokens.hpp"
#include "support/fakes.hpp"

namespace via::identity::test {

inline constexpr std::string_view kIssuer = "via:inst:1";
inline constexpr std::string_view kRefusal = "The workload token was not accepted.";

inline std::string text_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string sign(std::string_view header, std::string_view payload, const EcKey& key) {
  std::string token = base64url_encode(header) + '.' + base64url_encode(payload);
  const auto signature = key.sign(token);
  return token + '.' + base64url_encode(*signature);
}

struct Parts {
  std::string header, payload, signature;
  explicit Parts(std::string_view token) {
    const auto first = token.find('.');
    const auto second = token.find('.', first + 1);
    header = token.substr(0, first);
    payload = token.substr(first + 1, second - first - 1);
    signature = token.substr(second + 1);
  }
  std::string text() const { return header + '.' + payload + '.' + signature; }
};

class TokenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Keys::open(folder.path() / "keys", true, clock, entropy);
    ASSERT_TRUE(opened) << opened.error().message;
    keys = std::move(*opened);
    verifier = std::make_unique<TokenVerifier>(*keys, std::string(kIssuer), clock);
    issuer = std::make_unique<TokenIssuer>(*keys, std::string(kIssuer), clock, entropy);
  }

  std::int64_t now() const { return clock.unix_ms() / 1000; }
  std::string kid() const { return keys->current()->signer()->kid; }
  const EcKey& key() const { return *keys->current()->signer()->key; }

  nlohmann::json good_header() const { return {{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", kid()}}; }
  nlohmann::json good_payload() const {
    return {{"iss", kIssuer},
            {"aud", "via-config"},
            {"sub", "app_a"},
            {"iat", now()},
            {"nbf", now()},
            {"exp", now() + 300},
            {"jti", "u1"},
            {"via",
             {{"kind", "runtime"},
              {"app", "app_a"},
              {"deploy", "dep_a"},
              {"release", "rel_a"},
              {"instance", "ins_a"},
              {"env", "production"}}}};
  }
  std::string good() const { return sign(good_header().dump(), good_payload().dump(), key()); }
  static Claims claims_of_app() {
    Claims out;
    out.subject = out.app = "app_a";
    out.deploy = "dep_a";
    out.release = "rel_a";
    out.instance = "ins_a";
    out.env = "production";
    return out;
  }

  // The wire code of the refusal, or "ok".
  std::string verdict(std::string_view token) const {
    const auto claims = verifier->verify(token);
    if (claims) return "ok";
    EXPECT_EQ(claims.error().message, kRefusal);
    EXPECT_TRUE(claims.error().details.empty());
    EXPECT_TRUE(claims.error().name.empty());
    return std::string(claims.error().wire_name());
  }

  via::test::TemporaryFolder folder;
  via::test::FakeClock clock;
  via::test::FakeEntropy entropy;
  std::unique_ptr<Keys> keys;
  std::unique_ptr<TokenVerifier> verifier;
  std::unique_ptr<TokenIssuer> issuer;
};

}  // namespace via::identity::test
