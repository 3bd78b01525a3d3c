#include "core/logs/reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <deque>

#include "core/base/files.hpp"

namespace via::logs {
namespace {

constexpr std::size_t kMostSources = 256, kMostBytes = 4U << 20, kBlock = 64U << 10;
constexpr std::size_t kLongest = 1U << 20;  // of what an earlier Via wrote
// A log that ended so long before the cursor was made does not go on.
constexpr std::int64_t kStillMs = 10'000;

struct Open {
  FileHandle file;
  std::uint64_t size = 0;
  std::int64_t changed = 0;
};

std::int64_t milliseconds(const struct stat& st) {
  return static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 + st.st_mtim.tv_nsec / 1'000'000;
}

// 0 of what is not there.
std::int64_t changed_at(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? milliseconds(st) : 0;
}

Open open_file(const fs::path& path) {
  Open out;
  out.file = FileHandle(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (!out.file || ::fstat(out.file.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  out.size = static_cast<std::uint64_t>(st.st_size);
  out.changed = milliseconds(st);
  return out;
}

// One instance's lines from a place on.
class Walk {
 public:
  Walk(std::string instance, fs::path base, const std::vector<std::uint64_t>& numbers, Place from)
      : instance_(std::move(instance)), base_(std::move(base)), numbers_(numbers), place_(from) {
    if (place_.file != 0 || place_.offset != 0) {
      if (place_.file < numbers_.front()) {
        place_ = {numbers_.front(), 0};
        gap_ = true;
      }
    } else {
      place_ = {numbers_.front(), 0};
    }
  }

  // The next line that is there, or nothing.
  const Line* peek() {
    while (!line_) {
      if (done_ || (!opened_ && !open_at())) return nothing();
      if (gap_) {
        gap_ = false;
        next_ = place_;
        line_ = Line{instance_, changed_, Stream::host, false, "lines are missing: they were rotated away before they were read"};
        if (const auto first = first_time()) line_->time = *first;
        break;
      }
      const std::size_t end = buffer_.find('\n', at_);
      const bool newest = place_.file == numbers_.back();
      if (end == std::string::npos && fill()) continue;
      const bool waits = newest && buffer_.size() - at_ < kLongest;  // for the rest of a line
      if (end == std::string::npos && (waits || at_ == buffer_.size())) {
        if (waits || !next_file()) return nothing();
        continue;
      }
      const std::size_t stop = std::min(end, buffer_.size());
      make(std::string_view(buffer_).substr(at_, stop - at_));
      next_ = {place_.file, place_.offset + (stop - at_) + (end == std::string::npos ? 0 : 1)};
    }
    return &*line_;
  }
  Line take() {
    Line out = std::move(*line_);
    line_.reset();
    at_ += next_.offset - place_.offset;
    place_ = next_;
    return out;
  }
  void skip() { (void)take(); }
  Place place() const { return place_; }
  const std::string& instance() const { return instance_; }

 private:
  const Line* nothing() {
    done_ = true;
    return nullptr;
  }
  bool open_at() {
    for (;;) {
      Open open = open_file(file_of(base_, place_.file));
      if (open.file) {
        file_ = std::move(open.file);
        changed_ = open.changed;
        if (place_.offset > open.size) place_.offset = 0;  // another file of that number
        buffer_.clear();
        at_ = 0;
        last_time_ = changed_;
        return opened_ = true;
      }
      if (!next_file()) return false;
    }
  }
  bool next_file() {
    const auto next = std::upper_bound(numbers_.begin(), numbers_.end(), place_.file);
    if (next == numbers_.end()) return false;
    place_ = {*next, 0};
    opened_ = false;
    return true;
  }
  // More of the file behind what is in the buffer.
  bool fill() {
    buffer_.erase(0, at_);
    at_ = 0;
    if (buffer_.size() >= kLongest) return false;
    const std::size_t had = buffer_.size();
    buffer_.resize(had + kBlock);
    ssize_t n = -1;
    do {
      n = ::pread(file_.get(), buffer_.data() + had, kBlock, static_cast<off_t>(place_.offset + had));
    } while (n < 0 && errno == EINTR);
    buffer_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return n > 0;
  }
  void make(std::string_view bytes) {
    Line line;
    line.instance = instance_;
    if (const auto record = parse_record(bytes)) {
      last_time_ = line.time = record->time;
      line.stream = record->stream;
      line.cut = record->cut;
      line.text = record->text;
    } else {  // of an earlier Via, or torn by a crash
      line.time = last_time_;
      append_visible(line.text, bytes.substr(0, kMaximumLine));
    }
    line_ = std::move(line);
  }
  std::optional<std::int64_t> first_time() {
    while (buffer_.size() < 64 && fill()) {}
    const auto record = parse_record(std::string_view(buffer_).substr(0, buffer_.find('\n')));
    return record ? std::optional(record->time) : std::nullopt;
  }

  const std::string instance_;
  const fs::path base_;
  const std::vector<std::uint64_t> numbers_;
  FileHandle file_;
  bool opened_ = false, gap_ = false, done_ = false;
  std::int64_t changed_ = 0, last_time_ = 0;
  Place place_, next_;   // of the line that is next, and behind it
  std::string buffer_;   // the file from place_.offset - at_ on
  std::size_t at_ = 0;
  std::optional<Line> line_;
};

// Where the last `lines` lines of a log begin.
Place tail_place(const fs::path& base, const std::vector<std::uint64_t>& numbers, std::size_t lines, std::size_t most_bytes) {
  std::size_t seen = 0, bytes = 0;
  std::string block(kBlock, '\0');
  for (auto number = numbers.rbegin(); number != numbers.rend(); ++number) {
    const Open open = open_file(file_of(base, *number));
    if (!open.file) continue;
    // The end of the last line is not the start of another.
    for (std::uint64_t at = open.size; at > 0;) {
      const std::size_t size = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, at));
      const ssize_t n = ::pread(open.file.get(), block.data(), size, static_cast<off_t>(at - size));
      if (n != static_cast<ssize_t>(size)) break;
      at -= size;
      for (std::size_t i = size; i-- > 0;) {
        if (block[i] != '\n' || at + i + 1 == open.size) continue;
        if (++seen >= lines) return {*number, at + i + 1};
      }
      if ((bytes += size) > most_bytes) {
        const auto first = block.find('\n');
        return {*number, at + (first == std::string::npos ? 0 : first + 1)};
      }
    }
    if (open.size > 0 && ++seen >= lines) return {*number, 0};  // its first line
  }
  return {numbers.front(), 0};
}

template <class N>
bool read_number(std::string_view& text, N& out, char end) {
  const auto stop = std::min(text.find(end), text.size());
  const auto [at, error] = std::from_chars(text.data(), text.data() + stop, out);
  if (error != std::errc{} || at != text.data() + stop || stop == 0) return false;
  text.remove_prefix(std::min(stop + 1, text.size()));
  return true;
}

}  // namespace

std::string to_text(const Cursor& cursor) {
  std::string out = "1:" + std::to_string(cursor.made_at);
  for (const auto& [instance, place] : cursor.places)
    out += ";" + instance + "=" + std::to_string(place.file) + ":" + std::to_string(place.offset);
  return out;
}

Result<Cursor> parse_cursor(std::string_view text) {
  const Error wrong = fail(Code::bad_request, "That is no cursor of an answer of app.logs.");
  Cursor out;
  if (!text.starts_with("1:")) return wrong;
  text.remove_prefix(2);
  if (!read_number(text, out.made_at, ';')) return wrong;
  while (!text.empty()) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || out.places.size() > 4 * kMostSources) return wrong;
    const std::string instance(text.substr(0, equals));
    text.remove_prefix(equals + 1);
    Place place;
    if (!read_number(text, place.file, ':') || !read_number(text, place.offset, ';')) return wrong;
    out.places[instance] = place;
  }
  return out;
}

