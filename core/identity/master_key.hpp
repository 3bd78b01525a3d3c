// The root of everything sealed: 32 random bytes in keys/master.key. Thread: worker; blocks.
#pragma once

#include <filesystem>

#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::identity {

// not_found when there is none.
Result<Secret> read_master_key(const std::filesystem::path& keys);
// The one that is there, or a new one.
Result<Secret> open_master_key(const std::filesystem::path& keys, Entropy& entropy);

}  // namespace via::identity
