// Statements that create are asked first whether there is something to do, so that each step can be made again.
#include "plugins/postgres/roles.hpp"

#include <sys/random.h>

#include <chrono>
#include <ctime>
#include <thread>

namespace via::postgres {
namespace {

constexpr const char* kRoleThere = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = $1";
constexpr const char* kDatabaseThere = "SELECT datname FROM pg_catalog.pg_database WHERE datname = $1";

// Makes what `asked` does not find. A host that was killed may have left a server at work on the very same: that is waited for.
Failure make_once(Link& link, const char* asked, const std::string& name, const std::string& make, bool& was_there) {
  for (int tries = 0;; ++tries) {
    if (Failure f = link.exists(asked, {name}, was_there)) return f;
    if (was_there) return {};
    const Failure f = link.run(make);
    // Somebody else's that is not committed yet (unique_violation), or is now (duplicate_database, duplicate_object).
    if (!f || tries >= 100 || (f.sqlstate != "23505" && f.sqlstate != "42P04" && f.sqlstate != "42710" && f.sqlstate != "55006")) return f;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Failure make_role(Link& link, const std::string& name, const std::string& attributes) {
  bool was_there = false;
  if (Failure f = make_once(link, kRoleThere, name, "CREATE ROLE " + identifier(name) + " " + attributes, was_there)) return f;
  return was_there ? link.run("ALTER ROLE " + identifier(name) + " " + attributes) : Failure{};
}

// The form in which a server keeps a password, made here: the password itself is in no statement and in no log of the server.
Failure verifier(Link& link, const std::string& role, const std::string& password, std::string& out) {
  char* made = PQencryptPasswordConn(link.raw(), password.c_str(), role.c_str(), "scram-sha-256");
  if (made == nullptr) return internal("a password could not be prepared");
  out = made;
  PQfreemem(made);
  return {};
}

// Ends the sessions that the query names and waits until they are gone.
Failure end_sessions(Link& link, const std::string& where, const std::string& value) {
  for (int tries = 0; tries < 100; ++tries) {
    std::vector<std::string> left;
    if (Failure f = link.column("SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity WHERE " + where +
                                    " = $1 AND pid <> pg_catalog.pg_backend_pid()", {value}, left))
      return f;
    if (left.empty()) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return unreachable("sessions on the PostgreSQL server do not end");
}

// What the database of an add-on looks like inside before an app has seen it.
Failure furnish(const Server& server, const Names& names, const std::string& database) {
  Link inside;
  if (Failure f = Link::as_admin(server, database, inside)) return f;
  const std::string owner = identifier(names.owner), reader = identifier(names.reader);
  for (const std::string& sql : {std::string("REVOKE ALL ON SCHEMA public FROM PUBLIC"), "GRANT ALL ON SCHEMA public TO " + owner,
                                 "GRANT USAGE ON SCHEMA public TO " + reader})
    if (Failure f = inside.run(sql)) return f;
  // The rights of what the owner will make. Only the role itself, or one that it is lent to, may say so.
  if (Failure f = inside.run("SET ROLE " + owner)) return f;
  for (const std::string& sql : {"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO " + reader, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO " + reader,
                                 "ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO " + reader})
    if (Failure f = inside.run(sql)) return f;
  return {};
}

Failure make_named(Link& link, const Server& server, const Names& names, const std::string& database) {
  // Text is ordered by its bytes, as in SQLite and the same on every server.
  bool was_there = false;
  const std::string make = "CREATE DATABASE " + identifier(database) + " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C'";
  if (Failure f = make_once(link, kDatabaseThere, database, make, was_there)) return f;
  const std::string name = identifier(database);
  for (const std::string& sql : {"REVOKE ALL ON DATABASE " + name + " FROM PUBLIC", "GRANT CONNECT, CREATE ON DATABASE " + name + " TO " + identifier(names.owner),
                                 "GRANT CONNECT ON DATABASE " + name + " TO " + identifier(names.reader)})
    if (Failure f = link.run(sql)) return f;
  return furnish(server, names, database);
}

// Roles that hold one of the add-on's two roles and are none of its generations.
Failure take_back(Link& link, const Names& names) {
  for (const std::string& role : {names.owner, names.reader}) {
    std::vector<std::string> holders;
    if (Failure f = link.column("SELECT m.rolname FROM pg_catalog.pg_auth_members a JOIN pg_catalog.pg_roles m ON m.oid = a.member "
                                "JOIN pg_catalog.pg_roles r ON r.oid = a.roleid WHERE r.rolname = $1 AND m.rolname <> current_user "
                                "AND coalesce(pg_catalog.shobj_description(m.oid, 'pg_authid'), '') <> $2",
                                {role, "via generation of " + names.database}, holders))
      return f;
    for (const auto& holder : holders)
      if (Failure f = link.run("REVOKE " + identifier(role) + " FROM " + identifier(holder) + " CASCADE")) return f;
  }
  return {};
}

// `alphabet` has a power of two of characters.
std::string random_text(std::string_view alphabet, std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t have = 0; have < size;) {
    const ssize_t n = ::getrandom(out.data() + have, size - have, 0);
    if (n > 0) have += static_cast<std::size_t>(n);
  }
  for (char& c : out) c = alphabet[static_cast<unsigned char>(c) & (alphabet.size() - 1)];
  return out;
}

std::string timestamp(std::int64_t unix_ms) {
  const std::time_t seconds = static_cast<std::time_t>(unix_ms / 1000);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S+00", &utc);
  return text;
}

}  // namespace

std::string random_password() { return random_text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 43); }
std::string random_making() { return random_text("abcdefghijklmnopqrstuvwxyz234567", 10); }

Failure make_roles(const Server& server, const Names& names) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  for (const std::string& role : {names.owner, names.reader}) {
    if (Failure f = make_role(link, role, "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT")) return f;
    // So that an operator's role that is no superuser may act for it.
    if (Failure f = link.run("GRANT " + identifier(role) + " TO CURRENT_USER")) return f;
  }
  return {};
}

Failure make_database(const Server& server, const Names& names) {
  if (Failure f = make_roles(server, names)) return f;
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  return make_named(link, server, names, names.database);
}

Failure make_database_named(const Server& server, const Names& names, const std::string& database) {
  if (Failure f = drop_named(server, database)) return f;
  if (Failure f = make_roles(server, names)) return f;  // which a server that was made anew does not have
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  return make_named(link, server, names, database);
}

Failure swap_database(const Server& server, const Names& names, const std::string& database) {
  const std::string before = names.database + "_old";
  if (Failure f = drop_named(server, before)) return f;
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  bool there = false;
  if (Failure f = link.exists(kDatabaseThere, {names.database}, there)) return f;
  for (const std::string& one : {names.database, database})
    if (Failure f = end_sessions(link, "datname", one)) return f;
  std::string sql = "BEGIN;";
  if (there) sql += "ALTER DATABASE " + identifier(names.database) + " RENAME TO " + identifier(before) + ";";
  sql += "ALTER DATABASE " + identifier(database) + " RENAME TO " + identifier(names.database) + ";COMMIT";
  if (Failure f = link.run(sql)) {
    (void)link.run("ROLLBACK");
    return f;
  }
  // What it replaced is no longer reached; where this fails, the next restore does it.
  if (there) (void)drop_named(server, before);
  return {};
}

Failure drop_named(const Server& server, const std::string& database) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  bool there = false;
  if (Failure f = link.exists(kDatabaseThere, {database}, there)) return f;
  return there ? link.run("DROP DATABASE " + identifier(database) + " WITH (FORCE)") : Failure{};
}

