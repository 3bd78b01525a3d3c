// The sandbox around every process that the host launches: what it sees, who it is, what it may do, what it may use.
//
// Made by bubblewrap (namespaces and mounts), a seccomp filter (libseccomp) and via-sandbox-init, the first process inside, which
// takes on the app's user and group, sets Landlock and resource limits, starts the command, passes signals on and reaps. A host that
// runs as root gives each app a uid of its own; another uses a user namespace. docs/security.md says what each part stops.
// Thread: any; Means::find() runs a process and blocks for some 20 ms.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/files.hpp"

namespace via::sandbox {

enum class Network { host, none };

// 0 = no limit.
struct Limits {
  std::int64_t memory_bytes = 0;
  std::int64_t cpu_percent = 0;  // of one processor
  std::int64_t pids = 0;         // processes and threads
  std::int64_t files = 0;        // open descriptors of a process
};

// What one process is put in. Paths are the host's.
struct Plan {
  std::uint32_t uid = 0, gid = 0;
  std::filesystem::path working_folder;          // read-only inside, at the same path; "/" = none
  std::filesystem::path material;                // at /run/via, read-only
  std::filesystem::path data;                    // at /data, writable; empty = none
  std::vector<std::filesystem::path> readable;   // at the same paths, read-only
  std::filesystem::path state_dir;               // of the host: never seen
  Network network = Network::host;
  Limits limits;
  bool by_rlimits = false;  // no control group holds memory and pids
};

// Where things are inside.
inline constexpr const char* kMaterial = "/run/via";
inline constexpr const char* kData = "/data";
// What a command's name is looked up in.
inline constexpr const char* kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What this machine has for it.
struct Means {
  bool root = false;              // uids of its own for each app
  bool landlock = false;          // the kernel has it
  std::filesystem::path bwrap, init;
  std::string missing, remedy;    // why no sandbox can be made; empty = it can
  // Looks for the programs and makes one sandbox.
  static Means find(const std::filesystem::path& init);
};

// One launch: what bubblewrap is executed with. Descriptors are close-on-exec and above 9; the caller gives them their numbers.
struct Launch {
  std::vector<std::string> words;  // argv, to be executed as Means::bwrap
  FileHandle options, filter;      // to be descriptors kOptions and kFilter
};
inline constexpr int kOptions = 4, kFilter = 5;

// `program` is the command's file as the host sees it, absolute; `command` its argv.
Result<Launch> prepare(const Means& means, const Plan& plan, const std::filesystem::path& program, const std::vector<std::string>& command);

// Whether the app's user could read and run it, by its mode, and whether the folders may be shown at all. `refused` says what to do.
Result<void> check(const Means& means, const Plan& plan, const std::filesystem::path& program);

// A program for seccomp in a sealed memory file: everything is allowed but what reaches out of a sandbox (mounts, tracing, keys, kernel
// modules, clocks, io_uring, namespaces …), which fails with EPERM; other architectures' system calls end the process.
Result<FileHandle> make_filter();

}  // namespace via::sandbox
