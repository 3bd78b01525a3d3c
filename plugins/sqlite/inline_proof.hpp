// Whether an I/O thread may run a statement, by proof: its program holds only opcodes that are bounded whatever the values
// are, and calls only functions of constant cost. What the program cannot bound is bounded for the run: values by the
// connection's length limit, opcodes, page reads and time by an InlineRun. What overran anyway is remembered here.
// Thread: as noted.
#pragma once

#include "plugins/sqlite/connection.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace via::sqlite {

inline constexpr size_t kInlineText = 4096;           // of a statement that can be proven
inline constexpr int kInlineLength = 64 * 1024;       // of a value and of a row's part, on an I/O thread
inline constexpr uint64_t kInlineOperations = 4'000;  // of one run
inline constexpr uint32_t kInlineReads = 64;         // page reads from files in one run
inline constexpr uint64_t kInlineNs = 2'000'000;      // at which a run is ended, at the next opcode or page
inline constexpr uint64_t kLongNs = 20'000'000;       // after which a statement is not run there again

inline constexpr uint8_t kSuspectRuns = 64;            // measured after one that was long by the clock on the wall

// Reads the program of a statement that is not running; leaves it as it was. The other half of a proof is what the authorizer
// saw while it was prepared (Statement::bounded). Thread: that of the connection, a worker.
bool provable(Connection& connection, Statement& statement);

// Functions whose cost is bounded by their operands, which are bounded: by name, lower case.
bool constant_cost(std::string_view function);

// Makes a read connection one that an I/O thread may use: short values, a look at the budgets every 100 opcodes and at each
// page that is read from a file.
void make_inline(Connection& connection);
// While a worker loads the schema into such a connection, whose texts may be longer.
void let_length(Connection& connection, bool any);

// The budgets of what this thread runs on such a connection, for a scope; without one there are none. Nests not.
class InlineRun {
 public:
  InlineRun(const Host& host, uint64_t operations);
  ~InlineRun();
  InlineRun(const InlineRun&) = delete;
  uint64_t took_ns() const;  // by the clock on the wall
  bool late() const;         // it was ended for its time, which may be the machine's fault

 private:
  const Host& host_;
  uint64_t started_ns_;
};

// Statements that are not to be inline, by a hash with a seed of this process, so that nobody can make two texts meet. Only
// the refusal is habit: a text that is refused for nothing is answered by a worker. Thread: any; waits for nothing.
class InlineHabits {
 public:
  static InlineHabits& get();
  static uint64_t hash(std::string_view sql);

  void overran(uint64_t hash, uint64_t now_ns);  // not inline for a while
  bool refused(uint64_t hash, uint64_t now_ns) const;

  // A run was long by the clock on the wall, which may be the machine's fault: from now on it is measured in processor time.
  // When that was long, it is never inline again (`sure`). A full table knows no one more, so that what is in it stays.
  void was_long(uint64_t hash, bool sure);
  enum class Record { clean, suspect, never };
  Record record(uint64_t hash) const;

 private:
  static constexpr uint64_t kState = 3;
  std::array<std::atomic<uint64_t>, 1024> recent_{};  // hash above, minute below
  std::array<std::atomic<uint64_t>, 512> long_{};     // hash above, 1 suspect or 2 never below
  std::atomic<bool> full_{false};
};

// Processor time of this thread.
uint64_t thread_cpu_ns();

}  // namespace via::sqlite
