// The list of opcodes, the reading of a program, and the budgets. A page read is counted by standing in front of xRead of
// the connection's own two files; an error from there ends a read statement and leaves nothing behind.
#include "plugins/sqlite/inline_proof.hpp"

#include <time.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

namespace via::sqlite {
namespace {

constexpr int kBeat = 100;
constexpr int kProgram = 400;  // opcodes of a program
constexpr int kCursors = 6, kCalls = 16;
constexpr uint64_t kMinute = 60'000'000'000, kRefusedMinutes = 2;

// Sorted. Each works on values of bounded size, moves a cursor by one place or seeks it by key. Not here: sorters, counts,
// aggregates, virtual tables, triggers' programs, everything that writes a table, and what later versions add.
constexpr std::string_view kOpcodes[] = {
    "Add", "AddImm", "Affinity", "And", "BeginSubrtn", "BitAnd", "BitNot", "BitOr", "Blob", "Cast", "Close", "ClrSubtype", "CollSeq",
    "Column", "Compare", "Concat", "Copy", "CursorHint", "DecrJumpZero", "DeferredSeek", "Divide", "ElseEq", "EndCoroutine",
    "Eq", "Explain", "Filter", "FinishSeek", "Found", "Function", "Ge", "Gosub", "Goto", "Gt", "Halt", "HaltIfNull",
    "IdxGE", "IdxGT", "IdxInsert", "IdxLE", "IdxLT", "IdxRowid", "If", "IfEmpty", "IfNoHope", "IfNot", "IfNotOpen",
    "IfNotZero", "IfNullRow", "IfPos", "Init", "InitCoroutine", "Int64", "IntCopy", "Integer", "IsNull", "IsTrue", "IsType",
    "Jump", "Last", "Le", "Lt", "MakeRecord", "Move", "Multiply", "MustBeInt", "Ne", "Next", "NoConflict", "Noop", "Not",
    "NotExists", "NotFound", "NotNull", "Null", "NullRow", "Offset", "OffsetLimit", "Once", "OpenEphemeral", "OpenRead", "Or",
    "Permutation", "Prev", "PureFunc", "Real", "RealAffinity", "ReleaseReg", "Remainder", "ReopenIdx", "ResultRow", "Return",
    "Rewind", "Rowid", "SCopy", "SeekGE", "SeekGT", "SeekHit", "SeekLE", "SeekLT", "SeekRowid", "SeekScan", "ShiftLeft",
    "ShiftRight", "SoftNull", "String", "String8", "Subtract", "Transaction", "Variable", "Yield", "ZeroOrNull"};
static_assert(std::is_sorted(std::begin(kOpcodes), std::end(kOpcodes)));

// Sorted. Those of this build's that take time in proportion to their operands at most (functions.cpp has linear instr,
// replace and trim).
constexpr std::string_view kFunctions[] = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "ceiling", "char", "coalesce", "concat",
    "cos", "cosh", "date", "datetime", "degrees", "exp", "floor", "hex", "ifnull", "iif", "instr", "julianday", "length",
    "likelihood", "likely", "ln", "log", "log10", "log2", "lower", "ltrim", "max", "min", "mod", "nullif", "octet_length", "pi",
    "pow", "power", "quote", "radians", "replace", "round", "rtrim", "sign", "sin", "sinh", "sqrt", "substr", "substring",
    "tan", "tanh", "time", "timediff", "trim", "trunc", "typeof", "unicode", "unixepoch", "unlikely", "upper"};
static_assert(std::is_sorted(std::begin(kFunctions), std::end(kFunctions)));

struct Budget {
  const Host* host = nullptr;  // null: no run, no budget
  uint64_t operations = 0, until_ns = 0;
  uint32_t reads = 0;
  bool late = false;
  bool over_time() { return late = host->now_ns() >= until_ns; }
};
thread_local constinit Budget t_budget;

int beat(void*) {
  Budget& b = t_budget;
  if (!b.host) return 0;
  if (b.operations <= kBeat) return 1;
  b.operations -= kBeat;
  return b.over_time() ? 1 : 0;
}

struct Methods {
  sqlite3_io_methods ours;  // first: a file's pMethods leads here
  const sqlite3_io_methods* theirs;
};

int counted_read(sqlite3_file* file, void* to, int bytes, sqlite3_int64 at) {
  Budget& b = t_budget;
  if (b.host) {
    if (b.reads == 0 || b.over_time()) return SQLITE_INTERRUPT;
    --b.reads;
  }
  return reinterpret_cast<const Methods*>(file->pMethods)->theirs->xRead(file, to, bytes, at);
}

// SQLite has a table of functions for each way of locking; the few that occur are copied once and stay.
const sqlite3_io_methods* counting(const sqlite3_io_methods* theirs) {
  static std::mutex mutex;
  static std::array<Methods, 8> made{};
  const std::lock_guard lock(mutex);
  for (Methods& m : made) {
    if (m.theirs == theirs || &m.ours == theirs) return &m.ours;
    if (m.theirs) continue;
    m.ours = *theirs;
    m.ours.xRead = counted_read;
    m.theirs = theirs;
    return &m.ours;
  }
  return theirs;
}

std::string_view column(sqlite3_stmt* stmt, int i) {
  const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(stmt, i));
  return p ? std::string_view(p, static_cast<size_t>(sqlite3_column_bytes(stmt, i))) : std::string_view();
}

