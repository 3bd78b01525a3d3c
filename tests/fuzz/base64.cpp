// Base64url, UTF-8 and JSON strings, ids.
#include "target.hpp"

#include "core/base/base64.hpp"
#include "core/base/ids.hpp"
#include "core/base/json_text.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = via::fuzz::text(data, size);
  if (const auto bytes = via::base64url_decode(input)) VIA_FUZZ_CHECK(via::base64url_encode(*bytes) == input);
  VIA_FUZZ_CHECK(via::base64url_decode(via::base64url_encode(input)) == input);
  std::string json;
  via::append_json_string(json, input);
  VIA_FUZZ_CHECK(via::is_utf8(json) && json.size() >= 2 && json.front() == '"' && json.back() == '"');
  for (const char c : json) VIA_FUZZ_CHECK(static_cast<unsigned char>(c) >= 0x20);
  via::Ulid id{};
  if (via::parse_ulid(input, id)) VIA_FUZZ_CHECK(via::to_text(id) == input);
  (void)via::ulid_of(input);
  return 0;
}
