// The folder /data of an app as one tar file in an archive, and back. What is in it is the app's own and hostile: no link is followed in
// either direction, nothing but regular files, folders and symbolic links is taken, and nothing is written outside of the folder.
// Thread: worker; blocks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>

#include "core/base/error.hpp"

namespace via::backup {

// pax, names below the folder. Files that go away or change their size meanwhile are kept with what was there.
Result<void> pack_folder(const std::filesystem::path& folder, const std::filesystem::path& file, const std::function<bool()>& cancelled = {});
// Into a folder that is made here, with everything in it owned by `owner` (-1 = the host's user); refused when it is there already.
Result<void> unpack_folder(const std::filesystem::path& file, const std::filesystem::path& folder, uid_t owner);

}  // namespace via::backup