// The program as EXPLAIN gives it; the statement is in that mode.
bool bounded_program(sqlite3_stmt* stmt) {
  int at = 0, cursors = 0, calls = 0;
  std::vector<int> inserts;
  std::vector<std::pair<int, int>> loops;
  int rc = SQLITE_OK;
  for (; (rc = sqlite3_step(stmt)) == SQLITE_ROW; ++at) {
    const std::string_view op = column(stmt, 1);
    const int p2 = sqlite3_column_int(stmt, 3), p3 = sqlite3_column_int(stmt, 4);
    if (at >= kProgram || sqlite3_column_int(stmt, 0) != at) return false;  // the second: a program of a trigger
    if (!std::binary_search(std::begin(kOpcodes), std::end(kOpcodes), op)) return false;
    if (op == "OpenRead" || op == "ReopenIdx" || op == "OpenEphemeral") {
      if (++cursors > kCursors) return false;
      if (op != "OpenEphemeral" && p3 != 0) return false;  // not of this database
    } else if (op == "Transaction") {
      if (sqlite3_column_int(stmt, 2) != 0 || p2 != 0) return false;
    } else if (op == "Function" || op == "PureFunc") {
      const std::string_view called = column(stmt, 5);
      if (++calls > kCalls || !constant_cost(called.substr(0, called.find('(')))) return false;
    } else if (op == "IdxInsert") {
      inserts.push_back(at);
    } else if (p2 > 0 && p2 < at && (op == "Next" || op == "Prev" || (op == "Goto" && p2 > 1))) {
      loops.emplace_back(p2, at);
    }
  }
  if (rc != SQLITE_DONE) return false;
  // A table in memory takes the values that the text names, never what a loop finds.
  for (const int insert : inserts)
    for (const auto& [first, last] : loops)
      if (insert >= first && insert <= last) return false;
  return true;
}

}  // namespace

bool constant_cost(std::string_view function) {
  return std::binary_search(std::begin(kFunctions), std::end(kFunctions), function);
}

bool provable(Connection& connection, Statement& s) {
  if (!s.stmt || s.sql.empty() || s.sql.size() > kInlineText || sqlite3_stmt_busy(s.stmt)) return false;
  if (!sqlite3_stmt_readonly(s.stmt) || sqlite3_stmt_isexplain(s.stmt)) return false;
  connection.policy().host_sql = false;
  connection.policy().mode = Operation::query;
  if (sqlite3_stmt_explain(s.stmt, 1) != SQLITE_OK) return false;
  const bool bounded = bounded_program(s.stmt);
  sqlite3_reset(s.stmt);
  return sqlite3_stmt_explain(s.stmt, 0) == SQLITE_OK && bounded;
}

