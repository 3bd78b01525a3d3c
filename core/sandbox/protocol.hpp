// What the host and via-sandbox-init say to each other over one SOCK_SEQPACKET socket, descriptor 3 of the sandbox's first process.
// Messages are one struct each. The kernel adds the sender's process id as the host sees it (SO_PASSCRED), so nobody has to be
// believed. Shared by core/sandbox and the statically linked init: C types only.
#pragma once

#include <cstdint>

namespace via::sandbox {

constexpr int kSocket = 3;

enum class Word : std::int32_t {
  inside = 1,   // init → host: the sandbox stands; the sender is its first process
  process = 2,  // the app's process, before it becomes the command → host: the sender is the app
  running = 3,  // init → host: the command runs
  failed = 4,   // init → host: it does not; `value` is an errno, `step` says where
  signal = 5,   // host → init: send signal `value` to the app's process group
  halt = 6,     // host → init: stop every process (`value` 1), let them go on (0)
  halted = 7,   // init → host: they stand still; `value` 0 when one does not within a second
};

enum class Step : std::int32_t { identity = 1, limits = 2, landlock = 3, folder = 4, command = 5 };

struct Message {
  Word word;
  Step step;
  std::int32_t value;
};

}  // namespace via::sandbox
