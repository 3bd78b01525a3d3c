// Names to files. A file is looked at through an O_PATH descriptor: it tells the true path after every link, and closing it
// drops no lock of SQLite's. What is opened is that true path, without following links once more.
#include "plugins/sqlite/api/databases.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/descriptor.hpp"
#include "plugins/sqlite/render.hpp"
#include "plugins/sqlite/storage.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>

namespace via::sqlite::api {
namespace {

constexpr std::string_view kRoot = "/hoody/databases";
constexpr uint64_t kNoQuota = 16ull << 40;  // a kit has none but SQLite's own

std::string true_path(int fd) {
  std::array<char, PATH_MAX> buffer;
  const ssize_t n = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), buffer.data(), buffer.size());
  return n > 0 && static_cast<size_t>(n) < buffer.size() ? std::string(buffer.data(), static_cast<size_t>(n)) : std::string();
}

Failure missing() { return error(404, "database not found"); }
Failure outside() { return error(400, "absolute database paths outside /hoody/databases are disallowed"); }

// A plain file name that is ours to make: no hidden files (the kit's own), no companions of another database.
Failure check_name(std::string_view name) {
  if (name.size() > Databases::kMaxName) return error(400, "the database name is too long");
  if (name.starts_with('.')) return error(400, "database names must not begin with a dot");
  for (const std::string_view suffix : {"-wal", "-shm", "-journal"})
    if (name.ends_with(suffix)) return error(400, "database names must not end with " + std::string(suffix));
  return {};
}

// "/a//b/./c" as "/a/b/c"; false for "..", and for the root itself.
bool normalise(std::string_view path, std::string& out) {
  out.clear();
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, end);
    path.remove_prefix(std::min(end + 1, path.size()));
    if (part == "..") return false;
    if (part.empty() || part == ".") continue;
    out += '/';
    out += part;
  }
  return !out.empty();
}

bool below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

}  // namespace

void Databases::serve(const std::string& storage, const Limits& limits, Kit kit) {
  const std::lock_guard lock(mutex_);
  if (serving()) return;
  kit_ = kit;
  limits_ = limits;
  if (kit.on) limits_.quota_bytes = kNoQuota;
  storage_ = storage;
  folder_ = kit.on ? storage : storage + "/databases";
  own_entry_.name = "data.sqlite";
  struct stat st {};
  const int64_t own = !kit.on && ::stat((storage + "/data.sqlite").c_str(), &st) == 0 ? st.st_size : 0;
  const int64_t beside = !kit.on && ::lstat((storage + "/.data.sqlite.history").c_str(), &st) == 0 ? st.st_size : 0;
  known_bytes_.store(own + beside + (kit.on ? 0 : static_cast<int64_t>(folder_bytes())));
  if (!kit.on) own_.share_quota(&known_bytes_, own);
  serving_.store(true, std::memory_order_release);
}

void Databases::stop() {
  own_.stop();
  const std::lock_guard lock(mutex_);
  serving_.store(false, std::memory_order_release);
  for (auto& [path, entry] : entries_) {
    entry->database->stop();
    while (entry->users.load(std::memory_order_acquire) != 0) ::usleep(200);
  }
  entries_.clear();
  while (own_entry_.users.load(std::memory_order_acquire) != 0) ::usleep(200);
  own_entry_.attached.clear();
}

Place Databases::own_place() const {
  Place p;
  p.own = true;
  p.name = "data.sqlite";
  return p;
}

