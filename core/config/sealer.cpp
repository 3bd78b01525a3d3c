#include "core/config/sealer.hpp"

#include <cstdint>
#include <string_view>

#include "core/base/base64.hpp"

namespace via::config {
namespace {

std::string purpose(const std::string& app_id) { return "secret:" + app_id; }
std::string bound_to(const std::string& key, std::uint32_t generation) { return key + "/" + std::to_string(generation); }

}  // namespace

Result<std::string> Sealer::seal(const std::string& app_id, const std::string& key, std::uint32_t generation,
                                 const Secret& value) const {
  VIA_TRY_LET(box, box_.seal(purpose(app_id), bound_to(key, generation), value.reveal()));
  return base64url_encode(std::string_view(box));
}

Result<Secret> Sealer::unseal(const std::string& app_id, const Value& value) const {
  if (const auto box = base64url_decode(value.sealed)) {
    auto opened = box_.unseal(purpose(app_id), bound_to(value.key, value.generation), *box);
    if (opened) return opened;
  }
  return fail(Code::unavailable, "The secret " + value.key +
                                     " cannot be opened: it was sealed under another master key. Set it again: via secret set");
}

}  // namespace via::config
