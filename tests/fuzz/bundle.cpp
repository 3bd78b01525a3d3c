// Plugin bundles from anybody: what is taken packs to the same bytes again, and what is refused is refused by a rule.
#include "target.hpp"

#include "core/bundle/bundle.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bundle = via::bundle::read(via::fuzz::text(data, size));
  if (!bundle) {
    VIA_FUZZ_CHECK(bundle.error().code == via::Code::refused);
    return 0;
  }
  const auto again = via::bundle::pack(*bundle);
  VIA_FUZZ_CHECK(again && *again == via::fuzz::text(data, size));
  (void)via::bundle::parse_signature(via::fuzz::text(data, size));
  return 0;
}