Failure drop_all(const Server& server, const Names& names) {
  for (const std::string& database : {names.database, names.database + "_new", names.database + "_old"})
    if (Failure f = drop_named(server, database)) return f;
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  // Generations that were not revoked before: their comment says whose they are.
  std::vector<std::string> roles;
  if (Failure f = link.column("SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1",
                              {"via generation of " + names.database}, roles))
    return f;
  roles.push_back(names.reader);
  roles.push_back(names.owner);
  for (const auto& role : roles) {
    bool there = false;
    if (Failure f = link.exists(kRoleThere, {role}, there)) return f;
    if (!there) continue;
    if (Failure f = end_sessions(link, "usename", role)) return f;
    if (Failure f = link.run("DROP ROLE " + identifier(role))) return f;
  }
  return {};
}

Failure apply_passwords(const Server& server, const Names& names, const Passwords& passwords) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  if (Failure f = take_back(link, names)) return f;
  for (const auto& [role, password] : {std::pair{names.owner, passwords.owner}, std::pair{names.reader, passwords.reader}}) {
    std::string kept;
    if (Failure f = verifier(link, role, password, kept)) return f;
    if (Failure f = link.run("ALTER ROLE " + identifier(role) + " LOGIN PASSWORD " + literal(kept))) return f;
    // What a role set for itself would hold for every session to come.
    if (Failure f = link.run("ALTER ROLE " + identifier(role) + " RESET ALL")) return f;
  }
  return {};
}

