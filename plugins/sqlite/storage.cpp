// Write-temp, fsync, rename, fsync of the folder; docs/formats.md, "Durable files", has the order.
#include "plugins/sqlite/storage.hpp"

#include "plugins/sqlite/descriptor.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace via::sqlite::storage {
namespace {

namespace fs = std::filesystem;

bool sync_path(const std::string& path, int flags) {
  const Descriptor f(::open(path.c_str(), flags | O_CLOEXEC));
  return f.get() >= 0 && ::fsync(f.get()) == 0;
}
bool sync_dir(const std::string& dir) { return sync_path(dir, O_RDONLY | O_DIRECTORY); }

bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

bool write_durable(const std::string& path, std::string_view text) {
  const std::string partial = path + ".partial";
  ::unlink(partial.c_str());
  {
    const Descriptor f(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (f.get() < 0) return false;
    while (!text.empty()) {
      const ssize_t n = ::write(f.get(), text.data(), text.size());
      if (n <= 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    if (::fsync(f.get()) != 0) return false;
  }
  return ::rename(partial.c_str(), path.c_str()) == 0;
}

// Of a call that has just failed, or of SQLite.
Failure not_made(const char* message, int rc = SQLITE_OK) {
  const int why = errno;
  return why == ENOSPC || why == EDQUOT || (rc & 0xff) == SQLITE_FULL ? disk_is_full(rc) : internal(message, rc);
}

Failure create_database(const std::string& path) {
  const std::string partial = path + ".partial";
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) ::unlink((partial + suffix).c_str());
  {
    const Descriptor f(::open(partial.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (f.get() < 0) return not_made("cannot create the database file");
  }
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(partial.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, nullptr);
  if (rc == SQLITE_OK)
    rc = sqlite3_exec(db, "PRAGMA page_size=4096; PRAGMA encoding='UTF-8'; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                          "PRAGMA application_id=1449739569; BEGIN IMMEDIATE; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
                      nullptr, nullptr, nullptr);
  const int closed = sqlite3_close(db);
  if (rc != SQLITE_OK || closed != SQLITE_OK) return not_made("cannot initialise the database file", rc);
  for (const char* suffix : {"-wal", "-shm", "-journal"})  // which SQLite removed, unless it could not
    if (::unlink((partial + suffix).c_str()) != 0 && errno != ENOENT) return not_made("cannot initialise the database file");
  if (!sync_path(partial, O_RDWR) || ::rename(partial.c_str(), path.c_str()) != 0)
    return not_made("cannot make the database file durable");
  return {};
}

}  // namespace

std::string resolve(std::string_view dir) {
  char* p = ::realpath(std::string(dir).c_str(), nullptr);
  if (!p) return {};
  std::string out = p;
  std::free(p);
  return out;
}

Failure provision(const std::string& dir, std::string_view plan, std::string_view config) {
  if (dir.empty()) return internal("the storage folder is missing");
  boost::json::error_code ec;
  const auto parsed = config.empty() ? boost::json::value(boost::json::object{})
                                     : boost::json::parse({config.data(), config.size()}, ec);
  if (ec) return bad_request("the configuration is not JSON");
  const std::string record = boost::json::serialize(boost::json::object{
                                 {"version", 1}, {"plan", boost::json::string_view(plan.data(), plan.size())}, {"config", parsed}}) + "\n";
  const std::string marker = dir + "/provision.json", data = dir + "/data.sqlite";
  if (std::ifstream in(marker, std::ios::binary); in) {
    const std::string had{std::istreambuf_iterator<char>(in), {}};
    const auto before = boost::json::parse(had, ec);
    if (ec) return {VIA_E_CORRUPT, "internal", "provision.json is damaged"};
    if (before != boost::json::parse(record)) return {VIA_E_CONFLICT, "conflict", "the storage was provisioned with other parameters"};
    if (exists(data)) return {};
    return {VIA_E_CORRUPT, "internal", "the database file is missing"};
  }
  if (!exists(data)) {
    if (Failure f = create_database(data)) return f;
  }
  if (!write_durable(marker, record) || !sync_dir(dir)) return not_made("cannot record the provisioning");
  return {};
}

namespace {

Failure check_name(const std::string& dir, struct stat& st) {
  const std::string path = dir + "/data.sqlite";
  if (dir.empty() || ::lstat(path.c_str(), &st) != 0) {
    if (!dir.empty() && exists(dir + "/provision.json")) return {VIA_E_UNAVAILABLE, "unavailable", "the database file is not there any more", 0, -1, 1000};
    return {VIA_E_PRECONDITION, "not_provisioned", "the add-on has no storage yet"};
  }
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || st.st_uid != ::geteuid())
    return {VIA_E_CORRUPT, "internal", "the database is not a regular file of this user with one name"};
  return {};
}

Failure check_header(const std::string& path) {
  const Descriptor f(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  char head[16] = {};
  if (f.get() < 0 || ::pread(f.get(), head, 16, 0) != 16 || std::memcmp(head, "SQLite format 3", 16) != 0)
    return {VIA_E_CORRUPT, "internal", "the database file is damaged: its header is not a database's"};
  return {};
}

constexpr mode_t kOthers = 077;

}  // namespace

Failure check(const std::string& dir) {
  struct stat st {};
  if (Failure f = check_name(dir, st)) return f;
  if (Failure f = check_header(dir + "/data.sqlite")) return f;
  if ((st.st_mode & kOthers) != 0 && ::chmod((dir + "/data.sqlite").c_str(), 0600) != 0) return internal("the database file is open to others");
  return {};
}

Failure inspect(const std::string& dir) {
  struct stat file {}, folder {};
  if (dir.empty() || ::lstat(dir.c_str(), &folder) != 0) return {VIA_E_CORRUPT, "internal", "the add-on's folder is not there any more"};
  // It may be open: nothing of it is opened here, for closing that again would drop SQLite's locks.
  if (Failure f = check_name(dir, file)) return f;
  if ((file.st_mode & kOthers) != 0) return internal("the database file is open to other users of this machine");
  if ((folder.st_mode & kOthers) != 0 || folder.st_uid != ::geteuid()) return internal("the add-on's folder is open to other users of this machine");
  return {};
}

Failure make_private(const std::string& dir) {
  if ((::chmod(dir.c_str(), 0700) != 0 || ::chmod((dir + "/data.sqlite").c_str(), 0600) != 0) && errno != ENOENT)
    return internal("the storage is open to other users and could not be made private");
  return {};
}

Failure check_file(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {VIA_E_NOT_FOUND, "not_found", "database not found"};
  if (S_ISDIR(st.st_mode)) return bad_request("the database path names a directory");
  if (!S_ISREG(st.st_mode)) return bad_request("the database path does not name a regular file");
  if (st.st_nlink != 1) return bad_request("the database file has several names (hard links)");
  const Descriptor f(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (f.get() < 0) return {VIA_E_DENIED, "not_allowed", "the database file cannot be opened"};
  char head[16] = {};
  const ssize_t n = ::pread(f.get(), head, 16, 0);
  if (n != 0 && (n != 16 || std::memcmp(head, "SQLite format 3", 16) != 0)) return bad_request("the file is not a database");
  return {};
}

Failure create_file(const std::string& path) {
  // Two that make the same file at once must not share a temporary name, nor replace each other's file.
  static std::atomic<uint64_t> count{0};
  const size_t slash = path.rfind('/');
  const std::string folder = path.substr(0, slash), whole = folder + "/.new-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
  if (exists(path)) return {VIA_E_CONFLICT, "conflict", "the database exists already"};
  Failure f = create_database(whole);
  // What a file that was taken away left behind would be taken for the new one's.
  for (const char* suffix : {"-wal", "-shm", "-journal"}) ::unlink((path + suffix).c_str());
  if (!f && ::renameat2(AT_FDCWD, whole.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0)
    f = errno == EEXIST ? Failure{VIA_E_CONFLICT, "conflict", "the database exists already"} : not_made("cannot make the database file");
  if (!f && !sync_dir(folder)) f = not_made("cannot make the database file durable");
  if (f) {
    for (const char* suffix : {"", ".partial", ".partial-wal", ".partial-shm"}) ::unlink((whole + suffix).c_str());
  }
  return f;
}

Failure destroy(const std::string& dir) {
  if (dir.empty() || !exists(dir)) return {};
  std::error_code ec;
  std::vector<fs::path> names;
  for (const auto& entry : fs::directory_iterator(dir, ec)) if (entry.path().filename() != "snapshots") names.push_back(entry.path());
  for (const auto& name : names) fs::remove_all(name, ec);
  if (ec || !sync_dir(dir)) return internal("cannot remove the storage");
  return {};
}

Failure parse_config(std::string_view config, uint64_t host_quota, Limits& out) {
  if (host_quota != 0) out.quota_bytes = host_quota;
  if (config.empty()) return {};
  boost::json::error_code ec;
  const auto value = boost::json::parse({config.data(), config.size()}, ec);
  if (ec || !value.is_object()) return bad_request("the configuration is not a JSON object");
  const auto number = [&](const char* name, uint64_t& field) {
    const auto* v = value.get_object().if_contains(name);
    if (v && (v->is_int64() || v->is_uint64())) field = v->to_number<uint64_t>(ec);
  };
  uint64_t quota = 0;
  number("quota_bytes", quota);
  if (quota != 0 && (host_quota == 0 || quota < host_quota)) out.quota_bytes = quota;
  number("max_rows", out.max_rows);
  number("max_result_bytes", out.max_result_bytes);
  number("timeout_ms", out.timeout_ms);
  number("max_databases", out.max_databases);
  if (const auto* further = value.get_object().if_contains("further_databases")) out.further_databases = !further->is_bool() || further->get_bool();
  uint64_t operations = 0, age_s = 0;
  number("history_operations", operations);
  number("history_age_s", age_s);
  if (operations != 0) out.history_operations = static_cast<int64_t>(std::min<uint64_t>(operations, 50'000));
  out.history_age_ms = static_cast<int64_t>(std::min<uint64_t>(age_s, 1ull << 40)) * 1000;
  return {};
}

}  // namespace via::sqlite::storage
