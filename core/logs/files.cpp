#include "core/logs/files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <set>

#include "core/logs/record.hpp"

namespace via::logs {
namespace {

constexpr std::string_view kEnd = ".log";
constexpr std::uint64_t kLeastFile = 2 * kMaximumRecord;  // whatever the share

// "ins_x.log.12" -> "ins_x.log", 12
bool split(std::string_view name, std::string_view& base, std::uint64_t& number) {
  number = 0;
  base = name;
  if (name.ends_with(kEnd)) return name.size() > kEnd.size();
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size() || name[dot + 1] == '0') return false;
  base = name.substr(0, dot);
  const auto [end, error] = std::from_chars(name.data() + dot + 1, name.data() + name.size(), number);
  return error == std::errc{} && end == name.data() + name.size() && base.ends_with(kEnd) && base.size() > kEnd.size();
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

std::int64_t changed_ms(const struct stat& st) {
  return static_cast<std::int64_t>(st.st_mtim.tv_sec) * 1000 + st.st_mtim.tv_nsec / 1'000'000;
}

}  // namespace

Numbers numbers_in(const fs::path& folder) {
  Numbers out;
  const std::unique_ptr<DIR, CloseFolder> open(::opendir(folder.c_str()));
  if (!open) return out;
  while (const dirent* entry = ::readdir(open.get())) {  // NOLINT(concurrency-mt-unsafe): the stream is ours
    std::string_view base;
    std::uint64_t number = 0;
    if (split(entry->d_name, base, number)) out[std::string(base)].push_back(number);
  }
  for (auto& [base, numbers] : out) std::sort(numbers.begin(), numbers.end());
  return out;
}

fs::path file_of(const fs::path& base, std::uint64_t number) {
  if (number == 0) return base;
  fs::path out = base;
  out += "." + std::to_string(number);
  return out;
}

std::uint64_t LogFile::most_bytes(std::size_t instances) const {
  const std::uint64_t share = limits_.app_bytes / std::max<std::size_t>(instances, 1) / static_cast<std::uint64_t>(limits_.files);
  return std::max(std::min(limits_.max_bytes, share), kLeastFile);
}

// Where what is there ends, and whether with a whole record.
void LogFile::look_at_end() {
  torn_ = false;
  if (size_ == 0) return;
  char last = '\n';
  torn_ = ::pread(file_.get(), &last, 1, static_cast<off_t>(size_ - 1)) == 1 && last != '\n';
  char head[64];
  const ssize_t n = ::pread(file_.get(), head, sizeof head, 0);
  const auto first = n > 24 ? parse_time(std::string_view(head, 24)) : std::nullopt;
  begun_ = first.value_or(clock_.unix_ms());
}

// The newest one that is there, when it may be written on.
Result<void> LogFile::open_one() {
  const Numbers there = numbers_in(base_.parent_path());
  const auto found = there.find(base_.filename().string());
  if (found != there.end()) number_ = std::max(number_, found->second.back());
  if (number_ > 0) {
    FileHandle file(::open(file_of(base_, number_).c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat st {};
    if (file && ::fstat(file.get(), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == ::geteuid() &&
        ::fchmod(file.get(), 0600) == 0) {
      file_ = std::move(file);
      size_ = static_cast<std::uint64_t>(st.st_size);
      look_at_end();
      return {};
    }
  }
  return take_next();
}

Result<void> LogFile::take_next() {
  file_.reset();
  for (int attempts = 0; attempts < 100; ++attempts) {
    FileHandle file(::open(file_of(base_, number_ + 1).c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file && errno != EEXIST) return system_error("make a log file", errno);
    ++number_;
    if (!file) continue;  // something else has its name
    file_ = std::move(file);
    size_ = 0;
    torn_ = false;
    prune();
    return {};
  }
  return fail(Code::internal, "there is no free name for a log file");
}

// Oldest first, until `files` are there.
void LogFile::prune() {
  const Numbers there = numbers_in(base_.parent_path());
  const auto found = there.find(base_.filename().string());
  if (found == there.end()) return;
  const auto& numbers = found->second;
  const std::size_t keep = static_cast<std::size_t>(std::max(limits_.files, 1));
  for (std::size_t i = 0; i + keep < numbers.size(); ++i) ::unlink(file_of(base_, numbers[i]).c_str());
}

Result<void> LogFile::append(std::string_view records, std::size_t instances, std::size_t& written) {
  written = 0;
  const std::uint64_t most = most_bytes(instances);
  // A file goes when it is too old, so lines of very different age are not put into one.
  const std::int64_t span = limits_.max_age_hours * 3'600'000 / limits_.files;
  while (written < records.size()) {
    struct stat st {};
    if (file_ && (::fstat(file_.get(), &st) != 0 || st.st_nlink == 0)) file_.reset();  // removed by somebody else
    if (!file_)
      if (auto opened = open_one(); !opened) return opened;
    if (size_ > 0 && clock_.unix_ms() - begun_ > span)
      if (auto next = take_next(); !next) return next;
    std::string_view part = records.substr(written);
    const std::uint64_t room = most > size_ ? most - size_ : 0;
    if (part.size() > room) {
      const auto end = part.substr(0, room).rfind('\n');
      if (end == std::string_view::npos) {
        if (size_ > 0) {
          if (auto next = take_next(); !next) return next;
          continue;
        }
        part = part.substr(0, part.find('\n') + 1);  // a record that is larger than a file may be
      } else {
        part = part.substr(0, end + 1);
      }
    }
    if (size_ == 0) begun_ = clock_.unix_ms();
    const std::uint64_t before = size_;
    const auto put = [&](std::string_view bytes) {
      while (!bytes.empty()) {
        const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return n < 0 ? errno : EIO;
        bytes.remove_prefix(static_cast<std::size_t>(n));
        size_ += static_cast<std::uint64_t>(n);
      }
      return 0;
    };
    int why = torn_ ? put("\n") : 0;
    if (why == 0) torn_ = false;
    if (why == 0) why = put(part);
    if (why != 0) {
      // Back to the last whole record.
      if (size_ != before) {
        if (::ftruncate(file_.get(), static_cast<off_t>(before)) == 0)
          size_ = before;
        else
          torn_ = true;
      }
      return system_error("write a log", why);
    }
    written += part.size();
  }
  return {};
}

void remove_log(const fs::path& base) {
  const Numbers there = numbers_in(base.parent_path());
  if (const auto found = there.find(base.filename().string()); found != there.end())
    for (const auto number : found->second) ::unlink(file_of(base, number).c_str());
}

Trimmed trim(const fs::path& folder, const Numbers& listed, const std::vector<AppFiles>& apps, const Limits& limits, std::int64_t now_ms) {
  Trimmed out;
  Numbers there = listed;
  const auto remove = [&](const fs::path& file, std::uint64_t bytes) {
    if (::unlink(file.c_str()) != 0) return;
    ++out.files;
    out.bytes += bytes;
  };
  struct File {
    fs::path path;
    std::int64_t changed;
    std::uint64_t bytes;
  };
  for (const AppFiles& app : apps) {
    std::vector<File> closed;
    std::uint64_t total = 0;
    for (const auto& instance : app.instances) {
      const auto found = there.find(instance.base);
      if (found == there.end()) continue;
      for (const auto number : found->second) {
        const fs::path path = file_of(folder / instance.base, number);
        struct stat st {};
        if (::lstat(path.c_str(), &st) != 0) continue;
        const auto bytes = static_cast<std::uint64_t>(std::max<off_t>(st.st_size, 0));
        const bool newest = number == found->second.back();
        if (!newest && changed_ms(st) + limits.max_age_hours * 3'600'000 < now_ms) {
          remove(path, bytes);
          continue;
        }
        total += bytes;
        if (!newest || !instance.running) closed.push_back({path, changed_ms(st), bytes});
      }
      there.erase(found);
    }
    std::sort(closed.begin(), closed.end(), [](const File& a, const File& b) { return a.changed < b.changed; });
    for (const File& file : closed) {
      if (total <= limits.app_bytes) break;
      remove(file.path, file.bytes);
      total -= file.bytes;
    }
  }
  for (const auto& [base, numbers] : there)
    for (const auto number : numbers) remove(file_of(folder / base, number), 0);
  return out;
}

}  // namespace via::logs
