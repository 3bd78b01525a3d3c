// One case, one process: whatever the plugin does to it, the checker and the other cases go on.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "sdk/plugin/check/check.hpp"

namespace via::check {
namespace {

using Clock = std::chrono::steady_clock;

void say(int fd, char verdict, const std::string& reason) {
  const std::string text = verdict + reason;
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
}

[[noreturn]] void child(const Case& one, const Subject& subject, const fs::path& root, int out) {
  ::setpgid(0, 0);
  ::umask(077);
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::signal(SIGPIPE, SIG_IGN);
  // What a plugin prints is not the checker's answer.
  const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(nowhere, 0);
  ::dup2(nowhere, 1);
  const fs::path elsewhere = root / "elsewhere";
  ::setenv("HOME", elsewhere.c_str(), 1);
  ::setenv("TMPDIR", elsewhere.c_str(), 1);
  if (::chdir(elsewhere.c_str()) != 0) ::_exit(3);
  try {
    one.run(subject, root);
    say(out, 'o', note());
  } catch (const Broken& why) {
    say(out, 'f', why.reason);
  } catch (const Skipped& why) {
    say(out, 's', why.reason);
  } catch (const std::exception& why) {
    say(out, 'f', std::string("the case ended with: ") + why.what());
  }
  // No destructors: threads that a plugin left behind must not run into them.
  ::_exit(0);
}

}  // namespace

std::string& note() {
  static std::string text;
  return text;
}

Outcome run_isolated(const Case& one, const Subject& subject, int limit_ms) {
  char name[] = "/tmp/via-plugin-check-XXXXXX";
  const char* made = ::mkdtemp(name);
  if (made == nullptr) return {Verdict::failed, "no temporary folder can be made", 0};
  const fs::path root = made;
  for (const char* part : {"storage", "elsewhere"}) {
    fs::create_directory(root / part);
    fs::permissions(root / part, fs::perms::owner_all);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return {Verdict::failed, "no pipe can be made", 0};
  const auto begin = Clock::now();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    child(one, subject, root, ends[1]);
  }
  ::close(ends[1]);
  std::string text;
  bool late = pid < 0;
  while (!late) {
    const auto used = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
    if (used >= limit_ms) {
      late = true;
      break;
    }
    pollfd wait{ends[0], POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(limit_ms - used)) <= 0) continue;
    char piece[4096];
    const ssize_t n = ::read(ends[0], piece, sizeof piece);
    if (n <= 0) break;
    text.append(piece, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  Outcome out;
  int status = 0;
  if (pid > 0) {
    if (late) ::kill(-pid, SIGKILL), ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    ::kill(-pid, SIGKILL);  // processes that the plugin started
  }
  out.milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  std::error_code ignored;
  fs::remove_all(root, ignored);
  if (late) {
    out = {Verdict::failed, "it did not end within " + std::to_string(limit_ms) + " ms", out.milliseconds};
  } else if (WIFSIGNALED(status)) {
    out.verdict = Verdict::failed;
    out.reason = std::string("the plugin ended its process: ") + ::strsignal(WTERMSIG(status));
  } else if (text.empty() || WEXITSTATUS(status) != 0) {  // a sanitizer that reported something changes the code
    out.verdict = Verdict::failed;
    out.reason = "the plugin ended its process with exit code " + std::to_string(WEXITSTATUS(status));
  } else {
    out.verdict = text[0] == 'o' ? Verdict::ok : text[0] == 's' ? Verdict::skipped : Verdict::failed;
    out.reason = text.substr(1);
  }
  return out;
}

}  // namespace via::check
