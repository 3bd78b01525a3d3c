#include <fcntl.h>
#include <linux/landlock.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "core/sandbox/sandbox.hpp"

namespace via::sandbox {
namespace {

namespace fs = std::filesystem;

bool has_landlock() { return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1; }

// VIA_SANDBOX_BWRAP names another than that of the system; for tests.
fs::path find_program(const std::string& name) {
  if (const char* named = std::getenv("VIA_SANDBOX_BWRAP")) return ::access(named, X_OK) == 0 ? fs::path(named) : fs::path();  // NOLINT(concurrency-mt-unsafe)
  std::string_view path = kPath;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const fs::path candidate = fs::path(path.substr(0, end)) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

// Runs it to its end; what it wrote to standard error, when it failed.
bool run(const fs::path& program, std::vector<std::string> words, std::string& said) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int fd : {0, 1}) posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&files, ends[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* environment[] = {nullptr};
  pid_t child = 0;
  const int wrong = ::posix_spawn(&child, program.c_str(), &files, &attributes, argv.data(), environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  char buffer[1024];
  for (ssize_t n = 0; wrong == 0 && (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) said.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  int status = 0;
  if (wrong != 0 || ::waitpid(child, &status, 0) != child) return false;
  while (!said.empty() && (said.back() == '\n' || said.back() == '.')) said.pop_back();
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Means Means::find(const fs::path& init) {
  Means out;
  out.root = ::geteuid() == 0;
  out.landlock = has_landlock();
  out.bwrap = find_program("bwrap");
  out.init = init;
  if (out.bwrap.empty()) {
    out.missing = "bubblewrap is not installed";
    out.remedy = "apt install bubblewrap";
    return out;
  }
  if (init.empty() || ::access(init.c_str(), X_OK) != 0) {
    out.missing = "via-sandbox-init is not there";
    out.remedy = "install it beside via";
    return out;
  }
  std::vector<std::string> words{"bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--as-pid-1"};
  if (!out.root) words.insert(words.end(), {"--unshare-user"});
  words.insert(words.end(), {"--proc", "/proc", "--dev", "/dev", "--ro-bind", init.string(), "/init", "--", "/init", "--probe"});
  std::string said;
  if (run(out.bwrap, words, said)) return out;
  out.missing = said.empty() ? "bubblewrap fails" : said;
  out.remedy = out.root ? "give the host CAP_SYS_ADMIN (a container: run it with the rights to make namespaces)"
                        : "allow user namespaces (sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000), or run the host as root";
  return out;
}

}  // namespace via::sandbox
