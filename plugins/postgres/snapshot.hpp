// Snapshots of a database by PostgreSQL's own tools, in their custom format: one file, database.dump.
//
// A dump is taken in one transaction of the server, beside everything that goes on. A restore fills a database of its own and then
// changes the two names in one transaction: until that is committed the old data is what an app sees. Also a file that a SQLite add-on
// exported is taken (from_sqlite.hpp).
// Thread: control; blocks.
#pragma once

#include "plugins/postgres/roles.hpp"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace via::postgres {

struct Watch {
  std::function<bool()> give_up;  // asked several times a second
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  std::function<void(std::string_view)> note;  // for the operator's log
};

inline constexpr const char* kDumpFile = "database.dump";

Failure take_dump(const Server& server, const Names& names, const std::filesystem::path& folder, const Watch& watch);
// Reads every byte.
Failure verify_dump(const Server& server, const std::filesystem::path& folder, const Watch& watch);
// All or nothing; no session of the add-on's is on the database.
Failure restore_dump(const Server& server, const Names& names, const std::filesystem::path& folder, const Watch& watch);

}  // namespace via::postgres
