// The runtime material of one instance: a folder (0700) with token, bootstrap.json and bindings.json (0600), each
// replaced atomically. For an app with a user of its own the folder is 0750 and the files are 0640, of that user's group: it reads them
// and can change nothing. For a process that somebody else runs as another user all of it is that user's.
// The formats are docs/formats.md, "Runtime material". Thread: worker; may block.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"

namespace via::releases {

struct Bootstrap {
  std::string config_url, ca_file;  // ca_file empty = left out
  std::string app, deploy, release, instance, env;
};

struct BindingClaim {
  std::string binding, type;
  std::vector<std::string> scopes;
  std::uint32_t generation = 1;
};

struct Readers {
  std::optional<gid_t> group;
  std::optional<uid_t> owner;
};

Result<void> write_material(const std::filesystem::path& folder, const Secret& token, const Bootstrap& bootstrap,
                            const std::vector<BindingClaim>& bindings, const Readers& readers = {});
Result<void> replace_token(const std::filesystem::path& folder, const Secret& token, const Readers& readers = {});
// Of material that was written above, whoever reads it: a regular file that nobody else can have put there.
Result<std::string> read_token(const std::filesystem::path& folder, std::size_t max_bytes);
Result<void> remove_material(const std::filesystem::path& folder);
// Only the three files; the folder may be somebody else's.
void remove_material_files(const std::filesystem::path& folder);

}  // namespace via::releases
