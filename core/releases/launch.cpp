#include "core/releases/launch.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

namespace via::releases {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

bool plain(std::string_view text) { return text.find('\0') == std::string_view::npos; }

// Later entries replace earlier ones, so a deploy cannot redirect what Via promises.
std::map<std::string, std::string> environment_of(const ProcessSpec& spec) {
  std::map<std::string, std::string> out;
  const auto inherit = [&](const char* name, std::string_view otherwise) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing in Via calls setenv
    out[name] = value != nullptr && *value != '\0' ? std::string(value) : std::string(otherwise);
  };
  if (spec.sandbox) out["PATH"] = sandbox::kPath;
  else inherit("PATH", kDefaultPath);
  inherit("LANG", "C.UTF-8");
  inherit("TZ", "UTC");
  out["HOME"] = !spec.sandbox ? spec.working_folder.string() : spec.sandbox->data.empty() ? "/tmp" : sandbox::kData;
  for (const auto& [name, value] : spec.variables) out[name] = value;
  const fs::path material = spec.sandbox ? fs::path(sandbox::kMaterial) : spec.material;
  out["VARY_CONFIG_URL"] = spec.config_url;
  out["VARY_CONFIG_TOKEN_PATH"] = (material / "token").string();
  out["VARY_ENVIRONMENT"] = spec.environment;
  out["VIA_BOOTSTRAP"] = (material / "bootstrap.json").string();
  return out;
}

// Everything the child needs, made before fork: behind it only async-signal-safe calls are allowed.
struct Image {
  explicit Image(const ProcessSpec& spec) : folder(spec.working_folder.string()), words(spec.command) {
    const auto variables = environment_of(spec);
    for (const auto& [name, value] : variables) pairs.push_back(name + '=' + value);
    const std::string& command = spec.command.front();
    if (command.find('/') != std::string::npos) {
      candidates.push_back(command);
    } else {
      std::string_view path = variables.at("PATH");
      while (!path.empty()) {
        const std::size_t end = std::min(path.find(':'), path.size());
        // An empty or relative entry would mean the working folder, which the app can write to.
        if (end > 0 && path.front() == '/') candidates.push_back(std::string(path.substr(0, end)) + '/' + command);
        path.remove_prefix(std::min(end + 1, path.size()));
      }
    }
    for (std::string& pair : pairs) envp.push_back(pair.data());
    envp.push_back(nullptr);
    point();
  }
  void point() {
    argv.clear();
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
  }
  // The first candidate that is a file that may be run, absolute.
  fs::path program() const {
    for (const std::string& candidate : candidates) {
      const fs::path path = (fs::path(folder) / candidate).lexically_normal();
      struct stat st {};
      if (::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && ::access(path.c_str(), X_OK) == 0) return path;
    }
    return {};
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  std::string folder;
  std::vector<std::string> words, pairs, candidates;
  std::vector<char*> argv, envp;
};

// Above the numbers the child gives to its own three and the pipe.
FileHandle lift(int fd) {
  FileHandle low(fd);
  if (!low) return low;
  return FileHandle(::fcntl(low.get(), F_DUPFD_CLOEXEC, 10));
}

// What else a sandboxed child needs.
struct Inside {
  sandbox::Launch launch;
  FileHandle socket;  // the child's end
  std::unique_ptr<sandbox::Group> group;
};

struct Descriptors {
  int null = -1, out = -1, err = -1, pipe = -1;
};

[[noreturn]] void become(const Image& image, const Descriptors& given, const Inside* inside, pid_t parent) {
  const int pipe_fd = inside != nullptr ? sandbox::kFilter + 1 : 3;
  const auto give_up = [&](Failure::Step step, int fd) {
    const Failure failure{step, errno};
    [[maybe_unused]] const ssize_t ignored = ::write(fd, &failure, sizeof failure);
    ::_exit(kNotStarted);
  };
  // The host ends: so does the child. Asked again behind it, because the host may have ended before.
  // Without no_new_privs a set-uid program would lose the request.
  ::setsid();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::getppid() != parent)
    give_up(Failure::session, given.pipe);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal <= SIGRTMAX; ++signal) ::sigaction(signal, &standard, nullptr);
  ::umask(077);
  if (inside != nullptr && inside->group)
    for (const FileHandle& door : inside->group->doors())
      if (::write(door.get(), "0", 1) != 1) give_up(Failure::group, given.pipe);
  if (::dup2(given.null, 0) < 0 || ::dup2(given.out, 1) < 0 || ::dup2(given.err, 2) < 0 || ::dup3(given.pipe, pipe_fd, O_CLOEXEC) < 0)
    give_up(Failure::descriptors, given.pipe);
  if (inside != nullptr &&
      (::dup2(inside->socket.get(), sandbox::kSocket) < 0 || ::dup2(inside->launch.options.get(), sandbox::kOptions) < 0 ||
       ::dup2(inside->launch.filter.get(), sandbox::kFilter) < 0))
    give_up(Failure::descriptors, pipe_fd);
  if (::syscall(SYS_close_range, static_cast<unsigned>(pipe_fd) + 1U, ~0U, 0U) != 0) give_up(Failure::descriptors, pipe_fd);
  if (::chdir(inside != nullptr ? "/" : image.folder.c_str()) != 0) give_up(Failure::folder, pipe_fd);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  int reason = ENOENT;
  for (const std::string& candidate : image.candidates) {
    ::execve(candidate.c_str(), image.argv.data(), image.envp.data());
    if (errno == ENOENT || errno == ENOTDIR) continue;
    reason = errno;
    if (errno != EACCES) break;
  }
  errno = reason;
  give_up(inside != nullptr ? Failure::sandbox : Failure::command, pipe_fd);
  ::_exit(kNotStarted);
}

