// An app that tries to get more than its bootstrap names. Prints one line for each attempt: "NAME refused" or "NAME GOT what".
// Started by the host, deployed by sandbox_test.cpp, which tells it what there is to get:
//   hostile_app STATE-DIR HOST-PID OTHER-PID OTHER-INSTANCE OTHER-APP-ID [memory|pids|wait]
#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// What it got; empty = refused.
using Attempt = std::function<std::string()>;

void report(const char* name, const std::string& got) {
  std::printf("%s %s%s\n", name, got.empty() ? "refused" : "GOT ", got.c_str());
  std::fflush(stdout);
}

// In a process of its own, for what it tries may end it.
void attempt(const char* name, const Attempt& what) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    report(name, what());
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) report(name, "");  // it was killed for it
}

std::string can_read(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) return {};
  ::close(fd);
  return path.string();
}

std::string can_write(const fs::path& folder) {
  const fs::path file = folder / "hostile-was-here";
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT, 0600);
  if (fd < 0) return {};
  ::close(fd);
  return file.string();
}

std::string calls(long result, const char* name) { return result >= 0 ? name : ""; }

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code ec;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) out.push_back(at->path().filename().string());
  return out;
}

std::string status_line(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.rfind(name + ":", 0) == 0) return line.substr(name.size() + 1);
  return {};
}

// Everything that some name of /proc leads to the state folder by.
std::string by_proc(const fs::path& state) {
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    for (const char* way : {"root", "cwd"}) {
      const fs::path through = fs::path("/proc") / name / way;
      if (auto got = can_read(through / state.relative_path() / "control-plane.db"); !got.empty()) return got;
      if (auto got = can_read(through / "root/.profile"); !got.empty()) return got;
    }
  }
  return {};
}

std::string descriptors() {
  for (const std::string& name : names_in("/proc/self/fd")) {
    if (std::atoi(name.c_str()) <= 2) continue;
    char target[4096] = {};
    if (::readlink(("/proc/self/fd/" + name).c_str(), target, sizeof target - 1) > 0 && std::strncmp(target, "/proc/", 6) != 0) return target;
  }
  return {};
}

std::string others_in_proc() {
  // Itself, its parent that waits, init: nobody else.
  int count = 0;
  for (const std::string& name : names_in("/proc"))
    if (name.find_first_not_of("0123456789") == std::string::npos) ++count;
  return count > 3 ? std::to_string(count) + " processes" : "";
}

std::string unix_socket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? path : "";
}

std::string memory_of(pid_t pid) {
  char byte = 0;
  iovec mine{&byte, 1}, theirs{&byte, 1};
  if (::process_vm_readv(pid, &mine, 1, &theirs, 1, 0) >= 0) return "process_vm_readv";
  return can_read("/proc/" + std::to_string(pid) + "/mem");
}

std::string fill(const fs::path& folder, long long most) {
  const int fd = ::open((folder / "fill").c_str(), O_WRONLY | O_CREAT, 0600);
  static char block[1 << 20];
  long long written = 0;
  while (written <= most) {
    const ssize_t n = ::write(fd, block, sizeof block);
    if (n <= 0) break;
    written += n;
  }
  ::close(fd);
  ::unlink((folder / "fill").c_str());
  return written > most ? std::to_string(written) + " bytes" : "";
}

std::string open_files(int most) {
  int count = 0;
  while (count <= most && ::open("/dev/null", O_RDONLY) >= 0) ++count;
  return count > most ? std::to_string(count) : "";
}

std::string set_uid_program() {
  // A set-uid program that runs with no new privileges is a plain one.
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/usr/bin/mount", "mount", "-t", "tmpfs", "none", "/tmp", nullptr);
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return "mount";
  return status_line("NoNewPrivs").find('1') == std::string::npos ? "new privileges" : "";
}