Answer read_logs(const fs::path& folder, const Query& query, std::int64_t now_ms) {
  Answer out;
  out.cursor.made_at = now_ms;
  const Numbers there = numbers_in(folder);
  struct Known {
    const Source* source;
    const std::vector<std::uint64_t>* numbers;
    std::int64_t changed;
  };
  std::vector<Known> known;
  const Cursor* before = query.cursor ? &*query.cursor : nullptr;
  for (const Source& source : query.sources) {
    const auto found = there.find(source.instance + ".log");
    const bool placed = before != nullptr && before->places.contains(source.instance);
    if (found == there.end()) {
      if (placed) out.cursor.places[source.instance] = before->places.at(source.instance);
      continue;
    }
    const std::int64_t changed = changed_at(file_of(folder / found->first, found->second.back()));
    if (!placed && changed < query.since && !source.running) continue;
    if (!placed && before != nullptr && changed < before->made_at - kStillMs && !source.running) continue;
    known.push_back({&source, &found->second, changed});
  }
  std::stable_sort(known.begin(), known.end(), [](const Known& a, const Known& b) {
    return a.source->running != b.source->running ? a.source->running : a.changed > b.changed;
  });
  if (known.size() > kMostSources) known.resize(kMostSources);

  std::vector<Walk> walks;
  walks.reserve(known.size());
  for (const Known& one : known) {
    const std::string base = one.source->instance + ".log";
    Place from;
    if (before != nullptr) {
      if (const auto at = before->places.find(one.source->instance); at != before->places.end()) from = at->second;
    } else if (query.last) {
      from = tail_place(folder / base, *one.numbers, std::max<std::size_t>(*query.last, 1), kMostBytes);
    }
    walks.emplace_back(one.source->instance, folder / base, *one.numbers, from);
  }

  std::deque<Line> lines;
  std::size_t bytes = 0;
  for (;;) {
    Walk* first = nullptr;
    const Line* best = nullptr;
    for (Walk& walk : walks) {
      const Line* line = walk.peek();
      if (line != nullptr && (best == nullptr || line->time < best->time)) {
        best = line;
        first = &walk;
      }
    }
    if (first == nullptr) break;
    if (best->time < query.since) {
      first->skip();
      continue;
    }
    if (!query.last && (lines.size() >= query.most || bytes > kMostBytes)) {
      out.more = true;
      break;
    }
    lines.push_back(first->take());
    bytes += lines.back().text.size() + 64;
    while (query.last && !lines.empty() && (lines.size() > *query.last || bytes > kMostBytes)) {
      bytes -= lines.front().text.size() + 64;
      lines.pop_front();
    }
  }
  out.lines.assign(std::make_move_iterator(lines.begin()), std::make_move_iterator(lines.end()));
  for (std::size_t i = 0; i < walks.size(); ++i)
    if (known[i].source->running || out.more || known[i].changed >= now_ms - kStillMs)
      out.cursor.places[walks[i].instance()] = walks[i].place();
  return out;
}

}  // namespace via::logs
