// The manifest of a backup archive (docs/formats.md, "Backup archive"): what the archive holds, in which order, with
// sizes and hashes. It comes from outside when a backup is read, so it is parsed strictly: nothing unknown, nothing
// twice, and its bytes must be exactly those that text() makes of it.
//
// Failures are `refused` and say the rule, never text of the archive. Thread: any (values).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/secret.hpp"
#include "core/plugins/addon_host.hpp"

namespace via::backup {

inline constexpr std::size_t kMaxManifestBytes = 16U << 20;
// ustar has eleven octal digits for a size.
inline constexpr std::uint64_t kMaxMemberBytes = (std::uint64_t{1} << 33) - 1;

struct Member {
  std::string name;
  std::uint64_t bytes = 0;
  std::string sha256;   // lower-case hexadecimal
  std::string part_of;  // the file's name when this is one part of it: "<file>.part0001", "<file>.part0002", …

  // The file that the bytes belong to.
  const std::string& file() const { return part_of.empty() ? name : part_of; }
  bool operator==(const Member&) const = default;
};

struct AddonEntry {
  std::string id, type, name, state;
  plugins::SnapshotFacts facts;
};

struct Manifest {
  std::string via_version;
  std::int64_t created_at = 0;  // Unix ms
  std::string installation;
  std::int64_t epoch = 0;
  std::uint32_t schema = 0;      // of the control plane
  std::string engine_version;    // "sqlite_version" in the text; empty = absent
  std::vector<AddonEntry> addons;
  std::vector<Member> members;
  std::uint64_t total_bytes = 0;  // of all members
  std::string mac;                // hexadecimal; empty = absent
};

// The closed grammar of names of files: control-plane.db, keys/<file>, plugins/<id>/<version>/<file of a bundle>, addons/<type>/<id>/data/<file>,
// apps/<id>/data.tar, addons/<type>/<id>/snapshots/[<snapshot-id>/]<file> with <file> = [a-z0-9][a-z0-9._-]{0,99}.
bool is_file_name(std::string_view name);
// Type and id of a name below addons/; nothing for other names.
std::optional<std::pair<std::string_view, std::string_view>> addon_of(std::string_view name);
// The name of part `number` (from 1) of a file.
std::string part_name(std::string_view file, unsigned number);

// Everything that must hold of the members and add-ons together; writer and reader both ask.
Result<void> check(const Manifest& manifest, bool encrypted);

// The one text of a manifest: compact JSON, names sorted. `bad_request` when a text in it is not UTF-8.
Result<std::string> text(const Manifest& manifest);
Result<Manifest> parse(std::string_view raw);

// HMAC-SHA-256 of text() without "mac", under HKDF-SHA-256(master key, "via/1/backup-manifest"), hexadecimal.
Result<std::string> mac(const Manifest& manifest, const Secret& master_key);

}  // namespace via::backup
