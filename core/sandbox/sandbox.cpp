#include "core/sandbox/sandbox.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <algorithm>
#include <cstring>
#include <string_view>
#include <system_error>

namespace via::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInit = "/run/via.init";
constexpr const char* kTmpBytes = "67108864";  // of /tmp and of /dev/shm, each; they are memory
// Of /etc: what programs need to find libraries, names and trust. Nothing that could hold a secret.
constexpr const char* kEtc[] = {"ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "ssl/certs", "ssl/openssl.cnf", "ca-certificates",
                                "ca-certificates.conf", "pki/tls/certs", "hosts", "host.conf", "gai.conf", "nsswitch.conf", "services",
                                "protocols", "mime.types", "localtime", "timezone", "locale.conf", "default/locale", "java-17-openjdk",
                                "java-11-openjdk", "python3", "python3.11", "perl", "magic", "terminfo"};
constexpr const char* kSystem[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

// Whether `inner` is `outer` or lies in it. Both absolute and normal.
bool inside(const fs::path& inner, const fs::path& outer) {
  const auto [rest, end] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return rest == outer.end() || (std::next(rest) == outer.end() && rest->empty());
}

// Whether it is there inside anyway: a system folder, or one of the app's own.
bool is_system(const fs::path& path) {
  for (const char* own : {"/tmp", "/dev/shm", kData, kMaterial})
    if (path == own) return true;
  if (inside(path, "/usr") || inside(path, "/opt")) return true;
  for (const char* folder : kSystem)
    if (inside(path, folder)) return true;
  return false;
}

fs::path real(const fs::path& path) {
  std::error_code ec;
  fs::path out = fs::canonical(path, ec);
  return ec ? path.lexically_normal() : out;
}

FileHandle memory_file(std::string_view text) {
  FileHandle file(::memfd_create("via-sandbox", MFD_CLOEXEC));
  while (file && !text.empty()) {
    const ssize_t n = ::write(file.get(), text.data(), text.size());
    if (n <= 0) return {};
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (!file || ::lseek(file.get(), 0, SEEK_SET) != 0) return {};
  return FileHandle(::fcntl(file.get(), F_DUPFD_CLOEXEC, 10));  // above the numbers that the child gives
}

class Options {
 public:
  template <class... Words>
  void add(const Words&... words) {
    (word(words), ...);
  }
  const std::string& text() const { return text_; }

 private:
  void word(const char* w) { text_.append(w).push_back('\0'); }
  void word(const std::string& w) { text_.append(w).push_back('\0'); }
  void word(const fs::path& p) { word(p.native()); }
  std::string text_;
};

void add_system(Options& options) {
  options.add("--ro-bind", "/usr", "/usr", "--ro-bind-try", "/opt", "/opt");
  for (const char* folder : kSystem) {
    struct stat st {};
    if (::lstat(folder, &st) != 0) continue;
    std::error_code ec;
    if (S_ISLNK(st.st_mode)) options.add("--symlink", fs::read_symlink(folder, ec), folder);
    else options.add("--ro-bind", folder, folder);
  }
  for (const char* name : kEtc) options.add("--ro-bind-try", real(fs::path("/etc") / name), fs::path("/etc") / name);
  options.add("--ro-bind-try", real("/etc/resolv.conf"), "/etc/resolv.conf");  // often a link into /run
}

// bubblewrap makes missing parents for its own user alone, which the app is not.
void show(Options& options, const fs::path& path) {
  fs::path parent;
  for (const fs::path& part : path.parent_path()) {
    parent /= part;
    if (parent != "/") options.add("--perms", "0755", "--dir", parent);
  }
  options.add("--ro-bind", real(path), path);
}

Options options_of(const Means& means, const Plan& plan, const fs::path& program) {
  Options o;
  // The namespace of users is what another user than root makes the rest with.
  if (means.root) o.add("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID");
  else o.add("--unshare-user", "--uid", std::to_string(plan.uid), "--gid", std::to_string(plan.gid));
  o.add("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "via", "--die-with-parent", "--as-pid-1");
  if (plan.network == Network::none) o.add("--unshare-net");
  add_system(o);
  o.add("--proc", "/proc", "--dev", "/dev", "--size", kTmpBytes, "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev");
  o.add("--size", kTmpBytes, "--perms", "1777", "--tmpfs", "/tmp");
  o.add("--perms", "0755", "--dir", "/run", "--ro-bind", means.init, kInit);
  if (!plan.material.empty()) o.add("--ro-bind", plan.material, kMaterial);
  for (const fs::path& path : plan.readable) show(o, path);
  const fs::path folder = plan.working_folder.lexically_normal();
  if (folder != "/" && !folder.empty() && !is_system(folder)) show(o, folder);
  if (!is_system(program) && !(folder != "/" && inside(program, folder))) show(o, program);
  if (!plan.data.empty()) o.add("--bind", plan.data, kData);
  o.add("--remount-ro", "/", "--seccomp", std::to_string(kFilter));
  return o;
}

bool may(const struct stat& st, const Plan& plan, unsigned bits) {
  const unsigned shift = st.st_uid == plan.uid ? 6 : st.st_gid == plan.gid ? 3 : 0;
  return (st.st_mode >> shift & bits) == bits;
}

Result<void> check_shown(const Means& means, const Plan& plan, const fs::path& path, const char* what) {
  const fs::path there = real(path);
  if (inside(plan.state_dir, there) || inside(there, plan.state_dir))
    return fail(Code::refused, std::string(what) + " holds the host's state folder or lies in it, so an app cannot be shown it. Nothing was changed.");
  for (const char* home : {"/root", "/home", "/proc", "/sys", "/dev", "/run", "/etc", "/var"})
    if (there == home)
      return fail(Code::refused, std::string(what) + " is " + home + ", which no app is shown whole. Choose a folder in it. Nothing was changed.");
  struct stat st {};
  if (means.root && ::stat(there.c_str(), &st) == 0 && !may(st, plan, S_ISDIR(st.st_mode) ? 5U : 4U))
    return fail(Code::refused, std::string(what) + " cannot be read by the app's own user. Let others read it: chmod o+rX. Nothing was changed.");
  return {};
}

}  // namespace

Result<void> check(const Means& means, const Plan& plan, const fs::path& program) {
  const fs::path folder = plan.working_folder.lexically_normal();
  if (folder != "/" && !folder.empty() && !is_system(folder))
    if (auto shown = check_shown(means, plan, folder, "The folder to run the command in"); !shown) return shown;
  for (const fs::path& path : plan.readable)
    if (auto shown = check_shown(means, plan, path, "A folder that the app may read"); !shown) return shown;
  const fs::path file = real(program);
  if (inside(file, plan.state_dir)) return fail(Code::refused, "The command's program lies in the host's state folder. Nothing was changed.");
  struct stat st {};
  if (means.root && ::stat(file.c_str(), &st) == 0 && !may(st, plan, 5))
    return fail(Code::refused, "The command's program may not be read and run by the app's own user. Let others: chmod o+rx. Nothing was changed.");
  return {};
}

Result<Launch> prepare(const Means& means, const Plan& plan, const fs::path& program, const std::vector<std::string>& command) {
  Launch out;
  Options options = options_of(means, plan, program);
  out.options = memory_file(options.text());
  auto filter = make_filter();
  if (!filter) return filter.error();
  out.filter = FileHandle(::fcntl(filter->get(), F_DUPFD_CLOEXEC, 10));
  if (!out.options || !out.filter) return system_error("prepare a sandbox", errno);
  const Limits& l = plan.limits;
  const fs::path folder = plan.working_folder.empty() ? fs::path("/") : plan.working_folder;
  out.words = {"bwrap", "--args", std::to_string(kOptions), "--", kInit, std::to_string(plan.uid), std::to_string(plan.gid),
               std::to_string(l.files), std::to_string(plan.by_rlimits ? l.pids : 0), std::to_string(plan.by_rlimits ? l.memory_bytes : 0), means.landlock ? "1" : "0", folder.string(), program.string(), "--"};
  out.words.insert(out.words.end(), command.begin(), command.end());
  return out;
}

}  // namespace via::sandbox
