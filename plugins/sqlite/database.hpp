// One database file: closed and a few hundred bytes, or open with its writer and readers. It opens at the first use and
// closes when idle or when too many others are open; whoever uses it holds a Pin, and closing waits for the pins.
// Owned by the instance. Thread: any, as noted.
#pragma once

#include "plugins/sqlite/descriptor.hpp"
#include "plugins/sqlite/run.hpp"
#include "plugins/sqlite/watchdog.hpp"

#include <array>
#include <condition_variable>
#include <utility>

namespace via::sqlite {

class Database;
class Writer;

struct Handles;
struct Reader;

class Database {
 public:
  explicit Database(const Host& host) : host_(host), watchdog_(host) {}
  ~Database();

  // A use of the open database; keeps it open. Empty: it is not open.
  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& o) noexcept : database_(std::exchange(o.database_, nullptr)), handles_(std::exchange(o.handles_, nullptr)) {}
    Pin& operator=(Pin&& o) noexcept {
      std::swap(database_, o.database_);
      std::swap(handles_, o.handles_);
      return *this;
    }
    ~Pin() { release(); }
    // Another pin on what this one already holds open.
    Pin clone() const {
      database_->users_.fetch_add(1, std::memory_order_relaxed);
      return {database_, handles_};
    }
    void release() {
      if (database_) std::exchange(database_, nullptr)->users_.fetch_sub(1, std::memory_order_release);
    }
    Handles* operator->() const { return handles_; }
    Handles& operator*() const { return *handles_; }
    explicit operator bool() const { return database_ != nullptr; }

   private:
    friend class Database;
    Pin(Database* d, Handles* h) : database_(d), handles_(h) {}
    Database* database_ = nullptr;
    Handles* handles_ = nullptr;
  };

  Pin pin();                        // Thread: any; never blocks
  // What is done about once a minute while it is open, on a worker of its queue, which the writer shares: so it waits for no
  // write. True when it gave the writer something to do. Set before it serves.
  using Chores = bool (*)(Database&, const Pin&);
  void set_chores(Chores chores) { chores_ = chores; }
  Failure pin_or_open(Pin& out);    // Thread: worker; may block
  Failure serve(std::string dir, const Limits& limits);  // Thread: control
  // Any file, by its real path, which `check` approved; as one of several that share `all_bytes` under limits.quota_bytes.
  Failure serve_file(std::string path, const Limits& limits, std::atomic<int64_t>* all_bytes, int64_t own_bytes);  // Thread: worker
  void stop();                      // Thread: control; waits for every use to end; the last close checkpoints
  bool serving() const { return serving_.load(std::memory_order_acquire); }

  // A read connection of the workers' pool; waits for one until the deadline.
  Failure take_reader(Handles& handles, uint64_t deadline_ns, std::unique_ptr<Connection>& out);
  void give_reader(Handles& handles, std::unique_ptr<Connection> connection);
  // Opens the read connections that I/O threads asked for, and loads the schema of now into them. Thread: worker.
  void open_wanted(Handles& handles);
  // Prepares and proves a statement on those connections of I/O threads that missed one. Thread: worker; waits a few
  // milliseconds for a connection that its thread is using.
  void hand_over(Handles& handles, std::string_view sql);

  const Host& host() const { return host_; }
  const Limits& limits() const { return limits_; }
  const std::string& path() const { return path_; }
  Watchdog& watchdog() { return watchdog_; }
  via_queue* queue() const { return queue_; }
  bool open() const { return handles_.load(std::memory_order_acquire) != nullptr; }

  // The quota of an add-on with several databases: what this one has is counted in the sum of all.
  void share_quota(std::atomic<int64_t>* all_bytes, int64_t own_bytes) {
    bytes_.store(own_bytes, std::memory_order_relaxed);
    all_bytes_.store(all_bytes, std::memory_order_release);
  }
  bool shared_quota() const { return all_bytes_.load(std::memory_order_acquire) != nullptr; }
  void set_bytes(int64_t now) {
    if (auto* all = all_bytes_.load(std::memory_order_acquire)) all->fetch_add(now - bytes_.exchange(now));
  }
  // What lies beside it grew or shrank: it is part of the quota that is shared.
  void count_beside(int64_t change) {
    if (auto* all = all_bytes_.load(std::memory_order_acquire)) all->fetch_add(change);
  }
  int64_t bytes_left() const {  // for this one, those it has included
    const auto* all = all_bytes_.load(std::memory_order_acquire);
    return static_cast<int64_t>(std::min<uint64_t>(limits_.quota_bytes, INT64_MAX)) - (all->load() - bytes_.load());
  }
  // Whether its files are not in their places any more (removed, moved, replaced): what is written then is lost to whoever opens
  // the names, and what is opened by name is another's. Thread: any; two short system calls.
  bool displaced(const Handles& handles) const;
  // A further connection to what is open; `recovering` where that is not what the name leads to any more. Thread: any.
  Failure connect(Handles& handles, Connection::Kind kind, std::unique_ptr<Connection>& out);
  // Closes it when nothing uses it. Thread: worker.
  bool close_if_idle(bool even_if_touched);

 private:
  Pin pin_as_it_is();  // as pin(), and counts as no use
  static void idle_tick(void* self, via_status why);
  Failure open_locked();
  bool refresh(Handles& handles, Reader& reader);
  Failure check() const;
  void close_locked();  // waits for the pins

  const Host& host_;
  Chores chores_ = nullptr;
  Limits limits_;
  std::string dir_, path_;  // dir_ is empty for any file
  std::string name_, journal_;  // of the file and its log in their folder
  std::atomic<std::atomic<int64_t>*> all_bytes_{nullptr};
  std::atomic<int64_t> bytes_{0};
  std::atomic<bool> serving_{false};
  std::atomic<Handles*> handles_{nullptr};
  std::atomic<uint32_t> users_{0};
  std::mutex mutex_;  // open and close
  via_queue *queue_ = nullptr, *watch_queue_ = nullptr;
  Watchdog watchdog_;
};

