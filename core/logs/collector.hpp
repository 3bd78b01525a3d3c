// Takes what launched apps write and keeps it as records in their log files.
//
// One thread, `via-logs`, reads the pipes of all apps, cuts lines, counts them against the instance's burst limit and puts
// records into the instance's room in memory; another, `via-logs-disk`, empties the rooms into files (files.hpp). They are
// two so that a disk that hangs stops neither the reading nor, by full pipes, the apps: an app waits for at most a second
// for a slow disk, then its lines are dropped. Nothing that an app does here costs its neighbours more than its own share:
// 256 KiB of a stream are read in ten milliseconds (who writes faster waits in its own pipe), room is 2 MiB an instance and
// 32 MiB in all, disk is bounded by Limits.
//
// What is not kept is counted: one record of stream `via` says how many lines were dropped and why when that is over,
// and `on_dropped` is told at once. A line without an end is written after a second. What was written right before a
// process ended is read: as much as the pipe held when its end was told. Who else holds the pipe then holds nothing up.
// Thread: any; on_dropped is called on both threads and does not block.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "core/logs/files.hpp"

namespace via::logs {

class Collector {
  struct Impl;

 public:
  // Why lines were dropped: "burst", "slow_disk", "disk".
  using Dropped = std::function<void(const std::string& app, std::string_view why, std::uint64_t lines)>;
  // `before_write`, for tests: called on the disk's thread; what it answers other than 0 is the errno of a write that failed.
  Collector(const Clock& clock, Logger& log, const Limits& limits, Dropped on_dropped = {}, std::function<int()> before_write = {});
  ~Collector();  // what has come is written first
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  // One process's output for as long as this lives; its end says that the process has ended, and does not wait.
  class Run {
   public:
    Run() = default;
    Run(Run&& other) noexcept { *this = std::move(other); }
    Run& operator=(Run&& other) noexcept;
    ~Run() { end(); }
    FileHandle out, err;  // the ends that the child writes to; to be closed when it has them

   private:
    friend class Collector;
    void end() noexcept;
    std::weak_ptr<Impl> owner_;
    std::uint64_t id_ = 0;
  };
  // `base` is files.hpp's. Fails only where no pipe can be made.
  Result<Run> open(const std::string& app, const std::string& instance, const std::filesystem::path& base);

  // Returns when what was in the pipes, of processes that ended to the last byte, is in files or was dropped; false when
  // that takes longer.
  bool settle(int wait_ms);

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace via::logs
