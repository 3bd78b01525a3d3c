#include "bench/driver/system.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace bench {

Cores Cores::find() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Cores out;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return out;
  for (int i = 0; i < CPU_SETSIZE && out.both.size() < 2; ++i)
    if (CPU_ISSET(i, &set)) out.both.push_back(i);
  if (out.both.size() < 2) return {};
  out.server = {out.both[0]};
  out.load = {out.both[1]};
  return out;
}

Child::Child(const Spawn& spawn) : name_(std::filesystem::path(spawn.command.at(0)).filename()) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Failed("pipe: " + std::string(std::strerror(errno)));
  std::vector<char*> arguments;
  for (const std::string& a : spawn.command) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  const int parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw Failed("fork: " + std::string(std::strerror(errno)));
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // nothing outlives the harness
    if (::getppid() != parent) ::_exit(127);
    if (!spawn.cores.empty()) {
      cpu_set_t set;
      CPU_ZERO(&set);
      for (const int core : spawn.cores) CPU_SET(core, &set);
      ::sched_setaffinity(0, sizeof set, &set);
    }
    ::dup2(ends[1], STDOUT_FILENO);
    if (!spawn.log.empty()) {
      const int log = ::open(spawn.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      if (log >= 0) ::dup2(log, STDERR_FILENO);
    }
    for (const auto& [name, value] : spawn.environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(ends[1]);
  out_ = ends[0];
}

Child::~Child() {
  stop();
  if (out_ >= 0) ::close(out_);
}

bool Child::running() {
  if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = -1;
  return pid_ > 0;
}

void Child::stop() {
  if (!running()) return;
  ::kill(pid_, SIGTERM);
  for (int i = 0; i < 2000 && running(); ++i) ::usleep(10'000);
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
  pid_ = -1;
}

bool Child::fill(double seconds) {
  pollfd wait{out_, POLLIN, 0};
  if (::poll(&wait, 1, static_cast<int>(seconds * 1000)) <= 0) throw Failed(name_ + " said nothing in time");
  char bytes[8192];
  const ssize_t n = ::read(out_, bytes, sizeof bytes);
  if (n <= 0) return false;
  text_.append(bytes, static_cast<std::size_t>(n));
  return true;
}

std::string Child::line(double seconds) {
  const double until = now_seconds() + seconds;
  for (;;) {
    if (const auto end = text_.find('\n'); end != std::string::npos) {
      std::string out = text_.substr(0, end);
      text_.erase(0, end + 1);
      return out;
    }
    if (!fill(std::max(0.0, until - now_seconds()))) throw Failed(name_ + " ended before it was ready");
  }
}

std::string Child::finish(double seconds) {
  const double until = now_seconds() + seconds;
  while (fill(std::max(0.0, until - now_seconds()))) {
  }
  ::waitpid(pid_, &status_, 0);
  pid_ = -1;
  if (!WIFEXITED(status_) || WEXITSTATUS(status_) != 0) throw Failed(name_ + " failed: " + text_);
  return std::move(text_);
}

Memory memory_of(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  Memory out;
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("VmRSS:")) out.rss_kib = std::atof(line.c_str() + 6);
    if (line.starts_with("RssAnon:")) out.anonymous_kib = std::atof(line.c_str() + 8);
  }
  return out;
}

double core_seconds_of(int pid) {
  clockid_t clock{};
  timespec t{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &t) != 0) throw Failed("no clock of the process");
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

TempFolder::TempFolder(const std::filesystem::path& parent) {
  std::string text = (parent / "via-bench.XXXXXX").string();
  if (::mkdtemp(text.data()) == nullptr) throw Failed("cannot make a folder in " + parent.string());
  path_ = text;
}

TempFolder::~TempFolder() {
  std::error_code ec;
  std::filesystem::remove_all(path_, ec);
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) throw Failed("cannot write " + file.string());
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(fd, text.data() + at, text.size() - at);
    if (n <= 0) {
      ::close(fd);
      throw Failed("cannot write " + file.string());
    }
    at += static_cast<std::size_t>(n);
  }
  ::close(fd);
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

}  // namespace bench
