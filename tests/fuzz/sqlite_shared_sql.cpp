// The SQL of GET /query, as base64 of either alphabet or as it is: what was encoded comes back, and nothing is read beyond a text.
#include "target.hpp"

#include "plugins/sqlite/api/transaction.hpp"
#include "plugins/sqlwire/base64.hpp"
#include "plugins/sqlite/policy.hpp"

namespace {

std::string encoded(std::string_view bytes, const char* last_two, bool padded) {
  std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  alphabet += last_two;
  std::string out;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (have += 8; have >= 6; have -= 6) out += alphabet[bits >> (have - 6) & 63];
  }
  if (have > 0) out += alphabet[bits << (6 - have) & 63];
  while (padded && out.size() % 4 != 0) out += '=';
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace via::sqlite;
  const std::string_view input = via::fuzz::text(data, size);
  std::string decoded;
  for (const char* last_two : {"+/", "-_", " /"})
    for (const bool padded : {false, true}) VIA_FUZZ_CHECK(via::sqlwire::decode_any_base64(encoded(input, last_two, padded), decoded) && decoded == input);
  if (via::sqlwire::decode_any_base64(input, decoded)) VIA_FUZZ_CHECK(decoded.size() <= input.size() / 4 * 3 + 2);
  std::string canonical(input);
  if (const std::int64_t n = via::sqlwire::decode_base64(canonical.data(), canonical.size()); n >= 0) {
    VIA_FUZZ_CHECK(via::sqlwire::decode_any_base64(input, decoded) && decoded == std::string_view(canonical).substr(0, static_cast<std::size_t>(n)));
    VIA_FUZZ_CHECK(encoded(decoded, "+/", true) == input);
  }
  const std::string_view rest = skip_blank(input);
  VIA_FUZZ_CHECK(input.ends_with(rest) && skip_blank(rest) == rest);
  VIA_FUZZ_CHECK(api::kind_of(input) == api::kind_of(rest) && (api::kind_of(rest) == api::Kind::empty) == rest.empty());
  return 0;
}
