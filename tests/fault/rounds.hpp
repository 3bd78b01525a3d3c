// How many kills a fault test makes, and when: random, from a seed that is printed so that a failure can be
// repeated.
#pragma once

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

namespace via::test {

inline int rounds(int everyday) {
  const char* set = std::getenv("VIA_FAULT_ROUNDS");
  return set == nullptr ? everyday : std::max(1, std::atoi(set));
}

inline std::mt19937 random_source() {
  const char* set = std::getenv("VIA_FAULT_SEED");
  const unsigned seed =
      set == nullptr ? std::random_device()() : static_cast<unsigned>(std::strtoul(set, nullptr, 10));
  std::cout << "VIA_FAULT_SEED=" << seed << std::endl;
  return std::mt19937(seed);
}

}  // namespace via::test
