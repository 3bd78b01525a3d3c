#include "core/releases/shell.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace via::releases {
namespace {

constexpr std::size_t kKept = 4096;

void append(std::string& text, const char* data, std::size_t size) {
  text.append(data, size);
  if (text.size() > 2 * kKept) text.erase(0, text.size() - kKept);
}

}  // namespace

ShellResult run_shell(const std::string& command, int timeout_ms,
                      const std::vector<std::pair<std::string, std::string>>& variables,
                      const std::string& working_folder, const std::function<bool()>& cancelled) {
  using Clock = std::chrono::steady_clock;
  ShellResult out;
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return out;
  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  std::vector<char*> env;
  for (auto& entry : environment) env.push_back(entry.data());
  env.push_back(nullptr);
  std::string shell = "/bin/sh", flag = "-c", text = command;
  char* argv[] = {shell.data(), flag.data(), text.data(), nullptr};

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, pipe_ends[1], 1);
  posix_spawn_file_actions_adddup2(&files, pipe_ends[1], 2);
  posix_spawn_file_actions_addchdir_np(&files, working_folder.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  for (const int signal : {SIGPIPE, SIGXFSZ}) sigaddset(&usual, signal);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t child = 0;
  const auto started = Clock::now();
  const int spawned = ::posix_spawn(&child, shell.c_str(), &files, &attributes, argv, env.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  ::close(pipe_ends[1]);
  if (spawned != 0) {
    ::close(pipe_ends[0]);
    return out;
  }

  const auto until = started + std::chrono::milliseconds(timeout_ms);
  bool open = true, timed_out = false;
  int status = 0;
  for (;;) {
    // Somebody it left behind may hold the pipe: the command's own end is what counts.
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    char buffer[16384];
    pollfd poll_for{pipe_ends[0], POLLIN, 0};
    if (open && ::poll(&poll_for, 1, ended == child ? 0 : 20) > 0) {
      const ssize_t n = ::read(pipe_ends[0], buffer, sizeof buffer);
      if (n > 0) append(out.output, buffer, static_cast<std::size_t>(n));
      if (n == 0) open = false;
    } else if (!open && ended != child) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    if (ended == child) break;
    if (!timed_out && (Clock::now() >= until || (cancelled && cancelled()))) {
      timed_out = true;
      ::kill(-child, SIGKILL);
    }
  }
  if (open) {
    ::fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
    char buffer[4096];
    // What a pipe holds and no more: somebody it left behind may write for ever.
    constexpr int kPieces = (64 << 10) / sizeof buffer;
    for (int i = 0; i < kPieces; ++i) {
      const ssize_t n = ::read(pipe_ends[0], buffer, sizeof buffer);
      if (n <= 0) break;
      append(out.output, buffer, static_cast<std::size_t>(n));
    }
  }
  ::close(pipe_ends[0]);
  out.seconds = std::chrono::duration<double>(Clock::now() - started).count();
  out.exit_code = timed_out ? 124 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (out.output.size() > kKept) out.output.erase(0, out.output.size() - kKept);
  return out;
}

}  // namespace via::releases
