// The audit record of what is handed out: each resolve and refresh is in the chain, durable, before its answer is sent.
//
// Requests that wait together share one transaction, written on a worker and on a connection of its own: a change of the
// control plane, which may wait for a process to end, is not waited for. While one batch is written the next collects. A refused request is noted too, at a bounded rate and without being waited for; what went
// over the rate is counted in the next entry.
// Thread: any; never blocks but in the destructor.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/store/store.hpp"

namespace via::lifecycle {

struct Access {
  std::string action;    // "config.resolve", "config.refresh"
  std::string instance;  // who asked: the actor
  std::string app;       // its name; the record has the id
  std::string outcome;   // "ok", or the code of the refusal
  std::string details;   // JSON object: names and generations, never a value
};

// Appends entries to the audit record, all of a call in one transaction. Thread: one call at a time, as AccessAudit makes
// them; never holds the control lock.
class AccessWriter {
 public:
  static Result<std::unique_ptr<AccessWriter>> open(store::Store& store, const Clock& clock, Logger& log);
  Result<void> write(const std::vector<Access>& accesses);
  store::Database& database() noexcept { return *db_; }

 private:
  AccessWriter(std::unique_ptr<store::Database> db, const Clock& clock, Logger& log)
      : db_(std::move(db)), clock_(clock), log_(log) {}
  const std::unique_ptr<store::Database> db_;
  const Clock& clock_;
  Logger& log_;
};

class AccessAudit {
 public:
  using Write = std::function<Result<void>(const std::vector<Access>&)>;  // AccessWriter::write
  using Run = std::function<void(std::function<void()>)>;                 // on a worker
  using Done = std::function<void(const Result<void>&)>;

  AccessAudit(Write write, Run run, const Clock& clock);
  ~AccessAudit();  // waits for what was taken
  AccessAudit(const AccessAudit&) = delete;
  AccessAudit& operator=(const AccessAudit&) = delete;

  // `done` is called on a worker: success when the entry is durable, else `unavailable`.
  void record(Access access, Done done);
  void refused(Access access);

 private:
  struct Waiting {
    Access access;
    Done done;
  };
  void add(Waiting waiting, std::unique_lock<std::mutex>& lock);
  void flush();

  const Write write_;
  const Run run_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<Waiting> waiting_;  // guarded by mutex_, as all below
  bool flushing_ = false;
  std::uint64_t second_ = 0;      // of the refusals counted
  int refusals_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace via::lifecycle
