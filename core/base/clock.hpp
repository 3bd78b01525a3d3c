// Time, passed in so that tests own it.
// Thread: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace via {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual std::int64_t unix_ms() const = 0;   // wall clock, may jump
  virtual std::uint64_t mono_ns() const = 0;  // never goes back
};

class SystemClock final : public Clock {
 public:
  std::int64_t unix_ms() const override;
  std::uint64_t mono_ns() const override;
};

// RFC 3339 in UTC with milliseconds: 2026-11-21T11:54:32.123Z.
std::string format_time(std::int64_t unix_ms);
// Milliseconds of any RFC 3339 time from 1970 on, with Z or an offset; empty when it is none.
std::optional<std::int64_t> parse_time(std::string_view text);

}  // namespace via