Failure Databases::place(std::string_view given, Place& out) const {
  out = {};
  if (given.empty() || given == ":memory:" || given.starts_with("file:")) return error(400, "in-memory databases are not supported");
  for (const char c : given)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return error(400, "the database name holds a control character");
  if (given.size() > PATH_MAX / 2) return error(400, "the database name is too long");
  if (!is_utf8(given)) return error(400, "the database name is not UTF-8");
  if (!given.starts_with('/')) {
    if (given.starts_with("./")) given.remove_prefix(2);
    if (given.find_first_of("/\\") != given.npos) return error(400, "relative database paths must not contain / or \\");
    if (given.empty() || given == "." || given == "..") return error(400, "invalid database name");
    out.name = std::string(given);
    if (given.find('.') == given.npos) out.name += ".db";
    for (const std::string_view name : {given, std::string_view(out.name)})
      if (Failure f = check_name(name)) return f;
    out.path = folder_ + "/" + out.name;
    return {};
  }
  std::string path;
  if (!normalise(given, path)) return error(400, "the database path must not contain ..");
  out.absolute = true;
  if (path == kRoot) {
    out.path = folder_;
    out.name = ".";
    return {};
  }
  if (below(path, kRoot)) {
    out.name = path.substr(kRoot.size() + 1);
    out.path = folder_ + "/" + out.name;
    std::string_view rest = out.name;
    for (;;) {
      const size_t end = std::min(rest.find('/'), rest.size());
      if (Failure f = check_name(rest.substr(0, end))) return f;
      if (end == rest.size()) return {};
      rest.remove_prefix(end + 1);
    }
  }
  if (!kit_.any_absolute) return outside();
  out.name = path;
  out.path = path;
  out.inside = false;
  return check_name(path.substr(path.rfind('/') + 1));
}

