// Signals of a server: waited for on the main thread; every other thread is started with them blocked.
// Thread: main, before others are started.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace via {

inline sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file size limit is an error of a write, not the end of the host
  return set;
}

}  // namespace via
