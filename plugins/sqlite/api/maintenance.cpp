#include "plugins/sqlite/api/maintenance.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/functions.hpp"
#include "plugins/sqlite/writer.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace via::sqlite::api {
namespace {

// A plain connection that gives up at the deadline.
class OwnConnection {
 public:
  OwnConnection(const OpenDatabase& database, uint64_t deadline_ns, const via_call* call)
      : host_(database.database().host()), deadline_ns_(deadline_ns), call_(call) {
    rc_ = sqlite3_open_v2(database.path().c_str(), &db_,
                          SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
    for (const auto& [what, on] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1}, {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0}})
      if (rc_ == SQLITE_OK) rc_ = sqlite3_db_config(db_, what, on, nullptr);
    if (rc_ == SQLITE_OK) rc_ = register_linear_functions(db_);
    sqlite3_busy_timeout(db_, 5000);
    sqlite3_progress_handler(db_, 1000, &OwnConnection::progress, this);
  }
  ~OwnConnection() { sqlite3_close_v2(db_); }
  OwnConnection(const OwnConnection&) = delete;

  // Every row's first column is given to `row`.
  template <class Row>
  Failure run(const char* sql, const std::string& bound, Row row) {
    sqlite3_stmt* s = nullptr;
    if (rc_ == SQLITE_OK) rc_ = sqlite3_prepare_v2(db_, sql, -1, &s, nullptr);
    if (rc_ == SQLITE_OK && !bound.empty()) rc_ = sqlite3_bind_text(s, 1, bound.data(), static_cast<int>(bound.size()), SQLITE_STATIC);
    while (rc_ == SQLITE_OK || rc_ == SQLITE_ROW) {
      rc_ = sqlite3_step(s);
      if (rc_ == SQLITE_ROW) row(s);
    }
    Failure f;
    if (rc_ == SQLITE_DONE) rc_ = SQLITE_OK;
    else f = failure();
    sqlite3_finalize(s);
    return f;
  }

 private:
  static int progress(void* given) {
    auto& self = *static_cast<OwnConnection*>(given);
    self.late_ = self.late_ || self.host_.now_ns() >= self.deadline_ns_;
    return self.late_ || (self.call_->cancelled && self.call_->cancelled(self.call_)) ? 1 : 0;
  }
  Failure failure() {
    if ((rc_ & 0xff) == SQLITE_INTERRUPT)
      return late_ ? Failure{VIA_E_DEADLINE, "deadline_exceeded", "the maintenance was not done in time"}
                   : Failure{VIA_E_CANCELLED, "cancelled", "the maintenance was cancelled"};
    if ((rc_ & 0xff) == SQLITE_FULL) return disk_is_full(rc_);
    return from_sqlite(db_, rc_);
  }

  const Host& host_;
  const uint64_t deadline_ns_;
  const via_call* call_;
  bool late_ = false;
  sqlite3* db_ = nullptr;
  int rc_ = SQLITE_OK;
};

bool sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = ::fsync(fd) == 0;
  ::close(fd);
  return ok;
}

}  // namespace

Failure quick_check(const OpenDatabase& database, uint64_t deadline_ns, const via_call* call, std::vector<std::string>& said) {
  OwnConnection c(database, deadline_ns, call);
  return c.run("PRAGMA quick_check(100)", {}, [&](sqlite3_stmt* s) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(s, 0));
    said.emplace_back(text ? text : "");
  });
}

Failure checkpoint(const OpenDatabase& database, uint64_t deadline_ns, const via_call* call, bool& whole) {
  whole = false;
  const std::string wal = database.path() + "-wal";
  return database.handles().writer->between_groups(deadline_ns, call, whole, [&]() -> Failure {
    // All of the log is in the file, and no write can come between: the log may go.
    OwnConnection c(database, deadline_ns, call);
    int64_t busy = 1;
    if (Failure f = c.run("PRAGMA wal_checkpoint(TRUNCATE)", {}, [&](sqlite3_stmt* s) { busy = sqlite3_column_int64(s, 0); })) return f;
    whole = busy == 0;
    return {};
  });
}

Failure vacuum_into(const OpenDatabase& database, Databases& all, const Place& place, uint64_t deadline_ns, const via_call* call, uint64_t& bytes) {
  if (place.own) return error(400, "the destination is the database itself");
  if (Failure f = all.may_make()) return f;
  if (!all.kit().on && !all.limits().further_databases)
    return error(403, "this add-on keeps one database; let the operator allow further_databases");
  std::string real;
  const Failure there = all.real_path(place, real);
  if (!there) return error(409, "the destination exists already");
  if (there.http_status != 404) return there;
  if (real.empty()) return error(400, "the folder of the destination does not exist");
  const std::string folder = real.substr(0, real.rfind('/'));
  if (folder == all.folder() && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return internal("the databases folder cannot be made");

  OwnConnection c(database, deadline_ns, call);
  int64_t size = 0;
  if (Failure f = c.run("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", {},
                        [&](sqlite3_stmt* s) { size = sqlite3_column_int64(s, 0); }))
    return f;
  if (!all.has_room(size)) return {VIA_E_EXHAUSTED, "quota_exceeded", "the add-on has reached its size limit"};
  static std::atomic<uint64_t> count{0};
  const std::string partial = folder + "/.new-vacuum-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  ::unlink(partial.c_str());
  Failure f = c.run("VACUUM INTO ?1", partial, [](sqlite3_stmt*) {});
  struct stat st {};
  if (!f && (::chmod(partial.c_str(), 0600) != 0 || !sync_path(partial, O_RDWR) || ::lstat(partial.c_str(), &st) != 0))
    f = internal("the copy cannot be made durable");
  if (!f && ::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, real.c_str(), RENAME_NOREPLACE) != 0)
    f = errno == EEXIST ? error(409, "the destination exists already") : internal("the copy cannot be named");
  if (f) {
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) ::unlink((partial + suffix).c_str());
    return f;
  }
  bytes = static_cast<uint64_t>(st.st_size);
  all.account(static_cast<int64_t>(bytes));
  return sync_path(folder, O_RDONLY | O_DIRECTORY) ? Failure{} : Failure{VIA_E_INTERNAL, "outcome_unknown", "the copy could not be made durable"};
}

}  // namespace via::sqlite::api
