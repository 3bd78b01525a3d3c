#include "plugins/sqlite/api/query_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>

namespace via::sqlite::api {
namespace {

namespace json = boost::json;

constexpr uint64_t kPause = 1'000'000'000;

size_t size_of(const RanStatement& s) { return s.sql.size() + s.error.size() + 64; }

// At most `most` bytes, not in the middle of a character.
std::string shortened(std::string_view text, size_t most) {
  if (text.size() <= most) return std::string(text);
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return std::string(text.substr(0, most)) + "…";
}

}  // namespace

std::string QueryLog::path() const {
  const std::string& database = database_.path();
  const size_t slash = database.rfind('/');
  return database.substr(0, slash + 1) + "." + database.substr(slash + 1) + ".history";
}

void QueryLog::load_locked() {
  if (std::exchange(loaded_, true)) return;
  struct stat st {};
  if (::lstat(path().c_str(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<size_t>(st.st_size) > 4 * kMaxBytes) return;
  std::ifstream in(path(), std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    const json::value file = json::parse(text);
    std::deque<RanStatement> read;
    size_t bytes = 0;
    uint64_t last = 0;
    for (const json::value& item : file.at("entries").as_array()) {
      RanStatement s;
      s.index = item.at("index").to_number<uint64_t>();
      s.unix_ms = item.at("ms").to_number<int64_t>();
      s.duration_us = item.at("us").to_number<uint64_t>();
      s.sql = item.at("sql").as_string().c_str();
      s.error = item.at("error").as_string().c_str();
      s.success = s.error.empty();
      if (s.index <= last) return;
      last = s.index;
      bytes += size_of(s);
      read.push_back(std::move(s));
    }
    next_ = std::max(file.at("next").to_number<uint64_t>(), last + 1);
    entries_ = std::move(read);
    bytes_ = bytes;
    trim_locked();
  } catch (const std::exception&) {
    // Damaged: empty, and replaced at the next change.
  }
}

void QueryLog::trim_locked() {
  while (!entries_.empty() && (entries_.size() > kMaxEntries || bytes_ > kMaxBytes)) {
    bytes_ -= size_of(entries_.front());
    entries_.pop_front();
  }
}

void QueryLog::append(std::vector<RanStatement>&& ran) {
  const std::lock_guard lock(mutex_);
  load_locked();
  for (RanStatement& s : ran) {
    s.index = next_++;
    bytes_ += size_of(s);
    entries_.push_back(std::move(s));
  }
  trim_locked();
  changed_locked();
}

void QueryLog::changed_locked() {
  if (scheduled_ || !database_.queue()) return;
  const via_executor* executor = database_.host().executor();
  scheduled_ = executor->post(database_.queue(), kPause, &QueryLog::write_task, this, nullptr) == VIA_OK;
}

// Also when the queue ends: what is there by then is kept.
void QueryLog::write_task(void* self, via_status) { static_cast<QueryLog*>(self)->write(); }

void QueryLog::write() {
  json::array list;
  uint64_t next = 0;
  {
    const std::lock_guard lock(mutex_);
    scheduled_ = false;
    next = next_;
    for (const RanStatement& s : entries_)
      list.push_back(json::object{{"index", s.index}, {"ms", s.unix_ms}, {"us", s.duration_us}, {"sql", s.sql}, {"error", s.error}});
  }
  const std::string text = json::serialize(json::object{{"next", next}, {"entries", std::move(list)}});
  const std::string target = path(), partial = target + ".partial";
  ::unlink(partial.c_str());
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) return;
  struct stat before {};
  const int64_t had = ::lstat(target.c_str(), &before) == 0 ? before.st_size : 0;
  const bool whole = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(file);
  if (!whole || ::rename(partial.c_str(), target.c_str()) != 0) ::unlink(partial.c_str());
  else database_.count_beside(static_cast<int64_t>(text.size()) - had);
}

std::vector<RanStatement> QueryLog::newest(size_t limit, uint64_t from) {
  const std::lock_guard lock(mutex_);
  load_locked();
  const auto first = std::find_if(entries_.rbegin(), entries_.rend(), [from](const RanStatement& s) { return s.index <= from; });
  return {first, first + static_cast<std::ptrdiff_t>(std::min(limit, static_cast<size_t>(entries_.rend() - first)))};
}

bool QueryLog::remove(uint64_t index) {
  const std::lock_guard lock(mutex_);
  load_locked();
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const RanStatement& s) { return s.index == index; });
  if (at == entries_.end()) return false;
  bytes_ -= size_of(*at);
  entries_.erase(at);
  changed_locked();
  return true;
}

size_t QueryLog::clear() {
  const std::lock_guard lock(mutex_);
  load_locked();
  const size_t n = entries_.size();
  entries_.clear();
  bytes_ = 0;
  changed_locked();
  return n;
}

QueryLog::Totals QueryLog::totals() {
  const std::lock_guard lock(mutex_);
  load_locked();
  Totals t;
  t.entries = entries_.size();
  t.bytes = bytes_;
  for (const RanStatement& s : entries_) t.failed += s.success ? 0 : 1;
  if (!entries_.empty()) t.oldest_ms = entries_.front().unix_ms, t.newest_ms = entries_.back().unix_ms;
  return t;
}

void RunningStatements::add(std::string_view sql, int64_t unix_ms, uint64_t duration_ns, const Failure& failure) {
  if (ran_.size() >= QueryLog::kMaxEntries) return;
  RanStatement s;
  s.unix_ms = unix_ms;
  s.duration_us = duration_ns / 1000;
  s.success = !failure;
  s.sql = shortened(sql, QueryLog::kMaxText);
  if (failure) s.error = shortened(failure.message.empty() ? "failed" : failure.message, 1024);
  ran_.push_back(std::move(s));
}

RunningStatements::~RunningStatements() {
  try {
    if (!ran_.empty()) database_->attached<QueryLog>(database_->database()).append(std::move(ran_));
  } catch (...) {  // no memory for the log is no reason to end
  }
}

}  // namespace via::sqlite::api
