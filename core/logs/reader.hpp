// Reads the logs of an app's instances as one list in the order of time, while they are written and rotated.
//
// A place in a log is the number of a file and an offset in it, and a cursor is the places of all logs that may go on:
// with it a reader gets every line once, over rotation, restarts and new deploys. An instance without a place in the
// cursor is new and read from its start. Lines that were rotated away before they were read are said to be missing.
// Answers are bounded: by lines, and by 4 MiB.
// Thread: any; may block.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/logs/files.hpp"
#include "core/logs/record.hpp"

namespace via::logs {

struct Place {
  std::uint64_t file = 0, offset = 0;
  bool operator==(const Place&) const = default;
};

struct Cursor {
  std::int64_t made_at = 0;  // Unix ms
  std::map<std::string, Place> places;  // by instance
};
// "1:1795262072123;ins_a=2:1833;ins_b=1:0"
std::string to_text(const Cursor& cursor);
Result<Cursor> parse_cursor(std::string_view text);  // bad_request

struct Source {
  std::string instance;
  bool running = false;
};

struct Query {
  std::vector<Source> sources;        // newest first; at most 256 of them are read
  std::int64_t since = 0;             // Unix ms
  std::optional<std::size_t> last;    // only so many, the last ones; else from `cursor` or the start, the first ones
  std::optional<Cursor> cursor;
  std::size_t most = 1000;            // lines of an answer without `last`
};

struct Line {
  std::string instance;
  std::int64_t time = 0;
  Stream stream = Stream::out;
  bool cut = false;
  std::string text;
};

struct Answer {
  std::vector<Line> lines;
  Cursor cursor;
  bool more = false;  // there is more already
};

// Logs that cannot be read are left out.
Answer read_logs(const fs::path& folder, const Query& query, std::int64_t now_ms);

}  // namespace via::logs
