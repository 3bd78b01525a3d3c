// The system call filter, in a child that loads it.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "core/sandbox/sandbox.hpp"

namespace via::sandbox {
namespace {

// The errno of a call under the filter; 0 = it worked.
int under_filter(const std::function<long()>& call) {
  auto filter = make_filter();
  EXPECT_TRUE(filter);
  struct stat st {};
  ::fstat(filter->get(), &st);
  std::vector<sock_filter> program(static_cast<std::size_t>(st.st_size) / sizeof(sock_filter));
  EXPECT_EQ(::read(filter->get(), program.data(), static_cast<std::size_t>(st.st_size)), st.st_size);
  const pid_t child = ::fork();
  if (child == 0) {
    const sock_fprog loaded{static_cast<unsigned short>(program.size()), program.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &loaded) != 0) ::_exit(255);
    ::_exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Filter, RefusesWhatReachesOutOfASandbox) {
  const std::pair<const char*, std::function<long()>> calls[] = {
      {"mount", [] { return ::mount("none", "/nowhere", "tmpfs", 0, nullptr); }},
      {"umount2", [] { return ::umount2("/nowhere", 0); }},
      {"unshare", [] { return ::unshare(CLONE_NEWUTS); }},
      {"unshare of a user namespace", [] { return ::unshare(CLONE_NEWUSER); }},
      {"clone with a namespace", [] { return ::syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, 0); }},
      {"setns", [] { return ::setns(-1, 0); }},
      {"ptrace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
      {"bpf", [] { return ::syscall(SYS_bpf, 0, nullptr, 0); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, 0, 0, 0, 0, 0); }},
      {"io_uring_setup", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }},
      {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
      {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }},
      {"open_by_handle_at", [] { return ::syscall(SYS_open_by_handle_at, -1, nullptr, 0); }},
      {"process_vm_readv", [] { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
      {"pidfd_getfd", [] { return ::syscall(SYS_pidfd_getfd, -1, 0, 0); }},
      {"settimeofday", [] { return ::syscall(SYS_settimeofday, nullptr, nullptr); }},
      {"typing into a terminal", [] { return static_cast<long>(::ioctl(0, TIOCSTI, "x")); }},
      {"the same with bits above", [] { return ::syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x"); }},
  };
  for (const auto& [name, call] : calls) EXPECT_EQ(under_filter(call), EPERM) << name;
  EXPECT_EQ(under_filter([] { return ::syscall(SYS_clone3, nullptr, 0); }), ENOSYS) << "its flags cannot be read: libraries fall back";
}

TEST(Filter, LeavesWhatProgramsNeed) {
  EXPECT_EQ(under_filter([] {
              const pid_t child = ::fork();
              if (child == 0) ::_exit(0);
              int status = 0;
              return static_cast<long>(::waitpid(child, &status, 0) == child && status == 0 ? 0 : -1);
            }),
            0);
  EXPECT_EQ(under_filter([] { return static_cast<long>(::open("/dev/null", O_RDWR)); }), 0);
  EXPECT_EQ(under_filter([] { return ::syscall(SYS_getrandom, nullptr, 0, 0); }), 0);
}

}  // namespace
}  // namespace via::sandbox
