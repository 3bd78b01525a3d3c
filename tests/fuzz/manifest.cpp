// Manifests, and configurations against the schema in them.
#include "target.hpp"

#include <string>

#include "core/plugins/config_schema.hpp"
#include "core/plugins/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(via::fuzz::text(data, size));
  const auto manifest = via::plugins::parse_manifest(text);
  if (!manifest) {
    VIA_FUZZ_CHECK(manifest.error().code == via::Code::bad_request);
  } else {
    VIA_FUZZ_CHECK(manifest->text == text && !manifest->types.empty() && !manifest->library.empty());
    VIA_FUZZ_CHECK(manifest->library.find('/') == std::string::npos);
    for (const auto& type : manifest->types) {
      VIA_FUZZ_CHECK(!type.scopes.empty() && type.parallel_ops > 0);
      (void)via::plugins::check_against_schema(type.config_schema, R"({"a":1,"b":{"c":"x"}})");
    }
  }
  const auto cut = text.find('\n');
  if (cut != std::string::npos) (void)via::plugins::check_against_schema(text.substr(0, cut), text.substr(cut + 1));
  return 0;
}
