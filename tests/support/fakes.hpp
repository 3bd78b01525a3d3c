// Test doubles for what core takes from outside: time, randomness, a folder that goes away.
#pragma once

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"

namespace via::test {

class FakeClock final : public Clock {
 public:
  explicit FakeClock(std::int64_t unix_ms = 1'800'000'000'000) : unix_ms_(unix_ms) {}
  std::int64_t unix_ms() const override { return unix_ms_; }
  std::uint64_t mono_ns() const override { return static_cast<std::uint64_t>(unix_ms_.load()) * 1'000'000U; }
  void advance_ms(std::int64_t ms) { unix_ms_ += ms; }

 private:
  std::atomic<std::int64_t> unix_ms_;
};

// Repeatable bytes, different on every call (splitmix64).
class FakeEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& b : out) {
      std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
      b = static_cast<std::uint8_t>(z ^ (z >> 31));
    }
  }

 private:
  std::atomic<std::uint64_t> state_ = 1;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "via-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace via::test
