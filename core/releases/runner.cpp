#include "core/releases/runner.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "core/releases/launch.hpp"

namespace via::releases {
namespace {

using sandbox::Word;

// Pauses and graces are waited for by the kernel, so they are real time and not the Clock's.
using Time = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kKillLimit{30'000};

// The group may hold processes although its leader has ended. While the leader is not reaped its number is its own.
void signal_group(pid_t leader, int signal) {
  if (leader <= 0) return;
  if (::kill(-leader, signal) != 0) ::kill(leader, signal);  // before its setsid() it has no group of its own
}

}  // namespace

struct Runner::Impl {
  struct Entry {
    std::uint64_t id = 0;
    ProcessSpec spec;
    ProcessInfo info;
    Child child;                          // pid 0 while none runs
    std::optional<Time::time_point> due;  // of the next start
    Time::time_point started;
    std::uint64_t started_ns = 0;  // for the log, by the Clock
    int pause_ms = 0;
    bool stopping = false, asked = false, killed = false;
    std::uint64_t halts = 0;  // answers to halt()
    Time::time_point kill_at;
  };
  struct Change {
    std::string instance;
    ProcessState state;
    int pid, status;
    std::string reason;
  };

  Impl(const Clock& c, Logger& l, logs::Collector& o, StateCallback callback, SandboxTools t, Backoff b)
      : clock(c), log(l), output(o), on_state(std::move(callback)), tools(std::move(t)), backoff(b) {
    wake_fd = FileHandle(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_fd) throw std::system_error(errno, std::generic_category(), "eventfd");
    thread = std::thread([this] { run(); });
  }

  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t ignored = ::write(wake_fd.get(), &one, sizeof one);
  }

