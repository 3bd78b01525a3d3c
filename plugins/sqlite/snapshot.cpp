// The two ways of copying, the checks of a copy, and the rename.
#include "plugins/sqlite/snapshot.hpp"

#include "plugins/sqlite/functions.hpp"
#include "plugins/sqlite/storage.hpp"
#include "plugins/sqlite/writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace via::sqlite::snapshot {
namespace {

constexpr size_t kPiece = 4u << 20;
constexpr int kBackupPages = 4096;
constexpr uint64_t kWriterWait = 10'000'000'000;

bool cancelled(const via_call* call) { return call->cancelled && call->cancelled(call); }
Failure was_cancelled() { return {VIA_E_CANCELLED, "cancelled", "the work on the snapshot was cancelled"}; }
Failure bad_copy(std::string message) { return {VIA_E_INVALID, "snapshot_invalid", std::move(message)}; }

void tell(via_call* call, uint64_t done, uint64_t total) {
  if (VIA_HAS(via_call, call, progress) && call->progress) call->progress(call, done, total);
}

Failure disk(int error) {
  if (error == ENOSPC || error == EDQUOT)
    return disk_is_full();
  return internal("a file of the snapshot could not be read or written: " + std::string(std::strerror(error)));
}
Failure disk_of(sqlite3* db, int rc) {
  if ((rc & 0xff) == SQLITE_FULL) return disk(ENOSPC);
  return from_sqlite(db, rc);
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  int get() const { return fd_; }
  int close() { return ::close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

struct CloseDb {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};
using Db = std::unique_ptr<sqlite3, CloseDb>;

// Holds checkpoints off for as long as it lives.
class Hold {
 public:
  explicit Hold(Handles& handles) : handles_(handles) { handles_.copies.fetch_add(1); }
  ~Hold() { handles_.copies.fetch_sub(1); }
  Hold(const Hold&) = delete;

 private:
  Handles& handles_;
};

Failure copy_file(Connection& reader, int to, via_call* call) {
  const int64_t page = reader.host_number("PRAGMA page_size"), pages = reader.host_number("PRAGMA page_count");
  sqlite3_file* file = nullptr;
  if (page <= 0 || pages <= 0 ||
      sqlite3_file_control(reader.db(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file)
    return internal("the database file cannot be read");
  const uint64_t total = static_cast<uint64_t>(page) * static_cast<uint64_t>(pages);
  std::vector<char> piece(kPiece);
  for (uint64_t at = 0; at < total;) {
    if (cancelled(call)) return was_cancelled();
    const size_t n = static_cast<size_t>(std::min<uint64_t>(kPiece, total - at));
    if (const int rc = file->pMethods->xRead(file, piece.data(), static_cast<int>(n), static_cast<sqlite3_int64>(at));
        rc != SQLITE_OK)
      return rc == SQLITE_IOERR_SHORT_READ
                 ? Failure{VIA_E_CORRUPT, "internal", "the database file is shorter than it says", rc}
                 : from_sqlite(nullptr, rc);
    for (size_t sent = 0; sent < n;) {
      const ssize_t wrote = ::write(to, piece.data() + sent, n - sent);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return disk(wrote < 0 ? errno : EIO);
      sent += static_cast<size_t>(wrote);
    }
    // The host flushes the copy in the end; the disk may as well begin now. Only a hint, so its failure says nothing.
    ::sync_file_range(to, static_cast<off64_t>(at), static_cast<off64_t>(n), SYNC_FILE_RANGE_WRITE);
    at += n;
    tell(call, at, total);
  }
  return {};
}

Failure copy_backup(Connection& reader, const std::string& target, const Host& host, via_call* call) {
  sqlite3* raw = nullptr;
  int rc = sqlite3_open_v2(target.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, nullptr);
  const Db to(raw);
  // The host flushes the copy; one that was cut short is thrown away.
  if (rc == SQLITE_OK)
    rc = sqlite3_exec(raw, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE", nullptr, nullptr, nullptr);
  if (rc != SQLITE_OK) return disk_of(nullptr, rc);
  sqlite3_backup* backup = sqlite3_backup_init(raw, "main", reader.db(), "main");
  if (!backup) return from_sqlite(raw, sqlite3_errcode(raw));
  const uint64_t page = static_cast<uint64_t>(std::max<int64_t>(1, reader.host_number("PRAGMA page_size")));
  const uint64_t until = host.now_ns() + kWriterWait;
  Failure failure;
  for (rc = SQLITE_OK; rc != SQLITE_DONE && !failure;) {
    if (cancelled(call)) {
      failure = was_cancelled();
      break;
    }
    rc = sqlite3_backup_step(backup, kBackupPages);
    if ((rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED) {
      if (host.now_ns() >= until) failure = from_sqlite(nullptr, rc);
      else sqlite3_sleep(5);
    } else if (rc != SQLITE_OK && rc != SQLITE_DONE) {
      failure = disk_of(nullptr, rc);
    }
    const int pages = sqlite3_backup_pagecount(backup);
    tell(call, static_cast<uint64_t>(pages - sqlite3_backup_remaining(backup)) * page, static_cast<uint64_t>(pages) * page);
  }
  rc = sqlite3_backup_finish(backup);
  if (!failure && rc != SQLITE_OK) failure = disk_of(nullptr, rc);
  return failure;
}

uint32_t big_endian(const unsigned char* p) {
  return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 | static_cast<uint32_t>(p[2]) << 8 | p[3];
}

// What the file itself tells, before SQLite sees it.
Failure look(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (file.get() < 0 || ::fstat(file.get(), &st) != 0) return bad_copy("the snapshot holds no readable database file");
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1) return bad_copy("the snapshot's database is not a regular file with one name");
  if (st.st_size == 0) return bad_copy("the snapshot's database is empty");
  unsigned char head[100] = {};
  if (::pread(file.get(), head, sizeof head, 0) != static_cast<ssize_t>(sizeof head) || std::memcmp(head, "SQLite format 3", 16) != 0)
    return bad_copy("the snapshot's file is not a SQLite database");
  uint32_t page = static_cast<uint32_t>(head[16]) << 8 | head[17];
  if (page == 1) page = 65536;
  if (page < 512 || page > 65536 || (page & (page - 1)) != 0) return bad_copy("the snapshot's database has a page size that is not one of SQLite's");
  const uint64_t size = static_cast<uint64_t>(st.st_size);
  // The count of pages holds only when the two counters are equal.
  const bool counted = std::memcmp(head + 24, head + 92, 4) == 0;
  if (size % page != 0 || (counted && size / page < big_endian(head + 28)))
    return bad_copy("the snapshot's database is cut short");
  if (const uint32_t encoding = big_endian(head + 56); encoding > 1) return bad_copy("the snapshot's database is not in UTF-8");
  return {};
}

Failure unusable(sqlite3* db, int rc) {
  if ((rc & 0xff) == SQLITE_INTERRUPT) return was_cancelled();
  if ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_NOMEM) return from_sqlite(db, rc);
  return bad_copy(std::string("the snapshot's database cannot be used: ") + sqlite3_errstr(rc));
}

// Opened as a file that nobody changes: no lock, no -wal, no -shm.
Failure open_copy(const std::string& path, const via_call* call, Db& out) {
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      static constexpr char kHex[] = "0123456789ABCDEF";
      const auto u = static_cast<unsigned char>(c);
      uri += '%';
      uri += kHex[u >> 4];
      uri += kHex[u & 15];
    } else {
      uri += c;
    }
  }
  uri += "?immutable=1";
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(uri.c_str(), &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX |
                                                 SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE, nullptr);
  out.reset(db);
  for (const auto& [what, on] : {std::pair{SQLITE_DBCONFIG_DEFENSIVE, 1}, {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0}, {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0}})
    if (rc == SQLITE_OK) rc = sqlite3_db_config(db, what, on, nullptr);
  if (rc == SQLITE_OK) rc = register_linear_functions(db);
  if (rc != SQLITE_OK) return unusable(db, rc);
  sqlite3_progress_handler(
      db, 1000, [](void* c) { return cancelled(static_cast<const via_call*>(c)) ? 1 : 0; }, const_cast<via_call*>(call));
  rc = sqlite3_exec(db, "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; SELECT count(*) FROM sqlite_schema", nullptr, nullptr, nullptr);
  return rc == SQLITE_OK ? Failure{} : unusable(db, rc);
}

// The first column of the first row, as text.
int first(sqlite3* db, const char* sql, std::string& out) {
  sqlite3_stmt* s = nullptr;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, nullptr);
  if (rc == SQLITE_OK) {
    rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
      const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(s, 0));
      out = t ? t : "";
      rc = SQLITE_OK;
    } else if (rc == SQLITE_DONE) {
      rc = SQLITE_OK;
    }
  }
  sqlite3_finalize(s);
  return rc;
}

