// See snapshot.hpp. The tools are given the password in their environment, where only this user and root can read it, and
// nothing of it on their command line.
#include "plugins/postgres/snapshot.hpp"

#include "plugins/postgres/from_sqlite.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

#include <via/plugin/values.hpp>

namespace via::postgres {
namespace {

namespace fs = std::filesystem;

// The newest of Debian's folders first: a tool reads servers of its own version and older ones.
Failure find_tool(const Server& server, const std::string& name, fs::path& out) {
  std::vector<fs::path> folders;
  if (!server.tools.empty()) {
    folders.emplace_back(server.tools);
  } else {
    std::error_code ec;
    std::vector<std::pair<int, fs::path>> versions;
    for (fs::directory_iterator at("/usr/lib/postgresql", ec), end; !ec && at != end; at.increment(ec))
      versions.emplace_back(std::atoi(at->path().filename().c_str()), at->path() / "bin");
    std::sort(versions.rbegin(), versions.rend());
    for (auto& [version, folder] : versions) folders.push_back(std::move(folder));
    folders.insert(folders.end(), {"/usr/local/bin", "/usr/bin"});
  }
  for (const auto& folder : folders)
    if (::access((folder / name).c_str(), X_OK) == 0) {
      out = folder / name;
      return {};
    }
  return {VIA_E_PRECONDITION, "conflict", name + " is not on this machine. Install postgresql-client, or say in the settings of the server where it is: tools"};
}

// Runs a tool to its end; what it says on standard error, shortened. `give_up` ends it.
Failure run_tool(const Server& server, const std::string& database, std::vector<std::string> arguments, const Watch& watch,
                 const std::function<void()>& tick, std::string& said) {
  fs::path program;
  if (Failure f = find_tool(server, arguments.front(), program)) return f;
  arguments.front() = program.string();
  Login login;
  if (Failure f = admin_login(server, database, login)) return f;
  std::vector<std::string> environment{"PGHOST=" + server.host,  "PGPORT=" + server.port,         "PGUSER=" + login.user,       "PGPASSWORD=" + login.password,
                                       "PGDATABASE=" + login.database, "PGSSLMODE=" + server.sslmode, "PGPASSFILE=/dev/null",       "PGCONNECT_TIMEOUT=10",
                                       "PGOPTIONS=" + login.options,  "LC_ALL=C",                     "PATH=/usr/bin:/bin"};
  if (!server.sslrootcert.empty()) environment.push_back("PGSSLROOTCERT=" + server.sslrootcert);
  std::vector<char*> argv, envp;
  for (auto& a : arguments) argv.push_back(a.data());
  for (auto& e : environment) envp.push_back(e.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return internal("a tool could not be started");
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  ::posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  ::sigemptyset(&none);
  ::sigfillset(&defaults);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  if (failed != 0) {
    ::close(ends[0]);
    return internal("a tool could not be started");
  }
  bool ended = false;
  for (;;) {
    pollfd fd{ends[0], POLLIN, 0};
    if (::poll(&fd, 1, 100) > 0) {
      char piece[1024];
      const ssize_t n = ::read(ends[0], piece, sizeof piece);
      if (n <= 0) break;  // it closed its end: it is over
      if (said.size() < 4096) said.append(piece, static_cast<std::size_t>(n));
    }
    if (tick) tick();
    if (!ended && watch.give_up && watch.give_up()) {
      ended = true;
      ::kill(-pid, SIGTERM);
    }
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (ended) return {VIA_E_CANCELLED, "", "the operation was cancelled"};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return internal("a tool of PostgreSQL failed");
}

// What a tool's complaint means for who asked; its own words are for the log.
Failure explained(Failure f, const std::string& said, const Watch& watch, const char* doing) {
  if (f.status != VIA_E_INTERNAL) return f;
  const auto has = [&](const char* part) { return said.find(part) != said.npos; };
  if (watch.note) watch.note(std::string(doing) + " failed: " + said.substr(0, said.find('\n')));
  if (has("No space left") || has("could not extend file")) return {VIA_E_EXHAUSTED, "disk_full", std::string(doing) + " failed: the disk is full"};
  if (has("server version mismatch"))
    return {VIA_E_PRECONDITION, "conflict", "The PostgreSQL tools of this machine are older than the server. Install those of the server's version."};
  if (has("connection to server") || has("server closed the connection")) return unreachable(std::string(doing) + " failed: the connection to the PostgreSQL server ended");
  return internal(std::string(doing) + " failed");
}

Failure not_a_snapshot() {
  return {VIA_E_INVALID, "snapshot_invalid", "The snapshot is no PostgreSQL dump and no SQLite database, or it is damaged or cut off."};
}

// The snapshot's one file, whatever it is.
Failure content(const fs::path& folder, fs::path& file, bool& sqlite) {
  file = folder / kDumpFile;
  std::error_code ec;
  if (!fs::is_regular_file(fs::symlink_status(file, ec))) {
    file = folder / "data.sqlite";
    if (!fs::is_regular_file(fs::symlink_status(file, ec))) return {VIA_E_INVALID, "snapshot_invalid", "The snapshot holds no file of this type."};
  }
  sqlite = is_sqlite_file(file);
  if (sqlite) return {};
  char magic[5]{};
  std::ifstream(file, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "PGDMP" ? Failure{} : not_a_snapshot();
}

}  // namespace

Failure take_dump(const Server& server, const Names& names, const fs::path& folder, const Watch& watch) {
  const fs::path file = folder / kDumpFile;
  std::uint64_t total = 0;
  if (Failure f = database_bytes(server, names, total)) return f;
  const auto tick = [&] {
    std::error_code ec;
    const auto done = fs::file_size(file, ec);
    if (!ec && watch.progress) watch.progress(std::min<std::uint64_t>(done, total), total);
  };
  std::string said;
  Failure f = run_tool(server, names.database,
                       {"pg_dump", "--format=custom", "--compress=1", "--no-owner", "--no-privileges", "--no-password", "--role=" + names.owner, "--file=" + file.string()},
                       watch, tick, said);
  if (!f && ::chmod(file.c_str(), 0600) != 0) f = internal("the dump's mode could not be set");
  return f ? explained(std::move(f), said, watch, "The dump") : f;
}

Failure verify_dump(const Server& server, const fs::path& folder, const Watch& watch) {
  fs::path file;
  bool sqlite = false;
  if (Failure f = content(folder, file, sqlite)) return f;
  if (sqlite) return verify_sqlite(file, watch);
  std::string said;
  // Into nothing: every block is read and unpacked.
  const Failure f = run_tool(server, {}, {"pg_restore", "--file=/dev/null", file.string()}, watch, {}, said);
  if (f.status != VIA_E_INTERNAL) return f;
  if (watch.note) watch.note("a snapshot cannot be read: " + said.substr(0, said.find('\n')));
  return not_a_snapshot();
}

Failure restore_dump(const Server& server, const Names& names, const fs::path& folder, const Watch& watch) {
  fs::path file;
  bool sqlite = false;
  if (Failure f = content(folder, file, sqlite)) return f;
  const std::string fresh = names.database + "_new";
  if (Failure f = make_database_named(server, names, fresh)) return f;
  const auto fill = [&]() -> Failure {
    Link link;
    if (sqlite) {
      if (Failure f = Link::as_admin(server, fresh, link)) return f;
      link.give_up_when(watch.give_up);
      return copy_from_sqlite(file, link, names.owner, watch);
    }
    std::string said;
    Failure f = run_tool(server, fresh,
                         {"pg_restore", "--dbname=" + fresh, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-password",
                          "--role=" + names.owner, file.string()},
                         watch, {}, said);
    return f ? explained(std::move(f), said, watch, "The restore") : f;
  };
  Failure failure = fill();
  if (!failure) failure = swap_database(server, names, fresh);
  if (failure) (void)drop_named(server, fresh);
  return failure;
}

}  // namespace via::postgres
