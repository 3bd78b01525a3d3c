// See postgres.hpp.
#include "plugins/postgres/postgres.hpp"

#include "plugins/postgres/from_sqlite.hpp"

#include <poll.h>

#include <algorithm>
#include <cctype>

namespace via::postgres {
namespace {

constexpr std::size_t kBodyLimit = 32u << 20;
constexpr std::size_t kInlineBody = 64u << 10;  // longer ones are read on a worker
constexpr int kLookSeconds = 2;                 // the least that libpq knows

std::unique_ptr<Driver>& driver() {
  static std::unique_ptr<Driver> one;  // the library's: made by the first start(), ended by the last stop()
  return one;
}
int users = 0;  // [init]

// `members` = further ones of the error's details, without braces.
[[noreturn]] void raise(const Failure& f, std::string members = {}) {
  const auto add = [&](const std::string& member) { members += (members.empty() ? "" : ",") + member; };
  if (!f.sqlstate.empty()) add("\"sqlstate\":\"" + f.sqlstate + "\"");
  if (f.retry_after_ms >= 0) add("\"retry_after_ms\":" + std::to_string(f.retry_after_ms));
  throw plugin::Failure(f.status, f.message, f.code, members);
}
void check(const Failure& f) {
  if (f) raise(f);
}

// As the host in a URL: a socket's folder goes into the query instead (RFC 3986; libpq, "Connection URIs").
std::string url_escaped(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) != 0 || c == '-' || c == '_' || c == '.' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    }
  }
  return out;
}

// What stays where it is when it cannot be removed, for the operator who lets it go (docs: "left_behind").
std::string left_behind(const std::string& what) { return "\"left_behind\":[" + plugin::json_string(what) + "]"; }

std::string all_of(const Names& names, const std::string& server) {
  return "database " + names.database + " and the roles " + names.owner + ", " + names.reader + " and *_" + names.making + "_g* on PostgreSQL server '" + server + "'";
}

std::string url_of(const Server& server, const std::string& role, const std::string& database) {
  const bool v6 = server.app_host.find(':') != std::string::npos;
  std::string url = "postgresql://" + role + ":${secret}@";
  url += v6 ? "[" + server.app_host + "]" : url_escaped(server.app_host);
  url += ":" + server.app_port + "/" + database + "?sslmode=" + server.app_sslmode;
  return url;
}

Watch watch_of(plugin::Control& control, plugin::Host host) {
  return {[&control] { return control.cancelled(); }, [&control](std::uint64_t done, std::uint64_t total) { control.progress(done, total); },
          [host](std::string_view text) { host.log(plugin::Level::warn, text); }};
}

}  // namespace

Postgres::Postgres(plugin::Host host) : host_(host) { (void)host.mono_ns(); }  // a host without a clock has no deadlines
Postgres::~Postgres() { close(); }

void Postgres::start(plugin::Host library) {
  (void)library.mono_ns();
  if (users == 0) driver() = std::make_unique<Driver>(library);
  ++users;
}
void Postgres::stop() {
  if (--users == 0) driver().reset();
}

Server Postgres::server(const Limits& limits) const {
  std::map<std::string, Server> servers;
  check(parse_settings(host_.settings(), servers));
  Server out;
  check(choose(servers, limits, out));
  return out;
}

std::shared_ptr<Pool> Postgres::pool() const {
  const std::lock_guard lock(mutex_);
  if (!pool_) throw plugin::Failure(VIA_E_PRECONDITION, "The add-on is not open.");
  return pool_;
}

void Postgres::provision(const plugin::Provision& provision) {
  Limits limits;
  check(parse_config(provision.config_json, limits));
  if (provision.storage_schema > 1) throw plugin::Failure(VIA_E_UNSUPPORTED, "The storage is of a newer version of the plugin.");
  const Server where = server(limits);
  const std::filesystem::path folder = host_.storage();
  if (auto known = read_marker(folder)) {
    if (known->config != provision.config_json || known->server != where.name)
      throw plugin::Failure(VIA_E_CONFLICT, "The add-on is there already, with another configuration.");
    const Names names(known->database);
    if (known->made) {
      // An empty database in the place of one with data would look as if all were well.
      Found found;
      check(look(where, names, kLookSeconds, found));
      if (!found.database) throw plugin::Failure(VIA_E_CORRUPT, "The add-on's database is not on the PostgreSQL server any more.");
    }
    check(make_database(where, names));
    known->made = true;
    return write_marker(folder, *known);
  }
  // Nothing is left in the folder where the server cannot be reached at all.
  Link link;
  check(Link::as_admin(where, {}, link));
  const Names names(host_.instance_id(), random_making());
  write_marker(folder, {where.name, names.database, std::string(provision.config_json), false});
  check(make_database(where, names));
  write_marker(folder, {where.name, names.database, std::string(provision.config_json), true});
}

