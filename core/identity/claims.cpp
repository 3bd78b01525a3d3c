#include "core/identity/claims.hpp"

namespace via::identity {

std::string_view to_string(Kind kind) noexcept {
  switch (kind) {
    case Kind::runtime: return "runtime";
    case Kind::build: return "build";
    case Kind::session: return "session";
  }
  return "unknown";
}

std::string_view audience_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::runtime: return "via-config";
    case Kind::build: return "via-build";
    case Kind::session: return "via-session";
  }
  return "unknown";
}

}  // namespace via::identity
