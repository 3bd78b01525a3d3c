// The connections of one add-on to its server, and the operations that wait for one. Everything runs on the driver's thread
// (driver.hpp) but what is marked; making a connection and ending a statement wait for the server, so they are tasks of the host.
//
// Reads share connections: up to kDepth of them are sent one behind the other, but none behind one that already takes long. A
// write has its connection for itself, so that it can be ended without ending another. When a connection is lost, a read is sent
// once more on another; of a write it is known whether it was made when the server had refused it, else its outcome is unknown.
#pragma once

#include "plugins/postgres/job.hpp"
#include "plugins/postgres/roles.hpp"

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

namespace via::postgres {

class Driver;
class Pool;

class Connection {
 public:
  Connection(Pool& pool, Kind kind, ConnectionPointer connection, std::uint64_t now_ns);
  PGconn* raw() const { return pg_.get(); }
  int socket() const { return PQsocket(pg_.get()); }
  Kind kind() const { return kind_; }
  Pool& pool() const { return pool_; }

  // Whether one more may be sent now.
  bool takes(std::uint64_t now_ns) const;
  std::size_t load() const { return jobs_.size(); }
  bool idle() const { return jobs_.empty() && expected_.empty() && !cancelling_; }
  // Something has come that nobody asked for: most likely its end.
  bool stirs() const;
  void start(std::unique_ptr<Job> job, std::uint64_t now_ns);
  // Sends what is waiting and takes in what has come. False: the connection is lost (see Pool::lost).
  bool work();
  bool wants_to_write() const { return unsent_; }
  // Deadlines and cancellation. False: it is of no more use.
  bool look(std::uint64_t now_ns);
  std::uint64_t used_ns() const { return used_ns_; }
  void cancelled() { cancelling_ = false; }

  std::deque<std::unique_ptr<Job>> take_jobs() { return std::move(jobs_); }

 private:
  enum class What : std::uint8_t { prepare, step, silent, sync, last_sync };
  struct Expected {
    What what;
    Job* job;          // null for what cleans up
    std::size_t step;
    std::string key;   // of a prepare
  };
  bool send_step(Job& job, std::size_t at);
  bool send_known(const char* name, Job* job);
  bool sync(Job* job);
  void clean_up(bool roll_back);
  void take(ResultPointer result);
  void end_job();
  void begin_front();
  void ask_to_end(std::uint64_t now_ns);
  bool holds_too_much();

  Pool& pool_;
  const Kind kind_;
  ConnectionPointer pg_;
  std::deque<Expected> expected_;
  std::deque<std::unique_ptr<Job>> jobs_;  // sent, in order
  std::unique_ptr<Collector> collector_;   // of the first
  std::unordered_map<std::string, std::string> prepared_;  // text and shape -> name
  std::uint64_t next_name_ = 0, used_ns_ = 0;
  std::uint64_t taken_at_ = 0;             // bytes that had come when the last result was taken
  bool unsent_ = false, send_failed_ = false, cancelling_ = false, forget_statements_ = false, took_ = true;
};

class Pool : public std::enable_shared_from_this<Pool> {
 public:
  Pool(Driver& driver, plugin::Host host, Server server, Names names, Limits limits);
  ~Pool();

  // Thread: any. False: it is closed, and the job was answered.
  void submit(std::unique_ptr<Job> job);
  // Thread: control; waits. Nothing of the pool runs afterwards.
  void close();
  // Thread: worker; waits a little. Whether the server answers and the database is there.
  Failure check();
  // Thread: control; waits. New passwords for the two roles; sessions of theirs that are not this pool's end.
  Failure renew_passwords();
  // Thread: worker; waits. A connection outside of the pool, for an answer that streams.
  Failure connect_alone(Kind kind, ConnectionPointer& out);
  void forget(const ConnectionPointer& connection);  // at its end

  // Thread: any.
  const Limits& limits() const { return limits_; }
  bool over_quota() const { return over_quota_.load(std::memory_order_relaxed); }

  // The driver's.
  void take(std::unique_ptr<Job> job);
  void dispatch(std::uint64_t now_ns);
  void made(Kind kind, ConnectionPointer connection, Failure failure);
  void lost(Connection& connection);
  void look(std::uint64_t now_ns);
  void drop_connections();
  bool busy() const;
  void wrote(std::uint64_t now_ns);
  void again(std::unique_ptr<Job> job);
  void cancel_sent(const Connection* connection);
  Driver& driver() const { return driver_; }
  plugin::Queue& tasks() { return tasks_; }

 private:
  void want_connection(Kind kind, std::uint64_t now_ns);
  Failure make(Kind kind, ConnectionPointer& out);  // worker

  Driver& driver_;
  const plugin::Host host_;
  const Server server_;
  const Names names_;
  const Limits limits_;
  plugin::Queue tasks_;

  std::mutex roles_mutex_;  // making connections against renewing passwords; held while the server answers, so never by the driver
  Passwords passwords_;     // guarded by roles_mutex_; empty = not applied yet
  std::mutex pids_mutex_;   // taken last
  std::set<int> pids_;      // guarded by pids_mutex_; backends of this pool

  struct Set {
    std::vector<std::unique_ptr<Connection>> connections;
    std::deque<std::unique_ptr<Job>> waiting;
    std::size_t making = 0;
    std::uint64_t not_before_ns = 0;  // after a failure
    std::uint64_t back_off_ns = 0;
    Failure failure;                  // of the last try
  };
  std::array<Set, kKinds> sets_;
  Set& set(Kind kind) { return sets_[static_cast<std::size_t>(kind)]; }
  std::atomic<bool> closed_{false}, over_quota_{false};
  bool size_asked_ = false;
  std::uint64_t size_asked_ns_ = 0;
};

// Ends a job: its answer, or its failure. The job's Call is gone afterwards.
void answer(Job& job, const Failure& failure);

}  // namespace via::postgres