Failure Databases::real_path(const Place& place, std::string& real) const {
  if (place.own) {
    real = own_.path();
    return {};
  }
  const auto stays = [&] { return !place.inside || real == folder_ || below(real, folder_); };
  const Descriptor file(::open(place.path.c_str(), O_PATH | O_CLOEXEC));
  if (file) {
    real = true_path(file.get());
    if (real.empty()) return internal("the path of a database cannot be told");
    return stays() ? Failure{} : error(400, "the database path leads outside of /hoody/databases");
  }
  if (errno == ELOOP) return error(400, "the database path is a loop of symbolic links");
  if (errno == EACCES) return error(403, "the database file cannot be reached");
  if (errno != ENOENT && errno != ENOTDIR) return internal("a database cannot be looked up");
  real.clear();
  struct stat st {};
  if (::lstat(place.path.c_str(), &st) == 0) return error(400, "the database path is a broken symbolic link");
  const size_t slash = place.path.rfind('/');
  const Descriptor parent(::open(slash == 0 ? "/" : place.path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (parent) {
    real = true_path(parent.get());
    if (!real.empty()) real = (real == "/" ? "" : real) + place.path.substr(slash);
    if (!real.empty() && !stays()) return error(400, "the database path leads outside of /hoody/databases");
  } else if (place.path == folder_ + "/" + place.name && place.name.find('/') == place.name.npos) {
    real = place.path;  // the folder itself is made with its first database
  }
  return missing();
}

Failure Databases::open(const Place& place, bool create, std::shared_ptr<OpenDatabase>& out, bool* created) {
  if (created) *created = false;
  Entry* entry = nullptr;
  if (place.own) {
    own_entry_.users.fetch_add(1, std::memory_order_acquire);
    entry = &own_entry_;
  } else {
    std::string real;
    for (int attempt = 0;; ++attempt) {
      if (Failure f = real_path(place, real)) {
        if (f.http_status != 404 || !create) return f;
        if (!kit_.on && !limits_.further_databases)
          return error(403, "this add-on keeps one database; leave db out, or let the operator allow further_databases");
        const std::lock_guard lock(mutex_);
        if (!serving()) return {VIA_E_UNAVAILABLE, "not_open", "the add-on is not open"};
        if (!real_path(place, real)) continue;  // somebody made it meanwhile
        if (real.empty()) return error(400, "the folder of the database does not exist");
        if (const auto old = entries_.find(real); old != entries_.end()) {  // its file was taken away
          if (old->second->users.load() != 0) return error(503, "the database file was replaced while it is in use");
          entries_.erase(old);
        }
        if (::mkdir(folder_.c_str(), 0700) == 0) {
          const Descriptor above(::open(storage_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
          if (!above || ::fsync(above.get()) != 0) return internal("the databases folder cannot be made");
        }
        if (Failure many = may_make()) return many;
        if (!has_room(8192))
          return {VIA_E_EXHAUSTED, "quota_exceeded", "the add-on has reached its size limit"};
        Failure made = storage::create_file(real);
        if (made && made.status != VIA_E_CONFLICT) return made;
        if (!made) {
          account(4096);
          if (created) *created = true;
        }
        if (Failure again = real_path(place, real)) return again;
      }
      const std::lock_guard lock(mutex_);
      if (!serving()) return {VIA_E_UNAVAILABLE, "not_open", "the add-on is not open"};
      struct stat st {};
      if (::lstat(real.c_str(), &st) != 0) {
        if (attempt < 3) continue;
        return missing();
      }
      if (Failure f = entry_locked(real, st.st_dev, st.st_ino, place.name, entry)) return f;
      entry->users.fetch_add(1, std::memory_order_acquire);
      break;
    }
  }
  Database::Pin pin;
  if (Failure f = entry->database->pin_or_open(pin)) {
    entry->users.fetch_sub(1, std::memory_order_release);
    if (f.status == VIA_E_CORRUPT && !place.own && (f.sqlite_code & 0xff) == SQLITE_NOTADB) return error(400, "the file is not a database");
    return f;
  }
  out = std::make_shared<OpenDatabase>(*entry, std::move(pin));
  return {};
}

std::shared_ptr<OpenDatabase> Databases::try_open(const Place& place, int64_t now_ms) {
  Entry* entry = &own_entry_;
  if (place.own) {
    own_entry_.users.fetch_add(1, std::memory_order_acquire);
  } else {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock || !serving()) return nullptr;
    const auto it = entries_.find(place.path);
    if (it == entries_.end()) return nullptr;
    entry = it->second.get();
    if (entry->looked_at_ms.load(std::memory_order_relaxed) != now_ms) {
      struct stat st {};
      if (::lstat(place.path.c_str(), &st) != 0 || st.st_dev != entry->device || st.st_ino != entry->inode) return nullptr;
      entry->looked_at_ms.store(now_ms, std::memory_order_relaxed);
    }
    entry->users.fetch_add(1, std::memory_order_acquire);
  }
  Database::Pin pin = entry->database->pin();
  if (!pin || pin->broken.load(std::memory_order_relaxed)) {
    pin.release();
    entry->users.fetch_sub(1, std::memory_order_release);
    return nullptr;
  }
  return std::make_shared<OpenDatabase>(*entry, std::move(pin));
}

int Databases::open_plain(int folder, const char* name, struct stat& about) {
  static constexpr std::string_view kMagic = "SQLite format 3";
  // Nobody begins to open a database meanwhile: entry_locked() comes first.
  const std::lock_guard lock(mutex_);
  struct stat st {};
  if (::fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) return -1;
  for (const auto& [path, entry] : entries_)
    if (entry->device == st.st_dev && entry->inode == st.st_ino) return -1;
  const int fd = ::openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  char head[16] = {};
  const bool same = ::fstat(fd, &about) == 0 && about.st_dev == st.st_dev && about.st_ino == st.st_ino;
  if (same && (::pread(fd, head, sizeof head, 0) != sizeof head || std::string_view(head, kMagic.size()) != kMagic)) return fd;
  ::close(fd);
  return -1;
}

Failure Databases::remove(const Place& place) {
  if (place.own) return error(403, "the add-on's own database cannot be removed here");
  std::unique_lock lock(mutex_);
  std::string real;
  struct stat st {};
  if (::lstat(place.path.c_str(), &st) == 0 && S_ISLNK(st.st_mode))
    return error(400, "the database path is a link; remove the database by its own name");
  // A request that was answered a moment ago may still be on its way out.
  for (int wait = 0;; ++wait) {
    if (!serving()) return {VIA_E_UNAVAILABLE, "not_open", "the add-on is not open"};
    if (Failure f = real_path(place, real)) return f;
    const auto it = entries_.find(real);
    if (it == entries_.end()) {  // one that is known is a database, and must not be opened as a file
      if (Failure f = storage::check_file(real)) return error(400, f.message);
      break;
    }
    if (it->second->users.load(std::memory_order_acquire) == 0) {
      entries_.erase(it);  // closes it: the log is in the file now
      break;
    }
    if (wait >= 1'000) return error(409, "the database is in use; try again");
    lock.unlock();
    ::usleep(1'000);
    lock.lock();
  }
  const bool counted = !kit_.on && ::lstat(real.c_str(), &st) == 0;
  if (::unlink(real.c_str()) != 0) return internal("a database cannot be removed");
  if (counted) account(-st.st_size);
  const size_t slash = real.rfind('/');
  const std::string history = real.substr(0, slash + 1) + "." + real.substr(slash + 1) + ".history";
  if (counted && ::lstat(history.c_str(), &st) == 0) account(-st.st_size);
  for (const std::string& beside : {real + "-wal", real + "-shm", real + "-journal", history}) ::unlink(beside.c_str());
  const Descriptor folder(::open(slash == 0 ? "/" : real.substr(0, slash).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return folder && ::fsync(folder.get()) == 0 ? Failure{} : Failure{VIA_E_INTERNAL, "outcome_unknown", "the removal could not be made durable"};
}

Failure Databases::entry_locked(const std::string& path, uint64_t device, uint64_t inode, const std::string& name, Entry*& out) {
  if (const auto it = entries_.find(path); it != entries_.end()) {
    Entry& e = *it->second;
    if (e.device == device && e.inode == inode) {
      out = &e;
      return {};
    }
    if (e.users.load(std::memory_order_acquire) != 0) return error(503, "the database file was replaced while it is in use");
    entries_.erase(it);
  }
  // The same file under a name that it was given since: what is open under the old one is closed first.
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->second->device != device || it->second->inode != inode) continue;
    if (it->second->users.load(std::memory_order_acquire) != 0) return error(503, "the database file was renamed while it is in use");
    entries_.erase(it);
    break;
  }
  if (entries_.size() >= kKnown && !drop_unused_locked(kKnown - kKnown / 8))
    return {VIA_E_UNAVAILABLE, "overloaded", "too many databases are in use", 0, -1, 100};
  auto entry = std::make_unique<Entry>(host_, chores_);
  entry->device = device;
  entry->inode = inode;
  entry->name = name;
  struct stat st {};
  const bool counted = !kit_.on && ::stat(path.c_str(), &st) == 0;
  if (Failure f = entry->database->serve_file(path, limits_, counted ? &known_bytes_ : nullptr, counted ? st.st_size : 0)) return f;
  out = entry.get();
  entries_.emplace(path, std::move(entry));
  return {};
}

bool Databases::drop_unused_locked(size_t down_to) {
  for (auto it = entries_.begin(); it != entries_.end() && entries_.size() > down_to;) {
    if (it->second->users.load(std::memory_order_acquire) == 0 &&
        (!it->second->database->open() || it->second->database->close_if_idle(true)))
      it = entries_.erase(it);
    else
      ++it;
  }
  return entries_.size() < kKnown;
}

void Databases::for_each(const std::function<void(const std::string&, Database&)>& fn) {
  if (!kit_.on && own_.serving()) fn(own_entry_.name, own_);
  std::vector<Entry*> held;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [path, entry] : entries_) {
      entry->users.fetch_add(1, std::memory_order_acquire);
      held.push_back(entry.get());
    }
  }
  for (Entry* e : held) {
    try {
      fn(e->name, *e->database);
    } catch (...) {
      for (Entry* rest : held) rest->users.fetch_sub(1, std::memory_order_release);
      throw;
    }
  }
  for (Entry* e : held) e->users.fetch_sub(1, std::memory_order_release);
}

Failure Databases::may_make() const {
  if (kit_.on || count_files() < limits_.max_databases) return {};
  return {VIA_E_EXHAUSTED, "quota_exceeded", "the add-on has as many databases as max_databases allows"};
}

uint64_t Databases::count_files() const {
  uint64_t n = 0;
  DIR* const dir = ::opendir(folder_.c_str());
  if (!dir) return 0;
  while (const dirent* entry = ::readdir(dir))
    if (!check_name(entry->d_name)) ++n;
  ::closedir(dir);
  return n;
}

uint64_t Databases::folder_bytes() const {
  if (kit_.on) return 0;
  uint64_t sum = 0;
  DIR* const dir = ::opendir(folder_.c_str());
  if (!dir) return 0;
  while (const dirent* entry = ::readdir(dir)) {
    struct stat st {};
    if (::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) sum += static_cast<uint64_t>(st.st_size);
  }
  ::closedir(dir);
  return sum;
}

}  // namespace via::sqlite::api
