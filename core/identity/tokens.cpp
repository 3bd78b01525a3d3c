#include "core/identity/tokens.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/base/base64.hpp"
#include "core/base/json_text.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/token_json.hpp"

namespace via::identity {
namespace {

constexpr std::size_t kMaximumTextBytes = 256;  // of one claim
constexpr std::size_t kMaximumIdBytes = 128;    // of jti
constexpr std::size_t kSignatureChars = 86;     // 64 bytes
constexpr std::int64_t kIssuedLeewaySeconds = 5;
constexpr std::int64_t kLastSecond = 253402300799;  // the end of year 9999

// One text for every refusal: what was wrong is the code's business, and no byte of a token is ever repeated.
Error refuse(Code code) { return fail(code, "The workload token was not accepted."); }

bool usable(const std::string* text, std::size_t most) {
  return text != nullptr && !text->empty() && text->size() <= most;
}

// The kid of a header that is exactly {alg, kid, typ}, or nothing.
std::optional<std::string> kid_of(std::string_view header_part) {
  const auto text = base64url_decode(header_part);
  if (!text) return std::nullopt;
  const auto header = Json::parse(*text, {.depth = 2, .nodes = 4});
  if (!header || header->root().type != JsonNode::Type::object || header->root().children != 3) return std::nullopt;
  const std::string* alg = header->string(header->root(), "alg");
  const std::string* typ = header->string(header->root(), "typ");
  const std::string* kid = header->string(header->root(), "kid");
  if (alg == nullptr || *alg != "ES256" || typ == nullptr || *typ != "workload+jwt" || !usable(kid, kMaximumKidBytes))
    return std::nullopt;
  return *kid;
}

std::optional<Kind> parse_kind(const std::string* text) {
  if (text == nullptr) return std::nullopt;
  for (const Kind kind : {Kind::runtime, Kind::build, Kind::session})
    if (to_string(kind) == *text) return kind;
  return std::nullopt;
}

// Fills one member of `via`. Only runtime tokens must have it.
bool take(const Json& payload, const JsonNode& via, std::string_view name, bool required, std::string& out) {
  const JsonNode* node = payload.member(via, name);
  if (node == nullptr) return !required;
  if (node->type != JsonNode::Type::string || node->text.size() > kMaximumTextBytes) return false;
  if (required && node->text.empty()) return false;
  out = node->text;
  return true;
}

// The claims of a payload whose signature was good.
Result<Claims> judge(std::string_view payload_part, std::string_view issuer, std::int64_t now) {
  const Error malformed = refuse(Code::token_malformed);
  const auto text = base64url_decode(payload_part);
  if (!text) return malformed;
  const auto payload = Json::parse(*text, {.depth = 8, .nodes = 128});
  if (!payload || payload->root().type != JsonNode::Type::object) return malformed;
  const JsonNode& root = payload->root();

  const auto exp = payload->integer(root, "exp");
  const auto iat = payload->integer(root, "iat");
  const auto nbf = payload->integer(root, "nbf");
  if (!exp || !iat || !nbf) return malformed;
  for (const std::int64_t time : {*exp, *iat, *nbf})
    if (time < 0 || time > kLastSecond) return malformed;
  if (*exp <= *iat || *exp - *iat > kMaximumLifeSeconds || *iat > now + kIssuedLeewaySeconds || *nbf > now)
    return malformed;

  const std::string* iss = payload->string(root, "iss");
  const std::string* sub = payload->string(root, "sub");
  const std::string* jti = payload->string(root, "jti");
  const JsonNode* aud = payload->member(root, "aud");
  const JsonNode* via = payload->member(root, "via");
  if (iss == nullptr || !usable(sub, kMaximumTextBytes) || !usable(jti, kMaximumIdBytes) || aud == nullptr ||
      via == nullptr || via->type != JsonNode::Type::object)
    return malformed;
  const auto kind = parse_kind(payload->string(*via, "kind"));
  if (!kind) return malformed;

  Claims out;
  out.kind = *kind;
  out.subject = *sub;
  out.id = *jti;
  out.issued_at = *iat;
  out.expires_at = *exp;
  const bool required = *kind == Kind::runtime;
  if (!take(*payload, *via, "app", required, out.app) || !take(*payload, *via, "deploy", required, out.deploy) ||
      !take(*payload, *via, "release", required, out.release) ||
      !take(*payload, *via, "instance", required, out.instance) || !take(*payload, *via, "env", false, out.env))
    return malformed;

  if (*kind == Kind::runtime && out.subject != out.app) return malformed;
  if (*iss != issuer) return refuse(Code::token_signature);  // our key, another installation or another epoch of it
  if (*exp <= now) return refuse(Code::runtime_identity_expired);
  if (aud->type == JsonNode::Type::array && aud->children == 1) aud = payload->children(*aud).front();
  if (aud->type != JsonNode::Type::string || aud->text != audience_of(*kind)) return refuse(Code::token_audience);
  if (*kind == Kind::build) return refuse(Code::build_token);
  if (*kind == Kind::session) return refuse(Code::session_token);
  return out;
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
  append_json_string(out, value);
}

}  // namespace

TokenIssuer::TokenIssuer(const Keys& keys, std::string issuer, const Clock& clock, Entropy& entropy)
    : keys_(keys), issuer_(std::move(issuer)), clock_(clock), entropy_(entropy) {}

Result<Secret> TokenIssuer::issue(Claims& claims, std::int64_t ttl_seconds) const {
  if (ttl_seconds < 1 || ttl_seconds > kMaximumLifeSeconds)
    return fail(Code::bad_request, "A token lives between 1 second and 1 day.");
  if (claims.subject.empty()) claims.subject = claims.app;
  for (const std::string* text :
       {&claims.subject, &claims.app, &claims.deploy, &claims.release, &claims.instance, &claims.env})
    if (text->size() > kMaximumTextBytes || text->find('\0') != std::string::npos || !is_utf8(*text))
      return fail(Code::bad_request, "A claim is not UTF-8, holds NUL or is longer than 256 bytes.");
  if (claims.subject.empty()) return fail(Code::bad_request, "A token needs a subject.");
  if (claims.kind == Kind::runtime &&
      (claims.app.empty() || claims.deploy.empty() || claims.release.empty() || claims.instance.empty()))
    return fail(Code::bad_request, "A runtime token names its app, deploy, release and instance.");
  if (claims.kind == Kind::runtime && claims.subject != claims.app)
    return fail(Code::bad_request, "The subject of a runtime token is its app.");

  std::array<std::uint8_t, 18> random{};
  entropy_.fill(random);
  claims.id = base64url_encode(random);
  claims.issued_at = clock_.unix_ms() / 1000;
  claims.expires_at = claims.issued_at + ttl_seconds;

  const auto keys = keys_.current();
  const KeySet::Entry* signer = keys->signer();
  if (signer == nullptr) return fail(Code::internal, "There is no active signing key.");

  std::string header = "{";
  append_member(header, "alg", "ES256");
  append_member(header, "kid", signer->kid);
  append_member(header, "typ", "workload+jwt");
  header += '}';
  std::string payload = "{";
  append_member(payload, "iss", issuer_);
  append_member(payload, "aud", audience_of(claims.kind));
  append_member(payload, "sub", claims.subject);
  payload += ",\"iat\":" + std::to_string(claims.issued_at) + ",\"nbf\":" + std::to_string(claims.issued_at) +
             ",\"exp\":" + std::to_string(claims.expires_at);
  append_member(payload, "jti", claims.id);
  payload += ",\"via\":{";
  append_member(payload, "kind", to_string(claims.kind));
  for (const auto& [name, value] : {std::pair<std::string_view, const std::string&>{"app", claims.app},
                                    {"deploy", claims.deploy},
                                    {"release", claims.release},
                                    {"instance", claims.instance},
                                    {"env", claims.env}})
    if (!value.empty()) append_member(payload, name, value);
  payload += "}}";

  std::string token = base64url_encode(header) + '.' + base64url_encode(payload);
  const auto signature = signer->key->sign(token);
  if (!signature) return signature.error();
  token += '.';
  token += base64url_encode(*signature);
  if (token.size() > kMaximumTokenBytes) return fail(Code::bad_request, "The claims do not fit into a token.");
  return Secret(std::move(token));
}

TokenVerifier::TokenVerifier(const Keys& keys, std::string issuer, const Clock& clock)
    : keys_(keys), issuer_(std::move(issuer)), clock_(clock) {}

Result<Claims> TokenVerifier::verify(std::string_view token) const {
  return verify(token, *keys_.current());
}

Result<Claims> TokenVerifier::verify(std::string_view token, const KeySet& keys) const {
  return verify_token(token, keys, issuer_, clock_.unix_ms());
}

Result<Claims> verify_token(std::string_view token, const KeySet& keys, std::string_view issuer, std::int64_t unix_ms) {
  const Error malformed = refuse(Code::token_malformed);
  if (token.size() > kMaximumTokenBytes) return malformed;
  const std::size_t first = token.find('.');
  if (first == std::string_view::npos) return malformed;
  const std::size_t second = token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) return malformed;

  const std::string_view signature_part = token.substr(second + 1);
  if (signature_part.size() != kSignatureChars) return malformed;
  const auto signature_bytes = base64url_decode(signature_part);
  RawSignature signature{};
  if (!signature_bytes || signature_bytes->size() != signature.size()) return malformed;
  std::copy(signature_bytes->begin(), signature_bytes->end(), signature.begin());

  const auto kid = kid_of(token.substr(0, first));
  if (!kid) return malformed;
  const EcKey* key = keys.find(*kid, unix_ms);
  if (key == nullptr || !key->verify(token.substr(0, second), signature)) return refuse(Code::token_signature);
  return judge(token.substr(first + 1, second - first - 1), issuer, unix_ms / 1000);
}

}  // namespace via::identity
