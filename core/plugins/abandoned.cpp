#include "core/plugins/abandoned.hpp"

namespace via::plugins {

void Abandoned::add(std::string_view who, std::uint64_t now_ns) {
  stuck_.fetch_add(1, std::memory_order_acq_rel);
  total_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  last_ = now_ns;
  std::erase_if(by_, [&](const auto& entry) {
    const Record& r = entry.second;
    return r.closed_until <= now_ns && (r.times.empty() || r.times.back() + kWindowNs <= now_ns);
  });
  if (who.empty()) return;
  Record& record = by_.try_emplace(std::string(who)).first->second;
  std::erase_if(record.times, [&](std::uint64_t t) { return t + kWindowNs <= now_ns; });
  record.times.push_back(now_ns);
  if (record.times.size() < kMost) return;
  record.times.clear();
  record.closed_until = now_ns + kClosedNs;
  closed_to_some_.store(true, std::memory_order_relaxed);
}

bool Abandoned::degraded(std::uint64_t now_ns) const {
  if (stuck() > 0) return true;
  const std::lock_guard lock(mutex_);
  return last_ != 0 && now_ns < last_ + kWindowNs;
}

std::uint32_t Abandoned::closed_for(std::string_view who, std::uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
  bool some = false;
  std::uint64_t until = 0;
  for (const auto& [name, record] : by_) {
    if (record.closed_until <= now_ns) continue;
    some = true;
    if (name == who) until = record.closed_until;
  }
  closed_to_some_.store(some, std::memory_order_relaxed);
  return until == 0 ? 0 : static_cast<std::uint32_t>((until - now_ns + 999'999'999) / 1'000'000'000);
}

}  // namespace via::plugins
