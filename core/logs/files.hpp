// The files of an instance's log: BASE.1, BASE.2 …, the highest number is written to. Nothing is ever renamed: to rotate
// is to make the next file, so that a kill -9 at any point loses and repeats nothing, and a reader's place (number, offset)
// stays true. Numbers are not used again while a later file is there. (BASE without a number is what an earlier Via wrote, without times.)
//
// New files are made with O_EXCL|O_NOFOLLOW and 0600; one that is there is written on only when it is a regular file of
// this user with one name, else the next number is taken. There is no fsync: what a crash of the machine takes from a log is gone.
// Thread: a LogFile its owner's; the functions any, may block.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace via::logs {

struct Limits {
  std::uint64_t max_bytes = 10U << 20;    // of one file
  int files = 5;                          // of one instance
  std::int64_t max_age_hours = 7 * 24;    // of a file that is not the newest of its instance
  std::uint64_t app_bytes = 512U << 20;   // of all instances of an app, those that ended as well
  std::uint64_t burst_lines_per_s = 2000;       // on average, for each instance; five seconds of it at once
  std::uint64_t burst_bytes_per_s = 1U << 20;
  bool operator==(const Limits&) const = default;
};

// The numbers that are there, lowest first; by base name ("ins_….log"). Of one base, or of all in the folder.
using Numbers = std::map<std::string, std::vector<std::uint64_t>, std::less<>>;
Numbers numbers_in(const fs::path& folder);
fs::path file_of(const fs::path& base, std::uint64_t number);

class LogFile {
 public:
  LogFile(fs::path base, const Clock& clock, const Limits& limits) : base_(std::move(base)), clock_(clock), limits_(limits) {}

  // Whole records. `instances` of the app write now: they share app_bytes. What could not be written is not there in part
  // either; `written` says how many bytes of `records` are.
  Result<void> append(std::string_view records, std::size_t instances, std::size_t& written);

 private:
  Result<void> open_one();
  Result<void> take_next();
  void look_at_end();
  void prune();
  std::uint64_t most_bytes(std::size_t instances) const;

  const fs::path base_;
  const Clock& clock_;
  const Limits limits_;
  FileHandle file_;
  std::uint64_t number_ = 0, size_ = 0;
  std::int64_t begun_ = 0;  // Unix ms of the first record
  bool torn_ = false;       // the file does not end with a whole record
};

// What an app has, newest instance first.
struct AppFiles {
  struct Instance {
    std::string base;      // "ins_….log"
    bool running = false;
  };
  std::vector<Instance> instances;
};

// Removes what is too old, what is over an app's bytes (oldest first, never what is written to), and the logs of nobody.
// `there` was listed before `apps`, who are all there are: a log that is made meanwhile is left alone.
struct Trimmed {
  std::size_t files = 0;
  std::uint64_t bytes = 0;
};
Trimmed trim(const fs::path& folder, const Numbers& there, const std::vector<AppFiles>& apps, const Limits& limits, std::int64_t now_ms);
// Every file of it.
void remove_log(const fs::path& base);

}  // namespace via::logs
