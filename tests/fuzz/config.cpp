// The bodies of resolve and refresh: the answer is always valid JSON, or a refusal of a kind the wire knows.
#include "target.hpp"

#include <string>

#include "unit/config/caller.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const via::config::World world;
  const std::string_view body = via::fuzz::text(data, size);
  for (const bool refresh : {false, true}) {
    const auto answer =
        refresh ? via::config::refresh(world.caller(), body) : via::config::resolve(world.caller(), body);
    if (answer)
      VIA_FUZZ_CHECK(nlohmann::json::parse(*answer, nullptr, false).is_object());
    else
      VIA_FUZZ_CHECK(answer.error().http_status() < 500);
  }
  return 0;
}
