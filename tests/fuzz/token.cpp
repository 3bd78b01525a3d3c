// Tokens: a text that this installation did not sign is never accepted. The input is the token as it is, and as header
// and payload under a signature that a key of the set really made (so that the claims are reached).
#include "target.hpp"

#include <string>

#include "core/base/base64.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/tokens.hpp"

namespace {

struct World {
  std::shared_ptr<const via::identity::EcKey> key = *via::identity::EcKey::generate();
  via::identity::KeySet keys{{{"key_1", key, std::numeric_limits<std::int64_t>::max()}}, 0};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const World world;
  constexpr std::int64_t kNow = 1'800'000'000'000;
  const std::string_view input = via::fuzz::text(data, size);
  VIA_FUZZ_CHECK(!via::identity::verify_token(input, world.keys, "via:inst:1", kNow));

  const std::string header = R"({"alg":"ES256","typ":"workload+jwt","kid":"key_1"})";
  std::string token = via::base64url_encode(header) + '.' + via::base64url_encode(input);
  const auto signature = world.key->sign(token);
  VIA_FUZZ_CHECK(signature.has_value());
  token += '.' + via::base64url_encode(*signature);
  if (const auto claims = via::identity::verify_token(token, world.keys, "via:inst:1", kNow)) {
    VIA_FUZZ_CHECK(claims->kind == via::identity::Kind::runtime && !claims->instance.empty() && !claims->app.empty());
    VIA_FUZZ_CHECK(claims->expires_at > kNow / 1000 && claims->expires_at - claims->issued_at <= 86'400);
  }
  return 0;
}
