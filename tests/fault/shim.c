/* Preloaded into a host by io_test.cpp: sees every libc call that changes or syncs a file below the state folder, gives
 * each a stable name, and lets one of them fail or kill the process. Core, plugins and both copies of SQLite call libc,
 * so one library sees all. Control is in shim.h. Reads, locks, sockets, pipes and files elsewhere are not counted;
 * a forked child is not the host and is let through.
 * Thread: any; one lock around the book-keeping, none around the real call. */
#define _GNU_SOURCE
#include "fault/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static struct via_shim* shm;
static pid_t owner;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

enum {
  CAN_FAIL = 1U << VIA_SHIM_KILL | 1U << VIA_SHIM_EIO,
  CAN_FILL = CAN_FAIL | 1U << VIA_SHIM_ENOSPC,
  CAN_TEAR = CAN_FILL | 1U << VIA_SHIM_TORN | 1U << VIA_SHIM_SHORT
};

__attribute__((constructor)) static void attach(void) {
  const char* file = getenv("VIA_IO_SHIM");
  if (file == NULL) return;
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
  if (fd >= 0) {
    void* at = mmap(NULL, sizeof *shm, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) shm = at;
    syscall(SYS_close, fd);
  }
  owner = getpid();
  unsetenv("VIA_IO_SHIM"); /* children are not part of the experiment */
  unsetenv("LD_PRELOAD");
}

static int counted(void) { return shm != NULL && __atomic_load_n(&shm->active, __ATOMIC_ACQUIRE) && getpid() == owner; }

static const char* below(const char* folder, const char* path) {
  const size_t n = strlen(folder);
  if (n == 0 || strncmp(path, folder, n) != 0) return NULL;
  if (path[n] == '\0') return path + n;
  return path[n] == '/' ? path + n + 1 : NULL;
}

/* The path below the state folder, or NULL. "" is the state folder itself. */
static const char* below_root(const char* path) {
  const char* found = below(shm->root, path);
  if (found != NULL || below(shm->more, path) == NULL) return found;
  const char* slash = strrchr(shm->more, '/');
  return path + (slash - shm->more) + 1;
}

static int path_of_fd(int fd, char* out, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, out, size - 1);
  if (n <= 0) return 0;
  out[n] = '\0';
  return 1;
}

static int path_at(int dir, const char* path, char* out, size_t size) {
  if (path == NULL) return 0;
  if (path[0] == '/') return snprintf(out, size, "%s", path) < (int)size;
  char base[PATH_MAX];
  if (dir == AT_FDCWD) {
    if (getcwd(base, sizeof base) == NULL) return 0;
  } else if (!path_of_fd(dir, base, sizeof base)) {
    return 0;
  }
  return snprintf(out, size, "%s/%s", base, path) < (int)size;
}

static int is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* An id is a run of 20 or more letters and digits with a digit in it: "addon_01J…" and a bare ULID become "*". So does a
 * time, a run of 10 or more digits. */
static void append_pattern(char* out, size_t size, const char* path) {
  size_t n = strlen(out);
  while (*path != '\0' && n + 2 < size) {
    size_t run = 0;
    size_t digits = 0;
    while (is_word(path[run])) {
      digits += path[run] >= '0' && path[run] <= '9';
      ++run;
    }
    if ((run >= 20 && digits > 0) || (run >= 10 && digits == run)) {
      out[n++] = '*';
      path += run;
    } else if (run > 0) {
      while (run-- > 0 && n + 2 < size) out[n++] = *path++;
    } else {
      out[n++] = *path++;
    }
  }
  out[n] = '\0';
}