// Turns the image into one of bubblewrap.
Result<void> wrap(const ProcessSpec& spec, const SandboxTools& tools, Image& image, Inside& inside, Child& child) {
  const fs::path program = image.program();
  if (program.empty()) return fail(Code::not_found, "its command cannot be run: No such file or directory");
  sandbox::Plan plan = *spec.sandbox;
  plan.by_rlimits = tools.groups.kind() == sandbox::Cgroups::Kind::none;
  auto launch = sandbox::prepare(tools.means, plan, program, image.words);
  if (!launch) return launch.error();
  auto group = tools.groups.make(spec.instance, spec.sandbox->limits);
  if (!group) return group.error();
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return system_error("make a socket", errno);
  child.socket = lift(ends[0]);
  inside.socket = lift(ends[1]);
  const int on = 1;
  if (!child.socket || !inside.socket || ::setsockopt(child.socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::fcntl(inside.socket.get(), F_SETFL, 0) != 0)
    return system_error("make a socket", errno);
  inside.launch = std::move(*launch);
  inside.group = std::move(*group);
  image.words = inside.launch.words;
  image.candidates = {tools.means.bwrap.string()};
  image.point();
  return {};
}

}  // namespace

std::string describe(const Failure& failure) {
  static constexpr std::string_view kSteps[] = {"its descriptors could not be arranged", "it lost its parent",
                                                "its working folder cannot be entered", "its command cannot be run",
                                                "its control group cannot be entered", "bubblewrap cannot be run"};
  return std::string(kSteps[static_cast<std::size_t>(failure.step)]) + ": " + std::strerror(failure.error_number);
}

std::string describe(const sandbox::Message& failure) {
  static constexpr std::string_view kSteps[] = {"", "it could not become the app's user", "its limits could not be set", "Landlock refused its rules",
                                                "its working folder cannot be entered", "its command cannot be run"};
  const auto step = static_cast<std::size_t>(failure.step);
  return std::string(step < std::size(kSteps) ? kSteps[step] : "it did not start") + ": " + std::strerror(failure.value);
}