Failure make_generation(const Server& server, const Names& names, const GenerationRole& wanted) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  const std::string role = names.generation_role(wanted.binding, wanted.generation), name = identifier(role);
  const std::string& group = wanted.writes ? names.owner : names.reader;
  std::string kept;
  if (Failure f = verifier(link, role, wanted.password, kept)) return f;
  // It can log in only when everything else about it is right; one that works goes on working meanwhile, for all of it is one
  // transaction.
  const std::string attributes = "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT";
  bool was_there = false;
  if (Failure f = make_once(link, kRoleThere, role, "CREATE ROLE " + name + " " + attributes, was_there)) return f;
  std::vector<std::string> steps{
      "BEGIN",
      "ALTER ROLE " + name + " " + attributes,
      "COMMENT ON ROLE " + name + " IS " + literal("via generation of " + names.database),
      "GRANT " + identifier(group) + " TO " + name,
      "ALTER ROLE " + name + " SET role = " + literal(group),
      "ALTER ROLE " + name + " SET idle_in_transaction_session_timeout = '10min'",
  };
  if (!wanted.writes) steps.push_back("ALTER ROLE " + name + " SET default_transaction_read_only = on");
  steps.push_back("ALTER ROLE " + name + " LOGIN CONNECTION LIMIT " + std::to_string(wanted.connections) + " PASSWORD " + literal(kept) + " VALID UNTIL " +
                  literal(wanted.not_after_unix_ms == 0 ? "infinity" : timestamp(wanted.not_after_unix_ms)));
  steps.push_back("COMMIT");
  for (const auto& step : steps)
    if (Failure f = link.run(step)) return f;  // the connection ends here, and with it the transaction
  return {};
}

Failure end_generation(const Server& server, const Names& names, const via_id& binding, std::uint32_t generation) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  std::vector<std::string> roles;
  if (generation != 0) {
    if (Failure f = link.column(kRoleThere, {names.generation_role(binding, generation)}, roles)) return f;
  } else if (Failure f = link.column("SELECT rolname FROM pg_catalog.pg_roles WHERE starts_with(rolname, $1)", {names.binding_prefix(binding)}, roles)) {
    return f;
  }
  if (roles.empty()) return {};
  bool there = false;
  if (Failure f = link.exists(kDatabaseThere, {names.database}, there)) return f;
  Link inside;
  if (there) {
    if (Failure f = Link::as_admin(server, names.database, inside)) return f;
  }
  for (const auto& role : roles) {
    const std::string name = identifier(role);
    if (Failure f = link.run("ALTER ROLE " + name + " NOLOGIN PASSWORD NULL")) return f;
    if (Failure f = end_sessions(link, "usename", role)) return f;
    if (there) {
      // To act for it: an operator's role that is no superuser must be lent it.
      if (Failure f = inside.run("GRANT " + name + " TO CURRENT_USER")) return f;
      if (Failure f = inside.run("REASSIGN OWNED BY " + name + " TO " + identifier(names.owner))) return f;
      if (Failure f = inside.run("DROP OWNED BY " + name)) return f;
    }
    if (Failure f = link.run("DROP ROLE " + name)) return f;
  }
  return {};
}

Failure end_foreign_sessions(const Server& server, const Names& names, const std::set<int>& ours) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  std::vector<std::string> pids;
  if (Failure f = link.column("SELECT pid::text FROM pg_catalog.pg_stat_activity WHERE usename IN ($1, $2)", {names.owner, names.reader}, pids)) return f;
  for (const auto& pid : pids)
    if (!ours.contains(std::stoi(pid)))
      if (Failure f = link.run("SELECT pg_catalog.pg_terminate_backend($1::int, 5000)", {pid})) return f;
  return {};
}

Failure look(const Server& server, const Names& names, int seconds, Found& out) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link, seconds)) return f;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  link.give_up_when([until] { return std::chrono::steady_clock::now() >= until; });
  if (Failure f = link.exists("SELECT datname FROM pg_catalog.pg_database WHERE datname = $1 AND datallowconn", {names.database}, out.database)) return f;
  std::vector<std::string> roles;
  if (Failure f = link.column("SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ($1, $2)", {names.owner, names.reader}, roles)) return f;
  for (const auto& role : roles) (role == names.owner ? out.owner : out.reader) = true;
  return link.column("SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.shobj_description(oid, 'pg_authid') = $1 AND rolcanlogin "
                     "AND (rolvaliduntil IS NULL OR rolvaliduntil > pg_catalog.now())",
                     {"via generation of " + names.database}, out.generations);
}

Failure database_bytes(const Server& server, const Names& names, std::uint64_t& out) {
  Link link;
  if (Failure f = Link::as_admin(server, {}, link)) return f;
  std::vector<std::string> rows;
  if (Failure f = link.column("SELECT pg_catalog.pg_database_size(oid)::text FROM pg_catalog.pg_database WHERE datname = $1", {names.database}, rows)) return f;
  out = rows.empty() ? 0 : std::stoull(rows.front());
  return {};
}

}  // namespace via::postgres
