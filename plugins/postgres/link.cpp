// See link.hpp.
#include "plugins/postgres/link.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <fstream>
#include <iterator>

#include <via/plugin/values.hpp>

namespace via::postgres {

Failure admin_login(const Server& server, const std::string& database, Login& out) {
  out.user = server.user;
  out.database = database.empty() ? server.database : database;
  out.options = "-c standard_conforming_strings=on -c client_min_messages=error";
  if (server.password_file.empty()) return {};
  std::ifstream in(server.password_file, std::ios::binary);
  if (!in) return unreachable("the password file of the PostgreSQL server '" + server.name + "' cannot be read");
  out.password.assign(std::istreambuf_iterator<char>(in), {});
  while (!out.password.empty() && (out.password.back() == '\n' || out.password.back() == '\r')) out.password.pop_back();
  return {};
}

Failure connect(const Server& server, const Login& login, int seconds, ConnectionPointer& out) {
  const std::string wait = std::to_string(seconds);
  const char* const keys[] = {"host", "port", "user", "password", "dbname", "options", "connect_timeout", "application_name", "client_encoding",
                              "sslmode", "sslrootcert", "keepalives_idle", "tcp_user_timeout", "passfile", nullptr};
  const char* const values[] = {server.host.c_str(), server.port.c_str(), login.user.c_str(), login.password.c_str(), login.database.c_str(),
                                login.options.c_str(), wait.c_str(), "via", "UTF8", server.sslmode.c_str(), server.sslrootcert.c_str(), "30", "15000",
                                "/dev/null", nullptr};
  out.reset(PQconnectdbParams(keys, values, 0));
  if (!out) return internal("no memory for a connection");
  PQsetNoticeProcessor(out.get(), [](void*, const char*) {}, nullptr);
  if (PQstatus(out.get()) == CONNECTION_OK) return {};
  Failure f = from_connection(out.get());
  out.reset();
  return f;
}

std::uint64_t received(const PGconn* connection) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(PQsocket(connection), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) return 0;
  return info.tcpi_bytes_received;
}

Failure Link::as_admin(const Server& server, const std::string& database, Link& out, int seconds) {
  Login login;
  if (Failure f = admin_login(server, database, login)) return f;
  ConnectionPointer connection;
  if (Failure f = connect(server, login, seconds, connection)) {
    f.message += " (server '" + server.name + "')";
    return f;
  }
  out.connection_ = std::move(connection);
  return {};
}

Failure Link::collect(ResultPointer* result) {
  bool ended = false;
  Failure failure;
  for (;;) {
    while (PQisBusy(raw()) != 0) {
      pollfd fd{PQsocket(raw()), POLLIN, 0};
      if (::poll(&fd, 1, 100) > 0 && PQconsumeInput(raw()) == 0) return unreachable("the connection to the PostgreSQL server ended");
      if (!ended && give_up_ && give_up_()) {
        ended = true;
        const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(raw()), PQfreeCancel);
        char why[256];
        if (cancel) PQcancel(cancel.get(), why, sizeof why);
      }
    }
    ResultPointer one(PQgetResult(raw()));
    if (!one) break;
    const ExecStatusType status = PQresultStatus(one.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN && status != PGRES_COPY_OUT) {
      if (!failure) failure = from_result(one.get());
    } else if (result != nullptr) {
      *result = std::move(one);
    }
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) break;
  }
  if (!failure && PQstatus(raw()) != CONNECTION_OK) failure = unreachable("the connection to the PostgreSQL server ended");
  return failure;
}

Failure Link::run(const std::string& sql, const std::vector<std::string>& values, ResultPointer* result) {
  std::vector<const char*> given;
  for (const auto& v : values) given.push_back(v.c_str());
  const int sent = given.empty() ? PQsendQuery(raw(), sql.c_str())
                                 : PQsendQueryParams(raw(), sql.c_str(), static_cast<int>(given.size()), nullptr, given.data(), nullptr, nullptr, 0);
  if (sent == 0) return unreachable("the connection to the PostgreSQL server ended");
  return collect(result);
}

Failure Link::column(const std::string& sql, const std::vector<std::string>& values, std::vector<std::string>& out) {
  out.clear();
  ResultPointer result;
  if (Failure f = run(sql, values, &result)) return f;
  for (int i = 0; result && i < PQntuples(result.get()); ++i)
    if (PQgetisnull(result.get(), i, 0) == 0) out.emplace_back(PQgetvalue(result.get(), i, 0));
  return {};
}

Failure Link::exists(const std::string& sql, const std::vector<std::string>& values, bool& out) {
  std::vector<std::string> rows;
  if (Failure f = column(sql, values, rows)) return f;
  out = !rows.empty();
  return {};
}

}  // namespace via::postgres
