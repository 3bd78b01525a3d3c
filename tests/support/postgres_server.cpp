#include "support/postgres_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>

#include <libpq-fe.h>

namespace via::test {
namespace {

namespace fs = std::filesystem;

fs::path newest_tools() {
  std::vector<std::pair<int, fs::path>> versions;
  std::error_code ec;
  for (fs::directory_iterator at("/usr/lib/postgresql", ec), end; !ec && at != end; at.increment(ec))
    if (fs::exists(at->path() / "bin" / "initdb")) versions.emplace_back(std::atoi(at->path().filename().c_str()), at->path() / "bin");
  if (versions.empty()) throw std::runtime_error("PostgreSQL's server is not installed: apt-get install postgresql");
  return std::max_element(versions.begin(), versions.end())->second;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool ok = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!ok) throw std::runtime_error("no free port");
  return ::ntohs(address.sin_port);
}

struct Finish {
  void operator()(PGconn* c) const { PQfinish(c); }
};
using Connection = std::unique_ptr<PGconn, Finish>;

std::vector<std::string> rows_of(PGconn* connection, const std::string& statement) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, statement.c_str()), PQclear);
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) throw std::runtime_error(PQerrorMessage(connection));
  std::vector<std::string> out;
  for (int i = 0; i < PQntuples(result.get()); ++i) {
    std::string row;
    for (int k = 0; k < PQnfields(result.get()); ++k) row += (k > 0 ? "|" : "") + std::string(PQgetvalue(result.get(), i, k));
    out.push_back(std::move(row));
  }
  return out;
}

void write(const fs::path& file, const std::string& text, std::ios::openmode mode = std::ios::trunc) {
  std::ofstream(file, std::ios::binary | std::ios::out | mode) << text;
}

}  // namespace

PostgresServer::PostgresServer() : password_("admin-s3cret-canary") {
  std::string name = (fs::temp_directory_path() / "via-postgres-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = name;
  write(password_file(), password_ + "\n");
  if (::geteuid() == 0) {
    const passwd* user = ::getpwnam("postgres");
    if (user == nullptr) throw std::runtime_error("there is no user postgres: apt-get install postgresql");
    if (::chown(folder_.c_str(), user->pw_uid, user->pw_gid) != 0 || ::chown(password_file().c_str(), user->pw_uid, user->pw_gid) != 0)
      throw std::runtime_error("the folder cannot be given to the user postgres");
  }
  fs::permissions(password_file(), fs::perms::owner_read | fs::perms::owner_write);
  const pid_t made = run_as_server({(newest_tools() / "initdb").string(), "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256",
                                    "--username=" + std::string(kAdmin), "--pwfile=" + password_file().string(), "--pgdata=" + (folder_ / "data").string()});
  int status = 0;
  ::waitpid(made, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("initdb failed");
  // A test's data need not outlive the machine; what is acknowledged still outlives the server's end.
  configure("fsync = off\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nmax_connections = 60\nshared_buffers = 16MB\nlogging_collector = off\n"
            "log_statement = all\nautovacuum = off\njit = off\n");
  start();
}

PostgresServer::~PostgresServer() {
  stop(Stop::crash);
  std::error_code ec;
  fs::remove_all(folder_, ec);
}

std::string PostgresServer::settings_json() const {
  return R"({"servers":{"main":{"host":"127.0.0.1","port":)" + std::to_string(port_) + R"(,"user":"admin","password_file":")" + password_file().string() + R"("}}})";
}

std::string PostgresServer::settings_toml() const {
  return "[types.postgres.settings.servers.main]\nhost = \"127.0.0.1\"\nport = " + std::to_string(port_) + "\nuser = \"admin\"\npassword_file = \"" +
         password_file().string() + "\"\n";
}

// The child ends with this process's thread: setpriv passes the wish on.
pid_t PostgresServer::run_as_server(std::vector<std::string> command) const {
  std::vector<std::string> whole{"/usr/bin/setpriv", "--pdeathsig=INT"};
  if (::geteuid() == 0) whole.insert(whole.end(), {"--reuid=postgres", "--regid=postgres", "--clear-groups"});
  whole.insert(whole.end(), command.begin(), command.end());
  std::vector<char*> argv;
  for (auto& word : whole) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", "TZ=UTC"};
  char* const envp[] = {environment[0].data(), environment[1].data(), environment[2].data(), nullptr};
  const std::string log = (folder_ / "log").string();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  ::posix_spawn_file_actions_addchdir_np(&actions, "/");
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, whole.front().c_str(), &actions, nullptr, argv.data(), envp);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("setpriv cannot be started");
  return pid;
}

void PostgresServer::configure(const std::string& lines) { write(folder_ / "data" / "postgresql.auto.conf", lines, std::ios::app); }

void PostgresServer::start() {
  if (pid_ > 0) return;
  for (int tries = 0; tries < 5; ++tries) {
    if (port_ == 0) port_ = free_port();
    pid_ = run_as_server({(newest_tools() / "postgres").string(), "-D", (folder_ / "data").string(), "-p", std::to_string(port_)});
    for (int wait = 0; wait < 600; ++wait) {
      const std::string info = "host=127.0.0.1 port=" + std::to_string(port_) + " user=admin dbname=postgres connect_timeout=2 sslmode=disable password=" + password_;
      const Connection connection(PQconnectdb(info.c_str()));
      if (PQstatus(connection.get()) == CONNECTION_OK) return;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) break;  // the port is taken
      ::poll(nullptr, 0, 50);
    }
    stop(Stop::crash);
    port_ = 0;
  }
  throw std::runtime_error("the PostgreSQL server does not start");
}

void PostgresServer::stop(Stop how) {
  if (pid_ <= 0) return;
  ::kill(pid_, how == Stop::smart ? SIGTERM : how == Stop::fast ? SIGINT : SIGQUIT);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::vector<std::string> PostgresServer::sql(const std::string& statement, const std::string& database) const {
  const std::string info = "host=127.0.0.1 port=" + std::to_string(port_) + " user=admin connect_timeout=5 sslmode=disable password=" + password_ + " dbname=" + database;
  const Connection connection(PQconnectdb(info.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(connection.get()));
  return rows_of(connection.get(), statement);
}

std::string PostgresServer::one(const std::string& statement, const std::string& database) const {
  const auto rows = sql(statement, database);
  return rows.empty() ? std::string() : rows.front();
}

bool PostgresServer::as(const std::string& url, const std::string& statement, std::string& out) const {
  const Connection connection(PQconnectdb(url.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    out = PQerrorMessage(connection.get());
    return false;
  }
  try {
    const auto rows = rows_of(connection.get(), statement);
    out = rows.empty() ? std::string() : rows.front();
    return true;
  } catch (const std::runtime_error& why) {
    out = why.what();
    return false;
  }
}

}  // namespace via::test
