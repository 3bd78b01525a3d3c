// The database files of one instance: what names mean, which files may be opened, and one Database for each file however
// it is named. An add-on has its own data.sqlite and the folder databases/ beside it; a kit has one folder and no own.
// Thread: serve and stop control; try_open any; the rest any worker; an OpenDatabase as its user.
#pragma once

#include "plugins/sqlite/database.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeindex>

#include <sys/stat.h>

namespace via::sqlite::api {

// What `via kit sqlite` asks for in its configuration: {"kit":{"allow_any_absolute_db_path":bool}}.
struct Kit {
  bool on = false;
  bool any_absolute = false;
};

// Where a name leads: a place, before anything is looked at on the disk.
struct Place {
  std::string path;     // absolute; empty: the add-on's own
  std::string name;     // the same text for every spelling of the same place
  bool own = false;     // data.sqlite
  bool inside = true;   // in the databases folder
  bool absolute = false;  // it was given as an absolute path
};

// One file and everything that lives as long as its Database.
struct Entry {
  Entry(const Host& host, Database::Chores chores) : made(std::make_unique<Database>(host)), database(made.get()) { made->set_chores(chores); }
  explicit Entry(Database& own) : database(&own) {}

  std::atomic<int> users{0};
  uint64_t device = 0, inode = 0;
  std::atomic<int64_t> looked_at_ms{0};  // when the file was seen to be this one
  std::string name;
  std::mutex mutex;
  std::map<std::type_index, std::shared_ptr<void>> attached;  // outlives the database's tasks
  std::unique_ptr<Database> made;
  Database* database;
};

// A Database kept open for one request; shared between the endpoint and its write.
class OpenDatabase {
 public:
  OpenDatabase(Entry& entry, Database::Pin&& pin) : entry_(entry), pin_(std::move(pin)) {}
  ~OpenDatabase() {
    pin_.release();
    entry_.users.fetch_sub(1, std::memory_order_release);
  }
  OpenDatabase(const OpenDatabase&) = delete;

  Database& database() const { return *entry_.database; }
  const Database::Pin& pin() const { return pin_; }
  Handles& handles() const { return *pin_; }
  const std::string& path() const { return entry_.database->path(); }
  const std::string& name() const { return entry_.name; }  // for people; no path of the machine

  // What belongs to the file as long as it is known here, made at the first use with `args`. It is destroyed after the
  // last task of the database's queue ended. Thread: any; of T its own rules hold.
  template <class T, class... Args>
  T& attached(Args&&... args) const {
    const std::lock_guard lock(entry_.mutex);
    std::shared_ptr<void>& slot = entry_.attached[std::type_index(typeid(T))];
    if (!slot) slot = std::make_shared<T>(std::forward<Args>(args)...);
    return *static_cast<T*>(slot.get());
  }

 private:
  Entry& entry_;
  Database::Pin pin_;
};

class Databases {
 public:
  // `chores` for each of the databases.
  Databases(const Host& host, Database& own, Database::Chores chores = nullptr) : host_(host), own_(own), chores_(chores) { own.set_chores(chores); }
  ~Databases() { stop(); }

  void serve(const std::string& storage, const Limits& limits, Kit kit);
  void stop();
  bool serving() const { return serving_.load(std::memory_order_acquire); }
  const Kit& kit() const { return kit_; }
  const Limits& limits() const { return limits_; }
  const std::string& folder() const { return folder_; }  // absolute, no links; may not exist yet

  // What `name` means (docs/data-api.md "Databases"). Pure: looks at nothing. An empty name is refused here.
  Failure place(std::string_view name, Place& out) const;
  Place own_place() const;
  // Opens the file, made first when it is missing and `create`; 404 "database not found" else. `created` tells.
  Failure open(const Place& place, bool create, std::shared_ptr<OpenDatabase>& out, bool* created = nullptr);
  // The same without waiting: only a file that is open already, and only when nobody else opens one now. Thread: any.
  // Whether it is still the same file is looked at once in a millisecond.
  std::shared_ptr<OpenDatabase> try_open(const Place& place, int64_t now_ms);
  // Removes the file with its log and its query history. 404 when it is missing; 409 while another request uses it.
  Failure remove(const Place& place);
  // For files that are made or looked at without opening them (vacuum_into, directory mode): the real path of `place` with
  // every link followed, checked to stay inside of what this instance may use. Missing: 404, `real` is then where it would be.
  Failure real_path(const Place& place, std::string& real) const;

  // A regular file of a folder, opened for reading, and what it is; -1 for anything else, and for databases: one that is known
  // here is not even opened, any other told by its first bytes.
  int open_plain(int folder, const char* name, struct stat& about);

  // Every database that is known: the own one, and those opened since serve(). The entry is kept for the time of `fn`.
  void for_each(const std::function<void(const std::string& name, Database&)>& fn);
  // Whether one more file may be made in the databases folder, by their number.
  Failure may_make() const;
  // Bytes of all files in the databases folder (the own data.sqlite is not in it).
  uint64_t folder_bytes() const;
  // Whether the quota lets a file of that size come into the folder. A kit has none.
  bool has_room(int64_t bytes) const {
    return kit_.on || known_bytes_.load() + bytes <= static_cast<int64_t>(std::min<uint64_t>(limits_.quota_bytes, INT64_MAX));
  }
  // A file of that size came into the folder, or left it (negative).
  void account(int64_t bytes) { known_bytes_.fetch_add(bytes, std::memory_order_relaxed); }

  static constexpr size_t kMaxName = 200;  // bytes of a file's name
  static constexpr size_t kKnown = 512;  // files with a Database; closed ones are let go of above this

 private:
  Failure entry_locked(const std::string& path, uint64_t device, uint64_t inode, const std::string& name, Entry*& out);
  bool drop_unused_locked(size_t down_to);
  uint64_t count_files() const;  // in the databases folder, without what belongs to another

  const Host& host_;
  Database& own_;
  const Database::Chores chores_;
  Entry own_entry_{own_};
  std::atomic<bool> serving_{false};
  Kit kit_;
  Limits limits_;
  std::string storage_, folder_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Entry>> entries_;  // by real path
  std::atomic<int64_t> known_bytes_{0};
};

}  // namespace via::sqlite::api
