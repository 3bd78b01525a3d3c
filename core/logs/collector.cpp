#include "core/logs/collector.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/logs/burst.hpp"
#include "core/logs/record.hpp"

namespace via::logs {
namespace {

// Pauses are waited for by the kernel, so they are real time and not the Clock's.
using Time = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kTurn = 256U << 10;       // of a stream between two pauses
constexpr milliseconds kPause{10};
constexpr std::size_t kHigh = 512U << 10;       // of an instance: its streams wait for the disk
constexpr std::size_t kRoom = 2U << 20;         // of an instance: more is dropped
constexpr std::size_t kAllRoom = 32U << 20;     // of all
constexpr milliseconds kPatience{1000};         // with the disk, before lines are dropped
constexpr std::uint64_t kPartialNs = 1'000'000'000;
constexpr milliseconds kLook{100};              // for partial lines and gaps that are over
constexpr std::uint64_t kWarnNs = 60'000'000'000;

void name_thread(const char* name) { ::pthread_setname_np(::pthread_self(), name); }

std::string count_text(std::uint64_t lines) { return std::to_string(lines) + (lines == 1 ? " line" : " lines") + " dropped: "; }

}  // namespace

struct Collector::Impl : std::enable_shared_from_this<Impl> {
  // One instance. The reader's and the disk's members are touched by that thread only.
  struct Log {
    Log(std::string app_name, std::string id, const fs::path& base, const Clock& clock, const Limits& limits)
        : app(std::move(app_name)),
          instance(std::move(id)),
          burst(limits.burst_lines_per_s, limits.burst_bytes_per_s, clock.mono_ns()),
          file(base, clock, limits) {}
    const std::string app, instance;
    // The reader's.
    Burst burst;
    std::uint64_t gap = 0;  // lines dropped since the burst limit was reached
    std::uint64_t warned_ns = 0;
    // The disk's.
    LogFile file;
    std::uint64_t lost = 0;  // lines that could not be written since the last that was
    bool failing = false;
    // Guarded by mutex.
    std::string room;
    std::uint64_t behind = 0;  // lines for which there was no room
    Time::time_point waiting_since{};
    int runs = 0;
    bool busy = false;  // the disk's thread works on it
  };
  struct Source {
    std::shared_ptr<Log> log;
    Stream stream = Stream::out;
    std::uint64_t run = 0;
    FileHandle fd;
    LineCutter cutter{};
    std::uint64_t partial_ns = 0;  // since when a line without an end is held; 0 = none
    bool paused = false;
    Time::time_point resume{};
  };

