#include "support/host_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "core/base/files.hpp"
#include "support/http.hpp"

namespace via::test {
namespace {

void pause_ms(int ms) {
  ::poll(nullptr, 0, ms);
}

std::vector<std::string> base_environment(const std::map<std::string, std::string>& more) {
  // Never this machine's own host or home, also where a test is run by hand.
  std::vector<std::string> out{"PATH=/usr/bin:/bin", "HOME=" VIA_TEST_MACHINE "/home", "VIA_TEST_ROOT=" VIA_TEST_MACHINE, "LANG=C.UTF-8"};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) out.push_back(std::string(name) + "=" + value);
  for (const auto& [name, value] : more) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

int status_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

// fork and exec; the child ends with the thread that made it.
pid_t launch(std::vector<std::string> command, std::vector<std::string> environment, int out, int err,
             const std::function<void()>& before_exec) {
  const auto argv = pointers(command);
  const auto envp = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(126);
  const int in = ::open("/dev/null", O_RDONLY);
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (before_exec) before_exec();
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

}  // namespace

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool eventually(const std::function<bool()>& condition, int wait_ms) {
  const std::uint64_t until = now_ms() + static_cast<std::uint64_t>(wait_ms);
  for (int pause = 1;; pause = std::min(pause * 2, 50)) {
    if (condition()) return true;
    if (now_ms() >= until) return false;
    pause_ms(pause);
  }
}

Finished run_program(const std::vector<std::string>& command,
                     const std::map<std::string, std::string>& environment) {
  TemporaryFolder folder;
  const auto out = folder.path() / "out", err = folder.path() / "err";
  const FileHandle out_file(::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const FileHandle err_file(::open(err.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const pid_t pid = launch(command, base_environment(environment), out_file.get(), err_file.get(), {});
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return {status_of(status), text_of(out), text_of(err)};
}

HostProcess::HostProcess() {
  ::mkdir(state_dir().c_str(), 0700);
}

HostProcess::~HostProcess() {
  kill();
}

void HostProcess::configure(const std::string& toml) {
  std::ofstream(state_dir() / "config.toml") << toml;
}

bool HostProcess::start() {
  url_.clear();
  port_ = 0;
  exit_code_ = -1;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  const FileHandle out(ends[0]);
  FileHandle child_out(ends[1]);
  const FileHandle err(
      ::open((folder_.path() / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::vector<std::string> command{VIA_BINARY, "serve", "--state-dir", state_dir().string()};
  if (kit) {
    command = {VIA_BINARY, "kit", "sqlite", "--databases", databases().string()};
    command.insert(command.end(), kit->begin(), kit->end());
  }
  if (!listen.empty()) command.insert(command.end(), {"--listen", listen});
  pid_ = launch(command, base_environment(environment), child_out.get(), err.get(), before_exec);
  child_out.reset();
  std::string text;
  const std::uint64_t until = now_ms() + 60'000;
  while (text.find('\n') == std::string::npos) {
    pollfd wait{out.get(), POLLIN, 0};
    const std::uint64_t now = now_ms();
    if (now >= until || ::poll(&wait, 1, static_cast<int>(until - now)) == 0) {
      kill();
      return false;
    }
    char buffer[512];
    const ssize_t n = ::read(out.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      reap(30'000);
      return false;
    }
    text.append(buffer, static_cast<std::size_t>(n));
  }
  const std::string before = kit ? "listening on " : "via is ready on ";
  if (!text.starts_with(before)) return false;
  url_ = text.substr(before.size(), text.find('\n') - before.size());
  port_ = static_cast<std::uint16_t>(std::atoi(url_.c_str() + url_.rfind(':') + 1));
  return true;
}

bool HostProcess::reap(int wait_ms) {
  if (pid_ <= 0) return true;
  return eventually(
      [&] {
        int status = 0;
        const pid_t done = ::waitpid(pid_, &status, WNOHANG);
        if (done == 0 || (done < 0 && errno == EINTR)) return false;
        exit_code_ = done == pid_ ? status_of(status) : -1;
        pid_ = -1;
        return true;
      },
      wait_ms);
}

bool HostProcess::running() {
  return pid_ > 0 && !reap(0);
}

void HostProcess::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  reap(60'000);
}

int HostProcess::stop(int wait_ms) {
  if (pid_ <= 0) return exit_code_;
  ::kill(pid_, SIGTERM);
  if (!reap(wait_ms)) kill();
  return exit_code_;
}

void HostProcess::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::string HostProcess::log() const {
  return text_of(folder_.path() / "log");
}

std::size_t HostProcess::resident_kib() const {
  const std::string status = text_of("/proc/" + std::to_string(pid_) + "/status");
  const auto at = status.find("VmRSS:");
  return at == std::string::npos ? 0 : std::strtoul(status.c_str() + at + 6, nullptr, 10);
}

std::size_t HostProcess::open_files() const {
  std::error_code ec;
  std::size_t n = 0;
  for (std::filesystem::directory_iterator at("/proc/" + std::to_string(pid_) + "/fd", ec), end;
       !ec && at != end; at.increment(ec))
    ++n;
  return n;
}

}  // namespace via::test
