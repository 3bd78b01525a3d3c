#include "core/base/entropy.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace via {

void SystemEntropy::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      std::abort();  // no randomness: no key, id or token made after this point could be trusted
    }
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

}  // namespace via
