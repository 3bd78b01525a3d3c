// One line that an app wrote, as it is kept (docs/formats.md, "Logs of apps"):
//
//   2026-11-29T18:20:54.123Z stdout F GET / 200\n
//
// The time of reading, the stream, F for a whole line or P for a part whose rest is in the next record of the stream,
// and the text. What an app writes is hostile, and people look at these files with cat and tail: so the text is made
// safe before it is on disk and not when it is shown. Control characters other than TAB, bytes that are not UTF-8 and
// characters that reorder or break lines (bidi controls, U+2028, C1) are written as what they are, `\x1b`, `\u202e`. A
// backslash stays one, so that JSON lines of an app can be parsed; for it an app can write the escapes itself, and
// the text of those is the only thing they mean.
// Thread: any (pure), a LineCutter its owner's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace via::logs {

// Bytes of a line before it is cut. Escaped they may be four times as many.
inline constexpr std::size_t kMaximumLine = 16'384;
inline constexpr std::size_t kMaximumRecord = 4 * kMaximumLine + 64;

enum class Stream : std::uint8_t { out, err, host };  // host: what Via itself has to say in an app's log
std::string_view to_string(Stream stream) noexcept;   // "stdout", "stderr", "via"

struct Record {
  std::int64_t time = 0;  // Unix ms
  Stream stream = Stream::out;
  bool cut = false;  // the line goes on in the next record of the stream
  std::string_view text;
};

// `time` as format_time() gives it; `raw` is what the app wrote, of at most kMaximumLine.
void append_record(std::string& out, std::string_view time, Stream stream, bool cut, std::string_view raw);
void append_visible(std::string& out, std::string_view raw);
// Of a line without its end; empty when it is no record.
std::optional<Record> parse_record(std::string_view line);

// Bytes as they come into lines of at most kMaximumLine.
class LineCutter {
 public:
  // False: this piece was not taken. What is left of its line is left out then.
  using Take = std::function<bool(std::string_view piece, bool cut)>;

  void feed(std::string_view bytes, const Take& take);
  // What has come of a line that has no end yet. `at_end`: nothing will come any more.
  void flush(bool at_end, const Take& take);
  bool holds() const { return !held_.empty(); }

 private:
  void line(std::string_view bytes, const Take& take);
  std::string held_;
  bool skipping_ = false;  // to the end of the line
};

}  // namespace via::logs