std::optional<Postgres::Made> Postgres::made() const {
  const auto known = read_marker(host_.storage());
  if (!known) return std::nullopt;
  Made out{{}, Names(known->database), {}};
  check(find(*known, out));
  return out;
}

Failure Postgres::find(const Marker& marker, Made& out) const {
  if (Failure f = parse_config(marker.config, out.limits)) return f;
  out.limits.server = marker.server;
  std::map<std::string, Server> servers;
  if (Failure f = parse_settings(host_.settings(), servers)) return f;
  return choose(servers, out.limits, out.server);
}

Postgres::Made Postgres::need() const {
  auto known = made();
  if (!known) throw plugin::Failure(VIA_E_PRECONDITION, "The add-on is not provisioned.");
  return std::move(*known);
}

void Postgres::open(const plugin::Provision& provision) {
  Limits limits;
  check(parse_config(provision.config_json, limits));
  const Made it = need();
  // Whether the server is there shows at the first operation, and again at each until it is.
  auto opened = std::make_shared<Pool>(*driver(), host_, it.server, it.names, limits);
  const std::lock_guard lock(mutex_);
  if (pool_) return opened->close();
  pool_ = std::move(opened);
}

void Postgres::close() {
  std::shared_ptr<Pool> gone;
  {
    const std::lock_guard lock(mutex_);
    gone = std::move(pool_);
    pool_ = nullptr;
  }
  if (gone) gone->close();
}

void Postgres::deprovision() {
  close();
  const auto known = read_marker(host_.storage());
  if (!known) return;
  const Names names(known->database);
  Made it{{}, names, {}};
  Failure f = find(*known, it);
  if (!f) f = drop_all(it.server, names);
  if (f) raise(f, left_behind(all_of(names, known->server)));
  remove_marker(host_.storage());
}

void Postgres::make(const plugin::Binding& binding) {
  if (binding.secret.empty()) throw plugin::Failure(VIA_E_INVALID, "The host gave no password for this credential.");
  const Made it = need();
  check(make_generation(it.server, it.names, {binding.id, binding.generation, binding.may("write"), std::string(binding.secret),
                                              it.limits.direct_connections, binding.not_after_unix_ms}));
}

void Postgres::revoke(const plugin::Binding& binding) {
  const auto known = read_marker(host_.storage());
  if (!known) return;
  Made it{{}, Names(known->database), {}};
  Failure f = find(*known, it);
  if (!f) f = end_generation(it.server, it.names, binding.id, binding.generation);
  if (f)
    raise(f, left_behind("role " + (binding.generation == 0 ? it.names.binding_prefix(binding.id) + "*" : it.names.generation_role(binding.id, binding.generation)) +
                         " on PostgreSQL server '" + known->server + "'"));
  std::shared_ptr<Pool> open;
  {
    const std::lock_guard lock(mutex_);
    open = pool_;
  }
  // What its holder may have learnt or lent while it could act as the owner ends with it.
  if (open) return check(open->renew_passwords());
  check(apply_passwords(it.server, it.names, {random_password(), random_password()}));
  check(end_foreign_sessions(it.server, it.names, {}));
}

std::string Postgres::describe(const plugin::Binding& binding) {
  const Made it = need();
  const std::string role = it.names.generation_role(binding.id, binding.generation);
  const std::string operations = binding.may("write") ? R"(["query","execute","setup","batch"])" : R"(["query"])";
  return R"({"descriptor":{"mode":"proxy","dialect":"postgresql","operations":)" + operations + R"(},"derived":{"_URL":)" +
         plugin::json_string(url_of(it.server, role, it.names.database)) + "}}";
}

