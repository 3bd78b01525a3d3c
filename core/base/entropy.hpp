// Randomness from the operating system, passed in so that tests can make it repeatable.
// Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace via {

class Entropy {
 public:
  virtual ~Entropy() = default;
  // Fills all of `out` with bytes fit for keys. Ends the process when the system has none to give.
  virtual void fill(std::span<std::uint8_t> out) = 0;
};

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace via
