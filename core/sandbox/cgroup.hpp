// Resource limits of a process and all that it starts: cgroup v2 where the host may divide its own group (a systemd unit with
// Delegate=yes), else v1, else none, and the caller sets what rlimits can hold.
// Thread: any; file operations in /sys/fs/cgroup, which do not wait.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/sandbox/sandbox.hpp"

namespace via::sandbox {

// The group of one process; the folder is removed with it (its processes have ended by then, or are ended).
class Group {
 public:
  Group(std::vector<std::filesystem::path> folders, bool v2) : folders_(std::move(folders)), v2_(v2) {}
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  ~Group();
  // Each of them gets a "0" from the process that shall be in it. Close-on-exec, above 9.
  const std::vector<FileHandle>& doors() const { return doors_; }
  Result<void> open_doors();
  bool ran_out_of_memory() const;  // the kernel ended a process of it for that
  bool ran_out_of_processes() const;

 private:
  std::vector<std::filesystem::path> folders_;
  std::vector<FileHandle> doors_;
  bool v2_;
};

class Cgroups {
 public:
  enum class Kind { none, v1, v2 };
  // Looks for what the host may write. With v2 it moves the host into a leaf of its group, which must have no other processes.
  // The folders are parameters for the tests.
  static Cgroups find(const std::filesystem::path& mount = "/sys/fs/cgroup", const std::filesystem::path& own = "/proc/self/cgroup");
  Kind kind() const { return kind_; }
  const char* name() const { return kind_ == Kind::v2 ? "cgroup v2" : kind_ == Kind::v1 ? "cgroup v1" : "rlimits"; }
  // Null where kind() is none.
  Result<std::unique_ptr<Group>> make(const std::string& name, const Limits& limits) const;

 private:
  Kind kind_ = Kind::none;
  std::vector<std::pair<std::string, std::filesystem::path>> parents_;  // v1: by controller; v2: one
};

}  // namespace via::sandbox