  void report(Entry& entry, ProcessState state, int pid, int status) {
    entry.info.state = state;
    entry.info.pid = pid;
    changes.push_back({entry.spec.instance, state, pid, status, entry.info.reason});
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      step();
      if (!changes.empty()) {
        const auto now_changed = std::exchange(changes, {});
        lock.unlock();
        for (const Change& change : now_changed) {
          try {
            if (on_state) on_state(change.instance, change.state, change.pid, change.status, change.reason);
          } catch (const std::exception&) {
            log.error("process_callback_failed", {{"instance", change.instance}});
          }
        }
        lock.lock();
        ended.clear();
        gone.notify_all();
        continue;  // time has passed, and the callbacks may have asked for something
      }
      if (closing && entries.empty()) return;
      std::vector<pollfd> watched{{wake_fd.get(), POLLIN, 0}};
      std::optional<Time::time_point> next;
      const auto until = [&](Time::time_point at) { next = next ? std::min(*next, at) : at; };
      for (const auto& [name, entry] : entries) {
        if (entry.child.pid != 0) watched.push_back({entry.child.pidfd.get(), POLLIN, 0});
        if (entry.child.pipe) watched.push_back({entry.child.pipe.get(), POLLIN, 0});
        if (entry.child.socket) watched.push_back({entry.child.socket.get(), POLLIN, 0});
        if (entry.due) until(*entry.due);
        if (entry.stopping && !entry.killed) until(entry.kill_at);
      }
      lock.unlock();
      int wait_ms = -1;
      if (next) {
        const auto left = std::chrono::ceil<milliseconds>(*next - Time::now()).count();
        wait_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000));
      }
      ::poll(watched.data(), watched.size(), wait_ms);
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t ignored = ::read(wake_fd.get(), &count, sizeof count);
      lock.lock();
    }
  }

  void step() {
    for (auto it = entries.begin(); it != entries.end();) {
      Entry& entry = it->second;
      if (entry.stopping) press(entry);
      if (entry.child.pipe) read_pipe(entry);
      if (entry.child.socket) read_socket(entry);
      if (entry.child.pid != 0) reap(entry);
      if (entry.due && !entry.stopping && Time::now() >= *entry.due) spawn(entry);
      if (entry.child.pid == 0 && !entry.due) {
        ended.insert(entry.id);
        it = entries.erase(it);
      } else {
        ++it;
      }
    }
  }

  // Towards the end of an entry that shall stop.
  void press(Entry& entry) {
    if (entry.child.pid == 0) {  // between two starts
      entry.due.reset();
      report(entry, ProcessState::exited, 0, entry.info.exit_status);
      return;
    }
    if (!entry.asked) {
      entry.asked = true;
      if (!entry.child.socket) {
        signal_group(entry.child.pid, SIGTERM);
      } else {
        const sandbox::Message term{Word::signal, {}, SIGTERM};
        [[maybe_unused]] const ssize_t ignored = ::send(entry.child.socket.get(), &term, sizeof term, MSG_NOSIGNAL);
      }
    }
    if (!entry.killed && Time::now() >= entry.kill_at) {
      entry.killed = true;
      // With a sandbox's first process ends all of it, and bubblewrap ends behind that: nothing is left when it is reaped.
      if (entry.child.init) ::syscall(SYS_pidfd_send_signal, entry.child.init.get(), SIGKILL, nullptr, 0U);
      else signal_group(entry.child.pid, SIGKILL);
    }
  }

  void spawn(Entry& entry) {
    entry.due.reset();
    report(entry, ProcessState::starting, 0, 0);
    entry.started = Time::now();
    entry.started_ns = clock.mono_ns();
    entry.info.reason.clear();
    auto child = launch(entry.spec, tools, output);
    if (!child) {
      log.error("process_not_started", {{"instance", entry.spec.instance}, {"reason", child.error().message}});
      entry.info.exit_status = kNotStarted;
      again(entry);
      return;
    }
    entry.child = std::move(*child);
    entry.info.pid = entry.child.pid;
  }

  // The pipe ends with exec, or tells why there was none.
  void read_pipe(Entry& entry) {
    Failure failure{};
    const ssize_t n = ::read(entry.child.pipe.get(), &failure, sizeof failure);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    entry.child.pipe.reset();
    if (n == static_cast<ssize_t>(sizeof failure)) {
      log.error("process_not_started", {{"instance", entry.spec.instance}, {"reason", describe(failure)}});
      return;  // it exits with kNotStarted next
    }
    if (entry.spec.sandbox) return;  // bubblewrap runs; the command is told of by the socket
    siginfo_t info{};
    if (::waitid(P_PIDFD, static_cast<id_t>(entry.child.pidfd.get()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0 && info.si_code != CLD_EXITED)
      return;  // killed before or right after exec: reported as its end
    runs(entry, entry.child.pid);
  }

  void runs(Entry& entry, pid_t pid) {
    entry.child.ran = true;
    entry.info.pid = pid;
    log.info("process_started", {{"instance", entry.spec.instance}, {"pid", pid}});
    report(entry, ProcessState::running, pid, 0);
  }

  // What a sandbox says of itself. Who says it is told by the kernel.
  void read_socket(Entry& entry) {
    for (;;) {
      sandbox::Message message{};
      iovec piece{&message, sizeof message};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
      msghdr header{};
      header.msg_iov = &piece;
      header.msg_iovlen = 1;
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      const ssize_t n = ::recvmsg(entry.child.socket.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) {
        entry.child.socket.reset();  // the end of the sandbox: its process is reaped next
        return;
      }
      ucred sender{};
      const cmsghdr* first = CMSG_FIRSTHDR(&header);
      if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_CREDENTIALS) std::memcpy(&sender, CMSG_DATA(first), sizeof sender);
      if (n != static_cast<ssize_t>(sizeof message) || sender.pid <= 0) continue;
      if (message.word == Word::inside && !entry.child.init) {
        entry.child.init = FileHandle(static_cast<int>(::syscall(SYS_pidfd_open, sender.pid, 0U)));
      } else if (message.word == Word::process && entry.child.app == 0) {
        entry.child.app = sender.pid;
      } else if (message.word == Word::running && !entry.child.ran) {
        runs(entry, entry.child.app);
      } else if (message.word == Word::halted) {
        ++entry.halts;
        gone.notify_all();
      } else if (message.word == Word::failed) {
        entry.child.ran = true;  // it is said here
        log.error("process_not_started", {{"instance", entry.spec.instance}, {"reason", describe(message)}});
      }
    }
  }

  void reap(Entry& entry) {
    siginfo_t info{};
    const auto pidfd = static_cast<id_t>(entry.child.pidfd.get());
    if (::waitid(P_PIDFD, pidfd, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
      if (errno != ECHILD) return;
      info.si_pid = entry.child.pid;  // somebody else waited for it: its end is certain, its status is lost
      info.si_code = CLD_KILLED;
      info.si_status = SIGKILL;
    }
    if (info.si_pid == 0) return;
    if (entry.child.pipe) read_pipe(entry);
    if (entry.child.socket) read_socket(entry);
    ::kill(-entry.child.pid, SIGKILL);  // what the leader left behind, while its number is still its own
    siginfo_t ignored{};
    ::waitid(P_PIDFD, pidfd, &ignored, WEXITED | WNOHANG);
    const int status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    const int pid = entry.child.app != 0 ? entry.child.app : entry.child.pid;
    if (status != 0 && !entry.stopping) entry.info.reason = reason_of(entry, status);
    if (entry.spec.sandbox && !entry.child.ran)
      log.error("process_not_started", {{"instance", entry.spec.instance}, {"reason", "its sandbox was not made; bubblewrap says why in the app's log"}});
    entry.child = Child{};
    entry.info.exit_status = status;
    const auto ran_ms = (clock.mono_ns() - entry.started_ns) / 1'000'000U;
    log.info("process_ended", {{"instance", entry.spec.instance}, {"pid", pid}, {"status", status}, {"ran_ms", ran_ms}});
    if (entry.stopping || status == 0) {
      report(entry, ProcessState::exited, pid, status);
      entry.info.pid = 0;
      return;
    }
    again(entry, pid);
  }

  static std::string reason_of(const Entry& entry, int status) {
    const auto& group = entry.child.group;
    if (!entry.spec.sandbox) return {};
    const sandbox::Limits& limits = entry.spec.sandbox->limits;
    if (!group) {
      // Nobody counts: a program that is refused memory ends as it likes, most by one of these.
      const bool for_memory = status == 128 + SIGSEGV || status == 128 + SIGABRT || status == 128 + SIGBUS;
      if (!for_memory || limits.memory_bytes <= 0) return {};
      return "signal " + std::to_string(status - 128) + ", with at most " + std::to_string(limits.memory_bytes >> 20) + " MiB of memory for each process";
    }
    if (group->ran_out_of_memory()) return "out of memory: " + std::to_string(limits.memory_bytes >> 20) + " MiB";
    if (group->ran_out_of_processes()) return "out of processes: " + std::to_string(limits.pids);
    return {};
  }

  void again(Entry& entry, int pid = 0) {
    if (Time::now() - entry.started >= milliseconds(backoff.good_run_ms)) entry.pause_ms = 0;
    entry.pause_ms = std::clamp(entry.pause_ms * 2, std::max(backoff.first_ms, 1), std::max(backoff.most_ms, 1));
    entry.due = Time::now() + milliseconds(entry.pause_ms);
    ++entry.info.restarts;
    log.warn("process_failed",
             {{"instance", entry.spec.instance}, {"status", entry.info.exit_status}, {"reason", entry.info.reason}, {"again_ms", entry.pause_ms}});
    report(entry, ProcessState::failed, pid, entry.info.exit_status);
    entry.info.pid = 0;
  }

  void ask(Entry& entry, int grace_ms) {
    const auto at = Time::now() + milliseconds(std::max(grace_ms, 0));
    entry.kill_at = entry.stopping ? std::min(entry.kill_at, at) : at;
    entry.stopping = true;
  }

  bool on_own_thread() const { return std::this_thread::get_id() == thread.get_id(); }

  bool is_gone(std::uint64_t id) const {
    if (ended.contains(id)) return false;  // its callback has not returned
    return std::none_of(entries.begin(), entries.end(), [&](const auto& item) { return item.second.id == id; });
  }

  const Clock& clock;
  Logger& log;
  logs::Collector& output;
  const StateCallback on_state;
  const SandboxTools tools;
  const Backoff backoff;
  FileHandle wake_fd;
  mutable std::mutex mutex;
  std::condition_variable gone;
  std::map<std::string, Entry> entries;
  std::set<std::uint64_t> ended;  // removed from `entries`, their last callback still to come
  std::vector<Change> changes;
  std::uint64_t last_id = 0;
  bool closing = false;
  // PR_SET_PDEATHSIG fires when the thread that forked ends, so this one forks all of them and ends last.
  std::thread thread;
};

Runner::Runner(const Clock& clock, Logger& log, logs::Collector& output, StateCallback on_state, SandboxTools tools, Backoff backoff)
    : impl_(std::make_unique<Impl>(clock, log, output, std::move(on_state), std::move(tools), backoff)) {}

Runner::~Runner() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
  }
  stop_all();
  impl_->wake();
  impl_->thread.join();
}

