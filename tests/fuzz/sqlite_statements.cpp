// Statements by grammar, from every function and module of this build and the worst values that the limits let through: no opcode
// may be long, whatever they come to. The processor time between two looks at the deadline is the property
// (docs/security.md); results are not looked at.
#include "target.hpp"

#include "plugins/sqlite/connection.hpp"
#include "plugins/sqlite/storage.hpp"

#include <via/testing.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace via::sqlite;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
constexpr std::uint64_t kLimitMs = 1'500;  // the fuzz preset has sanitizers
#elif defined(NDEBUG)
constexpr std::uint64_t kLimitMs = 50;
#else
constexpr std::uint64_t kLimitMs = 250;
#endif
constexpr std::uint64_t kDeadlineMs = 100;

struct Function {
  std::string name;
  int arguments;
  char kind;  // s, a, w as in pragma_function_list
};

class World {
 public:
  static World& get() {
    static World world;
    return world;
  }
  Connection& connection() { return *connection_; }
  const Host& host() const { return host_; }
  const std::vector<Function>& functions() const { return functions_; }

 private:
  World() {
    VIA_FUZZ_CHECK(!storage::create_file(path_));
    Limits limits;
    limits.quota_bytes = 1ull << 30;
    VIA_FUZZ_CHECK(!Connection::open(path_, Connection::Kind::writer, limits, host_, connection_));
    for (const char* sql : {
             "CREATE TABLE v(id INTEGER PRIMARY KEY, x)",
             "INSERT INTO v(x) VALUES(replace(hex(zeroblob(4950000)),'0','a')), (replace(hex(zeroblob(700000)),'00','a ')), (zeroblob(9900000)), "
             "('%'||replace(hex(zeroblob(495)),'0','a')||'b'), ('*'||replace(hex(zeroblob(80)),'0','[a-z]')||'B'), "
             "(replace(hex(zeroblob(450)),'0','[')||replace(hex(zeroblob(450)),'0',']')), ('$.k5000'), ('a'), (12345), (1.5e300), (NULL), ('%99999d')",
             "INSERT INTO v(x) SELECT json_group_object('k'||value,value) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<60000) SELECT value FROM c)",
             "INSERT INTO v(x) SELECT json_group_array(value) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<300000) SELECT value FROM c)",
             "CREATE TABLE many(id INTEGER PRIMARY KEY, t TEXT)",
             "INSERT INTO many SELECT value, printf('%0200d', value*7919%10007) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<30000) SELECT value FROM c)",
             "CREATE VIRTUAL TABLE f USING fts5(body)",
             "INSERT INTO f SELECT x FROM v WHERE id=2",
             "INSERT INTO f SELECT printf('w%d x%d', value, value%97) FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM c WHERE value<5000) SELECT value FROM c)",
             "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)",
             "INSERT INTO r SELECT id, id%1000, id%1000+1 FROM many",
         })
      VIA_FUZZ_CHECK(connection_->host_exec(sql) == SQLITE_OK);
    connection_->policy().host_sql = true;
    sqlite3_stmt* s = nullptr;
    sqlite3_prepare_v2(connection_->db(),
                       "SELECT DISTINCT name, narg, type FROM pragma_function_list WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN "
                       "('load_extension','fts5','fts5_source_id','bm25','highlight','snippet','fts5_get_locale','fts5_insttoken','fts5_locale')",
                       -1, &s, nullptr);
    while (sqlite3_step(s) == SQLITE_ROW)
      functions_.push_back({reinterpret_cast<const char*>(sqlite3_column_text(s, 0)), sqlite3_column_int(s, 1),
                            static_cast<char>(sqlite3_column_text(s, 2)[0])});
    sqlite3_finalize(s);
    VIA_FUZZ_CHECK(functions_.size() > 100);
    engine::Gaps::measuring = true;
  }
  ~World() {
    connection_.reset();
    std::error_code ec;
    std::filesystem::remove_all(folder_, ec);
  }