Result<void> check(const ProcessSpec& spec) {
  if (spec.instance.empty()) return fail(Code::bad_request, "A process needs an instance.");
  if (spec.command.empty() || spec.command.front().empty())
    return fail(Code::bad_request, "A process needs a command.");
  if (spec.working_folder.empty() || spec.log_file.empty())
    return fail(Code::bad_request, "A process needs a working folder and a log file.");
  bool clean = plain(spec.config_url) && plain(spec.environment);
  for (const std::string& word : spec.command) clean = clean && plain(word);
  for (const auto& [name, value] : spec.variables)
    clean = clean && !name.empty() && name.find('=') == std::string::npos && plain(name) && plain(value);
  if (!clean) return fail(Code::bad_request, "A command or variable holds NUL, or a variable has no usable name.");
  return {};
}

Result<Child> launch(const ProcessSpec& spec, const SandboxTools& tools, logs::Collector& output) {
  Image image(spec);
  const FileHandle null = lift(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null) return system_error("open /dev/null", errno);
  auto run = output.open(spec.app, spec.instance, spec.log_file);
  if (!run) return run.error();
  const FileHandle out_end = lift(run->out.release()), err_end = lift(run->err.release());
  if (!out_end || !err_end) return system_error("make a pipe", errno);
  // So that it can open them by name: /dev/stdout.
  if (spec.sandbox && tools.means.root)
    for (const FileHandle* end : {&out_end, &err_end})
      if (::fchown(end->get(), spec.sandbox->uid, spec.sandbox->gid) != 0) return system_error("give a pipe to an app", errno);
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("make a pipe", errno);
  Child out;
  out.output = std::move(*run);
  out.pipe = lift(ends[0]);
  FileHandle write_end = lift(ends[1]);
  if (!out.pipe || !write_end || ::fcntl(out.pipe.get(), F_SETFL, O_NONBLOCK) != 0)
    return system_error("make a pipe", errno);
  Inside inside;
  if (spec.sandbox)
    if (auto wrapped = wrap(spec, tools, image, inside, out); !wrapped) return wrapped.error();

  // No handler of the host may run in the child before its dispositions are reset.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t parent = ::getpid();
  out.pid = ::fork();
  if (out.pid == 0) become(image, {null.get(), out_end.get(), err_end.get(), write_end.get()}, spec.sandbox ? &inside : nullptr, parent);
  const int error_number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (out.pid < 0) return system_error("start a process", error_number);
  out.group = std::move(inside.group);
  // Nobody else waits for this child, so its pid cannot have gone to another process.
  out.pidfd = FileHandle(static_cast<int>(::syscall(SYS_pidfd_open, out.pid, 0U)));
  if (!out.pidfd) {
    const int why = errno;
    ::kill(out.pid, SIGKILL);
    ::waitpid(out.pid, nullptr, 0);
    return system_error("watch a process", why);
  }
  return out;
}

Result<void> look(const ProcessSpec& spec, const SandboxTools& tools) {
  const Image image(spec);
  if (spec.sandbox && !tools.means.missing.empty())
    return fail(Code::refused, "No sandbox can be made on this machine (" + tools.means.missing + "), and apps run in nothing less. Nothing was changed. To mend: " +
                                   tools.means.remedy + "; or, knowing that an app can then read all that the host can: sandbox = \"off\" in the configuration.");
  const FileHandle folder(::open(image.folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder || ::faccessat(folder.get(), ".", X_OK, AT_EACCESS) != 0)
    return fail(Code::refused, "The folder to run the command in does not exist or cannot be entered. Nothing was changed.");
  for (const std::string& candidate : image.candidates) {
    struct stat st {};
    if (::fstatat(folder.get(), candidate.c_str(), &st, 0) == 0 && S_ISREG(st.st_mode) &&
        ::faccessat(folder.get(), candidate.c_str(), X_OK, AT_EACCESS) == 0)
      return spec.sandbox ? sandbox::check(tools.means, *spec.sandbox, image.program()) : Result<void>{};
  }
  return fail(Code::refused, spec.sandbox && image.words.front().find('/') == std::string::npos
                                 ? "The command's program is in none of the folders that apps see (/usr/bin, /usr/local/bin …). Name it by its path. Nothing was changed."
                                 : "The command's program does not exist, or may not be run by the host's user. Nothing was changed.");
}

}  // namespace via::releases