  Impl(const Clock& c, Logger& l, const Limits& wanted, Dropped dropped, std::function<int()> before)
      : clock(c), log(l), limits(wanted), on_dropped(std::move(dropped)), before_write(std::move(before)) {
    wake_fd = FileHandle(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    poll_fd = FileHandle(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = 0;
    if (!wake_fd || !poll_fd || ::epoll_ctl(poll_fd.get(), EPOLL_CTL_ADD, wake_fd.get(), &event) != 0)
      throw std::system_error(errno, std::generic_category(), "make the collector of logs");
  }

  void start() {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    reader = std::thread([this] { read_all(); });
    disk = std::thread([this] { write_all(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      closing = true;
    }
    wake();
    reader.join();
    {
      const std::lock_guard lock(mutex);
      reader_gone = true;
    }
    for_disk.notify_all();
    disk.join();
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(wake_fd.get(), &one, sizeof one);
  }

  // --- the reader ---------------------------------------------------------------------------------------------------

  void read_all() {
    name_thread("via-logs");
    buffer.resize(64U << 10);
    std::array<epoll_event, 64> events{};
    for (;;) {
      std::uint64_t asked_for = 0;
      bool wanted = false;  // a whole pass, begun after it was asked for
      {
        const std::lock_guard lock(mutex);
        asked_for = settle_asked;
        wanted = settle_asked != settle_seen;
      }
      const int wait_ms = wanted ? 0 : next_wait();
      const int ready = ::epoll_wait(poll_fd.get(), events.data(), static_cast<int>(events.size()), wait_ms);
      std::uint64_t asked = 0;
      for (int i = 0; i < ready; ++i) {
        const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
        if (id == 0) {
          [[maybe_unused]] const ssize_t ignored = ::read(wake_fd.get(), &asked, sizeof asked);
        } else if (const auto at = sources.find(id); at != sources.end()) {
          read_some(id, at->second, kTurn, false);
        }
      }
      if (take_changes()) return;
      for (auto at = sources.begin(); at != sources.end();) {
        const auto now = at++;  // read_some() may remove it
        Source& source = now->second;
        if (source.paused && Time::now() >= source.resume) watch(now->first, source, true);
        if (source.partial_ns != 0 && clock.mono_ns() - source.partial_ns >= kPartialNs) end_partial(source, false);
      }
      for (const auto& held : gaps()) close_gap(*held, false);
      {
        const std::lock_guard lock(mutex);
        settle_seen = asked_for;
      }
      settled.notify_all();
    }
  }

  int next_wait() {
    std::int64_t wait = -1;
    const auto within = [&](std::int64_t ms) { wait = wait < 0 ? ms : std::min(wait, ms); };
    for (const auto& [id, source] : sources) {
      if (source.paused)
        within(std::max<std::int64_t>(0, std::chrono::ceil<milliseconds>(source.resume - Time::now()).count()));
      if (source.partial_ns != 0 || source.log->gap != 0) within(kLook.count());
    }
    return static_cast<int>(wait);
  }

  std::vector<std::shared_ptr<Log>> gaps() {
    std::vector<std::shared_ptr<Log>> out;
    for (const auto& [id, source] : sources)
      if (source.log->gap != 0 && (out.empty() || out.back() != source.log)) out.push_back(source.log);
    return out;
  }

  // What open() and the ends of runs asked for; true when the collector ends.
  bool take_changes() {
    std::vector<std::pair<std::uint64_t, Source>> added;
    std::vector<std::uint64_t> ended;
    bool end = false;
    {
      const std::lock_guard lock(mutex);
      added.swap(incoming);
      ended.swap(endings);
      end = closing;
      if (end) {
        ended.clear();
        for (const auto& [run, one] : runs) ended.push_back(run);
      }
    }
    for (auto& [id, source] : added) {
      watch(id, sources.emplace(id, std::move(source)).first->second, true);
    }
    for (const std::uint64_t run : ended) end_run(run);
    return end;
  }

  // What is not watched is taken off: without events it would still tell of a hang-up, again and again. Where the kernel
  // has no room for it, it is tried again.
  void watch(std::uint64_t id, Source& source, bool on) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = id;
    const bool done = ::epoll_ctl(poll_fd.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, source.fd.get(), &event) == 0;
    source.paused = !on || !done;
    if (on && !done) source.resume = Time::now() + kLook;
  }

  void pause(std::uint64_t id, Source& source) {
    source.resume = Time::now() + kPause;
    if (!source.paused) watch(id, source, false);
  }

  // Up to `most` bytes; an `ending` stream does not wait for the disk.
  void read_some(std::uint64_t id, Source& source, std::size_t most, bool ending) {
    if (!ending && must_wait(*source.log)) return pause(id, source);
    std::size_t had = 0;
    while (had < most) {
      const ssize_t n = ::read(source.fd.get(), buffer.data(), std::min(buffer.size(), most - had));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {  // nobody writes there any more
        if (!ending) close_source(id, source);
        return;
      }
      had += static_cast<std::size_t>(n);
      take(source, std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    }
    if (!ending) pause(id, source);
  }

  bool must_wait(Log& one) {
    const std::lock_guard lock(mutex);
    if (one.room.size() < kHigh) return false;
    return Time::now() - one.waiting_since < kPatience;
  }

  void take(Source& source, std::string_view bytes) {
    Log& one = *source.log;
    const std::uint64_t now_ns = clock.mono_ns();
    close_gap(one, false);
    const std::string time = format_time(clock.unix_ms());
    records.clear();
    std::uint64_t lines = 0, dropped = 0;
    source.cutter.feed(bytes, [&](std::string_view piece, bool cut) {
      const std::size_t before = records.size();
      append_record(records, time, source.stream, cut, piece);
      if (one.burst.admit(records.size() - before, now_ns)) {
        ++lines;
        return true;
      }
      records.resize(before);
      ++dropped;
      return false;
    });
    if (!source.cutter.holds())
      source.partial_ns = 0;
    else if (source.partial_ns == 0)
      source.partial_ns = std::max<std::uint64_t>(now_ns, 1);
    if (dropped != 0) note_dropped(one, dropped, now_ns);
    put(one, records, lines);
  }

  void note_dropped(Log& one, std::uint64_t lines, std::uint64_t now_ns) {
    if (one.gap == 0 && (one.warned_ns == 0 || now_ns - one.warned_ns >= kWarnNs)) {
      one.warned_ns = std::max<std::uint64_t>(now_ns, 1);
      log.warn("app_log_dropping", {{"app", one.app}, {"instance", one.instance}, {"why", "burst"}});
    }
    one.gap += lines;
    tell(one, "burst", lines);
  }

  void tell(const Log& one, std::string_view why, std::uint64_t lines) const {
    if (on_dropped && lines != 0) on_dropped(one.app, why, lines);
  }

  void close_gap(Log& one, bool at_end) {
    if (one.gap == 0 || !(at_end || one.burst.over(clock.mono_ns()))) return;
    std::string note;
    append_record(note, format_time(clock.unix_ms()), Stream::host, false,
                  count_text(one.gap) + "more than " + std::to_string(limits.burst_lines_per_s) + " lines or " +
                      std::to_string(limits.burst_bytes_per_s) + " bytes a second");
    one.gap = 0;
    put(one, note, 0);
  }

  void end_partial(Source& source, bool at_end) {
    source.partial_ns = 0;
    Log& one = *source.log;
    const std::uint64_t now_ns = clock.mono_ns();
    records.clear();
    source.cutter.flush(at_end, [&](std::string_view piece, bool cut) {
      append_record(records, format_time(clock.unix_ms()), source.stream, cut, piece);
      if (one.burst.admit(records.size(), now_ns)) return true;
      records.clear();
      note_dropped(one, 1, now_ns);
      return false;
    });
    put(one, records, records.empty() ? 0 : 1);
  }

  // Into the room, or nowhere.
  void put(Log& one, std::string_view text, std::uint64_t lines) {
    if (text.empty()) return;
    {
      const std::lock_guard lock(mutex);
      if (one.room.size() + text.size() <= kRoom && in_rooms + text.size() <= kAllRoom) {
        if (one.room.size() < kHigh && one.room.size() + text.size() >= kHigh) one.waiting_since = Time::now();
        one.room += text;
        in_rooms += text.size();
        lines = 0;
      }
      one.behind += lines;
    }
    for_disk.notify_one();
    tell(one, "slow_disk", lines);
  }

  void close_source(std::uint64_t id, Source& source) {
    end_partial(source, true);
    if (!source.paused) ::epoll_ctl(poll_fd.get(), EPOLL_CTL_DEL, source.fd.get(), nullptr);
    sources.erase(id);
  }

  void end_run(std::uint64_t run) {
    std::shared_ptr<Log> one;
    {
      const std::lock_guard lock(mutex);
      const auto known = runs.find(run);
      if (known == runs.end()) return;
      one = known->second;
    }
    for (auto at = sources.begin(); at != sources.end();) {
      const auto now = at++;
      if (now->second.run != run) continue;
      // What the process wrote is in the pipe, and that is all a pipe can hold.
      const int holds = ::fcntl(now->second.fd.get(), F_GETPIPE_SZ);
      read_some(now->first, now->second, static_cast<std::size_t>(std::max(holds, 65'536)), true);
      close_source(now->first, now->second);
    }
    close_gap(*one, true);
    const std::lock_guard lock(mutex);
    runs.erase(run);
    --one->runs;
    for_disk.notify_one();
  }

  // --- the disk -----------------------------------------------------------------------------------------------------

  void write_all() {
    name_thread("via-logs-disk");
    std::unique_lock lock(mutex);
    for (;;) {
      std::shared_ptr<Log> one = next_log();
      if (!one) {
        settled.notify_all();
        if (reader_gone) return;
        for_disk.wait(lock);
        continue;
      }
      one->busy = true;
      std::string taken = std::exchange(one->room, {});
      in_rooms -= taken.size();
      const std::uint64_t behind = std::exchange(one->behind, 0);
      const bool last = one->runs == 0;
      std::size_t instances = 0;
      for (const auto& [id, other] : logs) instances += other->app == one->app ? 1 : 0;
      lock.unlock();
      if (behind != 0)
        append_record(taken, format_time(clock.unix_ms()), Stream::host, false, count_text(behind) + "the disk is too slow");
      write(*one, taken, instances);
      lock.lock();
      one->busy = false;
      if (last && one->runs == 0 && one->room.empty() && one->behind == 0) logs.erase(one->instance);
    }
  }

  // One with something to write, in turn; or one to be closed.
  std::shared_ptr<Log> next_log() {
    const auto wants = [](const Log& one) { return !one.room.empty() || one.behind != 0 || one.runs == 0; };
    auto at = logs.upper_bound(last_written);
    for (std::size_t i = 0; i < logs.size(); ++i, ++at) {
      if (at == logs.end()) at = logs.begin();
      if (!wants(*at->second)) continue;
      last_written = at->first;
      return at->second;
    }
    return nullptr;
  }

  void write(Log& one, std::string_view taken, std::size_t instances) {
    if (taken.empty()) return;
    std::string note;
    if (one.lost != 0) {
      append_record(note, format_time(clock.unix_ms()), Stream::host, false, count_text(one.lost) + "the disk did not take them");
      note += taken;
      taken = note;
    }
    const std::size_t head = note.empty() ? 0 : note.find('\n') + 1;
    std::size_t written = 0;
    Result<void> done{};
    if (const int problem = before_write ? before_write() : 0; problem != 0)
      done = system_error("write a log", problem);
    else
      done = one.file.append(taken, instances, written);
    if (written >= head) one.lost = 0;
    if (done) {
      one.failing = false;
      return;
    }
    if (!one.failing) log.warn("app_log_not_written", {{"app", one.app}, {"instance", one.instance}, {"reason", done.error().message}});
    one.failing = true;
    const std::string_view rest = taken.substr(std::max(written, head));
    const auto lines = static_cast<std::uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
    one.lost += lines;
    tell(one, "disk", lines);
  }

  const Clock& clock;
  Logger& log;
  const Limits limits;
  const Dropped on_dropped;
  const std::function<int()> before_write;
  FileHandle wake_fd, poll_fd;

  // The reader's.
  std::map<std::uint64_t, Source> sources;  // by a number of their own
  std::string buffer, records;

  std::mutex mutex;  // leaf
  std::condition_variable for_disk, settled;
  // All below are guarded by mutex.
  std::vector<std::pair<std::uint64_t, Source>> incoming;
  std::vector<std::uint64_t> endings;                    // runs
  std::map<std::string, std::shared_ptr<Log>> logs;      // by instance
  std::map<std::uint64_t, std::shared_ptr<Log>> runs;
  std::string last_written;
  std::size_t in_rooms = 0;
  std::uint64_t last_id = 0, settle_asked = 0, settle_seen = 0;
  bool closing = false, reader_gone = false;

  std::thread reader, disk;
};

Collector::Collector(const Clock& clock, Logger& log, const Limits& limits, Dropped on_dropped, std::function<int()> before_write)
    : impl_(std::make_shared<Impl>(clock, log, limits, std::move(on_dropped), std::move(before_write))) {
  impl_->start();
}

Collector::~Collector() { impl_->stop(); }

Result<Collector::Run> Collector::open(const std::string& app, const std::string& instance, const fs::path& base) {
  Run run;
  FileHandle ends[2];
  for (const bool second : {false, true}) {
    int pair[2] = {-1, -1};
    if (::pipe2(pair, O_CLOEXEC) != 0) return system_error("make a pipe", errno);
    ends[second] = FileHandle(pair[0]);
    (second ? run.err : run.out) = FileHandle(pair[1]);
    if (::fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0) return system_error("make a pipe", errno);
  }
  {
    const std::lock_guard lock(impl_->mutex);
    auto& one = impl_->logs[instance];
    if (!one) one = std::make_shared<Impl::Log>(app, instance, base, impl_->clock, impl_->limits);
    ++one->runs;
    run.id_ = ++impl_->last_id;
    impl_->runs.emplace(run.id_, one);
    for (const bool second : {false, true}) {
      Impl::Source source;
      source.log = one;
      source.stream = second ? Stream::err : Stream::out;
      source.run = run.id_;
      source.fd = std::move(ends[second]);
      impl_->incoming.emplace_back(++impl_->last_id, std::move(source));
    }
  }
  run.owner_ = impl_;
  impl_->wake();
  return {boost::system::in_place_value, std::move(run)};
}

Collector::Run& Collector::Run::operator=(Run&& other) noexcept {
  if (this == &other) return *this;
  end();
  out = std::move(other.out);
  err = std::move(other.err);
  owner_ = std::move(other.owner_);
  other.owner_.reset();
  id_ = other.id_;
  return *this;
}

void Collector::Run::end() noexcept {
  out.reset();
  err.reset();
  if (const auto owner = owner_.lock()) {
    {
      const std::lock_guard lock(owner->mutex);
      owner->endings.push_back(id_);
    }
    owner->wake();
  }
  owner_.reset();
}

bool Collector::settle(int wait_ms) {
  Impl& one = *impl_;
  std::unique_lock lock(one.mutex);
  const std::uint64_t wanted = ++one.settle_asked;
  one.wake();
  return one.settled.wait_for(lock, milliseconds(wait_ms), [&] {
    return one.settle_seen >= wanted && std::none_of(one.logs.begin(), one.logs.end(), [](const auto& item) {
      const Impl::Log& log = *item.second;
      return log.busy || !log.room.empty() || log.behind != 0 || log.runs == 0;
    });
  });
}

}  // namespace via::logs
