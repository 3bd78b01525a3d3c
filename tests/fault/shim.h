/* What the test and the preloaded library (shim.c) share: one page of memory, mapped by both from the file that
 * VIA_IO_SHIM names. The test arms one fault and reads which calls were seen; the library counts and strikes.
 * Thread: the library serialises itself; the test writes only while the fault is not armed. */
#ifndef VIA_TESTS_FAULT_SHIM_H
#define VIA_TESTS_FAULT_SHIM_H

#include <stdint.h>

enum { VIA_SHIM_NAME = 192, VIA_SHIM_CALLS = 4096 };

enum via_shim_action {
  VIA_SHIM_NONE = 0,
  VIA_SHIM_KILL = 1,   /* SIGKILL before the call */
  VIA_SHIM_TORN = 2,   /* SIGKILL after half of a write */
  VIA_SHIM_EIO = 3,    /* the call fails and does nothing */
  VIA_SHIM_ENOSPC = 4, /* the same; only for calls that need room */
  VIA_SHIM_SHORT = 5   /* a write writes half */
};

struct via_shim_call {
  char name[VIA_SHIM_NAME]; /* "<syscall> <path below the state folder, ids as *>" */
  uint32_t actions;         /* bit 1 << via_shim_action: what this call can be given */
};

struct via_shim {
  uint32_t active; /* calls are counted */
  uint32_t action;
  uint32_t sticky;     /* from the target on, every call that can be given the action gets it */
  uint32_t occurrence; /* the target: the n-th call (from 1) of this name */
  char target[VIA_SHIM_NAME];
  char root[512]; /* the state folder, no slash at the end */
  char more[512]; /* a further folder or ""; its files are named with its own name before them */
  uint32_t matched; /* calls of the target's name so far */
  uint32_t struck;  /* calls that were given the action */
  uint32_t count;   /* calls seen; the first VIA_SHIM_CALLS of them are in calls */
  struct via_shim_call calls[VIA_SHIM_CALLS];
};

#endif
