// Opening on demand and closing again. The order in close_locked is what makes Pin cheap: hide the handles, wait for
// the users, then take down.
#include "plugins/sqlite/database.hpp"

#include "plugins/sqlite/engine/memory.hpp"
#include "plugins/sqlite/inline_proof.hpp"
#include "plugins/sqlite/storage.hpp"
#include "plugins/sqlite/writer.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

namespace via::sqlite {
namespace {

constexpr size_t kPool = 8;
constexpr uint64_t kIdle = 60'000'000'000;
constexpr auto kAsk = std::chrono::milliseconds(4);

// A worker's hold on the connection of an I/O thread: at once, or with `wait` within a few milliseconds. Where the thread
// that has it is the caller itself, it keeps it afterwards.
class Borrowed {
 public:
  Borrowed(Reader& reader, bool wait) : reader_(reader) {
    const uint32_t me = thread_token();
    if (reader.owner.load(std::memory_order_relaxed) == me) {
      mine_ = true;
      return;
    }
    if (take(me)) return;
    uint32_t nobody = 0;
    if (!wait || !reader.asked.compare_exchange_strong(nobody, me)) return;
    const auto until = std::chrono::steady_clock::now() + kAsk;
    while (!(taken_ = reader.owner.load(std::memory_order_acquire) == me)) {
      uint32_t own = me;
      if (take(me)) {
        reader.asked.compare_exchange_strong(own, 0);
        return;
      }
      if (std::chrono::steady_clock::now() >= until && reader.asked.compare_exchange_strong(own, 0)) return;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  ~Borrowed() {
    if (taken_) reader_.let_go();
  }
  Borrowed(const Borrowed&) = delete;
  explicit operator bool() const { return taken_ || mine_; }

 private:
  bool take(uint32_t me) {
    uint32_t nobody = 0;
    return taken_ = reader_.owner.compare_exchange_strong(nobody, me, std::memory_order_acquire);
  }
  Reader& reader_;
  bool taken_ = false, mine_ = false;
};

// Which file has the name. Nothing but the inode is asked for: since Linux 6.13 the next write of a file whose times were asked for
// notes its own time, and then each sync of the log writes the inode as well, which took a seventh of the throughput.
OpenFiles::File file_of(const Descriptor& folder, const char* name) {
  struct statx st {};
  if (!folder || ::statx(folder.get(), name, AT_SYMLINK_NOFOLLOW, STATX_INO, &st) != 0) return {};
  return {st.stx_ino, (static_cast<uint64_t>(st.stx_dev_major) << 32) | st.stx_dev_minor};
}

Failure gone() { return {VIA_E_UNAVAILABLE, "unavailable", "the database's files are not there any more", 0, -1, 1000}; }

std::string name_in(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

uint32_t thread_token() {
  static std::atomic<uint32_t> next{1};
  thread_local const uint32_t token = next.fetch_add(1);
  return token;
}

void Reader::end_snapshot() {
  if (!snapshot) return;
  snapshot = false;
  connection->host_step(commit, "COMMIT");
}

void Reader::let_go() {
  const uint32_t next = asked.load(std::memory_order_relaxed) != 0 ? asked.exchange(0, std::memory_order_relaxed) : 0;
  owner.store(next, std::memory_order_release);
}

Reader::~Reader() {
  sqlite3_finalize(begin);
  sqlite3_finalize(commit);
}

Handles::~Handles() {
  // Readers first: the connection that closes last checkpoints, and only the writer can.
  for (Reader& r : inline_readers) {
    sqlite3_finalize(std::exchange(r.begin, nullptr));
    sqlite3_finalize(std::exchange(r.commit, nullptr));
    r.connection.reset();
  }
  pool.clear();
  writer.reset();
}

Database::~Database() { stop(); }

Database::Pin Database::pin() {
  Pin p = pin_as_it_is();
  if (p && !p->touched.load(std::memory_order_relaxed)) p->touched.store(true, std::memory_order_relaxed);
  return p;
}

Database::Pin Database::pin_as_it_is() {
  users_.fetch_add(1, std::memory_order_seq_cst);
  Handles* h = handles_.load(std::memory_order_seq_cst);
  if (!h) {
    users_.fetch_sub(1, std::memory_order_release);
    return {};
  }
  return {this, h};
}

Failure Database::pin_or_open(Pin& out) {
  out = pin();
  if (out && !out->broken.load(std::memory_order_relaxed)) return {};
  out = Pin();  // closing waits for the pins, so none is held while we wait for the mutex
  {
    const std::lock_guard lock(mutex_);
    if (!serving()) return {VIA_E_PRECONDITION, "not_open", "the add-on is not open"};
    if (Handles* h = handles_.load(); h && h->broken) close_locked();
    if (!handles_.load()) {
      if (Failure f = open_locked()) return f;
    }
    out = pin();
  }
  OpenList::get().trim(this);
  return {};
}

Failure Database::serve(std::string dir, const Limits& limits) {
  const std::lock_guard lock(mutex_);
  if (serving()) return {};
  dir_ = std::move(dir);
  path_ = dir_ + "/data.sqlite";
  limits_ = limits;
  if (Failure f = storage::check(dir_)) return f;
  serving_.store(true, std::memory_order_release);
  return {};
}

Failure Database::serve_file(std::string path, const Limits& limits, std::atomic<int64_t>* all_bytes, int64_t own_bytes) {
  const std::lock_guard lock(mutex_);
  path_ = std::move(path);
  limits_ = limits;
  share_quota(all_bytes, own_bytes);
  if (Failure f = check()) return f;
  serving_.store(true, std::memory_order_release);
  return {};
}

Failure Database::check() const { return dir_.empty() ? storage::check_file(path_) : storage::check(dir_); }

Failure Database::open_locked() {
  if (Failure f = check()) return f;
  name_ = name_in(path_);
  journal_ = name_ + "-wal";
  if (!queue_) {
    if (!host_.executor() || host_.executor()->queue_create(host_.raw(), 4, &queue_) != VIA_OK)
      return internal("the host gives no executor queue");
    // Of its own: what it looks after may fill the other one.
    if (host_.executor()->queue_create(host_.raw(), 1, &watch_queue_) != VIA_OK) {
      host_.executor()->queue_destroy(std::exchange(queue_, nullptr));
      return internal("the host gives no executor queue");
    }
    watchdog_.use(watch_queue_);
  }
  auto handles = std::make_unique<Handles>();
  std::unique_ptr<Connection> connection;
  if (Failure f = Connection::open(path_, Connection::Kind::writer, limits_, host_, connection)) return f;
  auto files = std::make_unique<OpenFiles>();
  files->folder.reset(::open(path_.substr(0, path_.rfind('/') + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  files->data = file_of(files->folder, name_.c_str());
  files->journal = file_of(files->folder, journal_.c_str());
  if (files->data == OpenFiles::File{} || files->journal == OpenFiles::File{}) return gone();
  handles->files = std::move(files);
  handles->writer = std::make_unique<Writer>(*this, *handles, std::move(connection));
  handles_.store(handles.release(), std::memory_order_seq_cst);
  OpenList::get().added(this);
  host_.executor()->post(queue_, kIdle, &Database::idle_tick, this, nullptr);
  return {};
}

bool Database::displaced(const Handles& handles) const {
  const OpenFiles& was = *handles.files;
  return file_of(was.folder, name_.c_str()) != was.data || file_of(was.folder, journal_.c_str()) != was.journal;
}

Failure Database::connect(Handles& handles, Connection::Kind kind, std::unique_ptr<Connection>& out) {
  if (displaced(handles)) {
    handles.broken.store(true, std::memory_order_relaxed);  // opened anew at the next use
    return {VIA_E_UNAVAILABLE, "recovering", "the database is being recovered", 0, -1, 100};
  }
  return Connection::open(path_, kind, limits_, host_, out);
}

void Database::close_locked() {
  Handles* h = handles_.exchange(nullptr, std::memory_order_seq_cst);
  if (!h) return;
  OpenList::get().removed(this);
  while (users_.load(std::memory_order_acquire) != 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  // SQLite leaves the log of a file that is not in its place any more, and whoever opens what is there now would play it into that. So
  // it is moved into its own file, wherever that is, and goes.
  const std::unique_ptr<const OpenFiles> was = std::move(h->files);
  const bool moved = file_of(was->folder, name_.c_str()) != was->data;
  if (moved) h->writer->move_all();
  delete h;
  if (!moved || file_of(was->folder, journal_.c_str()) != was->journal) return;
  for (const std::string& left : {journal_, name_ + "-shm"}) ::unlinkat(was->folder.get(), left.c_str(), 0);
}

void Database::stop() {
  via_queue *queue = nullptr, *watch = nullptr;
  {
    const std::lock_guard lock(mutex_);
    serving_.store(false, std::memory_order_release);
    close_locked();
    watchdog_.use(nullptr);
    queue = std::exchange(queue_, nullptr);
    watch = std::exchange(watch_queue_, nullptr);
  }
  if (queue) host_.executor()->queue_destroy(queue);
  if (watch) host_.executor()->queue_destroy(watch);
}

bool Database::close_if_idle(bool even_if_touched) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;
  Handles* h = handles_.load();
  if (!h || users_.load() != 0) return false;
  if (!even_if_touched && h->touched.exchange(false)) return false;
  close_locked();
  return true;
}

void Database::idle_tick(void* self, via_status why) {
  auto& db = *static_cast<Database*>(self);
  if (why != VIA_OK) return;
  bool working = false;
  if (db.chores_)
    if (const Pin pin = db.pin_as_it_is()) working = db.chores_(db, pin);
  if (!working && db.close_if_idle(false)) return;
  const std::unique_lock lock(db.mutex_, std::try_to_lock);
  if (!lock.owns_lock() || !db.handles_.load() || !db.queue_) return;
  db.host_.executor()->post(db.queue_, kIdle, &Database::idle_tick, self, nullptr);
}

Failure Database::take_reader(Handles& h, uint64_t deadline_ns, std::unique_ptr<Connection>& out) {
  {
    std::unique_lock lock(h.pool_mutex);
    while (h.pool.empty() && h.pool_open >= kPool) {
      const uint64_t now = host_.now_ns();
      if (deadline_ns != 0 && now >= deadline_ns) return {VIA_E_DEADLINE, "deadline_exceeded", "no read connection came free in time"};
      const uint64_t left = deadline_ns != 0 ? std::min<uint64_t>(deadline_ns - now, 1'000'000'000) : 1'000'000'000;
      h.pool_ready.wait_for(lock, std::chrono::nanoseconds(left));
    }
    if (!h.pool.empty()) {
      out = std::move(h.pool.back());
      h.pool.pop_back();
      return {};
    }
    ++h.pool_open;
  }
  Failure f = connect(h, Connection::Kind::reader, out);
  if (f) {
    const std::lock_guard lock(h.pool_mutex);
    --h.pool_open;
    h.pool_ready.notify_one();
  }
  return f;
}

void Database::give_reader(Handles& h, std::unique_ptr<Connection> connection) {
  if (engine::is_short(host_.account())) sqlite3_db_release_memory(connection->db());
  {
    const std::lock_guard lock(h.pool_mutex);
    h.pool.push_back(std::move(connection));
    h.pool_ready.notify_one();
  }
  engine::give_back();
}

void Database::open_wanted(Handles& h) {
  for (Reader& r : h.inline_readers) {
    if (!r.wanted.load(std::memory_order_relaxed)) continue;
    const Borrowed reader(r, false);
    if (!reader) continue;
    if (refresh(h, r)) r.wanted.store(false, std::memory_order_relaxed);
  }
}

bool Database::refresh(Handles& h, Reader& r) {
  const uint64_t now = h.schema.load(std::memory_order_acquire);
  if (now % 2 != 0) return false;
  if (!r.connection) {
    if (connect(h, Connection::Kind::reader, r.connection)) {
      r.connection.reset();
      return false;
    }
    make_inline(*r.connection);
  } else if (r.schema.load(std::memory_order_relaxed) != now) {
    // Nothing that was proven under another schema stays; what is prepared next finds this one loaded.
    r.end_snapshot();
    r.connection->forget_statements();
    let_length(*r.connection, true);
    const bool loaded = r.connection->host_exec("SELECT count(*) FROM sqlite_schema") == SQLITE_OK;
    let_length(*r.connection, false);
    if (!loaded) return false;
  }
  r.schema.store(now, std::memory_order_release);
  return true;
}

void Database::hand_over(Handles& h, std::string_view sql) {
  const InlineHabits& habits = InlineHabits::get();
  uint64_t hash = 0;
  for (Reader& r : h.inline_readers) {
    if (!r.missed.load(std::memory_order_relaxed)) continue;
    if (hash == 0) hash = InlineHabits::hash(sql);
    if (habits.refused(hash, host_.now_ns())) return;
    const Borrowed reader(r, true);
    if (!reader || !refresh(h, r)) continue;
    r.wanted.store(false, std::memory_order_relaxed);
    r.missed.store(false, std::memory_order_relaxed);
    const uint64_t schema = r.schema.load(std::memory_order_relaxed);
    Statement* s = nullptr;
    if (r.connection->statement(Operation::query, sql, s) || !s->bounded || !provable(*r.connection, *s)) continue;
    s->suspect = habits.record(hash) != InlineHabits::Record::clean ? kSuspectRuns : 0;
    // A change of the schema that came between is seen here, for it is counted before it is committed.
    if (h.schema.load(std::memory_order_acquire) == schema) s->proven = schema;
  }
}

OpenList& OpenList::get() {
  static OpenList list;
  return list;
}

void OpenList::added(Database* database) {
  const std::lock_guard lock(mutex_);
  open_.push_back(database);
}

void OpenList::removed(Database* database) {
  const std::lock_guard lock(mutex_);
  std::erase(open_, database);
}

void OpenList::trim(Database* keep) {
  // The oldest first. A candidate could go away while we look at it, so it is closed by a task of its own queue.
  const std::lock_guard lock(mutex_);
  if (open_.size() <= cap) return;
  size_t over = open_.size() - cap;
  for (Database* d : open_) {
    if (over == 0) break;
    if (d == keep) continue;
    const auto task = [](void* data, via_status why) {
      if (why == VIA_OK) static_cast<Database*>(data)->close_if_idle(true);
    };
    if (d->host().executor()->post(d->queue(), 0, task, d, nullptr) == VIA_OK) --over;
  }
}

}  // namespace via::sqlite
