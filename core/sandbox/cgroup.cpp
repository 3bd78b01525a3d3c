#include "core/sandbox/cgroup.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace via::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr const char* kControllers[] = {"memory", "pids", "cpu"};
constexpr std::int64_t kPeriodUs = 100'000;

bool put(const fs::path& file, const std::string& text) {
  const FileHandle f(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  return f && ::write(f.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string get(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// The number behind a word, as in "oom_kill 3".
std::int64_t number_after(const std::string& text, const std::string& word) {
  std::istringstream in(text);
  std::string name;
  std::int64_t value = 0;
  while (in >> name >> value)
    if (name == word) return value;
  return -1;
}

// /proc/self/cgroup: "ID:CONTROLLERS:PATH" lines; v2 has no controllers.
std::map<std::string, std::string> groups_of(const fs::path& own) {
  std::map<std::string, std::string> out;
  std::ifstream in(own);
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    const std::string path = line.substr(second + 1);
    if (second == first + 1) out[""] = path;
    for (std::string name; std::getline(names, name, ',');) out[name] = path;
  }
  return out;
}

bool make_folder(const fs::path& path) { return ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST; }

}  // namespace

Group::~Group() {
  doors_.clear();
  for (const fs::path& folder : folders_) {
    // Somebody may be on the way out still; the kernel says so by EBUSY.
    for (int attempt = 0; ::rmdir(folder.c_str()) != 0 && errno == EBUSY && attempt < 50; ++attempt) {
      std::ifstream in(folder / "cgroup.procs");
      for (pid_t pid = 0; in >> pid;) ::kill(pid, SIGKILL);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
}

Result<void> Group::open_doors() {
  doors_.clear();
  for (const fs::path& folder : folders_) {
    const FileHandle low(::open((folder / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    FileHandle door(low ? ::fcntl(low.get(), F_DUPFD_CLOEXEC, 10) : -1);
    if (!door) return system_error("enter the control group of a process", errno);
    doors_.push_back(std::move(door));
  }
  return {};
}

bool Group::ran_out_of_memory() const {
  for (const fs::path& folder : folders_)
    if (number_after(get(folder / (v2_ ? "memory.events" : "memory.oom_control")), "oom_kill") > 0) return true;
  return false;
}

bool Group::ran_out_of_processes() const {
  for (const fs::path& folder : folders_)
    if (number_after(get(folder / "pids.events"), "max") > 0) return true;
  return false;
}

Cgroups Cgroups::find(const fs::path& mount, const fs::path& own) {
  Cgroups out;
  const auto groups = groups_of(own);
  const auto below = [](const fs::path& base, const std::string& path) { return base / fs::path(path).relative_path(); };
  // v2 alone has its files at the root of the mount.
  if (const auto unified = groups.find(""); unified != groups.end() && ::access((mount / "cgroup.controllers").c_str(), F_OK) == 0) {
    const fs::path group = below(mount, unified->second);
    const std::string has = " " + get(group / "cgroup.controllers");
    bool good = true;
    for (const char* controller : {"memory", "pids"}) good = good && has.find(std::string(" ") + controller) != has.npos;
    // A group that has processes of its own hands no controllers on: the host goes into a leaf first.
    const fs::path leaf = group / "via-host";
    good = good && make_folder(leaf) && put(leaf / "cgroup.procs", std::to_string(::getpid()));
    if (good && put(group / "cgroup.subtree_control", "+memory +pids")) {
      put(group / "cgroup.subtree_control", "+cpu");
      out.kind_ = Kind::v2;
      out.parents_ = {{"", group}};
      return out;
    }
  }
  for (const char* controller : kControllers) {
    const auto group = groups.find(controller);
    if (group == groups.end()) continue;
    const fs::path parent = below(mount / controller, group->second) / "via";
    if (make_folder(parent) && ::access((parent / "cgroup.procs").c_str(), W_OK) == 0) out.parents_.emplace_back(controller, parent);
  }
  const auto has = [&](const char* name) {
    for (const auto& [controller, path] : out.parents_)
      if (controller == name) return true;
    return false;
  };
  if (has("memory") && has("pids")) out.kind_ = Kind::v1;
  else out.parents_.clear();
  return out;
}

Result<std::unique_ptr<Group>> Cgroups::make(const std::string& name, const Limits& limits) const {
  std::unique_ptr<Group> none;
  if (kind_ == Kind::none) return none;
  std::vector<fs::path> folders;
  bool good = true;
  for (const auto& [controller, parent] : parents_) {
    const fs::path folder = parent / ("app-" + name);
    good = good && make_folder(folder);
    if (!good) break;
    folders.push_back(folder);
    const auto wants = [&](const char* which) { return kind_ == Kind::v2 || controller == which; };
    if (wants("memory") && limits.memory_bytes > 0) {
      const std::string bytes = std::to_string(limits.memory_bytes);
      if (kind_ == Kind::v2) {
        good = good && put(folder / "memory.max", bytes);
        put(folder / "memory.swap.max", "0");
      } else {
        good = good && put(folder / "memory.limit_in_bytes", bytes);
        put(folder / "memory.memsw.limit_in_bytes", bytes);
      }
    }
    if (wants("pids") && limits.pids > 0) good = good && put(folder / "pids.max", std::to_string(limits.pids));
    if (wants("cpu") && limits.cpu_percent > 0) {
      const std::string quota = std::to_string(limits.cpu_percent * kPeriodUs / 100), period = std::to_string(kPeriodUs);
      if (kind_ == Kind::v2) good = good && put(folder / "cpu.max", quota + " " + period);
      else good = good && put(folder / "cpu.cfs_period_us", period) && put(folder / "cpu.cfs_quota_us", quota);
    }
  }
  auto group = std::make_unique<Group>(std::move(folders), kind_ == Kind::v2);
  if (!good) return system_error("set the limits of a process", errno);
  if (auto opened = group->open_doors(); !opened) return opened.error();
  return group;
}

}  // namespace via::sandbox
