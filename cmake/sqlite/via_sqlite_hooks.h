/* What cmake/sqlite_looks.cmake adds to the SQLite amalgamation: questions that are asked inside of what is one opcode, where
 * SQLite itself asks nobody. All null (core's own store leaves them so): SQLite is as it came.
 * Thread: set once, before the first connection; the functions are called on the thread that runs the statement. */
#ifndef VIA_SQLITE_HOOKS_H
#define VIA_SQLITE_HOOKS_H

/* GCC's and clang's own, which C and C++ agree on; a few bytes, so they have a fixed place also in a library that is loaded late. */
#define VIA_THREAD_LOCAL __thread __attribute__((visibility("hidden"), tls_model("initial-exec")))

#ifdef __cplusplus
extern "C" {
#endif

struct via_sqlite_hooks {
  /* Non-zero: the statement shall end. Whoever says so also interrupts the connection. */
  int (*look)(void);
  /* A page is about to be read from the file. Non-zero: it shall not be, the statement ends as interrupted. */
  int (*read_page)(void);
  /* LIKE and GLOB. `info` is {matches all, matches one, '[' or 0, ignores case}; `other` the escape character, or '['. 0 = match. */
  int (*match)(const unsigned char *pattern, const unsigned char *text, const unsigned char *info, unsigned other);
  /* A statement has ended and let go of what it had. */
  void (*halted)(void);
};
extern struct via_sqlite_hooks via_sqlite_hooks __attribute__((visibility("hidden")));

/* How deep this thread is in the end of a statement, which undoes what it did: nothing is asked then, and nothing fails. */
extern VIA_THREAD_LOCAL int via_sqlite_quiet;
/* Work done since this thread asked last. */
extern VIA_THREAD_LOCAL unsigned via_sqlite_work;

#ifdef __cplusplus
}
#endif
#endif
