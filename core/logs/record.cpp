#include "core/logs/record.hpp"

#include <algorithm>

#include "core/base/clock.hpp"

namespace via::logs {
namespace {

constexpr std::size_t kTime = 24;  // 2026-11-29T18:20:54.123Z
constexpr std::string_view kStreams[] = {"stdout", "stderr", "via"};
constexpr char kHex[] = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the front of `s` and its code point; 0 when there is none.
std::size_t sequence(std::string_view s, std::uint32_t& point) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(s[i]); };
  const std::uint8_t c = at(0);
  const std::size_t length = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
  if (length == 0 || length > s.size()) return 0;
  point = length == 1 ? c : c & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
    point = point << 6 | (at(i) & 0x3FU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kLeast[length] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return 0;
  return length;
}

// Moves the cursor, the direction of text or the end of a line, on one terminal or another.
bool steers(std::uint32_t point) {
  return (point < 0x20 && point != '\t') || (point >= 0x7F && point < 0xA0) || point == 0x61C || point == 0x200E ||
         point == 0x200F || (point >= 0x2028 && point <= 0x202E) || (point >= 0x2066 && point <= 0x2069) || point == 0xFEFF ||
         (point >= 0xE0000 && point < 0xE0080);
}

void append_byte(std::string& out, char c) {
  const auto u = static_cast<std::uint8_t>(c);
  out += "\\x";
  out += kHex[u >> 4];
  out += kHex[u & 15];
}

// So that a cut does not take a character apart.
std::size_t whole_characters(std::string_view bytes, std::size_t most) {
  for (std::size_t back = 0; back < 4 && back < most; ++back)
    if ((static_cast<std::uint8_t>(bytes[most - back]) & 0xC0) != 0x80) return most - back;
  return most;
}

}  // namespace

std::string_view to_string(Stream stream) noexcept { return kStreams[static_cast<std::size_t>(stream)]; }

void append_visible(std::string& out, std::string_view raw) {
  while (!raw.empty()) {
    std::size_t plain = 0;
    while (plain < raw.size() && ((raw[plain] >= 0x20 && raw[plain] < 0x7F) || raw[plain] == '\t')) ++plain;
    out.append(raw.substr(0, plain));
    raw.remove_prefix(plain);
    if (raw.empty()) return;
    std::uint32_t point = 0;
    const std::size_t length = sequence(raw, point);
    if (length <= 1) {
      append_byte(out, raw.front());
    } else if (!steers(point)) {
      out.append(raw.substr(0, length));
    } else {
      out += point > 0xFFFF ? "\\U000" : "\\u";
      for (int shift = point > 0xFFFF ? 16 : 12; shift >= 0; shift -= 4) out += kHex[point >> shift & 15U];
    }
    raw.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

void append_record(std::string& out, std::string_view time, Stream stream, bool cut, std::string_view raw) {
  out.append(time).append(1, ' ').append(to_string(stream)).append(cut ? " P " : " F ");
  append_visible(out, raw);
  out += '\n';
}

std::optional<Record> parse_record(std::string_view line) {
  if (line.size() < kTime + 1 || line[kTime] != ' ') return {};
  const auto time = parse_time(line.substr(0, kTime));
  if (!time) return {};
  line.remove_prefix(kTime + 1);
  for (std::size_t i = 0; i < std::size(kStreams); ++i) {
    const std::size_t n = kStreams[i].size();
    if (!line.starts_with(kStreams[i]) || line.size() < n + 3 || line[n] != ' ' || line[n + 2] != ' ') continue;
    if (line[n + 1] != 'F' && line[n + 1] != 'P') return {};
    return Record{*time, static_cast<Stream>(i), line[n + 1] == 'P', line.substr(n + 3)};
  }
  return {};
}

// `bytes` is the rest of a line.
void LineCutter::line(std::string_view bytes, const Take& take) {
  if (bytes.ends_with('\r')) bytes.remove_suffix(1);
  take(bytes, false);
}

void LineCutter::feed(std::string_view bytes, const Take& take) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    if (skipping_) {
      if (end == std::string_view::npos) return;
      skipping_ = false;
      bytes.remove_prefix(end + 1);
      continue;
    }
    if (end != std::string_view::npos && held_.empty() && end <= kMaximumLine) {
      line(bytes.substr(0, end), take);
      bytes.remove_prefix(end + 1);
      continue;
    }
    // One byte over the limit is held, so that a line of exactly the limit is whole.
    const std::size_t room = kMaximumLine + 1 - held_.size();
    const std::size_t used = std::min({room, end, bytes.size()});
    held_.append(bytes.substr(0, used));
    bytes.remove_prefix(used);
    if (held_.size() > kMaximumLine) {
      const std::size_t cut = whole_characters(held_, kMaximumLine);
      const bool taken = take(std::string_view(held_).substr(0, cut), true);
      held_.erase(0, cut);
      if (!taken) {
        held_.clear();
        skipping_ = true;
      }
    } else if (!bytes.empty()) {  // at its end
      line(held_, take);
      held_.clear();
      bytes.remove_prefix(1);
    }
  }
}

void LineCutter::flush(bool at_end, const Take& take) {
  if (held_.empty()) return;
  const std::string held = std::move(held_);
  held_.clear();
  if (at_end)
    line(held, take);
  else if (!take(held, true))
    skipping_ = true;
}

}  // namespace via::logs
