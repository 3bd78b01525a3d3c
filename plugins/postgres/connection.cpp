// One connection's pipeline: what was sent, in order, and what the server said to it.
#include "plugins/postgres/driver.hpp"

#include <poll.h>

#include <utility>

namespace via::postgres {
namespace {

constexpr std::size_t kDepth = 16;                    // reads behind one another
constexpr std::uint64_t kSlowNs = 10'000'000;         // nothing is sent behind a read that takes longer
constexpr std::size_t kStatements = 256;              // prepared ones, then all are forgotten
constexpr std::uint64_t kGraceNs = 5'000'000'000;     // between asking a statement to end and ending its connection

// Made once for each connection (Pool::make).
constexpr const char* kReset = "via_reset";
constexpr const char* kBegin = "via_begin";
constexpr const char* kCommit = "via_commit";
constexpr const char* kRollback = "via_rollback";
constexpr const char* kSavepoint = "via_savepoint";
constexpr const char* kReadOnly = "via_read_only";
constexpr const char* kRelease = "via_release";

bool plan_is_stale(const PGresult* result) {
  const std::string state = sqlstate_of(result);
  if (state == "26000") return true;  // somebody deallocated it
  const char* said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  return state == "0A000" && said != nullptr && std::string_view(said).find("cached plan") != std::string_view::npos;
}

}  // namespace

void answer(Job& job, const Failure& failure) {
  if (job.abandoned) return;
  job.abandoned = true;
  if (failure) return sqlwire::fail_call(job.call.release(), failure);
  try {
    job.call.answer(job.out);
  } catch (const plugin::Failure& why) {
    job.call.fail(why);
  }
}

Connection::Connection(Pool& pool, Kind kind, ConnectionPointer connection, std::uint64_t now_ns)
    : pool_(pool), kind_(kind), pg_(std::move(connection)), used_ns_(now_ns) {}

bool Connection::takes(std::uint64_t now_ns) const {
  if (send_failed_ || cancelling_ || forget_statements_) return false;
  if (jobs_.empty()) return expected_.empty() || kind_ != Kind::writing;
  if (kind_ == Kind::writing || jobs_.size() >= kDepth) return false;
  return now_ns - jobs_.front()->sent_ns < kSlowNs;
}

bool Connection::stirs() const {
  pollfd fd{socket(), POLLIN, 0};
  return ::poll(&fd, 1, 0) != 0;
}

bool Connection::send_known(const char* name, Job* job) {
  if (PQsendQueryPrepared(raw(), name, 0, nullptr, nullptr, nullptr, 0) == 0) return false;
  expected_.push_back({What::silent, job, 0, {}});
  return true;
}

bool Connection::sync(Job* job) {
  if (PQpipelineSync(raw()) == 0) return false;
  expected_.push_back({job != nullptr ? What::last_sync : What::sync, job, 0, {}});
  return true;
}

bool Connection::send_step(Job& job, std::size_t at) {
  const Step& step = job.steps[at];
  const Parameters& p = step.parameters;
  if (!step.has_values) {
    if (PQsendQueryParams(raw(), step.statement.sql.c_str(), p.count(), p.types(), p.values(), p.lengths(), p.formats(), 0) == 0) return false;
    expected_.push_back({What::step, &job, at, {}});
    return true;
  }
  std::string key = step.statement.sql + p.shape();
  auto known = prepared_.find(key);
  if (known == prepared_.end()) {
    const std::string name = "via_" + std::to_string(next_name_++);
    if (PQsendPrepare(raw(), name.c_str(), step.statement.sql.c_str(), p.count(), p.types()) == 0) return false;
    expected_.push_back({What::prepare, &job, at, key});
    known = prepared_.emplace(std::move(key), name).first;
  }
  if (PQsendQueryPrepared(raw(), known->second.c_str(), p.count(), p.values(), p.lengths(), p.formats(), 0) == 0) return false;
  expected_.push_back({What::step, &job, at, {}});
  return true;
}

void Connection::start(std::unique_ptr<Job> given, std::uint64_t now_ns) {
  Job& job = *given;
  job.sent_ns = used_ns_ = now_ns;
  ++job.tries;
  jobs_.push_back(std::move(given));
  const bool first = expected_.empty();
  bool ok = true;
  if (!job.transaction) {
    // A session's settings are those of its start for whoever comes next. In the same transaction: one round less for the server.
    ok = send_step(job, 0) && send_known(kReset, nullptr) && sync(&job);
  } else {
    ok = send_known(kBegin, &job);
    for (std::size_t i = 0; ok && i < job.steps.size(); ++i) {
      const bool reads = job.steps[i].operation == Operation::query;
      ok = (!reads || (send_known(kSavepoint, &job) && send_known(kReadOnly, &job))) && send_step(job, i) && (!reads || send_known(kRelease, &job));
    }
    ok = ok && send_known(kCommit, &job) && sync(&job);
  }
  if (!ok) send_failed_ = true;
  if (prepared_.size() > kStatements) forget_statements_ = true;
  if (first) begin_front();
  pool_.driver().touch(*this);
}

// After the transaction of a job, or to forget statements.
void Connection::clean_up(bool roll_back) {
  const bool first = expected_.empty();
  bool ok = (!roll_back || send_known(kRollback, nullptr)) && send_known(kReset, nullptr);
  if (ok) ok = sync(nullptr);
  if (!ok) send_failed_ = true;
  if (first) begin_front();
  pool_.driver().touch(*this);
}

// Rows come one by one where they may be many, so that what is not wanted is never held.
void Connection::begin_front() {
  if (expected_.empty()) return;
  const Expected& front = expected_.front();
  if (front.job == nullptr || front.what == What::sync || front.what == What::last_sync) return;
  if (!collector_ && !jobs_.empty() && front.job == jobs_.front().get()) {
    collector_ = std::make_unique<Collector>(*front.job);
    collector_->begin();
  }
  if (front.what == What::step) PQsetSingleRowMode(raw());
}

bool Connection::work() {
  if (send_failed_) return false;
  const int flushed = PQflush(raw());
  if (flushed < 0) return false;
  unsent_ = flushed > 0;
  // Also when the connection has ended, what came before counts: it tells whether a write was made.
  const bool alive = PQconsumeInput(raw()) != 0;
  while (!expected_.empty() && PQisBusy(raw()) == 0) {
    ResultPointer result(PQgetResult(raw()));
    if (result) {
      // An error without a code is libpq's own: the connection cannot be used, whatever its status says yet.
      if (PQresultStatus(result.get()) == PGRES_FATAL_ERROR && sqlstate_of(result.get()).empty()) return false;
      take(std::move(result));
      continue;
    }
    const What what = expected_.front().what;
    if (what == What::sync || what == What::last_sync) break;  // its result has not come yet
    expected_.pop_front();
    begin_front();
  }
  if (!alive || send_failed_ || PQstatus(raw()) != CONNECTION_OK) return false;
  if (!expected_.empty() && holds_too_much()) return false;
  // What a job's end has queued behind it.
  const int again = PQflush(raw());
  unsent_ = again > 0;
  return again >= 0;
}

// libpq keeps a row until it is whole, however large it is. One that is larger than a whole result ends its connection.
bool Connection::holds_too_much() {
  constexpr std::uint64_t kSlack = 1u << 20;  // what lies in the system's buffers and belongs to others
  const std::uint64_t come = received(raw());
  const std::uint64_t held = come - std::exchange(taken_at_, took_ ? come : taken_at_);
  if (std::exchange(took_, false) || jobs_.empty() || held < pool_.limits().max_result_bytes + kSlack) return false;
  Job& job = *jobs_.front();
  answer(job, job.reads() ? row_too_large() : outcome_unknown());
  return true;
}

void Connection::take(ResultPointer result) {
  took_ = true;
  Expected& front = expected_.front();
  Job* const job = front.job;
  switch (PQresultStatus(result.get())) {
    case PGRES_PIPELINE_SYNC: {
      const bool last = front.what == What::last_sync;
      expected_.pop_front();
      if (last) end_job();
      begin_front();
      return;
    }
    case PGRES_SINGLE_TUPLE:
      if (job != nullptr && collector_ && !job->abandoned && !job->failure) {
        collector_->row(job->steps[front.step], result.get(), 0);
        if (job->cut && job->cancelled_ns == 0) ask_to_end(pool_.driver().now_ns());
      }
      return;
    case PGRES_TUPLES_OK:
      // All at once where rows did not come one by one; else none.
      if (front.what == What::step && job != nullptr && collector_ && !job->failure)
        for (int i = 0; i < PQntuples(result.get()); ++i) collector_->row(job->steps[front.step], result.get(), i);
      [[fallthrough]];
    case PGRES_COMMAND_OK:
      if (front.what == What::step && job != nullptr && collector_ && !job->failure) collector_->end_of_step(job->steps[front.step], result.get());
      return;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
      send_failed_ = true;  // the words that lead here are refused; a connection in this state is of no use
      return;
    case PGRES_PIPELINE_ABORTED: return;
    default: break;
  }
  if (front.what == What::prepare) prepared_.erase(front.key);
  if (job == nullptr) {
    send_failed_ = true;  // cleaning up failed: nobody else gets this session
    return;
  }
  if (job->failure) return;
  if (job->cut && sqlstate_of(result.get()) == "57014") {
    // The rest of the rows was not wanted: what is there is the answer.
    if (collector_) {
      ResultPointer end(PQmakeEmptyPGresult(raw(), PGRES_COMMAND_OK));
      collector_->end_of_step(job->steps[front.step], end.get());
    }
    return;
  }
  job->failure = from_result(result.get());
  if (plan_is_stale(result.get())) {
    forget_statements_ = true;
    job->failure.code = "stale";
  }
  if ((front.what == What::step || front.what == What::prepare) && job->operation == Operation::batch)
    job->failure.statement_index = static_cast<int>(job->steps[front.step].index);
}

// The server has said that the first job's transaction is over.
void Connection::end_job() {
  std::unique_ptr<Job> job = std::move(jobs_.front());
  jobs_.pop_front();
  const std::uint64_t now = pool_.driver().now_ns();
  // A statement that failed took the reset behind it with it.
  if (job->transaction || job->failure) clean_up(PQtransactionStatus(raw()) != PQTRANS_IDLE);
  if (job->failure && job->failure.sqlstate == "57014" && !job->late && !job->unwanted && job->cancelled_ns == 0 && job->reads() && job->tries < 3 && !job->abandoned) {
    // It met the end of the one before it.
    collector_.reset();
    return pool_.again(std::move(job));
  }
  if (job->failure && std::string_view(job->failure.code) == "stale" && job->tries < 3 && !job->abandoned) {
    collector_.reset();
    return pool_.again(std::move(job));
  }
  if (std::string_view(job->failure.code) == "stale") job->failure = unreachable("the schema changes while the statement runs; try it again");
  if (job->failure && job->unwanted && job->failure.sqlstate == "57014") job->failure = {VIA_E_CANCELLED, "", "the operation was cancelled; nothing was written"};
  if (!job->failure && collector_) collector_->finish();
  collector_.reset();
  if (!job->reads() && !job->failure) pool_.wrote(now);
  answer(*job, job->failure);
}

// Asks the server to end the first job's statement; on a thread that may wait, because that is a connection of its own.
void Connection::ask_to_end(std::uint64_t now_ns) {
  Job& job = *jobs_.front();
  job.cancelled_ns = now_ns;
  std::shared_ptr<PGcancel> cancel(PQgetCancel(raw()), PQfreeCancel);
  if (!cancel) return;
  cancelling_ = true;
  try {
    pool_.tasks().post([cancel, &driver = pool_.driver(), pool = pool_.weak_from_this(), connection = this] {
      char why[256];
      PQcancel(cancel.get(), why, sizeof why);
      driver.command([pool, connection] {
        if (const auto alive = pool.lock()) alive->cancel_sent(connection);
      });
    });
  } catch (const plugin::Failure&) {
    cancelling_ = false;  // closing
  }
}

bool Connection::look(std::uint64_t now_ns) {
  // All at once and seldom; the plugin's own are made anew with the connection.
  if (forget_statements_ && jobs_.empty() && expected_.empty()) return false;
  bool first = true;
  for (const auto& job : jobs_) {
    if (!job->abandoned || first) {
      job->late = job->late || (job->deadline_ns != 0 && now_ns >= job->deadline_ns);
      job->unwanted = job->unwanted || (!job->abandoned && job->call.cancelled());
    }
    if (job->late || job->unwanted) {
      if (first) {
        if (job->cancelled_ns == 0) ask_to_end(now_ns);
        else if (now_ns - job->cancelled_ns > kGraceNs) send_failed_ = true;
      } else if (!job->abandoned && job->reads()) {
        answer(*job, job->late ? Failure{VIA_E_DEADLINE, "deadline_exceeded", "the statement did not end in time"}
                               : Failure{VIA_E_CANCELLED, "", "the operation was cancelled"});
      }
    }
    first = false;
  }
  return !send_failed_;
}

}  // namespace via::postgres
