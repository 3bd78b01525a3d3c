// How dear one inline point query is, without a server around it: prints nanoseconds per try_invoke.
#include "unit/sqlite/fixture.hpp"

#include <chrono>
#include <cstdio>

int main() {
  using namespace via::sqlite;
  using namespace via::sqlite::test;
  for (const bool turns : {false, true}) {
    Addon a({.turns = turns});
    a.must(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n INTEGER);"
                   "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 10000) SELECT x, 'name '||x, x*7 FROM c"));
    const std::string body = R"({"sql":"SELECT id, name, n FROM t WHERE id = ?","params":[4711],"generation":3})";
    if (!a.learn(body)) return 1;
    FakeCall call;
    const Addon::Op op(Operation::query, body);
    constexpr int kRounds = 20'000, kPerTurn = 16;
    const auto started = std::chrono::steady_clock::now();
    int answered = 0;
    for (int r = 0; r < kRounds; ++r) {
      std::unique_ptr<Turn> turn;
      if (turns) turn = std::make_unique<Turn>();
      for (int i = 0; i < kPerTurn; ++i) {
        call.clear();
        answered += a.ops()->try_invoke(a.handle(), &op.args, call.get()) == VIA_OK;
      }
    }
    const auto took = std::chrono::steady_clock::now() - started;
    std::printf("%s: %.0f ns per inline point query, %d of %d inline, answer %s\n", turns ? "turns of 16" : "no turns",
                static_cast<double>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()) / (kRounds * kPerTurn), answered,
                kRounds * kPerTurn, call.body().c_str());
    a.destroy();
  }
}