/* Books the call and answers what is to be done to it. */
static uint32_t book(const char* call, const char* path, uint32_t actions) {
  const char* relative = below_root(path);
  if (relative == NULL) return VIA_SHIM_NONE;
  /* "… (deleted)" is how /proc names a file without a name. */
  char name[VIA_SHIM_NAME];
  snprintf(name, sizeof name, "%s ", call);
  append_pattern(name, sizeof name, relative[0] == '\0' ? "." : relative);
  uint32_t action = VIA_SHIM_NONE;
  pthread_mutex_lock(&mutex);
  if (shm->count < VIA_SHIM_CALLS) {
    memcpy(shm->calls[shm->count].name, name, sizeof name);
    shm->calls[shm->count].actions = actions;
  }
  ++shm->count;
  if (shm->action != VIA_SHIM_NONE) {
    const int same = strcmp(name, shm->target) == 0;
    if (same) ++shm->matched;
    const int now = same && shm->matched == shm->occurrence;
    const int later = shm->sticky && shm->struck > 0;
    if ((now || later) && (actions & (1U << shm->action)) != 0) {
      action = shm->action;
      ++shm->struck;
    }
  }
  if (action == VIA_SHIM_KILL) syscall(SYS_kill, owner, SIGKILL);
  pthread_mutex_unlock(&mutex);
  return action;
}

static uint32_t on_path(const char* call, int dir, const char* path, uint32_t actions) {
  char whole[PATH_MAX];
  if (!counted()) return VIA_SHIM_NONE;
  const int before = errno;
  const uint32_t action = path_at(dir, path, whole, sizeof whole) ? book(call, whole, actions) : VIA_SHIM_NONE;
  errno = before;
  return action;
}

static uint32_t on_fd(const char* call, int fd, uint32_t actions) {
  char whole[PATH_MAX];
  if (!counted()) return VIA_SHIM_NONE;
  const int before = errno;
  const uint32_t action = path_of_fd(fd, whole, sizeof whole) ? book(call, whole, actions) : VIA_SHIM_NONE;
  errno = before;
  return action;
}

static int refused(uint32_t action) {
  if (action == VIA_SHIM_EIO) errno = EIO;
  if (action == VIA_SHIM_ENOSPC) errno = ENOSPC;
  return action == VIA_SHIM_EIO || action == VIA_SHIM_ENOSPC;
}

/* How many bytes of a write go through: all, or half of one that is short or torn. */
static size_t allowed(uint32_t action, size_t n) {
  return action == VIA_SHIM_SHORT || action == VIA_SHIM_TORN ? (n + 1) / 2 : n;
}

static void torn(uint32_t action) {
  if (action == VIA_SHIM_TORN) syscall(SYS_kill, owner, SIGKILL);
}

#define REAL(type, name, ...) \
  typedef type (*real_type)(__VA_ARGS__); \
  static real_type real; \
  if (real == NULL) real = (real_type)dlsym(RTLD_NEXT, name)

static mode_t mode_argument(int flags, va_list more) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? (mode_t)va_arg(more, unsigned) : 0;
}

/* Only an open that makes or empties a file changes something. One that opens what is there is named so too when it
 * may create: whether the file was there is not the point's business. */
#define OPEN(function, name) \
  int function(const char* path, int flags, ...) { \
    va_list more; \
    va_start(more, flags); \
    const mode_t mode = mode_argument(flags, more); \
    va_end(more); \
    REAL(int, name, const char*, int, ...); \
    if ((flags & (O_CREAT | O_TRUNC)) != 0 && refused(on_path("open", AT_FDCWD, path, CAN_FILL))) return -1; \
    return real(path, flags, mode); \
  }
OPEN(open, "open")
OPEN(open64, "open64")

#define OPENAT(function, name) \
  int function(int dir, const char* path, int flags, ...) { \
    va_list more; \
    va_start(more, flags); \
    const mode_t mode = mode_argument(flags, more); \
    va_end(more); \
    REAL(int, name, int, const char*, int, ...); \
    if ((flags & (O_CREAT | O_TRUNC)) != 0 && refused(on_path("open", dir, path, CAN_FILL))) return -1; \
    return real(dir, path, flags, mode); \
  }
OPENAT(openat, "openat")
OPENAT(openat64, "openat64")

