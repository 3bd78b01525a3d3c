// What SQLite alone gives in this process, without a server: the baseline of the database figures.
//
//   bench_raw_sqlite reads|commits|rows|bulk SECONDS FOLDER   → {"per_second":N,"per_core_second":N,"p50_us":N,"p99_us":N}
//
// reads: one row by its key from a cached statement. commits: one INSERT, one durable commit (WAL, synchronous=FULL),
// one at a time. rows: a query of 1,000 rows, stepped and written as JSON by the plugin's own row writer, so that what
// is compared is all the rest. bulk: 100,000 rows of three values by one prepared INSERT in one transaction. Thread: one.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include "bench/sample_data.hpp"
#include "plugins/sqlite/render.hpp"

namespace {

using SteadyClock = std::chrono::steady_clock;

[[noreturn]] void die(sqlite3* db, const char* what) {
  std::fprintf(stderr, "bench_raw_sqlite: %s: %s\n", what, db != nullptr ? sqlite3_errmsg(db) : "");
  std::exit(1);
}

void exec(sqlite3* db, const std::string& sql) {
  if (sqlite3_exec(db, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) die(db, sql.c_str());
}

sqlite3_stmt* prepare(sqlite3* db, std::string_view sql) {
  sqlite3_stmt* stmt = nullptr;
  if (sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &stmt, nullptr) !=
      SQLITE_OK)
    die(db, "prepare");
  return stmt;
}

double core_seconds() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// Runs `work` for that long and prints what came out. The clock is read twice for each run.
void measure(double seconds, const std::function<void()>& work, int warm_up = 50) {
  std::vector<double> took;
  took.reserve(4'000'000);
  for (int i = 0; i < warm_up; ++i) work();
  const double core_before = core_seconds();
  const auto begin = SteadyClock::now();
  const auto end = begin + std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
  auto before = begin;
  do {
    work();
    const auto now = SteadyClock::now();
    took.push_back(std::chrono::duration<double, std::micro>(now - before).count());
    before = now;
  } while (before < end);
  const double all = std::chrono::duration<double>(before - begin).count();
  const double core = core_seconds() - core_before;
  const auto count = static_cast<double>(took.size());
  std::sort(took.begin(), took.end());
  const auto at = [&](double q) { return took[static_cast<std::size_t>(q * (count - 1))]; };
  std::printf("{\"per_second\":%.1f,\"per_core_second\":%.1f,\"p50_us\":%.2f,\"p99_us\":%.2f}\n", count / all,
              count / core, at(0.5), at(0.99));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 4 ? argv[1] : "";
  if (mode != "reads" && mode != "commits" && mode != "rows" && mode != "bulk") {
    std::fprintf(stderr, "usage: bench_raw_sqlite reads|commits|rows|bulk SECONDS FOLDER\n");
    return 2;
  }
  const double seconds = std::atof(argv[2]);
  const std::string path = std::string(argv[3]) + "/raw.sqlite";
  sqlite3* db = nullptr;
  if (sqlite3_open(path.c_str(), &db) != SQLITE_OK) die(db, "open");
  // The page cache and the checkpoint interval of the plugin, so that neither side gains by them.
  exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-32768; PRAGMA wal_autocheckpoint=8000");
  exec(db, bench::kSchema);
  exec(db, bench::fill(bench::kItems));

  sqlite3_stmt* stmt = nullptr;
  std::uint64_t n = 0;
  if (mode == "reads") {
    stmt = prepare(db, bench::kPointQuery);
    measure(seconds, [&] {
      sqlite3_bind_int64(stmt, 1, bench::spread(n++));
      if (sqlite3_step(stmt) != SQLITE_ROW) die(db, "step");
      sqlite3_reset(stmt);
    });
  } else if (mode == "commits") {
    // As in a server that has run for a while, the log is overwritten and does not grow.
    exec(db, "CREATE TABLE padding(b BLOB); INSERT INTO padding WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
             "FROM n WHERE i < 4200) SELECT zeroblob(8000) FROM n; PRAGMA wal_checkpoint(RESTART)");
    stmt = prepare(db, bench::kInsert);
    measure(seconds, [&] {
      sqlite3_bind_int64(stmt, 1, bench::spread(n++));
      sqlite3_bind_text(stmt, 2, bench::kNote.data(), static_cast<int>(bench::kNote.size()), SQLITE_STATIC);
      if (sqlite3_step(stmt) != SQLITE_DONE) die(db, "step");
      sqlite3_reset(stmt);
    });
  } else if (mode == "bulk") {
    exec(db, "CREATE TABLE bulk(id INTEGER PRIMARY KEY, name TEXT, at INTEGER)");
    stmt = prepare(db, "INSERT INTO bulk(name, at, id) VALUES(?1, ?2, NULL)");
    measure(seconds, [&] {
      exec(db, "BEGIN IMMEDIATE");
      for (int i = 0; i < 100'000; ++i) {
        const std::string name = "name-" + std::to_string(i);
        sqlite3_bind_text(stmt, 1, name.data(), static_cast<int>(name.size()), SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, i);
        if (sqlite3_step(stmt) != SQLITE_DONE) die(db, "step");
        sqlite3_reset(stmt);
      }
      exec(db, "COMMIT; DELETE FROM bulk");
    }, 1);
  } else {
    stmt = prepare(db, bench::kManyRows);
    std::size_t bytes = 0;
    measure(seconds, [&] {
      const auto first = static_cast<sqlite3_int64>(n++ % 8 * 1000 + 1);
      sqlite3_bind_int64(stmt, 1, first);
      sqlite3_bind_int64(stmt, 2, first + 999);
      via::sqlite::StringOutput out;
      int rows = 0;
      while (sqlite3_step(stmt) == SQLITE_ROW) {
        out.put(rows++ == 0 ? '[' : ',');
        via::sqlite::render_row(out, stmt, 4, false);
      }
      sqlite3_reset(stmt);
      if (rows != 1000) die(db, "rows");
      bytes += out.take().size();
    });
    if (bytes == 0) return 1;
  }
  sqlite3_finalize(stmt);
  sqlite3_close(db);
}
