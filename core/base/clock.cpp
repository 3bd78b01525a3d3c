#include "core/base/clock.hpp"

#include <chrono>
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

std::optional<std::int64_t> parse_time(std::string_view text) {
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) {
      if (i >= text.size() || text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  const auto is = [&](std::size_t at, char upper, char lower) {
    return at < text.size() && (text[at] == upper || text[at] == lower);
  };
  const int year = number(0, 4), month = number(5, 2), day = number(8, 2);
  const int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (!is(4, '-', '-') || !is(7, '-', '-') || !is(10, 'T', 't') || !is(13, ':', ':') || !is(16, ':', ':')) return {};
  if (year < 1970 || month < 1 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
    return {};
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return {};
  std::size_t at = 19;
  std::int64_t millis = 0;
  if (is(at, '.', '.')) {
    const std::size_t first = ++at;
    for (std::int64_t worth = 100; number(at, 1) >= 0; ++at, worth /= 10) millis += number(at, 1) * worth;
    if (at == first) return {};
  }
  std::int64_t offset = 0;  // minutes
  if (is(at, 'Z', 'z')) {
    ++at;
  } else if (is(at, '+', '-')) {
    const int hours = number(at + 1, 2), minutes = number(at + 4, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || !is(at + 3, ':', ':')) return {};
    offset = (hours * 60 + minutes) * (text[at] == '-' ? -1 : 1);
    at += 6;
  } else {
    return {};
  }
  if (at != text.size()) return {};
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
  return seconds < 0 ? std::nullopt : std::optional(seconds * 1000 + millis);
}

}  // namespace via
