#include "support.hpp"

namespace via::identity::test {
namespace {

class Jwks : public TokenTest {
 protected:
  nlohmann::json one() const { return nlohmann::json::parse(keys->jwks())["keys"][0]; }
  static bool loads(const nlohmann::json& key) {
    const nlohmann::json set = {{"keys", {key}}};
    const auto loaded = load_jwks(set.dump());
    if (!loaded) {
      EXPECT_EQ(loaded.error().code, Code::bad_request);
    }
    return loaded.has_value();
  }
  bool loads_with(const char* name, const nlohmann::json& value) const {
    auto key = one();
    key[name] = value;
    return loads(key);
  }
};

TEST_F(Jwks, PublishedKeysVerifyTokensElsewhere) {
  const std::string old = kid();
  const std::string token = good();
  ASSERT_TRUE(keys->rotate());
  const std::string newer = good();
  const auto set = load_jwks(keys->jwks());
  ASSERT_TRUE(set);
  EXPECT_EQ((*set)->size(), 2U);
  EXPECT_EQ((*set)->signer(), nullptr);
  for (const std::string& text : {token, newer}) EXPECT_TRUE(verify_token(text, **set, kIssuer, clock.unix_ms()));
  ASSERT_TRUE(keys->revoke(old));
  const auto after = load_jwks(keys->jwks());
  EXPECT_EQ((*after)->size(), 1U);
  EXPECT_EQ(verify_token(token, **after, kIssuer, clock.unix_ms()).error().code, Code::token_signature);
}

TEST_F(Jwks, HoldsPublicMembersOnly) {
  const auto key = one();
  EXPECT_EQ(key.size(), 7U);
  EXPECT_EQ(key["kty"], "EC");
  EXPECT_EQ(key["crv"], "P-256");
  EXPECT_EQ(key["use"], "sig");
  EXPECT_EQ(key["alg"], "ES256");
  EXPECT_EQ(key["kid"], kid());
  EXPECT_EQ(base64url_decode(std::string(key["x"]))->size(), 32U);
  EXPECT_EQ(base64url_decode(std::string(key["y"]))->size(), 32U);
  EXPECT_TRUE(loads(key));
}

TEST_F(Jwks, OneKidTwiceIsRefused) {  // J27
  const auto key = one();
  const nlohmann::json set = {{"keys", {key, key}}};
  EXPECT_FALSE(load_jwks(set.dump()));
}

TEST_F(Jwks, PointsOffTheCurveAreRefused) {  // J29
  const auto key = one();
  auto changed = key;
  changed["x"] = key["y"];
  changed["y"] = key["x"];
  EXPECT_FALSE(loads(changed));
  std::string y = *base64url_decode(std::string(key["y"]));
  y[31] = static_cast<char>(y[31] ^ 1);
  EXPECT_FALSE(loads_with("y", base64url_encode(y)));
  const std::string zero = base64url_encode(std::string(32, '\0'));
  changed["x"] = changed["y"] = zero;
  EXPECT_FALSE(loads(changed));
  EXPECT_FALSE(loads_with("x", base64url_encode(std::string(32, '\xff'))));
}

TEST_F(Jwks, CoordinatesOfAnotherLengthOrSpellingAreRefused) {  // J29
  const std::string x = one()["x"];
  const std::string bytes = *base64url_decode(x);
  for (const std::string& other : {std::string(), base64url_encode(bytes.substr(1)), base64url_encode('\0' + bytes),
                                   x + "=", x + "A", ' ' + x, x.substr(0, 42)})
    EXPECT_FALSE(loads_with("x", other)) << other;
  EXPECT_FALSE(loads_with("x", nullptr));
  EXPECT_FALSE(loads_with("y", 7));
}

TEST_F(Jwks, OtherTypesUsesAndPrivateMembersAreRefused) {  // J28, J29, J30
  EXPECT_FALSE(loads_with("kty", "RSA"));
  EXPECT_FALSE(loads_with("kty", "oct"));
  EXPECT_FALSE(loads_with("crv", "P-384"));
  EXPECT_FALSE(loads_with("crv", "secp256k1"));
  EXPECT_FALSE(loads_with("use", "enc"));
  EXPECT_FALSE(loads_with("alg", "ES384"));
  EXPECT_FALSE(loads_with("d", "AA"));
  EXPECT_FALSE(loads_with("kid", ""));
  EXPECT_FALSE(loads_with("kid", 7));
  EXPECT_FALSE(loads_with("kid", std::string(129, 'k')));
  EXPECT_FALSE(loads_with("key_ops", nlohmann::json::array({"encrypt"})));
  EXPECT_FALSE(loads_with("key_ops", "verify"));
  EXPECT_TRUE(loads_with("key_ops", nlohmann::json::array({"verify"})));
  EXPECT_FALSE(loads({{"kty", "RSA"}, {"kid", "r"}, {"n", base64url_encode(std::string(64, '\xc1'))}, {"e", "AQAB"}}));
  for (const char* text : {"", "{}", "[]", "null", R"({"keys":{}})", R"({"keys":[7]})", R"({"keys":[],"keys":[]})",
                           R"({"keys":[]} )" "x"})
    EXPECT_FALSE(load_jwks(text)) << text;
  EXPECT_TRUE(load_jwks(R"({"keys":[]})"));
  EXPECT_FALSE(load_jwks(std::string(300'000, ' ')));
}

TEST_F(Jwks, RefusalsRepeatNothingOfTheSet) {
  for (const char* name : {"kid", "kty", "crv", "x", "y", "use", "alg", "d", "key_ops"}) {
    auto key = one();
    key[name] = std::string("CANARY7f3a") + std::string(130, 'c');
    const nlohmann::json set = {{"keys", {key}}};
    const auto loaded = load_jwks(set.dump());
    ASSERT_FALSE(loaded) << name;
    EXPECT_EQ(loaded.error().message.find("CANARY"), std::string::npos);
  }
}

}  // namespace
}  // namespace via::identity::test
