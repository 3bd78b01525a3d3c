#include "core/store/database.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <sqlite3.h>

#include "core/base/files.hpp"

static_assert(SQLITE_VERSION_NUMBER >= 3051003, "SQLite before 3.51.3 can corrupt a WAL database");

namespace via::store {

std::int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Row::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return {};
  return std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
}

bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Query::Query(Query&& other) noexcept
    : db_(other.db_), statement_(other.statement_), rc_(other.rc_), in_use_(other.in_use_) {
  other.statement_ = nullptr;
  other.in_use_ = nullptr;
}

Query::~Query() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  *in_use_ = false;
}

void Query::note(int rc) {
  if (rc_ == SQLITE_OK && rc != SQLITE_OK) rc_ = rc;
}

void Query::bind(int at, std::int64_t value) {
  if (statement_ != nullptr) note(sqlite3_bind_int64(statement_, at, value));
}

void Query::bind(int at, std::string_view value) {
  // A null pointer would bind NULL; an empty text is meant.
  const char* bytes = value.data() == nullptr ? "" : value.data();
  if (statement_ != nullptr)
    note(sqlite3_bind_text64(statement_, at, bytes, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void Query::bind(int at, std::nullptr_t) {
  if (statement_ != nullptr) note(sqlite3_bind_null(statement_, at));
}

bool Query::next() {
  if (statement_ == nullptr || rc_ != SQLITE_OK) return false;
  const int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) return true;
  if (rc != SQLITE_DONE) note(rc);
  return false;
}

bool Query::is_full() const { return (rc_ & 0xff) == SQLITE_FULL; }

Result<void> Query::end() {
  if (rc_ != SQLITE_OK) return db_.error(rc_);
  return {};
}

Error Database::error(int rc) const {
  // By its own code, or by what the system said to SQLite; the shared memory is only ever made larger.
  const int primary = rc & 0xff, system = db_ != nullptr ? sqlite3_system_errno(db_) : 0;
  if (primary == SQLITE_FULL || rc == SQLITE_IOERR_SHMSIZE ||
      ((primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) && (system == ENOSPC || system == EDQUOT)))
    return fail(Code::disk_full, "The disk of the host is full: its records cannot be written. Free some space and try again.");
  std::string text = "control-plane database: ";
  text += db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(rc);
  text += " (" + std::to_string(rc) + ")";
  return fail(Code::internal, std::move(text));
}

Query Database::prepare(std::string_view sql) {
  if (before_statement_) before_statement_(sql);
  Query query(*this);
  ++statements_run_;
  auto& copies = cache_[std::string(sql)];
  Prepared* free = nullptr;
  for (const auto& copy : copies)
    if (!copy->in_use) free = copy.get();
  if (free == nullptr) {
    auto made = std::make_unique<Prepared>();
    query.note(sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                  &made->statement, nullptr));
    if (query.rc_ != SQLITE_OK) return query;
    free = made.get();
    copies.push_back(std::move(made));
  }
  free->in_use = true;
  query.statement_ = free->statement;
  query.in_use_ = &free->in_use;
  return query;
}

Result<std::unique_ptr<Database>> Database::open(const std::filesystem::path& file, Mode mode) {
  if (sqlite3_libversion_number() < 3051003)
    return fail(Code::internal, "SQLite 3.51.3 or newer is needed; this build has " + std::string(sqlite3_libversion()));
  if (mode == Mode::create) {
    // Made here and not by SQLite, so that it never has another mode; -wal and -shm take theirs from it.
    const FileHandle made(::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!made) return system_error("create the control-plane database", errno);
  }
  struct stat st {};
  if (::lstat(file.c_str(), &st) != 0) return system_error("inspect the control-plane database", errno);
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != ::geteuid() || (st.st_mode & 077) != 0)
    return fail(Code::not_allowed,
                "control-plane.db has the wrong owner, mode or kind (expected: own, 0600, a regular file)");

  std::unique_ptr<Database> db(new Database());
  db->turns_ = std::make_shared<WriteTurns>();
  const int rc = sqlite3_open_v2(file.c_str(), &db->db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                                 nullptr);
  if (rc != SQLITE_OK) return db->error(rc);
  // Until it has been read: a close of what could not be opened must not remove a log whose index could not be opened
  // either, which SQLite would take for empty.
  int keep_log = 1;
  sqlite3_file_control(db->db_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  sqlite3_db_config(db->db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db->db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_busy_timeout(db->db_, 5000);
  VIA_TRY(db->script("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                     "PRAGMA cell_size_check=ON; PRAGMA cache_size=-16384;"));
  VIA_TRY_LET(journal, db->one([](const Row& r) { return r.text(0); }, "PRAGMA journal_mode"));
  if (journal != "wal") return fail(Code::internal, "control-plane database: write-ahead logging is not available");
  VIA_TRY(db->script("SELECT count(*) FROM sqlite_schema"));
  keep_log = 0;
  sqlite3_file_control(db->db_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  return db;
}

Result<std::unique_ptr<Database>> Database::connect_again() const {
  VIA_TRY_LET(again, open(sqlite3_db_filename(db_, "main"), Mode::must_exist));
  again->turns_ = turns_;
  return std::move(again);
}

Database::~Database() {
  for (auto& [sql, copies] : cache_)
    for (auto& copy : copies) sqlite3_finalize(copy->statement);
  sqlite3_close_v2(db_);
}

Result<void> Database::script(const char* sql) {
  ++statements_run_;
  const int rc = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return error(rc);
  return {};
}

std::int64_t Database::changes() const { return sqlite3_changes64(db_); }

bool Database::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

Result<Transaction> Transaction::begin(Database& db) {
  // A transaction inside of another is refused by SQLite; it must not wait for itself before that.
  std::unique_lock<WriteTurns> turn(*db.turns_, std::defer_lock);
  if (!db.in_transaction()) turn.lock();
  VIA_TRY(db.run("BEGIN IMMEDIATE"));
  return Transaction(db, std::move(turn));
}

Transaction::~Transaction() {
  if (db_ != nullptr && db_->in_transaction()) (void)db_->run("ROLLBACK");
}

Result<void> Transaction::commit() {
  Query query = db_->query("COMMIT");
  while (query.next()) {
  }
  if (auto done = query.end(); !done) {
    // There was no room for the pages, the last of which is what makes it a commit.
    if (query.is_full()) return done;
    // A failed fsync is never tried again, and what reached the disk is only known after the next start.
    Error error = done.error();
    error.code = Code::internal;
    error.message += "; outcome unknown";
    error.name = "outcome_unknown";
    return error;
  }
  db_ = nullptr;
  turn_ = {};
  return {};
}

Result<void> Database::copy_to(const std::filesystem::path& file) const {
  sqlite3* target = nullptr;
  int rc = sqlite3_open_v2(file.c_str(), &target, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, nullptr);
  if (rc == SQLITE_OK) rc = sqlite3_exec(target, "PRAGMA synchronous=FULL", nullptr, nullptr, nullptr);
  if (rc == SQLITE_OK) {
    sqlite3_backup* copy = sqlite3_backup_init(target, "main", db_, "main");
    if (copy != nullptr) sqlite3_backup_step(copy, -1);
    rc = copy != nullptr ? sqlite3_backup_finish(copy) : sqlite3_errcode(target);
  }
  // A copy of a database in WAL mode is one as well; as a file of its own it is to need no log.
  if (rc == SQLITE_OK) rc = sqlite3_exec(target, "PRAGMA journal_mode=DELETE", nullptr, nullptr, nullptr);
  const int closed = sqlite3_close(target);
  if (rc == SQLITE_OK) rc = closed;
  if ((rc & 0xff) == SQLITE_FULL) return fail(Code::disk_full, "The disk is full: the control plane could not be copied.");
  if (rc != SQLITE_OK) return fail(Code::internal, std::string("the control plane could not be copied: ") + sqlite3_errstr(rc));
  return {};
}

}  // namespace via::store
