#include "core/base/clock.hpp"

#include <ctime>

#include <cstdio>

namespace via {
namespace {
timespec now(clockid_t id) {
  timespec t{};
  ::clock_gettime(id, &t);
  return t;
}
}  // namespace

std::int64_t SystemClock::unix_ms() const {
  const timespec t = now(CLOCK_REALTIME);
  return static_cast<std::int64_t>(t.tv_sec) * 1000 + t.tv_nsec / 1'000'000;
}

std::uint64_t SystemClock::mono_ns() const {
  const timespec t = now(CLOCK_MONOTONIC);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(t.tv_nsec);
}

std::string format_time(std::int64_t unix_ms) {
  std::int64_t seconds = unix_ms / 1000;
  std::int64_t millis = unix_ms % 1000;
  if (millis < 0) {
    millis += 1000;
    --seconds;
  }
  const std::time_t t = seconds;
  std::tm tm{};
  ::gmtime_r(&t, &tm);
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, static_cast<int>(millis));
  return buffer;
}

}  // namespace via