std::string Postgres::health() {
  std::shared_ptr<Pool> open;
  {
    const std::lock_guard lock(mutex_);
    open = pool_;
  }
  if (!open) return R"({"state":"closed","checks":[]})";
  const Made it = need();
  Found found;
  Failure f = look(it.server, it.names, kLookSeconds, found);
  const bool asked = !f;
  if (!f && found.database) f = open->check();
  std::string checks, credentials;
  bool well = true;
  const auto add = [&](std::string_view name, bool ok, std::string_view detail) {
    well = well && ok;
    checks += (checks.empty() ? "" : ",") + ("{\"name\":" + plugin::json_string(name)) + ",\"ok\":" + (ok ? "true" : "false");
    checks += ok ? "}" : ",\"detail\":" + plugin::json_string(detail) + "}";
  };
  add("server", !f, f.status == VIA_E_INTERNAL ? "the server cannot be used" : std::string_view(f.message));
  if (asked) {
    add("database", found.database, "its database is not on the server any more");
    add("roles", found.owner && found.reader, "its owning or its reading role is not on the server any more");
    for (const auto& role : found.generations)
      if (const auto one = it.names.generation_of(role))
        credentials += (credentials.empty() ? "" : ",") + ("{\"binding\":\"" + one->binding + "\",\"generation\":" + std::to_string(one->number) + "}");
  }
  return std::string("{\"state\":\"") + (well ? "ok" : "failing") + "\",\"checks\":[" + checks + "]" +
         (asked ? ",\"credentials\":[" + credentials + "]" : std::string()) + "}";
}

std::string Postgres::stats() {
  std::uint64_t bytes = 0;
  if (const auto it = made()) check(database_bytes(it->server, it->names, bytes));
  return "{\"bytes_used\":" + std::to_string(bytes) + "}";
}

void Postgres::send(std::unique_ptr<Job> job, Pool& pool) {
  const Limits& limits = pool.limits();
  std::uint64_t ms = limits.timeout_ms;
  if (job->request.has_timeout) ms = std::min(ms, job->request.timeout_ms);
  job->deadline_ns = host_.mono_ns() + ms * 1'000'000;
  if (job->call.deadline_ns() != 0) job->deadline_ns = std::min(job->deadline_ns, job->call.deadline_ns());
  job->max_rows = limits.max_rows;
  job->max_bytes = limits.max_result_bytes;
  pool.submit(std::move(job));
}

namespace {

Failure prepare(const plugin::Operation& operation, std::string_view body, const Pool& pool, Job& job) {
  const Operation which = sqlwire::operation_at(operation.index);
  if (Failure f = plan(body, which, operation.caller.may("write"), pool.over_quota(), job)) return f;
  if (!operation.caller.may(sqlwire::scope_of(which))) return sqlwire::scope_missing();
  return sqlwire::check_generation(job.request, operation.caller.live_generations());
}

}  // namespace

bool Postgres::try_invoke(const plugin::Operation& operation, plugin::Call& call) noexcept {
  if (operation.params.size() > kInlineBody || sqlwire::format_of(operation.accept) != sqlwire::Format::json) return false;
  try {
    std::shared_ptr<Pool> open;
    {
      const std::lock_guard lock(mutex_);
      open = pool_;
    }
    if (!open) return false;
    auto job = std::make_unique<Job>(plugin::Call(nullptr));
    // What is wrong is told on a worker, where the same checks run again: the body may also have more to it.
    if (prepare(operation, operation.params, *open, *job)) return false;
    job->call = std::move(call);
    send(std::move(job), *open);
    return true;
  } catch (...) {
    return call.answered();
  }
}

void Postgres::invoke(const plugin::Operation& operation, plugin::Call& call) {
  const std::string body = call.body(operation.params, kBodyLimit);
  const std::shared_ptr<Pool> open = pool();
  if (sqlwire::operation_at(operation.index) == Operation::query && sqlwire::format_of(operation.accept) == sqlwire::Format::lines)
    return stream(operation, call, body, *open);
  auto job = std::make_unique<Job>(plugin::Call(nullptr));
  if (Failure f = prepare(operation, body, *open, *job)) return sqlwire::fail_call(call.release(), f);
  job->call = std::move(call);
  send(std::move(job), *open);
}