  std::string make_folder() const {
    std::string pattern = (std::filesystem::temp_directory_path() / "via-fuzz-XXXXXX").string();
    VIA_FUZZ_CHECK(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }
  const std::string folder_ = make_folder(), path_ = folder_ + "/data.sqlite";
  via::testing::FakeHost fake_{{folder_, 0, 2, false}};
  Host host_{fake_.host()};
  std::unique_ptr<Connection> connection_;
  std::vector<Function> functions_;
};

// Every byte is a choice; when they are over, the simplest one.
class Grammar {
 public:
  Grammar(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  std::string statement() {
    switch (choose(12)) {
      case 0: return "SELECT " + expression(3) + " FROM many";
      case 1: return "SELECT " + expression(2) + " FROM v ORDER BY " + expression(2);
      case 2: return "SELECT t FROM many ORDER BY " + column() + (choose(2) ? " COLLATE NOCASE" : " DESC") + ", " + expression(1);
      case 3: return "SELECT " + aggregate() + " FROM " + table() + " GROUP BY " + expression(1);
      case 4: return "SELECT " + aggregate() + " OVER (ORDER BY id ROWS BETWEEN " + std::to_string(choose(256) * 100) + " PRECEDING AND CURRENT ROW) FROM many";
      case 5: return "SELECT " + auxiliary() + " FROM f WHERE f MATCH " + match();
      case 6: return "INSERT INTO f(f) VALUES('" + std::string(pick({"rebuild", "optimize", "integrity-check", "delete-all", "merge"})) + "')";
      case 7: return "INSERT INTO f SELECT " + value();
      case 8: return "UPDATE v SET x=" + expression(2) + " WHERE id<" + std::to_string(choose(16));
      case 9: return std::string("DELETE FROM ") + std::string(pick({"many", "f", "r", "v"})) + (choose(2) ? "" : " WHERE id>5");
      case 10: return "SELECT count(*) FROM " + std::string(pick({"json_each", "json_tree"})) + "(" + value() + ") WHERE value LIKE " + expression(1);
      default: return "CREATE INDEX i ON many(" + column() + "); SELECT count(DISTINCT " + expression(1) + ") FROM many a, r WHERE a.id=r.id";
    }
  }

 private:
  std::size_t choose(std::size_t n) { return at_ == end_ ? 0 : *at_++ % n; }
  std::string_view pick(std::initializer_list<const char*> from) { return *(from.begin() + choose(from.size())); }
  std::string table() { return std::string(pick({"many", "v"})); }
  std::string column() { return std::string(pick({"t", "id", "substr(t,100)", "length(t)"})); }
  std::string value() { return "(SELECT x FROM v WHERE id=" + std::to_string(1 + choose(14)) + ")"; }
  std::string match() { return "'" + std::string(pick({"a", "w*", "a OR x1", "\"a a a\"", "NEAR(a a, 500)", "a NOT w1", "x1 AND x2"})) + "'"; }
  std::string auxiliary() {
    return std::string(pick({"length(highlight(f,0,'<','>'))", "length(snippet(f,0,'<','>','',64))", "bm25(f)", "rank", "count(*)"}));
  }
  std::string call(char kind, int depth) {
    const auto& all = World::get().functions();
    for (std::size_t i = choose(256), tries = 0; tries < all.size(); ++tries) {
      const Function& f = all[(i + tries) % all.size()];
      if (f.kind != kind) continue;
      const std::size_t n = f.arguments >= 0 ? static_cast<std::size_t>(f.arguments) : 1 + choose(6);
      std::string out = "\"" + f.name + "\"(";
      for (std::size_t a = 0; a < n; ++a) out += (a ? "," : "") + expression(depth - 1);
      return out + ")";
    }
    return "1";
  }
  std::string aggregate() { return call(choose(2) ? 'w' : 'a', 1); }
  std::string expression(int depth) {
    if (depth <= 0) return choose(3) == 0 ? std::to_string(choose(256)) : value();
    switch (choose(8)) {
      case 0: return value();
      case 1: return "(" + expression(depth - 1) + std::string(pick({" LIKE ", " GLOB ", "||", "=", "<", "->", "->>", " IS "})) + expression(depth - 1) + ")";
      case 2: return "(SELECT max(" + expression(depth - 1) + ") FROM v)";
      case 3: return "CAST(" + expression(depth - 1) + " AS " + std::string(pick({"TEXT", "INT", "REAL", "BLOB"})) + ")";
      default: return call('s', depth);
    }
  }

  const std::uint8_t *at_, *end_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World& world = World::get();
  Connection& c = world.connection();
  const std::string sql = Grammar(data, size).statement();
  c.host_exec("BEGIN");
  (void)engine::Gaps::longest_ns();
  c.policy().host_sql = true;
  c.begin_guard(world.host().now_ns() + kDeadlineMs * 1'000'000, nullptr, 4'000'000'000);
  sqlite3_stmt* s = nullptr;
  if (sqlite3_prepare_v2(c.db(), sql.c_str(), -1, &s, nullptr) == SQLITE_OK)
    while (sqlite3_step(s) == SQLITE_ROW) {
    }
  sqlite3_finalize(s);
  c.end_guard();
  if (sqlite3_get_autocommit(c.db()) == 0) c.host_exec("ROLLBACK");
  const std::uint64_t ms = engine::Gaps::longest_ns() / 1'000'000;
  if (ms > kLimitMs) std::fprintf(stderr, "%llu ms between two looks: %s\n", static_cast<unsigned long long>(ms), sql.c_str());
  VIA_FUZZ_CHECK(ms <= kLimitMs);
  return 0;
}
