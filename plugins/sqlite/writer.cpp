// Group commit: swap the queue, BEGIN IMMEDIATE, a savepoint per request, COMMIT, count, answer, checkpoint.
#include "plugins/sqlite/writer.hpp"

#include "plugins/sqlite/engine/memory.hpp"
#include "plugins/sqlwire/script.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <chrono>

namespace via::sqlite {
namespace {

constexpr size_t kQueue = 4096;
constexpr size_t kGroup = 512;
constexpr size_t kGroupAnswers = 32 << 20;   // bytes of answers, after which the rest of a group waits for the next one
constexpr int64_t kMostUnsent = 64ll << 20;  // of answers that clients have not taken, after which no write that answers rows runs
constexpr int kCheckpointPages = 8000;
constexpr int kRestartPages = 32000;
constexpr int64_t kWalBytes = 64ll << 20;         // of the WAL, beside two of the largest transactions
constexpr int64_t kLeastWalBytes = 1 << 20;       // where the quota is smaller: or each commit would wait for a checkpoint
constexpr uint64_t kOldReader = 100'000'000;      // a reader that has run so long is ended when the WAL must not grow

Failure unsent_failure() {
  return {VIA_E_EXHAUSTED, "queue_full", "too many answers of writes to this database wait for clients that do not read them; nothing was written", 0, -1, 1000};
}

Failure stuck_failure() {
  return {VIA_E_UNAVAILABLE, "recovering", "a write in this database does not end; no other is taken until it does", 0, -1, 1000};
}

// PRAGMA foreign_keys=OFF; in any spelling, before a BEGIN. Takes it off the front.
bool drops_foreign_keys(std::string_view& sql) {
  const size_t end = std::min(sql.find(';'), sql.size());
  std::string text;
  for (const char c : sql.substr(0, std::min<size_t>(end, 64)))
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') text += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  if (text != "pragmaforeign_keys=off" && text != "pragmaforeign_keys=0") return false;
  size_t size = 0;
  if (sqlwire::control_of(skip_blank(sql.substr(end)), size) != sqlwire::Control::begin) return false;
  sql.remove_prefix(end);
  return true;
}

// For a dump, whose rows may come before those, and before the tables, that they point to: its keys are looked at at its end.
class KeysOff {
 public:
  explicit KeysOff(Connection& connection) : connection_(connection) {}
  ~KeysOff() {
    if (off_) sqlite3_db_config(connection_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  }
  KeysOff(const KeysOff&) = delete;
  void off() { off_ = sqlite3_db_config(connection_.db(), SQLITE_DBCONFIG_ENABLE_FKEY, 0, nullptr) == SQLITE_OK; }
  // That every key of the database holds; nothing where they were never off.
  Failure hold() {
    const int64_t open = off_ ? connection_.host_number("SELECT count(*) FROM (SELECT 1 FROM pragma_foreign_key_check LIMIT 1)") : 0;
    if (open < 0) return connection_.failure(sqlite3_errcode(connection_.db()));
    return open == 0 ? Failure{} : Failure{VIA_E_INVALID, "constraint", "FOREIGN KEY constraint failed", SQLITE_CONSTRAINT_FOREIGNKEY};
  }

 private:
  Connection& connection_;
  bool off_ = false;
};

}  // namespace

Writer::Writer(Database& database, Handles& handles, std::unique_ptr<Connection> connection)
    : database_(database), handles_(handles), connection_(std::move(connection)), last_schema_(connection_->host_number("PRAGMA schema_version")) {
  sqlite3_wal_hook(
      connection_->db(),
      [](void* self, sqlite3*, const char*, int pages) {
        auto& w = *static_cast<Writer*>(self);
        // It counts all that is in the WAL, which may have begun anew.
        w.largest_pages_ = std::max<int64_t>(w.largest_pages_, pages > w.log_pages_ ? pages - w.log_pages_ : pages);
        w.wal_pages_ = w.log_pages_ = pages;
        return SQLITE_OK;
      },
      this);
  page_bytes_ = connection_->host_number("PRAGMA page_size");
}

Writer::~Writer() {
  for (sqlite3_stmt* s : {begin_, commit_, rollback_, savepoint_, release_, undo_, page_count_, schema_version_}) sqlite3_finalize(s);
}

bool Writer::submit(std::unique_ptr<Job>& job) {
  Group refused;
  Database::Pin unused;
  if (stuck()) {
    job->failure = stuck_failure();
    answer(std::move(job));
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= kQueue) return false;
    if (running_ || wanted_ > 0) {  // who runs, or waits in between_groups, writes it
      waiting_.push_back(std::move(job));
      return true;
    }
    running_pin_ = job->pin.clone();
    waiting_.push_back(std::move(job));
    running_ = true;
    if (database_.host().executor()->post(database_.queue(), 0, &Writer::drain, this, nullptr) == VIA_OK) return true;
    running_ = false;
    refused.swap(waiting_);
    unused = std::move(running_pin_);
  }
  for (auto& j : refused) {
    j->failure = {VIA_E_UNAVAILABLE, "overloaded", "the host takes no more work", 0, -1, 100};
    answer(std::move(j));
  }
  return true;
}

Failure Writer::between_groups(uint64_t deadline_ns, const via_call* call, bool& whole,
                               const std::function<Failure()>& then) {
  Failure failure;
  {
    std::unique_lock lock(mutex_);
    ++wanted_;
    while (running_ && !failure) {
      free_.wait_for(lock, std::chrono::milliseconds(20));
      if (call->cancelled && call->cancelled(call)) failure = {VIA_E_CANCELLED, "cancelled", "the call was cancelled"};
      else if (running_ && database_.host().now_ns() >= deadline_ns)
        failure = {VIA_E_DEADLINE, "deadline_exceeded", "the writes that wait did not end in time"};
    }
    --wanted_;
    if (running_) return failure;
    running_ = true;  // what is submitted from here on is written by the drain below
  }
  if (!failure) {
    try {
      whole = checkpoint_all();
      if (whole) failure = then();
    } catch (...) {
      failure = internal("out of memory");
    }
  }
  drain(this, VIA_OK);
  return failure;
}

void Writer::move_all() {
  if (!stuck()) (void)checkpoint_all();
}

bool Writer::checkpoint_all() {
  connection_->begin_guard(0, nullptr, 0);
  connection_->policy().host_sql = true;
  sqlite3_busy_timeout(connection_->db(), 250);
  const int rc = sqlite3_wal_checkpoint_v2(connection_->db(), nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(connection_->db(), 5000);
  if (rc != SQLITE_OK) return false;
  wal_pages_ = 0;
  return true;
}

void Writer::drain(void* self, via_status why) {
  auto& w = *static_cast<Writer*>(self);
  Database::Pin last;  // released when this task has let go of the writer
  Group group;
  for (;;) {
    {
      const std::lock_guard lock(w.mutex_);
      if (group.empty() && w.wanted_ == 0) group.swap(w.waiting_);
      if (group.empty()) {
        w.running_ = false;
        last = std::move(w.running_pin_);
        w.free_.notify_all();  // under the mutex: the writer may be gone right after it
        return;
      }
    }
    Group now;
    const auto exclusive = [](const auto& j) { return j->exclusive; };
    if (group.size() <= kGroup && (group.size() == 1 || std::none_of(group.begin(), group.end(), exclusive))) {
      now.swap(group);
    } else {
      auto end = std::find_if(group.begin(), group.end(), exclusive);
      if (end == group.begin()) ++end;
      if (end - group.begin() > static_cast<std::ptrdiff_t>(kGroup)) end = group.begin() + kGroup;
      now.assign(std::make_move_iterator(group.begin()), std::make_move_iterator(end));
      group.erase(group.begin(), end);
    }
    if (why != VIA_OK) {
      for (auto& j : now) j->failure = {VIA_E_CANCELLED, "cancelled", "the add-on is closing"};
    } else {
      try {
        w.run(now);
      } catch (...) {
        if (w.in_transaction()) w.host(w.rollback_, "ROLLBACK");
        for (auto& j : now) j->failure = internal("the writer ran out of memory");
      }
    }
    Group later;
    for (auto& j : now) {
      if (j->later && !j->failure) later.push_back(std::move(j));
      else w.answer(std::move(j));
    }
    group.insert(group.begin(), std::make_move_iterator(later.begin()), std::make_move_iterator(later.end()));
    w.checkpoint();
    engine::give_back();
  }
}

void Writer::run(Group& group) {
  const uint64_t now = database_.host().now_ns();
  for (auto& j : group) {
    if (j->deadline_ns != 0 && now >= j->deadline_ns)
      j->failure = {VIA_E_DEADLINE, "deadline_exceeded", "the write waited too long; nothing was written"};
    else if (j->call && j->call->cancelled && j->call->cancelled(j->call))
      j->failure = {VIA_E_CANCELLED, "cancelled", "the request was cancelled"};
  }
  if (!handles_.broken.load(std::memory_order_relaxed) && database_.displaced(handles_)) {
    // What was acknowledged now would be gone with the last connection.
    database_.host().log(4, "the database's files were moved or removed while it was open; it is opened anew");
    handles_.broken.store(true, std::memory_order_relaxed);
  }
  if (handles_.broken.load(std::memory_order_relaxed)) {
    for (auto& j : group)
      if (!j->failure) j->failure = {VIA_E_UNAVAILABLE, "recovering", "the database is being recovered", 0, -1, 100};
    return;
  }
  // Each further attempt has at least one request less that can fail.
  for (bool again = true; again;) {
    again = false;
    attempt(group, again);
  }
}

void Writer::attempt(Group& group, bool& again) {
  for (auto& j : group) j->later = false;
  const auto pending = std::count_if(group.begin(), group.end(), [](const auto& j) { return !j->failure; });
  if (pending == 0) return;
  const auto fail_all = [&group](const Failure& f) {
    for (auto& j : group)
      if (!j->failure && !j->later) j->failure = f;
  };
  connection_->begin_guard(0, nullptr, 0);
  connection_->forget_tables();  // what was before this transaction may have been rolled back
  apply_quota();
  if (const int rc = host(begin_, "BEGIN IMMEDIATE"); rc != SQLITE_OK) return fail_all(full(from_sqlite(connection_->db(), rc)));
  const bool savepoints = pending > 1;
  int64_t done = 0;
  size_t answers = 0;
  for (auto& j : group) {
    if (j->failure) continue;
    if (answers > kGroupAnswers) {
      j->later = true;
      continue;
    }
    if (savepoints && host(savepoint_, "SAVEPOINT one") != SQLITE_OK) {
      j->failure = internal("cannot open a savepoint");
    } else {
      run_job(group, *j);
      if (stuck()) return let_go(group);
      // Deferred foreign keys would fail the COMMIT of everybody: they are checked per request instead.
      int open_keys = 0, high = 0;
      if (!j->failure && in_transaction() &&
          sqlite3_db_status(connection_->db(), SQLITE_DBSTATUS_DEFERRED_FKS, &open_keys, &high, 0) == SQLITE_OK && open_keys != 0)
        j->failure = {VIA_E_INVALID, "constraint", "FOREIGN KEY constraint failed", SQLITE_CONSTRAINT_FOREIGNKEY};
      if (!in_transaction()) {
        // OR ROLLBACK, RAISE(ROLLBACK), an interrupt, a full disk: the whole transaction is gone.
        if (!j->failure) j->failure = internal("the transaction ended by itself");
        again = pending > 1;
        return;
      }
      if (savepoints) {
        if (j->failure) {
          host(undo_, "ROLLBACK TO one");
          connection_->forget_tables();
        }
        if (const int rc = host(release_, "RELEASE one"); rc != SQLITE_OK && !j->failure) j->failure = full(from_sqlite(connection_->db(), rc));
      }
    }
    if (!j->failure) ++done;
    answers += j->result.capacity() + j->answer.body.capacity();
  }
  if (const bool dropped = drop_cancelled(group); dropped || done == 0) {
    host(rollback_, "ROLLBACK");
    again = dropped;
    return;
  }
  const bool changes_schema = schema_changed();
  if (changes_schema) handles_.schema.fetch_add(1, std::memory_order_release);
  const int rc = host(commit_, "COMMIT");
  if (changes_schema) handles_.schema.fetch_add(1, std::memory_order_release);
  if (rc == SQLITE_OK) {
    told_full_ = false;
    connection_->policy().host_sql = true;
    if (database_.shared_quota() && page_count_ && sqlite3_step(page_count_) == SQLITE_ROW) {
      database_.set_bytes(sqlite3_column_int64(page_count_, 0) * page_size_);
      sqlite3_reset(page_count_);
    }
    handles_.commits.fetch_add(1, std::memory_order_release);
    return;
  }
  Failure f = from_sqlite(connection_->db(), rc);
  last_schema_ = -1;  // the number may come again with another schema
  if (in_transaction()) host(rollback_, "ROLLBACK");
  if ((rc & 0xff) == SQLITE_FULL) {
    f = full(f);
  } else if (f.status == VIA_E_INTERNAL || f.status == VIA_E_CORRUPT || (rc & 0xff) == SQLITE_IOERR) {
    // It may be on disk or not. It is not tried again, and the next use recovers the file first.
    f = internal(f.message, rc);
    f.code = "outcome_unknown";
    handles_.broken.store(true, std::memory_order_relaxed);
    handles_.commits.fetch_add(1, std::memory_order_release);
  }
  fail_all(f);
}

// Whether the group that is about to be committed changed the schema. What cannot be told counts as a change.
bool Writer::schema_changed() {
  connection_->policy().host_sql = true;
  int64_t version = -1;
  if (schema_version_ || sqlite3_prepare_v3(connection_->db(), "PRAGMA schema_version", -1, SQLITE_PREPARE_PERSISTENT, &schema_version_, nullptr) == SQLITE_OK) {
    if (sqlite3_step(schema_version_) == SQLITE_ROW) version = sqlite3_column_int64(schema_version_, 0);
    sqlite3_reset(schema_version_);
  }
  return std::exchange(last_schema_, version) != version || version < 0;
}

// One quota covers all databases of an add-on: what the others have is not there for this one. Two that write at the same
// moment may both use the rest, so the sum can go over the quota by one group of writes of each.
void Writer::apply_quota() {
  if (!database_.shared_quota()) return;
  connection_->policy().host_sql = true;
  if (!page_count_) {
    page_size_ = connection_->host_number("PRAGMA page_size");
    if (page_size_ <= 0 || sqlite3_prepare_v3(connection_->db(), "PRAGMA page_count", -1, SQLITE_PREPARE_PERSISTENT, &page_count_, nullptr) != SQLITE_OK) return;
  }
  const int64_t pages = std::max<int64_t>(8, database_.bytes_left() / page_size_);
  if (pages == max_pages_) return;
  max_pages_ = pages;
  connection_->host_exec(("PRAGMA max_page_count=" + std::to_string(pages)).c_str());
}

// Whoever gave a call up, or ended its rights, was promised that nothing of it is committed from then on. True when there were some.
bool Writer::drop_cancelled(Group& group) {
  bool dropped = false;
  for (auto& j : group) {
    if (j->failure || j->later || !j->call || !j->call->cancelled || !j->call->cancelled(j->call)) continue;
    j->failure = {VIA_E_CANCELLED, "cancelled", "the request was cancelled"};
    dropped = true;
  }
  return dropped;
}

void Writer::run_job(Group& group, Job& job) {
  struct Current {
    Writer& writer;
    Current(Writer& w, Group* g, Job* j) : writer(w) { set(g, j); }
    ~Current() { set(nullptr, nullptr); }
    Current(const Current&) = delete;
    void set(Group* g, Job* j) {
      const std::lock_guard lock(writer.current_mutex_);
      writer.current_group_ = g;
      writer.current_ = j;
    }
  };
  const Current current(*this, &group, &job);
  run_guarded(job);
}

// The others of the group are in a transaction that will not be committed, or have not begun; nobody else touches them while the
// job runs.
void Writer::overdue() {
  Group others;
  {
    const std::lock_guard lock(current_mutex_);
    if (!current_group_) return;
    stuck_.store(true, std::memory_order_release);
    for (auto& j : *current_group_)
      if (j.get() != current_) others.push_back(std::move(j));
  }
  {
    const std::lock_guard lock(mutex_);
    others.insert(others.end(), std::make_move_iterator(waiting_.begin()), std::make_move_iterator(waiting_.end()));
    waiting_.clear();
  }
  database_.host().log(4, "a write does not end though it was interrupted; no other write is taken until it does");
  answer_all(std::move(others));
}

// Not on the watchdog's thread: a client's connection is woken by an answer.
void Writer::answer_all(Group group) {
  if (group.empty()) return;
  struct Answers {
    Writer& writer;
    Group group;
  };
  for (auto& j : group) j->failure = stuck_failure();
  const auto task = [](void* data, via_status) {
    const std::unique_ptr<Answers> mine(static_cast<Answers*>(data));
    for (auto& j : mine->group) mine->writer.answer(std::move(j));
  };
  auto* all = std::make_unique<Answers>(Answers{*this, std::move(group)}).release();  // owned by the task
  if (database_.host().executor()->post(database_.queue(), 0, task, all, nullptr) != VIA_OK) task(all, VIA_E_UNAVAILABLE);
}

// The stuck write has ended after all. Nothing of its transaction stays, and the connection is not trusted any more.
void Writer::let_go(Group& group) {
  if (in_transaction()) host(rollback_, "ROLLBACK");
  std::erase_if(group, [](const auto& j) { return !j; });
  for (auto& j : group) j->failure = {VIA_E_DEADLINE, "deadline_exceeded", "the write did not end in time; nothing was written"};
  handles_.broken.store(true, std::memory_order_relaxed);
  stuck_.store(false, std::memory_order_release);
  database_.host().log(3, "the write that did not end has ended; the database is opened anew");
}

void Writer::run_guarded(Job& job) {
  job.result.clear();
  const Guarded guarded(database_.watchdog(), *connection_, job.deadline_ns, job.call, this);
  connection_->begin_request();
  if (job.write) {
    job.answer = {};
    if (too_much_unsent()) {
      job.failure = unsent_failure();
      return;
    }
    try {
      job.failure = job.write(*connection_, job.answer);
    } catch (...) {
      job.failure = internal("the write ran out of memory");
    }
    if (job.failure) job.failure = full(std::move(job.failure));
    return;
  }
  StringOutput out;
  int64_t updated = 0;
  if (job.operation == Operation::batch) {
    out.append("{\"results\":[");
    for (size_t i = 0; i < job.request.statements.size(); ++i) {
      if (i > 0) out.put(',');
      job.failure = run_statement(job, job.request.statements[i], &out, updated);
      if (!job.failure && out.written() > database_.limits().max_result_bytes)
        job.failure = {VIA_E_INVALID, "result_too_large", "the results of the batch are too large"};
      if (job.failure) {
        job.failure.statement_index = static_cast<int>(i);
        break;
      }
    }
    out.append("]}");
  } else {
    job.failure = run_statement(job, job.request.statements.front(), &out, updated);
  }
  if (job.failure) {
    job.failure = full(std::move(job.failure));
    return;
  }
  job.result = out.take();
}

Failure Writer::run_statement(Job& job, const StatementText& text, Output* out, int64_t& updated) {
  const std::string_view sql = job.request.sql(text);
  if (text.operation == Operation::setup) {
    int64_t n = 0;
    if (Failure f = run_setup(job, text, n)) return f;
    out->append("{\"update_count\":");
    render_integer(*out, n, false);
    out->put('}');
    return {};
  }
  Statement* s = nullptr;
  if (Failure f = connection_->statement(text.operation, sql, s)) return f;
  if (sqlite3_column_count(s->stmt) > 0 && too_much_unsent()) return unsent_failure();
  if (Failure f = bind(*connection_, *s, job.request, text)) return f;
  if (text.operation == Operation::query) return read_rows(*connection_, *s, job.request, Format::json, database_.limits(), *out);
  return run_write(*connection_, *s, job.request, database_.limits(), out, updated);
}

Failure Writer::run_setup(Job& job, const StatementText& text, int64_t& updated) {
  std::string_view rest = job.request.sql(text);
  int64_t reserved_before = -1;
  bool any = false, views = false;
  sqlwire::Wrapping wrapping;
  KeysOff keys(*connection_);
  while (!(rest = skip_blank(rest)).empty()) {
    size_t size = 0;
    const sqlwire::Control control = sqlwire::control_of(rest, size);
    if (!any && !wrapping.begun() && drops_foreign_keys(rest)) {
      keys.off();
      continue;
    }
    switch (wrapping.take(control)) {
      case sqlwire::Wrapping::Verdict::run: break;
      case sqlwire::Wrapping::Verdict::skip:
        rest.remove_prefix(size);
        any = true;
        continue;
      case sqlwire::Wrapping::Verdict::refuse:
        return denied_by_policy("BEGIN and COMMIT are not allowed: each setup is one transaction already. One pair around the whole script may stay, as .dump "
                                "writes it; take out every other BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE");
    }
    Statement s;
    std::string_view next;
    if (Failure f = connection_->prepare(Operation::setup, rest, false, s, next)) return f;
    if (!s.stmt) break;
    if (!skip_blank(next).empty() || any) {
      if (text.count > 0) return bad_request("setup takes parameters only with a single statement");
    }
    any = true;
    if (s.alters && reserved_before < 0) reserved_before = reserved_objects(*connection_);
    views = views || s.creates_view;
    if (Failure f = bind(*connection_, s, job.request, text)) return f;
    if (Failure f = run_write(*connection_, s, job.request, database_.limits(), nullptr, updated)) return f;
    rest = next;
  }
  if (!any) return bad_request("the SQL text holds no statement");
  if (wrapping.open()) return denied_by_policy("the script begins a transaction and does not end it: add COMMIT at its end, or take BEGIN out");
  if (reserved_before >= 0 && reserved_objects(*connection_) != reserved_before)
    return denied_by_policy("names that begin with sqlite_ or _via_ are not for statements of apps; choose another name");
  if (Failure f = keys.hold()) return f;
  return views ? check_views(*connection_) : Failure{};
}

// Tells the quota from a disk that is really full, which is the operator's trouble and not the app's.
Failure Writer::full(Failure failure) {
  if ((failure.sqlite_code & 0xff) != SQLITE_FULL) return failure;
  was_full_ = true;
  struct statvfs fs {};
  if (::statvfs(database_.path().c_str(), &fs) == 0 && static_cast<uint64_t>(fs.f_bavail) * fs.f_frsize < (1u << 20)) {
    const int code = failure.sqlite_code;
    failure = disk_is_full(code);
    if (!std::exchange(told_full_, true)) database_.host().log(3, "the disk is full: writes are refused until there is room");
  }
  return failure;
}

void Writer::answer(std::unique_ptr<Job> job) {
  via_call* call = job->call;
  if (!call) {
    if (job->failure && job->failure.status >= VIA_E_CORRUPT) database_.host().log(4, job->failure.message);
    return;
  }
  if (job->write) {
    job->write = nullptr;
    if (job->failure) {
      job->answer = api::answer_of(job->failure);
      if (job->answer.status >= 500 && job->failure.status >= VIA_E_CORRUPT) database_.host().log(4, job->failure.message);
      job->failure = {};
    }
    api::send_head(call, job->answer);
    job->result = std::move(job->answer.body);
    if (job->result.empty()) return finish_call(call);
  }
  if (job->failure) return fail_call(call, job->failure);
  const via_bytes bytes{reinterpret_cast<const uint8_t*>(job->result.data()), job->result.size()};
  const via_status st = call->write(call, bytes, 0);
  if (st == VIA_OK) return finish_call(call);
  if (st != VIA_E_WOULD_BLOCK) return fail_call(call, {st, "", "the response could not be written"});
  answer_later(std::move(job));
}

// A slow client must not hold the writer up: somebody else waits for it.
void Writer::answer_later(std::unique_ptr<Job> job) {
  unsent_.fetch_add(static_cast<int64_t>(job->result.capacity()), std::memory_order_relaxed);
  struct Unsent {
    Writer& writer;  // there as long as the job's pin
    std::unique_ptr<Job> job;
  };
  const auto task = [](void* data, via_status why) {
    const std::unique_ptr<Unsent> mine(static_cast<Unsent*>(data));
    const std::string& result = mine->job->result;
    const via_bytes all{reinterpret_cast<const uint8_t*>(result.data()), result.size()};
    via_call* const call = mine->job->call;
    const via_status written = why == VIA_OK ? call->write(call, all, VIA_WAIT) : why;
    mine->writer.unsent_.fetch_sub(static_cast<int64_t>(result.capacity()), std::memory_order_relaxed);
    if (written == VIA_OK) finish_call(call);
    else fail_call(call, {written, "", "the response could not be written"});
  };
  auto* later = std::make_unique<Unsent>(Unsent{*this, std::move(job)}).release();  // owned by the task
  if (database_.host().executor()->post(database_.queue(), 0, task, later, nullptr) != VIA_OK) task(later, VIA_E_UNAVAILABLE);
}

bool Writer::too_much_unsent() const { return unsent_.load(std::memory_order_relaxed) > kMostUnsent; }

// How long the WAL may become: the next transaction still fits below it when readers are ended at overdue_pages().
int64_t Writer::most_pages() const {
  const int64_t page = std::max<int64_t>(page_bytes_, 512);
  const auto quota = static_cast<int64_t>(std::min<uint64_t>(database_.limits().quota_bytes, INT64_MAX));
  return std::min(std::max(quota, kLeastWalBytes), kWalBytes + 2 * largest_pages_ * page) / page;
}

int64_t Writer::overdue_pages() const {
  const int64_t most = most_pages();
  return std::max(most - std::max(most / 4, largest_pages_), most / 4);
}

// After the answers, so that nobody waits for it. Readers in an old snapshot delay it, and are ended before the WAL is
// longer than it may be.
void Writer::checkpoint() {
  const bool overdue = wal_pages_ >= overdue_pages();
  if (!was_full_ && wal_pages_ < kCheckpointPages && !overdue) return;
  if (handles_.copies.load(std::memory_order_acquire) != 0) return;
  const bool hard = was_full_ || wal_pages_ >= kRestartPages || overdue;
  was_full_ = false;
  if (move_log(hard, 100) || !overdue) return;
  if (database_.watchdog().end_older(kOldReader, Stop::reader) != 0) move_log(true, 1'000);
}

// Moves the WAL into the main file, `whole` with what readers keep, for whom it waits. Whether all was moved.
bool Writer::move_log(bool whole, int wait_ms) {
  connection_->begin_guard(0, nullptr, 0);
  connection_->policy().host_sql = true;
  if (whole) sqlite3_busy_timeout(connection_->db(), wait_ms);
  int log = 0, moved = 0;
  const int rc = sqlite3_wal_checkpoint_v2(connection_->db(), nullptr, whole ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log, &moved);
  if (whole) sqlite3_busy_timeout(connection_->db(), 5000);
  if (rc != SQLITE_OK || log != moved) return false;
  wal_pages_ = 0;
  return true;
}

}  // namespace via::sqlite