bool has(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

bool sync(const std::string& path, int flags) {
  const Fd f(::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
  return f.get() >= 0 && ::fsync(f.get()) == 0;
}

}  // namespace

// After a clean close there is no -wal. One that a crash left belongs to the old file and would be played into the new.
Failure settle_wal(const std::string& data) {
  const std::string wal = data + "-wal", shm = data + "-shm";
  if (!has(wal) && !has(shm)) return {};
  if (!has(data)) {
    // Somebody took its database away. Under another one it would be played in; whoever has the database still may want it.
    if ((::rename(wal.c_str(), (wal + ".orphan").c_str()) != 0 || ::unlink(shm.c_str()) != 0) && errno != ENOENT)
      return internal("the log of a database that is gone cannot be put aside");
  } else {
    sqlite3* raw = nullptr;
    int rc = sqlite3_open_v2(data.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, nullptr);
    const Db db(raw);
    int keep_log = 1;  // unless it was played in: a log that cannot be read is not an empty one
    if (rc == SQLITE_OK) sqlite3_file_control(raw, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
    if (rc == SQLITE_OK) rc = sqlite3_exec(raw, "SELECT count(*) FROM sqlite_schema; PRAGMA wal_checkpoint(TRUNCATE)", nullptr, nullptr, nullptr);
    keep_log = 0;
    if (rc == SQLITE_OK) sqlite3_file_control(raw, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_log);
  }
  if (has(wal) || has(shm))
    return {VIA_E_PRECONDITION, "wal_remains",
            "a write-ahead log of the database is left that cannot be completed, and a restore under it would mix old and new data"};
  return {};
}

Failure take(Database& database, const std::string& given, via_call* call, Way way, const std::string& name) {
  const Host& host = database.host();
  const std::string dir = storage::resolve(given);
  if (dir.empty()) return internal("the folder for the snapshot is missing");
  const std::string target = dir + "/" + name;
  Database::Pin pin;
  if (Failure f = database.pin_or_open(pin)) return f;
  Fd to(::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (to.get() < 0) return disk(errno);
  Failure failure;
  {
    std::unique_ptr<Connection> reader;
    sqlite3_stmt* begin = nullptr;
    const Hold hold(*pin);
    const auto start = [&]() -> Failure {
      if (Failure f = database.connect(*pin, Connection::Kind::reader, reader)) return f;
      if (const int rc = reader->host_step(begin, "BEGIN"); rc != SQLITE_OK) return from_sqlite(reader->db(), rc);
      if (reader->host_number("SELECT count(*) FROM sqlite_schema") < 0) return internal("the schema cannot be read");
      return {};
    };
    bool whole = false;
    if (way == Way::fastest) failure = pin->writer->between_groups(host.now_ns() + kWriterWait, call, whole, start);
    if (!failure && !reader) failure = start();
    if (!failure && whole) {
      failure = copy_file(*reader, to.get(), call);
      if (!failure && to.close() != 0) failure = disk(errno);
    } else if (!failure) {
      to.close();  // before SQLite opens it
      failure = copy_backup(*reader, target, host, call);
    }
    sqlite3_finalize(begin);
  }
  if (failure) {
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((target + suffix).c_str());
  }
  return failure;
}

Failure check_copy(const std::string& path, const via_call* call) {
  if (Failure f = look(path)) return f;
  Db db;
  return open_copy(path, call, db);
}

Failure verify(const std::string& given, const Host&, const via_call* call, const std::string& name) {
  const std::string path = storage::resolve(given) + "/" + name;
  if (Failure f = look(path)) return f;
  Db db;
  if (Failure f = open_copy(path, call, db)) return f;
  std::string said;
  if (const int rc = first(db.get(), "PRAGMA integrity_check(1)", said); rc != SQLITE_OK) return unusable(db.get(), rc);
  if (said != "ok") return bad_copy("the snapshot's database fails its integrity check");
  if (const int rc = first(db.get(), "SELECT count(*) FROM sqlite_schema WHERE substr(name,1,5)='_via_' COLLATE NOCASE "
                                       "AND NOT (tbl_name='_via_kv_history' AND type IN ('table','index'))",  // looked at by its user
                          said); rc != SQLITE_OK)
    return unusable(db.get(), rc);
  if (said != "0") return bad_copy("the snapshot's database has a table whose name is reserved (_via_)");
  return {};
}

Failure restore(const std::string& storage_dir, const std::string& given, const Host&, const via_call* call) {
  const std::string dir = storage::resolve(given);
  if (storage_dir.empty() || dir.empty()) return internal("a folder of the restore is missing");
  const std::string copy = dir + "/data.sqlite", data = storage_dir + "/data.sqlite";
  if (Failure f = check_copy(copy, call)) return f;
  if (::chmod(copy.c_str(), 0600) != 0 || !sync(copy, O_RDWR)) return disk(errno);
  if (Failure f = settle_wal(data)) return f;
  if (cancelled(call)) return was_cancelled();
  const bool replaces = has(data);
  if (replaces ? ::renameat2(AT_FDCWD, copy.c_str(), AT_FDCWD, data.c_str(), RENAME_EXCHANGE) != 0
               : ::rename(copy.c_str(), data.c_str()) != 0)
    return disk(errno);
  if (!sync(storage_dir, O_RDONLY | O_DIRECTORY) || (replaces && !sync(dir, O_RDONLY | O_DIRECTORY)))
    return {VIA_E_INTERNAL, "outcome_unknown", "the restored database could not be made durable"};
  return {};
}

uint64_t bytes_used(const std::string& storage_dir) {
  uint64_t sum = 0;
  for (const char* name : {"/data.sqlite", "/data.sqlite-wal", "/.data.sqlite.history"}) {
    struct stat st {};
    if (::lstat((storage_dir + name).c_str(), &st) == 0) sum += static_cast<uint64_t>(st.st_size);
  }
  return sum;
}

}  // namespace via::sqlite::snapshot
