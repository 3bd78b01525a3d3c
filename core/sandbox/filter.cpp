#include <seccomp.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "core/sandbox/sandbox.hpp"

namespace via::sandbox {
namespace {

// By name: one that this libseccomp or this kernel does not know is skipped.
constexpr const char* kRefused[] = {
    "mount", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "umount", "umount2", "pivot_root", "chroot",
    "swapon", "swapoff", "quotactl", "quotactl_fd", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "clock_settime", "clock_settime64", "settimeofday", "stime", "adjtimex", "clock_adjtime", "clock_adjtime64", "reboot", "acct",
    "syslog", "sethostname", "setdomainname", "io_uring_setup", "io_uring_enter", "io_uring_register", "unshare", "setns", "open_by_handle_at",
    "name_to_handle_at", "fanotify_init", "lookup_dcookie", "vhangup", "iopl", "ioperm", "modify_ldt", "nfsservctl", "uselib",
    "migrate_pages", "move_pages", "statmount", "listmount", "lsm_set_self_attr"};

constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

}  // namespace

Result<FileHandle> make_filter() {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_ALLOW), seccomp_release);
  if (!filter) return fail(Code::internal, "the system call filter cannot be made");
  int wrong = seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  for (const char* name : kRefused) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number >= 0 && wrong == 0) wrong = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), number, 0);
  }
  const auto add = [&](unsigned action, int number, scmp_arg_cmp argument) {
    if (wrong == 0) wrong = seccomp_rule_add(filter.get(), action, number, 1, argument);
  };
  // A new namespace of any kind; one rule a bit, for a rule holds when all its conditions do.
  for (std::uint64_t bit = 1; bit <= kNamespaces; bit <<= 1)
    if ((kNamespaces & bit) != 0) add(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
  // Its flags are in memory, which a filter cannot read: libraries fall back to clone().
  if (wrong == 0) wrong = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  // Typing into the terminal of whoever started the host.
  for (const std::uint64_t request : {std::uint64_t{TIOCSTI}, std::uint64_t{TIOCLINUX}})
    add(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffU, request));
  FileHandle out(::memfd_create("via-filter", MFD_CLOEXEC));
  if (wrong == 0 && out) wrong = seccomp_export_bpf(filter.get(), out.get());
  if (wrong != 0 || !out || ::lseek(out.get(), 0, SEEK_SET) != 0) return fail(Code::internal, "the system call filter cannot be made");
  return out;
}

}  // namespace via::sandbox
