// How much of an instance's output is kept: a bucket of lines and one of bytes, each filled at its rate and holding five
// seconds of it. When one is empty everything is dropped until both have a second's worth again, so that a flood gives
// stretches of whole lines and one note for each gap, not every hundredth line.
// Thread: its owner's.
#pragma once

#include <algorithm>
#include <cstdint>

namespace via::logs {

class Burst {
 public:
  Burst(std::uint64_t lines_per_s, std::uint64_t bytes_per_s, std::uint64_t now_ns)
      : lines_rate_(static_cast<double>(lines_per_s)),
        bytes_rate_(static_cast<double>(bytes_per_s)),
        lines_(kSeconds * lines_rate_),
        bytes_(kSeconds * bytes_rate_),
        at_ns_(now_ns) {}

  bool admit(std::uint64_t bytes, std::uint64_t now_ns) {
    fill(now_ns);
    if (dropping_) return false;
    if (lines_ < 1 || bytes_ < static_cast<double>(bytes)) {
      dropping_ = true;
      return false;
    }
    lines_ -= 1;
    bytes_ -= static_cast<double>(bytes);
    return true;
  }
  bool dropping() const { return dropping_; }
  // True once, when a gap is over.
  bool over(std::uint64_t now_ns) {
    if (!dropping_) return false;
    fill(now_ns);
    if (lines_ < lines_rate_ || bytes_ < bytes_rate_) return false;
    dropping_ = false;
    return true;
  }

 private:
  static constexpr double kSeconds = 5;
  void fill(std::uint64_t now_ns) {
    if (now_ns <= at_ns_) return;
    const double seconds = static_cast<double>(now_ns - at_ns_) / 1e9;
    lines_ = std::min(kSeconds * lines_rate_, lines_ + seconds * lines_rate_);
    bytes_ = std::min(kSeconds * bytes_rate_, bytes_ + seconds * bytes_rate_);
    at_ns_ = now_ns;
  }
  double lines_rate_, bytes_rate_, lines_, bytes_;
  std::uint64_t at_ns_;
  bool dropping_ = false;
};

}  // namespace via::logs
