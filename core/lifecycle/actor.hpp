// Who asked for an operation: the peer of the admin socket, or the user of the command that runs in process.
// Thread: any (a value).
#pragma once

#include <cstdint>
#include <string>

namespace via::lifecycle {

struct Actor {
  std::string name;       // as the audit record shows it: "root", "uid 1000"
  std::uint32_t uid = 0;
};

}  // namespace via::lifecycle
