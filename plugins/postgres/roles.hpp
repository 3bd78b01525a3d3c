// The steps of an add-on's life on its server: database, roles, generations. Each again is fine: a call may come twice.
//
// The owner owns everything that apps make; the reader may only read it. Both log in with passwords that the plugin makes at each
// start and keeps in memory: the host's pooled connections use them. A generation that an app uses by DATABASE_URL is a login
// role of its own, a member of one of the two, whose password is the host's.
// A role may change its own password and lend itself to others, so whatever ends a right also sets a new password, ends every
// session and takes back what was lent.
// Thread: worker; blocks.
#pragma once

#include "plugins/postgres/link.hpp"
#include "plugins/postgres/names.hpp"

#include <cstdint>
#include <set>
#include <string>

namespace via::postgres {

struct Passwords {
  std::string owner, reader;
};
// 43 characters of A-Z a-z 0-9 - _, from the system's random numbers.
std::string random_password();
std::string random_making();  // of Names

Failure make_roles(const Server& server, const Names& names);  // owner and reader
Failure make_database(const Server& server, const Names& names);  // with both
// A second, empty database with the same rights, for a restore; there is none of that name afterwards but this.
Failure make_database_named(const Server& server, const Names& names, const std::string& database);
// The database takes the place of the add-on's own, in one transaction; the one before is dropped. No session is on either.
Failure swap_database(const Server& server, const Names& names, const std::string& database);
Failure drop_named(const Server& server, const std::string& database);
Failure drop_all(const Server& server, const Names& names);

// New passwords of owner and reader; what others were lent is taken back.
Failure apply_passwords(const Server& server, const Names& names, const Passwords& passwords);

struct GenerationRole {
  via_id binding;
  std::uint32_t generation;
  bool writes;
  std::string password;
  std::uint32_t connections;
  std::int64_t not_after_unix_ms;
};
Failure make_generation(const Server& server, const Names& names, const GenerationRole& role);
// One generation, or all of the binding (0): no new session, those there ended, what it owned is the owner's, then it is gone.
Failure end_generation(const Server& server, const Names& names, const via_id& binding, std::uint32_t generation);

// Sessions of owner and reader other than those of these backends.
Failure end_foreign_sessions(const Server& server, const Names& names, const std::set<int>& ours);

// What the server has of an add-on now. Somebody may have dropped some of it, or have put the whole server back to an older state.
struct Found {
  bool database = false, owner = false, reader = false;
  std::vector<std::string> generations;  // roles that can log in
};
// Waits at most `seconds` for a connection.
Failure look(const Server& server, const Names& names, int seconds, Found& out);

Failure database_bytes(const Server& server, const Names& names, std::uint64_t& out);

}  // namespace via::postgres