Result<void> Runner::start(ProcessSpec spec) {
  if (auto checked = check(spec); !checked) return checked;
  const std::lock_guard lock(impl_->mutex);
  if (impl_->closing) return fail(Code::unavailable, "The host is stopping.");
  if (impl_->entries.contains(spec.instance)) return fail(Code::conflict, "This instance has a process already.");
  Impl::Entry entry;
  entry.id = ++impl_->last_id;
  entry.info.instance = spec.instance;
  entry.due = Time::now();
  std::string name = spec.instance;
  entry.spec = std::move(spec);
  impl_->entries.emplace(std::move(name), std::move(entry));
  impl_->wake();
  return {};
}

Result<void> Runner::stop(const std::string& instance, int grace_ms) {
  std::unique_lock lock(impl_->mutex);
  const auto found = impl_->entries.find(instance);
  if (found == impl_->entries.end()) return fail(Code::not_found, "No process of this instance is supervised.");
  const std::uint64_t id = found->second.id;
  impl_->ask(found->second, grace_ms);
  impl_->wake();
  if (impl_->on_own_thread()) return {};
  const auto limit = milliseconds(std::max(grace_ms, 0)) + kKillLimit;
  if (!impl_->gone.wait_for(lock, limit, [&] { return impl_->is_gone(id); }))
    return fail(Code::deadline_exceeded, "The process was killed but has not ended.");
  return {};
}

