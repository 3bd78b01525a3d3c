// The one writer of a database. Writes that wait together run in one transaction, each in a savepoint of its own, and
// are answered after its commit is durable. A failing one is taken out; when it destroyed the whole transaction, the
// others run again without it. So nobody's statement harms another's request. What was cancelled before its commit is not
// committed. A write that does not end though it was interrupted (stuck) never commits: whoever waits behind it, and whoever is in its
// transaction, is answered 503, and when it lets go the database is closed and opened anew.
// Thread: submit any; the rest runs as one task of the host's executor at a time.
#pragma once

#include "plugins/sqlite/api/context.hpp"
#include "plugins/sqlite/database.hpp"

#include <functional>

namespace via::sqlite {

struct Job {
  Request request;      // either the operation of "via.ops/1" with its request,
  api::WriteFn write;   // or a write of the data API, with its answer
  api::Answer answer;
  std::shared_ptr<void> keep;  // what the write uses beyond the pin
  Operation operation = Operation::execute;
  via_call* call = nullptr;  // null: nobody waits for an answer
  uint64_t deadline_ns = 0;
  Database::Pin pin;
  std::string result;
  Failure failure;
  bool exclusive = false;  // changes the schema: a group of its own
  bool later = false;      // of the next group: the answers of this one are large already
};

class Writer final : private Overdue {
 public:
  Writer(Database& database, Handles& handles, std::unique_ptr<Connection> connection);
  ~Writer();

  // Takes the job over. False when the queue is full; the job is then untouched.
  bool submit(std::unique_ptr<Job>& job);
  // A write does not end; none is taken until it has let go. Thread: any.
  bool stuck() const { return stuck_.load(std::memory_order_acquire); }

  // Waits for the group that is being written, moves the WAL into the main file and, while no write can come between,
  // runs `then` when all of it was moved (`whole`). Writes that arrive wait meanwhile. Thread: control; blocks.
  Failure between_groups(uint64_t deadline_ns, const via_call* call, bool& whole, const std::function<Failure()>& then);
  // The log into the main file, as far as it can be. Nobody uses the database any more. Thread: control.
  void move_all();

 private:
  using Group = std::vector<std::unique_ptr<Job>>;
  static void drain(void* self, via_status why);
  void run(Group& group);
  void attempt(Group& group, bool& again);
  bool drop_cancelled(Group& group);
  void run_job(Group& group, Job& job);
  void run_guarded(Job& job);
  void overdue() override;
  void answer_all(Group group);
  void let_go(Group& group);
  Failure run_statement(Job& job, const StatementText& text, Output* out, int64_t& updated);
  Failure run_setup(Job& job, const StatementText& text, int64_t& updated);
  Failure full(Failure failure);
  void answer(std::unique_ptr<Job> job);
  void answer_later(std::unique_ptr<Job> job);
  void apply_quota();
  bool schema_changed();
  void checkpoint();
  bool move_log(bool whole, int wait_ms);
  bool too_much_unsent() const;
  int64_t most_pages() const;
  int64_t overdue_pages() const;
  bool checkpoint_all();
  int host(sqlite3_stmt*& slot, const char* sql) { return connection_->host_step(slot, sql); }
  bool in_transaction() const { return sqlite3_get_autocommit(connection_->db()) == 0; }

  Database& database_;
  Handles& handles_;
  std::unique_ptr<Connection> connection_;
  sqlite3_stmt *begin_ = nullptr, *commit_ = nullptr, *rollback_ = nullptr, *savepoint_ = nullptr, *release_ = nullptr,
               *undo_ = nullptr;
  std::mutex mutex_;
  Group waiting_;
  std::atomic<int64_t> unsent_{0};  // bytes of answers that wait for their clients
  std::atomic<bool> stuck_{false};  // written under current_mutex_
  std::mutex current_mutex_;       // leaf: what overdue() may take from the group whose job runs
  Group* current_group_ = nullptr;  // guarded by current_mutex_; null = no job runs
  Job* current_ = nullptr;          // guarded by current_mutex_
  bool running_ = false;
  int wanted_ = 0;  // between_groups that wait for their turn
  std::condition_variable free_;
  Database::Pin running_pin_;
  int wal_pages_ = 0;  // to be moved into the main file
  int log_pages_ = 0;  // in the WAL after the last commit
  int64_t largest_pages_ = 0, page_bytes_ = 0;
  bool was_full_ = false;
  bool told_full_ = false;  // that the disk is full is in the log, once for each time that it is
  int64_t page_size_ = 0, max_pages_ = -1;
  sqlite3_stmt* page_count_ = nullptr;
  sqlite3_stmt* schema_version_ = nullptr;
  int64_t last_schema_;  // of the last group that was committed; -1 where its commit failed
};

}  // namespace via::sqlite
