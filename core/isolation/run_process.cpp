// The process of a run: how it is started, what becomes of what it prints, and how its end is brought about and seen.
// Thread: the run's own, which starts the process and outlives it.
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "core/isolation/run.hpp"

namespace via::isolation {
namespace {

constexpr std::size_t kLongestLine = 1000;
constexpr int kLinesASecond = 50;

// Above the numbers that the child gets.
FileHandle lift(int fd) { return FileHandle(::fcntl(fd, F_DUPFD_CLOEXEC, 10)); }

std::string describe(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exit code " + std::to_string(info.si_status);
  const char* const name = ::sigabbrev_np(info.si_status);
  return std::string("signal ") + (name != nullptr ? "SIG" + std::string(name) : std::to_string(info.si_status));
}

}  // namespace

Result<void> Run::spawn() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return system_error("make a socket", errno);
  FileHandle mine(ends[0]);
  const FileHandle low_theirs(ends[1]);
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("make a pipe", errno);
  output_ = FileHandle(ends[0]);
  const FileHandle low_output(ends[1]);
  const FileHandle theirs = lift(low_theirs.get()), output = lift(low_output.get()), library = lift(setup_.library);
  const FileHandle null = lift(FileHandle(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get());
  if (!theirs || !output || !library || !null || ::fcntl(output_.get(), F_SETFL, O_NONBLOCK) != 0)
    return system_error("prepare a runner's descriptors", errno);

  std::vector<std::string> words{setup_.options.program.string(), setup_.type, std::to_string(::getpid()),
                                 std::to_string(setup_.options.workers), std::to_string(setup_.options.memory_mb)};
  std::vector<std::string> pairs{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) pairs.push_back(std::string(name) + "=" + value);  // NOLINT(concurrency-mt-unsafe)
#endif
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& pair : pairs) envp.push_back(pair.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  const std::pair<int, int> given[] = {{null.get(), 0}, {output.get(), 1}, {output.get(), 2}, {theirs.get(), 3}, {library.get(), 4}};
  for (const auto& [from, to] : given) ::posix_spawn_file_actions_adddup2(&files, from, to);
  ::posix_spawn_file_actions_addclosefrom_np(&files, 5);
  ::posix_spawn_file_actions_addchdir_np(&files, "/");
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, words[0].c_str(), &files, &attributes, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    setup_.services.log.error("plugin_runner_not_started", {{"addon_type", setup_.type}, {"reason", std::strerror(error)}});
    return fail(Code::unavailable, std::string("via-plugin-runner cannot be run: ") + std::strerror(error));
  }
  // Nobody else waits for this child, so its number cannot have gone to another process.
  pidfd_ = FileHandle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  pid_ = pid;
  channel_ = std::make_unique<Channel>(std::move(mine));
  setup_.services.log.info("plugin_runner_started", {{"addon_type", setup_.type}, {"pid", pid}});
  return {};
}

// What the plugin prints, line by line into the log.
void Run::say(std::string& pending, bool all) {
  std::array<char, 4096> buffer{};
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      output_.reset();
      all = true;
      break;
    }
    pending.append(buffer.data(), static_cast<std::size_t>(n));
  }
  for (;;) {
    std::size_t end = pending.find('\n');
    if (end == std::string::npos && (pending.size() > kLongestLine || (all && !pending.empty()))) end = pending.size();
    if (end == std::string::npos) break;
    const std::uint64_t second = setup_.services.clock.mono_ns() / 1'000'000'000U;
    if (second != lines_second_) lines_ = 0;
    lines_second_ = second;
    if (end > 0 && ++lines_ <= kLinesASecond)
      setup_.services.log.warn("plugin_output", {{"addon_type", setup_.type}, {"line", pending.substr(0, std::min(end, kLongestLine))}});
    pending.erase(0, end + 1);
  }
}

// The process ends by itself after `stop` and after a crash; in every other case it is killed. Here, because this thread
// started it.
void Run::end_process() {
  const int pid = pid_;
  if (pid == 0) return;
  siginfo_t info{};
  const auto reap = [&](int options) {
    int r = 0;
    do r = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | options);
    while (r != 0 && errno == EINTR);
    return r != 0 || info.si_pid != 0;
  };
  pollfd end{pidfd_.get(), POLLIN, 0};
  // A socket that ended is a process that ends, unless the plugin closed what is not its own.
  const int patience = asked_ ? setup_.options.stop_ms : reason().empty() ? 1000 : 0;
  if (pidfd_ && patience > 0) ::poll(&end, 1, patience);
  bool killed = false;
  if (!reap(WNOHANG | WNOWAIT)) {
    killed = true;
    ::kill(pid, SIGKILL);
    (void)reap(WNOWAIT);
  }
  ::kill(-pid, SIGKILL);  // what it left behind, while its number is still its own
  (void)reap(0);
  pid_ = 0;
  const std::string how = describe(info);
  {
    const std::lock_guard lock(mutex_);
    if (reason_.empty()) reason_ = killed ? "it closed its connection" : how;
  }
  const bool fine = asked_ && !killed && info.si_code == CLD_EXITED && info.si_status == 0;
  const std::uint64_t ran_ms = (setup_.services.clock.mono_ns() - started_ns_) / 1'000'000U;
  setup_.services.log.write(fine ? Level::info : Level::error, "plugin_runner_ended",
                            {{"addon_type", setup_.type}, {"pid", pid}, {"status", how}, {"reason", reason()}, {"ran_ms", ran_ms}});
}

}  // namespace via::isolation
