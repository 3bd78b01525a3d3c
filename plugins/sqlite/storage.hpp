// The files of one add-on: <dir>/data.sqlite, <dir>/provision.json (the arguments it was made with), and later
// databases/. Everything durable before it is reported.
// Thread: [control]; may block. Never while a connection to the file is open.
#pragma once

#include "plugins/sqlite/host.hpp"
#include "plugins/sqlite/errors.hpp"

#include <string>
#include <string_view>

namespace via::sqlite::storage {

// The directory with every symbolic link resolved (connections refuse links); empty when it is not there.
std::string resolve(std::string_view dir);
Failure provision(const std::string& dir, std::string_view plan, std::string_view config);
// Regular file, one name, ours, a database by its first bytes. Makes it private where it is not.
Failure check(const std::string& dir);
// The same and the modes of file and folder, without changing anything: what somebody may have done behind our back.
Failure inspect(const std::string& dir);
// File and folder are private again. Nothing to do where they are not there.
Failure make_private(const std::string& dir);
// Any database file: regular, one name, empty or a database by its first bytes; refusals are the caller's mistakes.
Failure check_file(const std::string& path);
// Makes an empty database, 0600, all of it or nothing; VIA_E_CONFLICT when there is a file already.
Failure create_file(const std::string& path);
// Removes what is ours; <dir>/snapshots/ is the host's and stays.
Failure destroy(const std::string& dir);
Failure parse_config(std::string_view config_json, uint64_t host_quota, Limits& out);

}  // namespace via::sqlite::storage