// Rows as lines, as long as the client takes them: a connection of its own, one row in memory at a time.
void Postgres::stream(const plugin::Operation& operation, plugin::Call& call, const std::string& body, Pool& pool) {
  Job job{plugin::Call(nullptr)};
  if (Failure f = prepare(operation, body, pool, job)) return sqlwire::fail_call(call.release(), f);
  std::uint64_t until = host_.mono_ns() + pool.limits().timeout_ms * 1'000'000;
  if (job.request.has_timeout) until = std::min(until, host_.mono_ns() + job.request.timeout_ms * 1'000'000);
  if (call.deadline_ns() != 0) until = std::min(until, call.deadline_ns());
  ConnectionPointer connection;
  if (Failure f = pool.connect_alone(job.kind, connection)) return sqlwire::fail_call(call.release(), f);
  struct Forget {
    Pool& pool;
    ConnectionPointer& connection;
    ~Forget() { pool.forget(connection); }
  } const forget{pool, connection};
  PGconn* const pg = connection.get();
  const Step& step = job.steps.front();
  const Parameters& p = step.parameters;
  if (PQsendQueryParams(pg, step.statement.sql.c_str(), p.count(), p.types(), p.values(), p.lengths(), p.formats(), 0) == 0 || PQsetSingleRowMode(pg) == 0)
    return sqlwire::fail_call(call.release(), unreachable("the connection to the PostgreSQL server ended"));
  bool begun = false, asked = false, late = false;
  std::uint64_t rows = 0;
  Failure failure;
  sqlwire::StringOutput out;
  const auto end_statement = [&] {
    asked = true;
    const std::unique_ptr<PGcancel, decltype(&PQfreeCancel)> cancel(PQgetCancel(pg), PQfreeCancel);
    char why[256];
    if (cancel) PQcancel(cancel.get(), why, sizeof why);
  };
  const auto head = [&](const PGresult* result) {
    begun = true;
    call.head(200, "application/x-ndjson");
    out.append("{" + render_head(result) + "}\n");
  };
  for (;;) {
    const std::uint64_t had = received(pg);
    while (PQisBusy(pg) != 0 && !failure) {
      pollfd fd{PQsocket(pg), POLLIN, 0};
      if (::poll(&fd, 1, 50) > 0 && PQconsumeInput(pg) == 0) failure = unreachable("the connection to the PostgreSQL server ended");
      if (received(pg) - had > pool.limits().max_result_bytes + (1u << 20)) failure = row_too_large();
      late = late || host_.mono_ns() >= until;
      if (!asked && (late || call.cancelled())) end_statement();
    }
    if (failure) break;
    const ResultPointer result(PQgetResult(pg));
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_SINGLE_TUPLE) {
      if (row_bytes(result.get(), 0) > pool.limits().max_result_bytes) {
        failure = row_too_large();
        break;
      }
      if (!begun) head(result.get());
      render_row(out, result.get(), 0, job.request.integers_as_text);
      out.put('\n');
      ++rows;
      if (out.written() >= 32'768) {
        call.write(out.view());  // waits while the client is slow
        out.clear();
      }
    } else if (status == PGRES_TUPLES_OK) {
      if (!begun) head(result.get());
    } else if (status != PGRES_COMMAND_OK) {
      failure = from_result(result.get());
      break;
    }
  }
  if (failure && !begun) return sqlwire::fail_call(call.release(), failure);
  if (failure) {
    // The stream has begun: its last line tells, since the status is already sent.
    out.append("{\"error\":{\"code\":\"" + std::string(failure.code) + "\",\"message\":");
    sqlwire::render_text(out, failure.status >= VIA_E_CORRUPT ? std::string_view("internal error") : std::string_view(failure.message));
    out.append("}}\n");
  } else {
    if (!begun) {  // a statement without a result
      begun = true;
      call.head(200, "application/x-ndjson");
      out.append("{\"columns\":[],\"types\":[]}\n");
    }
    out.append("{\"row_count\":" + std::to_string(rows) + ",\"truncated\":false}\n");
  }
  call.answer(out.view());
}

plugin::SnapshotFacts Postgres::take(const plugin::Snapshot& snapshot, plugin::Control& control) {
  const Made it = need();
  Found found;
  if (!look(it.server, it.names, kLookSeconds, found) && !found.database)
    throw plugin::Failure(VIA_E_CORRUPT, "The add-on's database is not on the PostgreSQL server any more.");
  if (const Failure f = take_dump(it.server, it.names, std::string(snapshot.dir), watch_of(control, host_)))
    raise(f, f.status == VIA_E_UNAVAILABLE ? left_behind(all_of(it.names, it.server.name)) : std::string());
  return {"postgres/1", 1, ""};
}

void Postgres::verify(const plugin::Snapshot& snapshot) {
  // Before anything was provisioned too: only the folder of the tools is asked of the server's settings.
  const auto it = made();
  check(verify_dump(it ? it->server : server({}), std::string(snapshot.dir), {}));
}

void Postgres::restore(const plugin::Snapshot& snapshot, plugin::Control& control) {
  {
    const std::lock_guard lock(mutex_);
    if (pool_) throw plugin::Failure(VIA_E_PRECONDITION, "The add-on is open; close it before a restore.", "not_closed");
  }
  const Made it = need();
  check(restore_dump(it.server, it.names, std::string(snapshot.dir), watch_of(control, host_)));
}

}  // namespace via::postgres
