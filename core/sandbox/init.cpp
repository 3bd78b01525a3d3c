// via-sandbox-init UID GID FILES PIDS DATA LANDLOCK FOLDER PROGRAM -- ARGV…: the first process of a sandbox, never started by hand.
//
// Takes on the app's user, sets its limits (0 = none; PIDS and DATA only where no cgroup holds them) and, with LANDLOCK 1, lets nothing
// but /tmp, /dev and /data be written; starts PROGRAM in FOLDER with ARGV; then is its init: it passes signals on that come over
// descriptor 3, reaps who is left without a parent, and ends with the command's status (128 + the signal). With its end the kernel ends
// whatever else runs inside. When the host is gone (end of descriptor 3) it ends too.
// Linked statically: a sandbox need not have our libraries. Only what a process of one thread may use.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "core/sandbox/protocol.hpp"

namespace {

using via::sandbox::kSocket;
using via::sandbox::Message;
using via::sandbox::Step;
using via::sandbox::Word;

constexpr int kNotStarted = 127;

void say(Word word, Step step = {}, int value = 0) {
  const Message message{word, step, value};
  while (::send(kSocket, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

[[noreturn]] void give_up(Step step, int error) {
  say(Word::failed, step, error);
  ::_exit(kNotStarted);
}

void limit(int resource, const char* text) {
  const auto most = static_cast<rlim_t>(std::strtoull(text, nullptr, 10));
  if (most == 0) return;
  const rlimit both{most, most};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &both) != 0) give_up(Step::limits, errno);
}

void become(uid_t uid, gid_t gid) {
  if (::geteuid() == uid && ::getegid() == gid) return;
  // In this order: with the user go the rights to change the rest.
  if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0) give_up(Step::identity, errno);
}

// What may be written, besides what mounts allow. Kernels without Landlock say ENOSYS or EOPNOTSUPP before we are asked to.
void wall() {
  constexpr std::uint64_t kWrites = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                                    LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                                    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                                    LANDLOCK_ACCESS_FS_MAKE_SYM;
  constexpr std::uint64_t kRefer = 1ULL << 13;            // LANDLOCK_ACCESS_FS_REFER, from version 2 on
  constexpr std::uint64_t kAbstractSockets = 1ULL << 0;   // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, from version 6 on
  struct {
    std::uint64_t files, network, scoped;
  } rules{kWrites, 0, 0};
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 1) give_up(Step::landlock, errno);
  if (version >= 2) rules.files |= kRefer;
  if (version >= 6) rules.scoped = kAbstractSockets;
  const std::size_t size = version >= 6 ? sizeof rules : version >= 4 ? 2 * sizeof rules.files : sizeof rules.files;
  const int set = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size, 0U));
  if (set < 0) give_up(Step::landlock, errno);
  for (const char* folder : {"/tmp", "/dev", "/data", "/proc/self"}) {
    const int at = ::open(folder, O_PATH | O_CLOEXEC);
    if (at < 0) continue;
    const landlock_path_beneath_attr rule{rules.files, at};
    if (::syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0U) != 0) give_up(Step::landlock, errno);
    ::close(at);
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::syscall(SYS_landlock_restrict_self, set, 0U) != 0) give_up(Step::landlock, errno);
  ::close(set);
}

[[noreturn]] void run(const char* folder, const char* program, char** argv, int told) {
  say(Word::process);
  ::setsid();
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::umask(077);
  struct {
    Step step;
    int error;
  } why{Step::folder, 0};
  ::unsetenv("PWD");  // bubblewrap's
  if (::chdir(folder) == 0) {
    ::close(kSocket);
    ::syscall(SYS_close_range, 4U, ~0U, static_cast<unsigned>(CLOSE_RANGE_CLOEXEC));
    ::execve(program, argv, environ);
    why.step = Step::command;
  }
  why.error = errno;
  [[maybe_unused]] const ssize_t ignored = ::write(told, &why, sizeof why);
  ::_exit(kNotStarted);
}