int creat(const char* path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

#define FOPEN(function, name) \
  FILE* function(const char* path, const char* mode) { \
    REAL(FILE*, name, const char*, const char*); \
    if (mode[0] != 'r' && refused(on_path("open", AT_FDCWD, path, CAN_FILL))) return NULL; \
    return real(path, mode); \
  }
FOPEN(fopen, "fopen")
FOPEN(fopen64, "fopen64")

ssize_t write(int fd, const void* data, size_t n) {
  REAL(ssize_t, "write", int, const void*, size_t);
  const uint32_t action = on_fd("write", fd, CAN_TEAR);
  if (refused(action)) return -1;
  const ssize_t done = real(fd, data, allowed(action, n));
  torn(action);
  return done;
}

#define PWRITE(function, name, offset_type) \
  ssize_t function(int fd, const void* data, size_t n, offset_type offset) { \
    REAL(ssize_t, name, int, const void*, size_t, offset_type); \
    const uint32_t action = on_fd("write", fd, CAN_TEAR); \
    if (refused(action)) return -1; \
    const ssize_t done = real(fd, data, allowed(action, n), offset); \
    torn(action); \
    return done; \
  }
PWRITE(pwrite, "pwrite", off_t)
PWRITE(pwrite64, "pwrite64", off64_t)

ssize_t writev(int fd, const struct iovec* parts, int count) {
  REAL(ssize_t, "writev", int, const struct iovec*, int);
  const uint32_t action = on_fd("write", fd, CAN_TEAR);
  if (refused(action)) return -1;
  if ((action == VIA_SHIM_SHORT || action == VIA_SHIM_TORN) && count > 0) {
    struct iovec first = parts[0];
    first.iov_len = allowed(action, first.iov_len);
    const ssize_t done = real(fd, &first, 1);
    torn(action);
    return done;
  }
  return real(fd, parts, count);
}

#define PWRITEV(function, name, offset_type) \
  ssize_t function(int fd, const struct iovec* parts, int count, offset_type offset) { \
    REAL(ssize_t, name, int, const struct iovec*, int, offset_type); \
    if (refused(on_fd("write", fd, CAN_FILL))) return -1; \
    return real(fd, parts, count, offset); \
  }
PWRITEV(pwritev, "pwritev", off_t)
PWRITEV(pwritev64, "pwritev64", off64_t)

#define ON_FD(function, name, label, actions) \
  int function(int fd) { \
    REAL(int, name, int); \
    return refused(on_fd(label, fd, actions)) ? -1 : real(fd); \
  }
ON_FD(fsync, "fsync", "fsync", CAN_FILL)
ON_FD(fdatasync, "fdatasync", "fsync", CAN_FILL)
ON_FD(syncfs, "syncfs", "fsync", CAN_FILL)

#define FTRUNCATE(function, name, size_type) \
  int function(int fd, size_type size) { \
    REAL(int, name, int, size_type); \
    return refused(on_fd("ftruncate", fd, CAN_FILL)) ? -1 : real(fd, size); \
  }
FTRUNCATE(ftruncate, "ftruncate", off_t)
FTRUNCATE(ftruncate64, "ftruncate64", off64_t)

#define TRUNCATE(function, name, size_type) \
  int function(const char* path, size_type size) { \
    REAL(int, name, const char*, size_type); \
    return refused(on_path("ftruncate", AT_FDCWD, path, CAN_FILL)) ? -1 : real(path, size); \
  }
TRUNCATE(truncate, "truncate", off_t)
TRUNCATE(truncate64, "truncate64", off64_t)

#define FALLOCATE(function, name, size_type) \
  int function(int fd, int mode, size_type offset, size_type size) { \
    REAL(int, name, int, int, size_type, size_type); \
    return refused(on_fd("fallocate", fd, CAN_FILL)) ? -1 : real(fd, mode, offset, size); \
  }
FALLOCATE(fallocate, "fallocate", off_t)
FALLOCATE(fallocate64, "fallocate64", off64_t)

/* Answers the error number instead of setting errno. */
#define POSIX_FALLOCATE(function, name, size_type) \
  int function(int fd, size_type offset, size_type size) { \
    REAL(int, name, int, size_type, size_type); \
    return refused(on_fd("fallocate", fd, CAN_FILL)) ? errno : real(fd, offset, size); \
  }
POSIX_FALLOCATE(posix_fallocate, "posix_fallocate", off_t)
POSIX_FALLOCATE(posix_fallocate64, "posix_fallocate64", off64_t)

/* A rename is named by where the file goes. */
int rename(const char* from, const char* to) {
  REAL(int, "rename", const char*, const char*);
  return refused(on_path("rename", AT_FDCWD, to, CAN_FILL)) ? -1 : real(from, to);
}
int renameat(int from_dir, const char* from, int to_dir, const char* to) {
  REAL(int, "renameat", int, const char*, int, const char*);
  return refused(on_path("rename", to_dir, to, CAN_FILL)) ? -1 : real(from_dir, from, to_dir, to);
}
int renameat2(int from_dir, const char* from, int to_dir, const char* to, unsigned flags) {
  REAL(int, "renameat2", int, const char*, int, const char*, unsigned);
  return refused(on_path("rename", to_dir, to, CAN_FILL)) ? -1 : real(from_dir, from, to_dir, to, flags);
}
int link(const char* from, const char* to) {
  REAL(int, "link", const char*, const char*);
  return refused(on_path("link", AT_FDCWD, to, CAN_FILL)) ? -1 : real(from, to);
}
int linkat(int from_dir, const char* from, int to_dir, const char* to, int flags) {
  REAL(int, "linkat", int, const char*, int, const char*, int);
  return refused(on_path("link", to_dir, to, CAN_FILL)) ? -1 : real(from_dir, from, to_dir, to, flags);
}
int symlink(const char* target, const char* path) {
  REAL(int, "symlink", const char*, const char*);
  return refused(on_path("symlink", AT_FDCWD, path, CAN_FILL)) ? -1 : real(target, path);
}

#define ON_PATH(function, name, label) \
  int function(const char* path) { \
    REAL(int, name, const char*); \
    return refused(on_path(label, AT_FDCWD, path, CAN_FAIL)) ? -1 : real(path); \
  }
ON_PATH(unlink, "unlink", "unlink")
ON_PATH(rmdir, "rmdir", "rmdir")
ON_PATH(remove, "remove", "unlink")

int unlinkat(int dir, const char* path, int flags) {
  REAL(int, "unlinkat", int, const char*, int);
  const char* label = (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink";
  return refused(on_path(label, dir, path, CAN_FAIL)) ? -1 : real(dir, path, flags);
}
int mkdir(const char* path, mode_t mode) {
  REAL(int, "mkdir", const char*, mode_t);
  return refused(on_path("mkdir", AT_FDCWD, path, CAN_FILL)) ? -1 : real(path, mode);
}
int mkdirat(int dir, const char* path, mode_t mode) {
  REAL(int, "mkdirat", int, const char*, mode_t);
  return refused(on_path("mkdir", dir, path, CAN_FILL)) ? -1 : real(dir, path, mode);
}
int chmod(const char* path, mode_t mode) {
  REAL(int, "chmod", const char*, mode_t);
  return refused(on_path("chmod", AT_FDCWD, path, CAN_FAIL)) ? -1 : real(path, mode);
}
int fchmodat(int dir, const char* path, mode_t mode, int flags) {
  REAL(int, "fchmodat", int, const char*, mode_t, int);
  return refused(on_path("chmod", dir, path, CAN_FAIL)) ? -1 : real(dir, path, mode, flags);
}
int fchmod(int fd, mode_t mode) {
  REAL(int, "fchmod", int, mode_t);
  return refused(on_fd("chmod", fd, CAN_FAIL)) ? -1 : real(fd, mode);
}

ssize_t copy_file_range(int in, off64_t* in_at, int out, off64_t* out_at, size_t n, unsigned flags) {
  REAL(ssize_t, "copy_file_range", int, off64_t*, int, off64_t*, size_t, unsigned);
  const uint32_t action = on_fd("copy", out, CAN_TEAR);
  if (refused(action)) return -1;
  const ssize_t done = real(in, in_at, out, out_at, allowed(action, n), flags);
  torn(action);
  return done;
}

#define SENDFILE(function, name, offset_type) \
  ssize_t function(int out, int in, offset_type* offset, size_t n) { \
    REAL(ssize_t, name, int, int, offset_type*, size_t); \
    const uint32_t action = on_fd("copy", out, CAN_TEAR); \
    if (refused(action)) return -1; \
    const ssize_t done = real(out, in, offset, allowed(action, n)); \
    torn(action); \
    return done; \
  }
SENDFILE(sendfile, "sendfile", off_t)
SENDFILE(sendfile64, "sendfile64", off64_t)
