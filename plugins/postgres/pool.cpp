// See pool.hpp.
#include "plugins/postgres/driver.hpp"

#include <algorithm>
#include <condition_variable>

namespace via::postgres {
namespace {

constexpr std::uint64_t kFirstBackOffNs = 100'000'000, kLastBackOffNs = 2'000'000'000;
constexpr std::uint64_t kSizeEveryNs = 5'000'000'000;
constexpr std::uint64_t kIdleNs = 300'000'000'000;  // a connection that nobody uses ends
constexpr int kConnectSeconds = 5;

constexpr std::pair<const char*, const char*> kKnown[] = {{"via_reset", "RESET ALL"},         {"via_begin", "BEGIN"},
                                                          {"via_commit", "COMMIT"},           {"via_rollback", "ROLLBACK"},
                                                          {"via_savepoint", "SAVEPOINT via"}, {"via_read_only", "SET TRANSACTION READ ONLY"},
                                                          {"via_release", "RELEASE SAVEPOINT via"}};

}  // namespace

Pool::Pool(Driver& driver, plugin::Host host, Server server, Names names, Limits limits)
    : driver_(driver), host_(host), server_(std::move(server)), names_(std::move(names)), limits_(std::move(limits)), tasks_(host.queue(4)) {}

Pool::~Pool() = default;

void Pool::submit(std::unique_ptr<Job> job) {
  if (closed_.load(std::memory_order_acquire)) return answer(*job, unreachable("the add-on is being closed"));
  driver_.submit(shared_from_this(), std::move(job));
}

void Pool::take(std::unique_ptr<Job> job) {
  if (closed_.load(std::memory_order_acquire)) return answer(*job, unreachable("the add-on is being closed"));
  driver_.add(shared_from_this());
  set(job->kind).waiting.push_back(std::move(job));
}

void Pool::again(std::unique_ptr<Job> job) {
  job->failure = {};
  job->cut = false;
  job->cancelled_ns = 0;
  set(job->kind).waiting.push_front(std::move(job));
}

void Pool::dispatch(std::uint64_t now_ns) {
  for (std::size_t k = 0; k < kKinds; ++k) {
    Set& s = sets_[k];
    while (!s.waiting.empty()) {
      // Others than idle ones only when there are as many as there may be.
      Connection* best = nullptr;
      for (const auto& c : s.connections)
        if (c->takes(now_ns) && (best == nullptr || c->load() < best->load())) best = c.get();
      const bool may_grow = s.connections.size() + s.making < limits_.connections;
      if (best != nullptr && best->load() > 0 && may_grow && s.making == 0 && now_ns >= s.not_before_ns) want_connection(static_cast<Kind>(k), now_ns);
      if (best != nullptr && best->idle() && static_cast<Kind>(k) == Kind::writing && best->stirs()) {
        // Better known before a write is sent than after.
        if (!best->work()) {
          lost(*best);
          continue;
        }
      }
      if (best == nullptr) {
        if (may_grow && s.making == 0 && now_ns >= s.not_before_ns) want_connection(static_cast<Kind>(k), now_ns);
        if (s.connections.empty() && s.making == 0 && s.failure) {
          // The server is not there: those who wait are told so, the next one tries again after a while.
          while (!s.waiting.empty()) {
            answer(*s.waiting.front(), s.failure);
            s.waiting.pop_front();
          }
        }
        break;
      }
      std::unique_ptr<Job> job = std::move(s.waiting.front());
      s.waiting.pop_front();
      best->start(std::move(job), now_ns);
    }
  }
}

void Pool::want_connection(Kind kind, std::uint64_t) {
  Set& s = set(kind);
  ++s.making;
  try {
    // Closing waits for the task, so the pool outlives it.
    tasks_.post([this, kind, self = weak_from_this()] {
      ConnectionPointer made_now;
      Failure failure = make(kind, made_now);
      const auto shared = std::make_shared<ConnectionPointer>(std::move(made_now));
      driver_.command([self, kind, shared, failure] {
        if (const auto alive = self.lock()) alive->made(kind, std::move(*shared), failure);
      });
    });
  } catch (const plugin::Failure&) {
    --s.making;
  }
}

Failure Pool::make(Kind kind, ConnectionPointer& out) {
  const std::lock_guard lock(roles_mutex_);
  for (int tries = 0; tries < 2; ++tries) {
    const bool fresh = passwords_.owner.empty();
    if (fresh) {
      Passwords made{random_password(), random_password()};
      if (Failure f = apply_passwords(server_, names_, made)) return f;
      passwords_ = std::move(made);
    }
    Login login;
    login.database = names_.database;
    login.user = kind == Kind::restricted ? names_.reader : names_.owner;
    login.password = kind == Kind::restricted ? passwords_.reader : passwords_.owner;
    // What RESET ALL goes back to.
    login.options = "-c standard_conforming_strings=on -c client_min_messages=error -c bytea_output=hex -c extra_float_digits=1 -c DateStyle=ISO "
                    "-c IntervalStyle=iso_8601 -c TimeZone=UTC -c statement_timeout=330s -c idle_in_transaction_session_timeout=60s "
                    "-c search_path=public -c row_security=on -c synchronous_commit=on -c default_transaction_read_only=";
    login.options += kind == Kind::writing ? "off" : "on";
    Failure f = connect(server_, login, kConnectSeconds, out);
    if (f && f.message.find("credentials") != f.message.npos && !fresh) {
      passwords_ = {};  // changed behind our back: set again
      continue;
    }
    if (f) return f;
    break;
  }
  if (!out) return unreachable("the PostgreSQL server refuses the host's credentials");
  for (const auto& [name, sql] : kKnown) {
    const ResultPointer prepared(PQprepare(out.get(), name, sql, 0, nullptr));
    if (PQresultStatus(prepared.get()) != PGRES_COMMAND_OK) return from_result(prepared.get());
  }
  const std::lock_guard pids(pids_mutex_);
  pids_.insert(PQbackendPID(out.get()));
  return {};
}

void Pool::made(Kind kind, ConnectionPointer connection, Failure failure) {
  Set& s = set(kind);
  --s.making;
  const std::uint64_t now = driver_.now_ns();
  if (!failure && (PQsetnonblocking(connection.get(), 1) != 0 || PQenterPipelineMode(connection.get()) == 0)) failure = internal("a connection cannot be used");
  if (failure) {
    if (!s.failure || s.failure.message != failure.message) host_.log(plugin::Level::warn, "no connection to the server", {{"server", server_.name}, {"reason", failure.message}});
    s.back_off_ns = s.back_off_ns == 0 ? kFirstBackOffNs : std::min(s.back_off_ns * 2, kLastBackOffNs);
    s.not_before_ns = now + s.back_off_ns;
    s.failure = failure.status == VIA_E_INTERNAL ? unreachable("the PostgreSQL server cannot be used") : std::move(failure);
    return;
  }
  s.failure = {};
  s.back_off_ns = s.not_before_ns = 0;
  if (closed_.load(std::memory_order_acquire)) return;
  s.connections.push_back(std::make_unique<Connection>(*this, kind, std::move(connection), now));
  driver_.watch(*s.connections.back());
}

void Pool::lost(Connection& connection) {
  driver_.unwatch(connection);
  Set& s = set(connection.kind());
  auto jobs = connection.take_jobs();
  {
    const std::lock_guard lock(pids_mutex_);
    pids_.erase(PQbackendPID(connection.raw()));
  }
  std::erase_if(s.connections, [&](const auto& c) { return c.get() == &connection; });
  std::deque<std::unique_ptr<Job>> once_more;
  for (auto& job : jobs) {
    if (job->abandoned) continue;
    if (job->late) answer(*job, job->reads() ? Failure{VIA_E_DEADLINE, "deadline_exceeded", "the statement did not end in time"} : outcome_unknown());
    else if (job->unwanted) answer(*job, job->reads() ? Failure{VIA_E_CANCELLED, "", "the operation was cancelled"} : outcome_unknown());
    else if (!job->reads()) answer(*job, job->failure ? job->failure : outcome_unknown());
    else if (job->tries < 2) once_more.push_back(std::move(job));
    else answer(*job, unreachable("the connection to the PostgreSQL server ended"));
  }
  for (auto at = once_more.rbegin(); at != once_more.rend(); ++at) again(std::move(*at));
}

void Pool::cancel_sent(const Connection* connection) {
  for (Set& s : sets_)
    for (const auto& c : s.connections)
      if (c.get() == connection) c->cancelled();
}

void Pool::look(std::uint64_t now_ns) {
  for (Set& s : sets_) {
    for (std::size_t i = 0; i < s.waiting.size();) {
      Job& job = *s.waiting[i];
      const bool late = job.deadline_ns != 0 && now_ns >= job.deadline_ns, unwanted = job.call.cancelled();
      if (!late && !unwanted) {
        ++i;
        continue;
      }
      // It was not sent, so nothing was done.
      answer(job, late ? Failure{VIA_E_DEADLINE, "deadline_exceeded", "the statement did not begin in time"} : Failure{VIA_E_CANCELLED, "", "the operation was cancelled"});
      s.waiting.erase(s.waiting.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (std::size_t i = 0; i < s.connections.size();) {
      Connection& c = *s.connections[i];
      const bool rests = c.idle() && now_ns - c.used_ns() > kIdleNs;
      if (!c.look(now_ns) || rests) lost(c);  // it is gone now
      else ++i;
    }
  }
}

bool Pool::busy() const {
  return std::any_of(sets_.begin(), sets_.end(), [](const Set& s) {
    return !s.waiting.empty() || s.making > 0 || std::any_of(s.connections.begin(), s.connections.end(), [](const auto& c) { return !c->idle(); });
  });
}

void Pool::wrote(std::uint64_t now_ns) {
  if (limits_.quota_bytes == 0 || size_asked_ || now_ns - size_asked_ns_ < kSizeEveryNs) return;
  size_asked_ = true;
  size_asked_ns_ = now_ns;
  try {
    tasks_.post([this, self = weak_from_this()] {
      std::uint64_t bytes = 0;
      if (!database_bytes(server_, names_, bytes)) over_quota_.store(bytes >= limits_.quota_bytes, std::memory_order_relaxed);
      driver_.command([self] {
        if (const auto alive = self.lock()) alive->size_asked_ = false;
      });
    });
  } catch (const plugin::Failure&) {
    size_asked_ = false;
  }
}

void Pool::drop_connections() {
  for (Set& s : sets_) {
    while (!s.connections.empty()) lost(*s.connections.back());
    while (!s.waiting.empty()) {
      answer(*s.waiting.front(), unreachable("the add-on is being closed"));
      s.waiting.pop_front();
    }
  }
}

void Pool::close() {
  if (closed_.exchange(true)) return;
  driver_.call([this] { drop_connections(); });  // the driver makes no task for it any more
  tasks_ = plugin::Queue();                      // waits for those there are
  driver_.call([this] { driver_.remove(shared_from_this()); });
}

Failure Pool::check() {
  constexpr int kSeconds = 2;  // the least that libpq knows
  Link link;
  return Link::as_admin(server_, names_.database, link, kSeconds);
}

void Pool::forget(const ConnectionPointer& connection) {
  const std::lock_guard lock(pids_mutex_);
  pids_.erase(PQbackendPID(connection.get()));
}

Failure Pool::connect_alone(Kind kind, ConnectionPointer& out) {
  Failure f = make(kind, out);
  if (f && f.status == VIA_E_INTERNAL) f = unreachable("the PostgreSQL server cannot be used");
  return f;
}

Failure Pool::renew_passwords() {
  const std::lock_guard lock(roles_mutex_);
  Passwords made{random_password(), random_password()};
  if (Failure f = apply_passwords(server_, names_, made)) return f;
  passwords_ = std::move(made);
  std::set<int> ours;
  {
    const std::lock_guard pids(pids_mutex_);
    ours = pids_;
  }
  return end_foreign_sessions(server_, names_, ours);
}

}  // namespace via::postgres
