// The statements that the data API ran on one database, newest last: their text without bound values, when, how long, and
// how they ended. Bounded in number and bytes, kept in memory and, a little later, in a hidden file beside the database that
// is no part of it and of no snapshot. Writing the file costs no request anything: a task of the database's queue does it. A
// crash may lose the last moments; a file that is damaged reads as empty.
// Thread: any.
#pragma once

#include "plugins/sqlite/api/databases.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace via::sqlite::api {

struct RanStatement {
  uint64_t index = 0;     // counts from 1 and is never used again
  int64_t unix_ms = 0;    // when it began
  uint64_t duration_us = 0;
  bool success = true;
  std::string sql;        // at most kMaxText bytes of it
  std::string error;      // empty when it succeeded
};

class QueryLog {
 public:
  static constexpr size_t kMaxEntries = 1'000, kMaxBytes = 1u << 20, kMaxText = 16'384;

  explicit QueryLog(Database& database) : database_(database) {}

  void append(std::vector<RanStatement>&& ran);
  // Newest first, at most `limit`, of those whose index is not above `from`.
  std::vector<RanStatement> newest(size_t limit, uint64_t from = UINT64_MAX);
  bool remove(uint64_t index);
  size_t clear();
  struct Totals {
    size_t entries = 0, failed = 0, bytes = 0;
    int64_t oldest_ms = 0, newest_ms = 0;
  };
  Totals totals();

 private:
  static void write_task(void* self, via_status why);
  void load_locked();
  void changed_locked();
  void trim_locked();
  void write();
  std::string path() const;

  Database& database_;
  std::mutex mutex_;
  bool loaded_ = false, scheduled_ = false;
  uint64_t next_ = 1;
  size_t bytes_ = 0;
  std::deque<RanStatement> entries_;
};

// What one request runs, put into the log when the request has been answered.
class RunningStatements {
 public:
  explicit RunningStatements(std::shared_ptr<OpenDatabase> database) : database_(std::move(database)) {}
  ~RunningStatements();
  RunningStatements(const RunningStatements&) = delete;
  // A write may be run again: what an earlier run noted is forgotten.
  void begin() { ran_.clear(); }
  void add(std::string_view sql, int64_t unix_ms, uint64_t duration_ns, const Failure& failure);

 private:
  std::shared_ptr<OpenDatabase> database_;
  std::vector<RanStatement> ran_;
};

}  // namespace via::sqlite::api
