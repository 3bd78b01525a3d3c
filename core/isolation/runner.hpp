// What runs in via-plugin-runner: one plugin library, served to the host over a socket.
//
// The library works here as it does in a host: the same loader, executor and host services. Log lines, metrics and the secret
// box are carried to the host, so that no key comes here. There is no event loop of requests, so no via.host.turn/1, and
// try_invoke is not used.
//
// Threads: the main thread reads frames and never waits for a plugin; calls run on the executor's threads, many at a time
// per instance as the manifest allows; cancel functions on two threads of their own.
#pragma once

#include "core/base/files.hpp"

namespace via::isolation {

// Serves until the host says stop or goes away. The exit code of the process.
int run_runner(FileHandle socket, FileHandle library, unsigned workers);

}  // namespace via::isolation