// Whether all others stand still: the third word of /proc/PID/stat, behind the name in brackets, is T.
bool stands_still() {
  DIR* const proc = ::opendir("/proc");
  if (proc == nullptr) return false;
  bool still = true;
  while (const dirent* one = ::readdir(proc)) {
    const long pid = std::strtol(one->d_name, nullptr, 10);
    if (pid <= 1) continue;
    char path[64], text[512];
    std::snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) continue;
    const ssize_t n = ::read(file, text, sizeof text - 1);
    ::close(file);
    text[n > 0 ? n : 0] = 0;
    const char* end = std::strrchr(text, ')');
    if (end != nullptr && end[1] == ' ' && std::strchr("TtZX", end[2]) == nullptr) still = false;
  }
  ::closedir(proc);
  return still;
}

// Everybody but the first process itself.
void halt(bool on) {
  ::kill(-1, on ? SIGSTOP : SIGCONT);
  bool still = !on;
  for (int i = 0; i < 500 && !still; ++i) {
    still = stands_still();
    if (!still) ::poll(nullptr, 0, 2);
  }
  say(Word::halted, {}, still ? 1 : 0);
}

int status_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--probe") == 0) return ::getpid() == 1 ? 0 : 1;  // whether a sandbox can be made
  if (argc < 11 || std::strcmp(argv[9], "--") != 0 || ::getpid() != 1) {
    static constexpr char kText[] = "via-sandbox-init is started by 'via serve' inside of a sandbox; not by hand.\n";
    [[maybe_unused]] const ssize_t ignored = ::write(2, kText, sizeof kText - 1);
    return 2;
  }
  ::fcntl(kSocket, F_SETFD, FD_CLOEXEC);
  say(Word::inside);
  const rlimit no_core{0, 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) give_up(Step::limits, errno);
  limit(RLIMIT_NOFILE, argv[3]);
  limit(RLIMIT_NPROC, argv[4]);
  limit(RLIMIT_DATA, argv[5]);
  become(static_cast<uid_t>(std::strtoul(argv[1], nullptr, 10)), static_cast<gid_t>(std::strtoul(argv[2], nullptr, 10)));
  // A change of user clears it: bubblewrap's end is ours. And not to be read or traced by what it starts, though that has the same user.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) give_up(Step::identity, errno);
  if (std::strcmp(argv[6], "1") == 0) wall();

  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int signals = ::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  int told[2];
  if (signals < 0 || ::pipe2(told, O_CLOEXEC) != 0) give_up(Step::command, errno);
  const pid_t app = ::fork();
  if (app < 0) give_up(Step::command, errno);
  if (app == 0) run(argv[7], argv[8], argv + 10, told[1]);
  ::close(told[1]);
  // What the app writes is its own; init holds nothing open that somebody waits for the end of.
  for (const int fd : {0, 1, 2}) ::close(fd);

  bool starting = true;
  for (;;) {
    pollfd watched[] = {{kSocket, POLLIN, 0}, {signals, POLLIN, 0}, {starting ? told[0] : -1, POLLIN, 0}};
    if (::poll(watched, 3, -1) < 0 && errno != EINTR) ::_exit(kNotStarted);
    if (starting && watched[2].revents != 0) {
      struct {
        Step step;
        int error;
      } why{};
      starting = false;
      if (::read(told[0], &why, sizeof why) == static_cast<ssize_t>(sizeof why)) say(Word::failed, why.step, why.error);
      else say(Word::running);
    }
    if (watched[0].revents != 0) {
      Message message{};
      const ssize_t n = ::recv(kSocket, &message, sizeof message, MSG_DONTWAIT);
      if (n == 0) ::_exit(128 + SIGKILL);
      if (n == static_cast<ssize_t>(sizeof message) && message.word == Word::signal) ::kill(-app, message.value);
      if (n == static_cast<ssize_t>(sizeof message) && message.word == Word::halt) halt(message.value != 0);
    }
    signalfd_siginfo ignored{};
    while (::read(signals, &ignored, sizeof ignored) > 0) {
    }
    for (int status = 0;;) {
      const pid_t ended = ::waitpid(-1, &status, WNOHANG);
      if (ended <= 0) break;
      if (ended != app) continue;
      if (starting) {
        struct {
          Step step;
          int error;
        } why{};
        if (::read(told[0], &why, sizeof why) == static_cast<ssize_t>(sizeof why)) say(Word::failed, why.step, why.error);
        else say(Word::running);
      }
      ::_exit(status_of(status));
    }
  }
}