std::string core_file() {
  rlimit limit{1 << 20, 1 << 20};
  return ::setrlimit(RLIMIT_CORE, &limit) == 0 ? "a core limit" : "";
}

std::string capabilities() {
  for (const char* name : {"CapEff", "CapPrm", "CapAmb"})
    if (status_line(name).find_first_not_of("\t 0") != std::string::npos) return name;
  return {};
}

std::string identity() {
  if (::getuid() == 0 || ::geteuid() == 0 || ::getgid() == 0) return "root";
  if (::setuid(0) == 0 || ::setgid(0) == 0 || ::setresuid(0, 0, 0) == 0) return "setuid(0)";
  return {};
}

std::string groups() {
  gid_t list[64];
  const int n = ::getgroups(64, list);
  for (int i = 0; i < n; ++i)
    if (list[i] != ::getgid() && list[i] != 65534) return "group " + std::to_string(list[i]);
  return {};
}

std::string by_link(const fs::path& target) {
  ::unlink("/tmp/link");
  if (::symlink(target.c_str(), "/tmp/link") != 0) return {};
  return can_read("/tmp/link");
}

std::string upwards(const fs::path& state) {
  std::string up = ".";
  for (int i = 0; i < 20; ++i) {
    up += "/..";
    if (auto got = can_read(fs::path(up) / state.relative_path() / "control-plane.db"); !got.empty()) return got;
  }
  return {};
}

std::string pids() {
  int count = 0;
  for (; count < 100'000; ++count) {
    const pid_t child = ::fork();
    if (child < 0) break;
    if (child == 0) {
      ::pause();
      ::_exit(0);
    }
  }
  return count > 1000 ? std::to_string(count) + " processes" : "";
}

