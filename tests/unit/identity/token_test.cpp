// Hostile tokens; the numbers are those of the list they come from. Those that are data are in
// tests/fixtures/hostile/jwt.txt, those that need arithmetic on signatures or other keys are here.
#include <array>
#include <random>
#include <sstream>

#include <openssl/hmac.h>

#include "core/identity/token_json.hpp"
#include "support.hpp"

namespace via::identity::test {
namespace {

std::string replace_all(std::string text, std::string_view from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

RawSignature raw(const Parts& parts) {
  const std::string bytes = *base64url_decode(parts.signature);
  RawSignature out{};
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

// a += b over 32 big-endian bytes; the carry is returned.
int add(std::uint8_t* a, const std::uint8_t* b) {
  int carry = 0;
  for (int i = 31; i >= 0; --i) {
    const int sum = a[i] + b[i] + carry;
    a[i] = static_cast<std::uint8_t>(sum);
    carry = sum >> 8;
  }
  return carry;
}

constexpr std::array<std::uint8_t, 32> kN = {0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,    0xff, 0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                             0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

// n - s
RawSignature twin(RawSignature signature) {
  std::array<std::uint8_t, 32> inverted{};
  for (std::size_t i = 0; i < 32; ++i) inverted[i] = static_cast<std::uint8_t>(~signature[32 + i]);
  std::array<std::uint8_t, 32> one{};
  one[31] = 1;
  add(inverted.data(), one.data());
  add(inverted.data(), kN.data());
  std::copy(inverted.begin(), inverted.end(), signature.begin() + 32);
  return signature;
}

TEST_F(TokenTest, EveryLineOfTheHostileListIsAnsweredAsListed) {
  std::ifstream in(VIA_HOSTILE "/jwt.txt");
  ASSERT_TRUE(in);
  const auto fill = [&](std::string text, const nlohmann::json& good) {
    if (text == "<H>" || text == "<P>") return good.dump();
    text = replace_all(std::move(text), "<kid>", kid());
    text = replace_all(std::move(text), "<now>", std::to_string(now()));
    for (std::size_t at = 0; (at = text.find("<now", at)) != std::string::npos;) {
      const std::size_t end = text.find('>', at);
      text.replace(at, end - at + 1, std::to_string(now() + std::stoll(text.substr(at + 4, end - at - 4))));
    }
    if (text.starts_with("<P>-")) {
      nlohmann::json changed = good;
      const nlohmann::json members = nlohmann::json::parse(text.substr(4));
      for (const auto& [name, value] : members.items()) {
        changed[name] = value;
        if (value == "<absent>") changed.erase(name);
      }
      return changed.dump();
    }
    return text;
  };
  std::string line;
  int lines = 0;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string> columns;
    for (std::size_t at = 0;;) {
      const std::size_t bar = line.find(" | ", at);
      columns.push_back(line.substr(at, bar - at));
      if (bar == std::string::npos) break;
      at = bar + 3;
    }
    ASSERT_EQ(columns.size(), 4U) << line;
    const std::string token = sign(fill(columns[1], good_header()), fill(columns[2], good_payload()), key());
    EXPECT_EQ(verdict(token), columns[3]) << line;
    ++lines;
  }
  EXPECT_GE(lines, 120);
}

TEST_F(TokenTest, IssuedTokenCarriesItsClaimsAndVerifies) {
  Claims claims = claims_of_app();
  const auto token = issuer->issue(claims, 300);
  ASSERT_TRUE(token);
  EXPECT_EQ(claims.issued_at, now());
  EXPECT_EQ(claims.expires_at, now() + 300);
  EXPECT_EQ(claims.id.size(), 24U);
  const auto verified = verifier->verify(token->reveal());
  ASSERT_TRUE(verified);
  EXPECT_EQ(verified->kind, Kind::runtime);
  EXPECT_EQ(verified->subject, "app_a");
  EXPECT_EQ(verified->app, "app_a");
  EXPECT_EQ(verified->deploy, "dep_a");
  EXPECT_EQ(verified->release, "rel_a");
  EXPECT_EQ(verified->instance, "ins_a");
  EXPECT_EQ(verified->env, "production");
  EXPECT_EQ(verified->id, claims.id);
  EXPECT_EQ(verified->issued_at, claims.issued_at);
  EXPECT_EQ(verified->expires_at, claims.expires_at);

  const auto payload = nlohmann::json::parse(*base64url_decode(Parts(token->reveal()).payload));
  EXPECT_EQ(payload["aud"], "via-config");
  EXPECT_EQ(payload["nbf"], payload["iat"]);
  const auto header = nlohmann::json::parse(*base64url_decode(Parts(token->reveal()).header));
  EXPECT_EQ(header, good_header());
}

TEST_F(TokenTest, BuildAndSessionTokensAreAuthenticAndRefused) {
  for (const Kind kind : {Kind::build, Kind::session}) {
    Claims claims;
    claims.kind = kind;
    claims.subject = "operator";
    const auto token = issuer->issue(claims, 60);
    ASSERT_TRUE(token);
    EXPECT_EQ(verdict(token->reveal()), kind == Kind::build ? "build_token" : "session_token");
    EXPECT_EQ(verifier->verify(token->reveal()).error().http_status(), 403);
  }
}

TEST_F(TokenTest, IssuerRefusesWhatItsVerifierWould) {
  Claims claims = claims_of_app();
  for (const std::int64_t ttl : {INT64_MIN, std::int64_t{-1}, std::int64_t{0}, std::int64_t{86401}, INT64_MAX})
    EXPECT_EQ(issuer->issue(claims, ttl).error().code, Code::bad_request);
  for (const std::int64_t ttl : {1, 86400}) EXPECT_TRUE(issuer->issue(claims, ttl));
  for (const std::string& bad : {std::string(257, 'x'), std::string("a\0b", 3), std::string("\xff")}) {
    Claims changed = claims_of_app();
    changed.app = bad;
    const auto refused = issuer->issue(changed, 60);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::bad_request);
    EXPECT_EQ(refused.error().message.find(bad), std::string::npos);
  }
  claims.instance.clear();
  EXPECT_EQ(issuer->issue(claims, 60).error().code, Code::bad_request);
}

TEST_F(TokenTest, TokenEndsWithTheSecondOfExp) {
  Claims claims = claims_of_app();
  const auto token = issuer->issue(claims, 10);
  clock.advance_ms(9'999);
  EXPECT_EQ(verdict(token->reveal()), "ok");
  clock.advance_ms(1);
  EXPECT_EQ(verdict(token->reveal()), "runtime_identity_expired");
}

TEST_F(TokenTest, NoneWithAnEmptySignatureIsRefused) {  // J02
  for (const char* alg : {"none", "None", "ES256", ""}) {
    auto header = good_header();
    header["alg"] = alg;
    const std::string head = base64url_encode(header.dump()) + '.' + base64url_encode(good_payload().dump());
    EXPECT_EQ(verdict(head + '.'), "token_malformed");
    EXPECT_EQ(verdict(head), "token_malformed");
  }
}

TEST_F(TokenTest, MacsWithThePublicKeyAreRefused) {  // J09, J10
  const std::string jwk = keys->jwks();
  const std::string xy = *base64url_decode(key().x()) + *base64url_decode(key().y());
  for (const std::string& secret : {jwk, xy, key().x(), std::string()}) {
    for (const char* alg : {"HS256", "ES256"}) {
      auto header = good_header();
      header["alg"] = alg;
      const std::string head = base64url_encode(header.dump()) + '.' + base64url_encode(good_payload().dump());
      std::array<std::uint8_t, 32> mac{};
      unsigned length = 0;
      HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
           reinterpret_cast<const unsigned char*>(head.data()), head.size(), mac.data(), &length);
      EXPECT_EQ(verdict(head + '.' + base64url_encode(mac)), "token_malformed");
      std::array<std::uint8_t, 64> twice{};
      std::copy(mac.begin(), mac.end(), twice.begin());
      std::copy(mac.begin(), mac.end(), twice.begin() + 32);
      EXPECT_NE(verdict(head + '.' + base64url_encode(twice)), "ok");
    }
  }
}

TEST_F(TokenTest, OtherSerializationsAndPartCountsAreRefused) {  // J15, J16, J17
  const std::string token = good();
  const Parts p(token);
  for (const std::string& text :
       {std::string(), std::string("."), std::string(".."), std::string("..."), p.header, p.header + '.' + p.payload,
        token + '.', '.' + token, token + '.' + p.signature, token + ".AA.AA",
        '.' + p.payload + '.' + p.signature, p.header + '.' + p.payload + ".",
        R"({"payload":")" + p.payload + R"(","signatures":[{"protected":")" + p.header + R"(","signature":")" + p.signature + "\"}]}",
        R"({"payload":")" + p.payload + R"(","protected":")" + p.header + R"(","signature":")" + p.signature + "\"}"})
    EXPECT_EQ(verdict(text), "token_malformed") << text.size();
  EXPECT_EQ(verdict(p.header + ".." + p.signature), "token_signature");
}

TEST_F(TokenTest, KidIsLookedUpExactlyAndNoOtherKeyIsTried) {  // J23f, J24, J25, J26
  const std::string first = kid();
  const auto old_key = keys->current()->signer()->key;
  ASSERT_TRUE(keys->rotate());
  EXPECT_EQ(verdict(sign(good_header().dump(), good_payload().dump(), *old_key)), "token_signature");
  auto header = good_header();
  header["kid"] = first;
  EXPECT_EQ(verdict(sign(header.dump(), good_payload().dump(), key())), "token_signature");
  EXPECT_EQ(verdict(sign(header.dump(), good_payload().dump(), *old_key)), "ok");
  header["kid"] = std::string(128, 'k');
  EXPECT_EQ(verdict(sign(header.dump(), good_payload().dump(), key())), "token_signature");
  for (const std::size_t size : {129U, 4096U}) {
    header["kid"] = std::string(size, 'k');
    EXPECT_EQ(verdict(sign(header.dump(), good_payload().dump(), key())), "token_malformed");
  }
  std::string upper = first;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  header["kid"] = upper;
  EXPECT_EQ(verdict(sign(header.dump(), good_payload().dump(), key())), "token_signature");
}

TEST_F(TokenTest, KeyOfAnAttackerUnderOurKidIsRefused) {  // J18 with a real key
  const auto other = EcKey::generate();
  EXPECT_EQ(verdict(sign(good_header().dump(), good_payload().dump(), **other)), "token_signature");
}

TEST_F(TokenTest, EverySingleBitOfTheSignatureCounts) {  // J35
  Parts parts(good());
  const RawSignature signature = raw(parts);
  for (std::size_t bit = 0; bit < 512; ++bit) {
    RawSignature changed = signature;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    parts.signature = base64url_encode(changed);
    ASSERT_EQ(verdict(parts.text()), "token_signature") << bit;
  }
}

TEST_F(TokenTest, HighTwinOfTheSignatureIsRefused) {  // J37
  for (int i = 0; i < 16; ++i) {
    Claims claims = claims_of_app();
    Parts parts(issuer->issue(claims, 60)->reveal());
    ASSERT_LT(raw(parts)[32], 0x80);
    const RawSignature high = twin(raw(parts));
    EXPECT_EQ(twin(high), raw(parts));
    parts.signature = base64url_encode(high);
    EXPECT_EQ(verdict(parts.text()), "token_signature");
  }
}

TEST_F(TokenTest, NumbersOfTheSignatureOutsideTheirRangeAreRefused) {  // J36, J38, J41, J42
  Parts parts(good());
  const RawSignature signature = raw(parts);
  const RawSignature zero{};
  std::vector<RawSignature> hostile(9, signature);
  hostile[0] = zero;
  std::fill_n(hostile[1].begin(), 32, std::uint8_t{0});
  std::fill_n(hostile[2].begin() + 32, 32, std::uint8_t{0});
  std::copy(kN.begin(), kN.end(), hostile[3].begin());
  std::copy(kN.begin(), kN.end(), hostile[4].begin() + 32);
  std::fill_n(hostile[5].begin(), 32, std::uint8_t{0xff});
  std::fill_n(hostile[6].begin() + 32, 32, std::uint8_t{0xff});
  hostile[7] = zero;
  hostile[7][31] = hostile[7][63] = 1;  // r = s = 1
  std::copy(kN.begin(), kN.end(), hostile[8].begin());
  std::copy(kN.begin(), kN.end(), hostile[8].begin() + 32);
  for (const RawSignature& bad : hostile) {
    parts.signature = base64url_encode(bad);
    EXPECT_EQ(verdict(parts.text()), "token_signature");
  }
  RawSignature wrapped = signature;  // s + n, cut to 32 bytes
  add(wrapped.data() + 32, kN.data());
  parts.signature = base64url_encode(wrapped);
  EXPECT_EQ(verdict(parts.text()), "token_signature");
  std::string long_s(65, '\0');  // r, then s + n in 33 bytes
  std::copy(signature.begin(), signature.begin() + 32, long_s.begin());
  RawSignature sum = signature;
  long_s[32] = static_cast<char>(add(sum.data() + 32, kN.data()));
  std::copy(sum.begin() + 32, sum.end(), long_s.begin() + 33);
  parts.signature = base64url_encode(long_s);
  EXPECT_EQ(verdict(parts.text()), "token_malformed");
}

TEST_F(TokenTest, SignatureOfAnotherLengthOrFormIsRefused) {  // J39, J40
  Parts parts(good());
  const std::string bytes = *base64url_decode(parts.signature);
  std::string der = {0x30, 0x44, 0x02, 0x20};
  der += bytes.substr(0, 32) + std::string{0x02, 0x20} + bytes.substr(32);
  for (const std::string& other : {std::string(), bytes.substr(0, 32), bytes.substr(0, 63), bytes + '\0',
                                   '\0' + bytes, bytes + bytes, der, bytes.substr(1)}) {
    parts.signature = base64url_encode(other);
    EXPECT_EQ(verdict(parts.text()), "token_malformed") << other.size();
  }
}

TEST_F(TokenTest, PartsOfTwoTokensDoNotMix) {  // J43, J44, J45
  auto payload = good_payload();
  const Parts a(good());
  payload["via"]["instance"] = "ins_b";
  auto header = nlohmann::ordered_json{{"kid", kid()}, {"typ", "workload+jwt"}, {"alg", "ES256"}};
  const Parts b(sign(header.dump(), payload.dump(), key()));
  ASSERT_NE(a.header, b.header);
  for (const Parts* head : {&a, &b})
    for (const Parts* body : {&a, &b})
      for (const Parts* signature : {&a, &b}) {
        const bool whole = head == body && body == signature;
        EXPECT_EQ(verdict(head->header + '.' + body->payload + '.' + signature->signature),
                  whole ? "ok" : "token_signature");
      }
}

TEST_F(TokenTest, OneTextForOneToken) {  // J46 to J54
  const std::string token = good();
  const Parts p(token);
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  // Unused bits of the last character of the signature: 86 characters carry four bits too many.
  for (unsigned bits = 1; bits < 16; ++bits) {
    Parts changed = p;
    const auto last = kAlphabet.find(p.signature.back());
    changed.signature.back() = kAlphabet[last | bits];
    if (changed.signature == p.signature) continue;
    EXPECT_EQ(verdict(changed.text()), "token_malformed");
  }
  // Header and payload whose own text is not canonical, and is what was signed.
  for (int part = 0; part < 2; ++part) {
    Parts changed = p;
    std::string& text = part == 0 ? changed.header : changed.payload;
    const std::string json = part == 0 ? good_header().dump() : good_payload().dump();
    for (std::size_t pad = 0; pad < 3; ++pad) {
      text = base64url_encode(json + std::string(pad, ' '));
      if (text.size() % 4 == 0) continue;
      text.back() = kAlphabet[kAlphabet.find(text.back()) | 1U];
      const auto signature = key().sign(changed.header + '.' + changed.payload);
      changed.signature = base64url_encode(*signature);
      EXPECT_EQ(verdict(changed.text()), "token_malformed");
    }
  }
  // Length 1 mod 4, padding, the other alphabet, white space, NUL and non-ASCII, in each part, signed as they are.
  for (int part = 0; part < 3; ++part) {
    for (const std::string& junk : {std::string("="), std::string("=="), std::string("+"), std::string("/"), std::string(" "),
                                    std::string("\n"), std::string("\t"), std::string("\r\n"), std::string(1, '\0'),
                                    std::string("\xff"), std::string("\xef\xbc\x8e"), std::string("%2e"), std::string("~")}) {
      for (const bool behind : {true, false}) {
        Parts changed = p;
        std::string& text = part == 0 ? changed.header : part == 1 ? changed.payload : changed.signature;
        text = behind ? text + junk : junk + text;
        if (part != 2) {
          const auto signature = key().sign(changed.header + '.' + changed.payload);
          changed.signature = base64url_encode(*signature);
        }
        EXPECT_EQ(verdict(changed.text()), "token_malformed");
      }
    }
  }
  Parts odd = p;
  odd.payload = base64url_encode(good_payload().dump());
  while (odd.payload.size() % 4 != 1) odd.payload += 'A';
  odd.signature = base64url_encode(*key().sign(odd.header + '.' + odd.payload));
  EXPECT_EQ(verdict(odd.text()), "token_malformed");
  EXPECT_EQ(verdict("Bearer " + token), "token_malformed");
  EXPECT_EQ(verdict(' ' + token), "token_malformed");
  EXPECT_EQ(verdict(token + '\n'), "token_malformed");
  EXPECT_EQ(verdict(p.header + "\xef\xbc\x8e" + p.payload + '.' + p.signature), "token_malformed");
}

TEST_F(TokenTest, EveryTruncationIsRefused) {  // J52
  const std::string token = good();
  for (std::size_t length = 0; length < token.size(); ++length)
    ASSERT_EQ(verdict(std::string_view(token).substr(0, length)), "token_malformed") << length;
}

TEST_F(TokenTest, BytesThatJsonMustNotHoldAreRefused) {  // J56, J57
  const std::string payload = good_payload().dump();
  for (const std::string& text :
       {std::string("\xef\xbb\xbf") + payload, payload + '\0', payload + std::string("\0{}", 3), std::string("\xff\xfe{}"),
        replace_all(payload, "app_a", "\xc0\xaf"), replace_all(payload, "app_a", "\xed\xa0\x80"),
        replace_all(payload, "app_a", "a\nb"), replace_all(payload, "app_a", std::string("a\0b", 3)),
        std::string(4000, '['), std::string("{\"a\":") , std::string()})
    EXPECT_EQ(verdict(sign(good_header().dump(), text, key())), "token_malformed");
}

TEST_F(TokenTest, NestingCostsNoStack) {  // J63
  for (const char* open : {"[", "{\"a\":"}) {
    std::string deep;
    while (deep.size() < 5000) deep += open;
    EXPECT_EQ(verdict(sign(deep, good_payload().dump(), key())), "token_malformed");
    EXPECT_EQ(verdict(sign(good_header().dump(), deep, key())), "token_malformed");
    std::string hostile;
    while (hostile.size() < 600'000) hostile += open;
    EXPECT_FALSE(Json::parse(hostile, {.depth = 8, .nodes = 1'000'000}));
  }
  std::string wide = "{";
  for (int i = 0; i < 200; ++i) wide += "\"a" + std::to_string(i) + "\":1,";
  wide.back() = '}';
  EXPECT_EQ(verdict(sign(good_header().dump(), wide, key())), "token_malformed");
}

TEST_F(TokenTest, LongTokensAreRefusedUnread) {  // J95
  std::string dots;
  for (int i = 0; i < 4'000'000; ++i) dots += "a.";
  EXPECT_EQ(verdict(dots), "token_malformed");
  auto payload = good_payload();
  payload["x"] = std::string(5500, 'x');
  EXPECT_EQ(verdict(sign(good_header().dump(), payload.dump(), key())), "ok");
  payload["x"] = std::string(6000, 'x');
  EXPECT_EQ(verdict(sign(good_header().dump(), payload.dump(), key())), "token_malformed");
}

TEST_F(TokenTest, LongClaimsAreRefused) {
  for (const char* name : {"sub", "jti"}) {
    auto payload = good_payload();
    payload[name] = std::string(1024, 'x');
    EXPECT_EQ(verdict(sign(good_header().dump(), payload.dump(), key())), "token_malformed") << name;
  }
  for (const char* name : {"app", "deploy", "release", "instance", "env"}) {
    auto payload = good_payload();
    payload["via"][name] = std::string(257, 'x');
    EXPECT_EQ(verdict(sign(good_header().dump(), payload.dump(), key())), "token_malformed") << name;
  }
  auto payload = good_payload();
  payload["jti"] = std::string(128, 'x');
  EXPECT_EQ(verdict(sign(good_header().dump(), payload.dump(), key())), "ok");
}

TEST_F(TokenTest, TokenOfAnotherInstallationIsRefused) {  // J83
  via::test::TemporaryFolder other_folder;
  auto other = Keys::open(other_folder.path() / "keys", true, clock, entropy);
  ASSERT_TRUE(other);
  const TokenIssuer foreign(**other, "via:other:1", clock, entropy);
  Claims claims = claims_of_app();
  EXPECT_EQ(verdict(foreign.issue(claims, 60)->reveal()), "token_signature");
  const TokenIssuer cloned(*keys, "via:inst:2", clock, entropy);  // a restored copy has another epoch
  EXPECT_EQ(verdict(cloned.issue(claims, 60)->reveal()), "token_signature");
}

TEST_F(TokenTest, RevokedKeyAcceptsNoSpellingOfItsTokens) {  // J84, J87, J89
  Claims claims = claims_of_app();
  const std::string token(issuer->issue(claims, 3600)->reveal());
  const std::string old = kid();
  ASSERT_TRUE(keys->rotate());
  EXPECT_EQ(verdict(token), "ok");
  ASSERT_TRUE(keys->revoke(old));
  EXPECT_EQ(verdict(token), "token_signature");
  Parts parts(token);
  parts.signature = base64url_encode(twin(raw(parts)));
  EXPECT_EQ(verdict(parts.text()), "token_signature");
  keys.reset();
  auto reopened = Keys::open(folder.path() / "keys", false, clock, entropy);
  ASSERT_TRUE(reopened);
  const TokenVerifier again(**reopened, std::string(kIssuer), clock);
  EXPECT_EQ(again.verify(token).error().code, Code::token_signature);
}

TEST_F(TokenTest, NothingOfATokenStandsInAnError) {  // J99
  static constexpr std::string_view kCanary = "CANARY7f3a";
  std::vector<std::string> tokens;
  for (const char* name : {"iss", "aud", "sub", "iat", "nbf", "exp", "jti", "via", "x"}) {
    auto payload = good_payload();
    payload[name] = kCanary;
    tokens.push_back(sign(good_header().dump(), payload.dump(), key()));
    payload["exp"] = now() - 1;
    tokens.push_back(sign(good_header().dump(), payload.dump(), key()));
  }
  for (const char* name : {"alg", "typ", "kid", "jku"}) {
    auto header = good_header();
    header[name] = kCanary;
    tokens.push_back(sign(header.dump(), good_payload().dump(), key()));
  }
  for (const char* name : {"kind", "app", "deploy", "release", "instance", "env"}) {
    auto payload = good_payload();
    payload["via"][name] = kCanary;
    payload["aud"] = "via-build";
    tokens.push_back(sign(good_header().dump(), payload.dump(), key()));
  }
  tokens.emplace_back(kCanary);
  for (const std::string& token : tokens) {
    const auto claims = verifier->verify(token);
    if (claims) continue;  // an unknown member
    const std::string body = error_body(claims.error(), "req_1");
    EXPECT_EQ(body.find(kCanary), std::string::npos);
    EXPECT_EQ(claims.error().message, kRefusal);
  }
}

TEST_F(TokenTest, RandomChangesNeverVerify) {
  const std::string token = good();
  std::mt19937 random(20261121);  // NOLINT(cert-msc51-cpp): repeatable on purpose
  const auto below = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most - 1)(random); };
  for (int i = 0; i < 4000; ++i) {
    std::string changed = token;
    const std::size_t changes = 1 + below(3);
    for (std::size_t c = 0; c < changes; ++c) {
      const std::size_t at = below(changed.size());
      switch (below(5)) {
        case 0: changed[at] = static_cast<char>(below(256)); break;
        case 1: changed.erase(at, 1 + below(4)); break;
        case 2: changed.insert(at, 1, static_cast<char>(below(256))); break;
        case 3: std::swap(changed[at], changed[below(changed.size())]); break;
        default: changed[at] = "AZaz09-_."[below(9)]; break;
      }
      if (changed.empty()) break;
    }
    if (changed != token) {
      ASSERT_NE(verdict(changed), "ok");
    }
  }
}

}  // namespace
}  // namespace via::identity::test
