// via-plugin-runner TYPE HOST-PID WORKERS MEMORY-MB: started by a host, never by hand. Descriptor 3 is its socket to the host,
// 4 the sealed memory file with the library.
//
// Everything that a process of its own shall not have or outlive is taken away here, before the library is loaded: a core
// file, other users' access to what it writes, more memory than the operator allows, new privileges, life after its host.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>

#include "core/isolation/runner.hpp"

namespace {

constexpr rlim_t kStack = 8U << 20;  // of a thread

bool number(const char* text, unsigned& out) {
  const char* const end = text + std::strlen(text);
  const auto [at, error] = std::from_chars(text, end, out);
  return error == std::errc() && at == end;
}

bool is_socket(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

}  // namespace

int main(int argc, char** argv) {
  unsigned host = 0, workers = 0, memory_mb = 0;
  if (argc != 5 || !number(argv[2], host) || !number(argv[3], workers) || !number(argv[4], memory_mb) || !is_socket(3)) {
    std::fputs("via-plugin-runner is started by 'via serve' for add-on types with isolation = \"process\"; not by hand.\n", stderr);
    return 2;
  }
  ::umask(077);
  // The host ends: so does this. Asked again behind it, because the host may have ended before.
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != static_cast<pid_t>(host)) return 1;
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  ::prctl(PR_SET_DUMPABLE, 0);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  workers = std::clamp(workers, 4U, 512U);
  if (memory_mb > 0) {
    const rlim_t bytes = (static_cast<rlim_t>(memory_mb) << 20) + (workers + 8U) * kStack;
    const rlimit limit{bytes, bytes};
    if (::setrlimit(RLIMIT_DATA, &limit) != 0) return 1;
  }
  std::signal(SIGPIPE, SIG_IGN);
  // What a terminal or a service manager sends to everybody is the host's to decide. A handler and not SIG_IGN, which programs that
  // the plugin starts would inherit.
  struct sigaction left_to_host {};
  left_to_host.sa_handler = [](int) {};
  left_to_host.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(signal, &left_to_host, nullptr);
  try {
    return via::isolation::run_runner(via::FileHandle(3), via::FileHandle(4), workers);
  } catch (const std::exception& wrong) {
    std::fprintf(stderr, "via-plugin-runner: %s\n", wrong.what());
    return 1;
  }
}