void Runner::stop_all(int grace_ms) {
  std::unique_lock lock(impl_->mutex);
  std::vector<std::uint64_t> ids;
  for (auto& [name, entry] : impl_->entries) {
    impl_->ask(entry, grace_ms);
    ids.push_back(entry.id);
  }
  impl_->wake();
  if (impl_->on_own_thread()) return;
  const auto limit = milliseconds(std::max(grace_ms, 0)) + kKillLimit;
  impl_->gone.wait_for(lock, limit, [&] {
    return std::all_of(ids.begin(), ids.end(), [&](std::uint64_t id) { return impl_->is_gone(id); });
  });
}

void Runner::halt(const std::string& instance, bool on) {
  std::unique_lock lock(impl_->mutex);
  const auto found = impl_->entries.find(instance);
  if (found == impl_->entries.end() || !found->second.child.socket || !found->second.child.ran) return;
  const std::uint64_t id = found->second.id, before = found->second.halts;
  const sandbox::Message message{Word::halt, {}, on ? 1 : 0};
  if (::send(found->second.child.socket.get(), &message, sizeof message, MSG_NOSIGNAL) < 0) return;
  impl_->gone.wait_for(lock, milliseconds(1500), [&] {
    const auto now = impl_->entries.find(instance);
    return now == impl_->entries.end() || now->second.id != id || now->second.halts != before;
  });
}

bool Runner::supervises(const std::string& instance) const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->entries.contains(instance);
}

std::vector<ProcessInfo> Runner::list() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<ProcessInfo> out;
  for (const auto& [name, entry] : impl_->entries) out.push_back(entry.info);
  return out;
}

}  // namespace via::releases