int eat_memory() {
  for (long eaten = 0;; eaten += 16) {
    void* block = std::malloc(16 << 20);
    if (block == nullptr) return 12;
    std::memset(block, 1, 16 << 20);
    if (eaten > 4096) return 13;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const fs::path state = argv[1];
  const pid_t host = std::atoi(argv[2]), other = std::atoi(argv[3]);
  const fs::path others_material = state / "runtimes" / argv[4], others_data = state / "apps" / argv[5] / "data";
  const std::string mode = argc > 6 ? argv[6] : "";
  if (mode == "memory") return eat_memory();
  if (mode == "wait") {
    std::printf("waiting\n");
    std::fflush(stdout);
    for (;;) ::pause();
  }
  if (::getuid() == 0) {  // what follows would work, and not only against the host of a test
    report("identity", "root");
    return 1;
  }
  attempt("state-folder", [&] { return can_read(state / "control-plane.db") + can_read(state); });
  attempt("signing-key", [&] {
    for (const std::string& name : names_in(state / "keys")) return name;
    return can_read(state / "keys" / "master.key");
  });
  attempt("storage", [&] { return can_read(state / "addons"); });
  attempt("proc-root", [&] { return by_proc(state); });
  attempt("proc-others", others_in_proc);
  attempt("descriptors", descriptors);
  attempt("symbolic-link", [&] { return by_link(state / "control-plane.db") + by_link("/proc/1/root" + state.string()); });
  attempt("working-folder", [&] { return upwards(state); });
  attempt("others-token", [&] { return can_read(others_material / "token"); });
  attempt("others-data", [&] { return can_read(others_data); });
  attempt("others-log", [&] { return can_read(state / "logs"); });
  attempt("others-memory", [&] { return memory_of(other) + memory_of(host) + memory_of(1); });
  attempt("signals", [&] { return calls(::kill(host, 0), "the host") + calls(::kill(other, 0), "another app"); });
  attempt("ptrace", [&] { return calls(::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr), "ptrace") + calls(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr), "traceme"); });
  attempt("admin-socket", [&] { return unix_socket((state / "admin.sock").string()) + unix_socket("/run/docker.sock") + unix_socket("/run/dbus/system_bus_socket"); });
  attempt("user-namespace", [] { return calls(::unshare(CLONE_NEWUSER), "unshare") + calls(::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0), "clone"); });
  attempt("other-namespaces", [] {
    std::string got;
    for (const int kind : {CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) got += calls(::unshare(kind), "unshare");
    const int fd = ::open("/proc/1/ns/mnt", O_RDONLY);
    return got + (fd >= 0 ? calls(::setns(fd, 0), "setns") : "");
  });
  attempt("clone3", [] {
    const std::string got = calls(::syscall(SYS_clone3, nullptr, 0), "clone3");
    return errno == ENOSYS ? got : got + "clone3 is there";
  });
  attempt("mount", [] { return calls(::mount("none", "/tmp", "tmpfs", 0, nullptr), "mount") + calls(::umount2("/proc", MNT_DETACH), "umount") + calls(::chroot("/tmp"), "chroot"); });
  attempt("new-mount-api", [] { return calls(::syscall(SYS_fsopen, "tmpfs", 0), "fsopen") + calls(::syscall(SYS_open_tree, AT_FDCWD, "/", 1), "open_tree"); });
  attempt("set-uid-program", set_uid_program);
  attempt("core-file", core_file);
  attempt("capabilities", capabilities);
  attempt("identity", identity);
  attempt("groups", groups);
  attempt("write-system", [] {
    std::string got;
    for (const char* folder : {"/", "/usr", "/usr/bin", "/etc", "/run", "/run/via", "/opt", "/dev"}) got += can_write(folder);
    return got;
  });
  attempt("write-working-folder", [] { return can_write("."); });
  attempt("write-token", [] { return calls(::open("/run/via/token", O_WRONLY | O_TRUNC), "the token") + calls(::chmod("/run/via/token", 0666), "its mode"); });
  attempt("homes", [] {
    for (const char* home : {"/root", "/home"})
      if (!names_in(home).empty()) return std::string(home);
    return std::string();
  });
  attempt("system-files", [] { return can_read("/etc/shadow") + can_read("/etc/via/server.toml") + can_read("/var/lib/via") + can_read("/sys/kernel"); });
  attempt("kernel-files", [] {
    std::string got;
    for (const char* file : {"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"}) got += calls(::open(file, O_WRONLY), file);
    return got + can_read("/proc/kcore") + can_read("/dev/mem") + can_read("/dev/kmsg");
  });
  attempt("devices", [] { return calls(::mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)), "a block device") + calls(::mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)), "memory"); });
  attempt("kernel-calls", [] {
    timeval now{1, 0};
    return calls(::syscall(SYS_bpf, 0, nullptr, 0), "bpf") + calls(::syscall(SYS_keyctl, 0, -3, 1, 0, 0), "keyctl") + calls(::syscall(SYS_io_uring_setup, 1, nullptr), "io_uring") +
           calls(::syscall(SYS_kexec_load, 0, 0, nullptr, 0), "kexec") + calls(::settimeofday(&now, nullptr), "clock") +
           calls(::syscall(SYS_finit_module, 0, "", 0), "module") + calls(::syscall(SYS_reboot, 0, 0, 0, nullptr), "reboot") +
           calls(::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0), "perf") + calls(::syscall(SYS_userfaultfd, 0), "userfaultfd");
  });
  attempt("refused-by-filter", [] {  // by the filter, not only for want of rights
    errno = 0;
    (void)::syscall(SYS_io_uring_setup, 1, nullptr);
    return errno == EPERM ? std::string() : std::string("errno ") + std::to_string(errno);
  });
  attempt("fill-tmp", [] { return fill("/tmp", 70 << 20); });
  attempt("fill-shm", [] { return fill("/dev/shm", 70 << 20); });
  attempt("descriptors-without-end", [] { return open_files(2000); });
  attempt("processes-without-end", pids);
  std::printf("done\n");
  std::fflush(stdout);
  for (;;) ::pause();
}
