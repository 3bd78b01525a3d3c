// The linear functions against SQLite's own on random small input.
#include "plugins/sqlite/functions.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace via::sqlite {
namespace {

std::string run(sqlite3* db, const char* sql, const std::string& a, const std::string& b, const std::string& c, bool blob) {
  sqlite3_stmt* s = nullptr;
  EXPECT_EQ(sqlite3_prepare_v2(db, sql, -1, &s, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
  int i = 0;
  for (const std::string* v : {&a, &b, &c}) {
    if (++i > sqlite3_bind_parameter_count(s)) break;
    if (blob) sqlite3_bind_blob(s, i, v->data(), static_cast<int>(v->size()), SQLITE_STATIC);
    else sqlite3_bind_text(s, i, v->data(), static_cast<int>(v->size()), SQLITE_STATIC);
  }
  std::string out = "no row";
  if (sqlite3_step(s) == SQLITE_ROW) {
    const auto* p = static_cast<const char*>(sqlite3_column_blob(s, 0));
    out = std::to_string(sqlite3_column_type(s, 0)) + ":" + std::string(p ? p : "", static_cast<size_t>(sqlite3_column_bytes(s, 0)));
  }
  sqlite3_finalize(s);
  return out;
}

TEST(LinearFunctions, EqualTheBuiltInOnes) {
  sqlite3 *plain = nullptr, *ours = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &plain), SQLITE_OK);
  ASSERT_EQ(sqlite3_open(":memory:", &ours), SQLITE_OK);
  ASSERT_EQ(register_linear_functions(ours), SQLITE_OK);
  std::mt19937 random(7);
  const char* alphabet[] = {"a", "b", "A", "1", "f", "é", "ü", "日", "𝄞", " ", "-"};
  const auto text = [&](size_t most, size_t kinds) {
    std::string s;
    for (size_t n = random() % (most + 1); n > 0; --n) s += alphabet[random() % kinds];
    return s;
  };
  const char* calls[] = {"SELECT instr(?1,?2)", "SELECT replace(?1,?2,?3)", "SELECT trim(?1,?2)", "SELECT ltrim(?1,?2)",
                         "SELECT rtrim(?1,?2)", "SELECT unhex(?1,?2)", "SELECT instr(CAST(?1 AS BLOB),?2)", "SELECT replace(?1,?2,NULL)",
                         "SELECT instr(NULL,?1)", "SELECT instr(12345, 34), ?1", "SELECT replace(12321, 2, 'x'), ?1", "SELECT trim(?1)"};
  for (int round = 0; round < 20'000; ++round) {
    const size_t kinds = 2 + random() % 10;
    const std::string a = text(60, kinds), b = text(round % 5 == 0 ? 30 : 3, kinds), c = text(3, kinds);
    const char* sql = calls[random() % std::size(calls)];
    const bool blob = random() % 4 == 0 && std::string_view(sql).find("unhex") == std::string_view::npos;
    ASSERT_EQ(run(ours, sql, a, b, c, blob), run(plain, sql, a, b, c, blob)) << sql << " [" << a << "] [" << b << "] [" << c << "]";
  }
  sqlite3_close(plain);
  sqlite3_close(ours);
}

}  // namespace
}  // namespace via::sqlite
