// What a valuesBatch of 100,000 rows costs through the data API, beside the same inserts in SQLite itself. Not a test.
#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <chrono>
#include <cstdio>

using namespace via::sqlite::test;

namespace {

constexpr int kRows = 100'000;

double seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

double raw(const std::string& path) {
  sqlite3* db = nullptr;
  sqlite3_open(path.c_str(), &db);
  sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, email TEXT, created INTEGER)",
               nullptr, nullptr, nullptr);
  const auto start = std::chrono::steady_clock::now();
  sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr);
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v2(db, "INSERT INTO t(name, email, created) VALUES(?,?,?)", -1, &s, nullptr);
  for (int i = 0; i < kRows; ++i) {
    const std::string name = "name" + std::to_string(i), email = name + "@example.com";
    sqlite3_bind_text(s, 1, name.data(), static_cast<int>(name.size()), SQLITE_STATIC);
    sqlite3_bind_text(s, 2, email.data(), static_cast<int>(email.size()), SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, 1'778'000'000 + i);
    sqlite3_step(s);
    sqlite3_reset(s);
  }
  sqlite3_finalize(s);
  sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
  const double took = seconds(start);
  sqlite3_close(db);
  return took;
}

}  // namespace

int main() {
  std::string body = R"j({"transaction":[{"statement":"INSERT INTO t(name, email, created) VALUES(?,?,?)","valuesBatch":[)j";
  for (int i = 0; i < kRows; ++i) {
    const std::string name = "name" + std::to_string(i);
    body += (i ? ",[\"" : "[\"") + name + "\",\"" + name + "@example.com\"," + std::to_string(1'778'000'000 + i) + "]";
  }
  body += "]}]}";
  for (int round = 0; round < 5; ++round) {
    DataApi a;
    a.call("POST", "/db", R"j({"transaction":[{"statement":"CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, email TEXT, created INTEGER)"}]})j");
    const auto start = std::chrono::steady_clock::now();
    const HttpAnswer r = a.call("POST", "/db", body);
    const double api = seconds(start), itself = raw(a.path("raw.sqlite"));
    std::printf("status %d, data API %.3f s, SQLite %.3f s, ratio %.2f\n", r.status, api, itself, itself / api);
  }
  return 0;
}