// A read connection of an I/O thread. `owner` is the token of the thread that has it, 0 for nobody; a worker that wants it
// next leaves its own token in `asked`, and the owner hands it over at the end of its turn.
struct Reader {
  std::atomic<uint32_t> owner{0}, asked{0};
  std::atomic<bool> wanted{false};  // it is not open, or knows an old schema
  std::atomic<bool> missed{false};  // a statement was not there
  std::atomic<uint64_t> schema{0};  // Handles::schema that its connection has loaded; written by its owner
  std::unique_ptr<Connection> connection;
  sqlite3_stmt *begin = nullptr, *commit = nullptr;
  bool turn = false;      // a turn of the owner's event loop holds it
  bool snapshot = false;  // a read transaction is open
  uint64_t seen = 0;      // Handles::commits before that transaction began
  Database::Pin turn_pin;  // keeps the database open for the turn

  void end_snapshot();
  void let_go();  // by its owner
  ~Reader();
};

// Which files were opened, to be compared with those that have their names now.
struct OpenFiles {
  struct File {
    uint64_t inode = 0, device = 0;  // 0 = none
    bool operator==(const File&) const = default;
  };
  Descriptor folder;  // O_PATH: looking into it walks no path
  File data, journal;
};

// Everything that an open database has.
struct Handles {
  std::atomic<uint64_t> commits{0};  // moved before a group of writes is answered
  std::atomic<bool> touched{true};   // used since the last look of the idle timer
  std::atomic<int> copies{0};        // snapshots that read the main file: no checkpoint may write to it
  std::atomic<bool> broken{false};   // a commit failed: to be closed and recovered at the next use
  std::atomic<uint64_t> schema{2};   // odd while a group that changes the schema is committed; moved by every such group
  std::array<Reader, 8> inline_readers;  // for I/O threads
  std::mutex pool_mutex;
  std::condition_variable pool_ready;
  std::vector<std::unique_ptr<Connection>> pool;  // for workers
  size_t pool_open = 0;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<const OpenFiles> files;  // set once it is open
  ~Handles();
};

// The databases that are open in this process, so that only the hot ones stay so.
// Thread: any.
class OpenList {
 public:
  static OpenList& get();
  void added(Database* database);
  void removed(Database* database);
  void trim(Database* keep);  // closes idle ones above the cap. Thread: worker
  size_t cap = 128;

 private:
  std::mutex mutex_;
  std::vector<Database*> open_;
};

// A small number that is this thread's for its life.
uint32_t thread_token();

}  // namespace via::sqlite