void make_inline(Connection& connection) {
  sqlite3* const db = connection.db();
  sqlite3_busy_timeout(db, 0);
  let_length(connection, false);
  sqlite3_progress_handler(db, kBeat, beat, nullptr);
  for (const int which : {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER}) {
    sqlite3_file* file = nullptr;
    if (sqlite3_file_control(db, "main", which, &file) == SQLITE_OK && file && file->pMethods) file->pMethods = counting(file->pMethods);
  }
}

void let_length(Connection& connection, bool any) {
  sqlite3_limit(connection.db(), SQLITE_LIMIT_LENGTH, any ? 10'000'000 : kInlineLength);
}

InlineRun::InlineRun(const Host& host, uint64_t operations) : host_(host), started_ns_(host.now_ns()) {
  t_budget = {&host, operations, started_ns_ + kInlineNs, kInlineReads, false};
}

InlineRun::~InlineRun() { t_budget.host = nullptr; }

bool InlineRun::late() const { return t_budget.late; }

uint64_t InlineRun::took_ns() const { return host_.now_ns() - started_ns_; }

InlineHabits& InlineHabits::get() {
  static InlineHabits habits;
  return habits;
}

// SipHash's shape would be stronger; here the seed is enough, for nobody is shown a hash before it is used up.
uint64_t InlineHabits::hash(std::string_view sql) {
  static const std::array<uint64_t, 2> seed = [] {
    std::random_device random;
    const auto word = [&random] { return (uint64_t{random()} << 32) | random(); };
    return std::array<uint64_t, 2>{word(), word()};
  }();
  uint64_t h = seed[0];
  for (const char c : sql) {
    h = (h ^ static_cast<unsigned char>(c)) * (seed[1] | 1);
    h ^= h >> 29;
  }
  return h == 0 ? 1 : h;
}

void InlineHabits::overran(uint64_t hash, uint64_t now_ns) {
  recent_[(hash >> 20) % recent_.size()].store((hash & ~uint64_t{0xffff}) | ((now_ns / kMinute) & 0xffff), std::memory_order_relaxed);
}

bool InlineHabits::refused(uint64_t hash, uint64_t now_ns) const {
  if (const Record known = record(hash); known == Record::never || (known == Record::clean && full_.load(std::memory_order_relaxed)))
    return true;
  const uint64_t then = recent_[(hash >> 20) % recent_.size()].load(std::memory_order_relaxed);
  if (((then ^ hash) & ~uint64_t{0xffff}) != 0) return false;
  return ((now_ns / kMinute - then) & 0xffff) < kRefusedMinutes;
}

void InlineHabits::was_long(uint64_t hash, bool sure) {
  const uint64_t mine = hash & ~kState;
  for (size_t i = 0; i < long_.size(); ++i) {
    auto& slot = long_[(hash / 4 + i) % long_.size()];
    uint64_t now = slot.load(std::memory_order_relaxed);
    if (now == 0 && slot.compare_exchange_strong(now, mine | (sure ? 2 : 1), std::memory_order_relaxed)) return;
    if ((now & ~kState) != mine) continue;
    if (sure) slot.store(mine | 2, std::memory_order_relaxed);
    return;
  }
  full_.store(true, std::memory_order_relaxed);
}

InlineHabits::Record InlineHabits::record(uint64_t hash) const {
  const uint64_t mine = hash & ~kState;
  for (size_t i = 0; i < long_.size(); ++i) {
    const uint64_t now = long_[(hash / 4 + i) % long_.size()].load(std::memory_order_relaxed);
    if (now == 0) return Record::clean;
    if ((now & ~kState) == mine) return (now & kState) == 2 ? Record::never : Record::suspect;
  }
  return Record::clean;
}

uint64_t thread_cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace via::sqlite
