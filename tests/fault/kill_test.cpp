// kill -9 under write load: what was acknowledged is there after the next start, whole, and the start needs
// no hand.
#include <sqlite3.h>

#include <array>
#include <atomic>
#include <csignal>
#include <set>
#include <thread>

#include "fault/rounds.hpp"
#include "support/world.hpp"

namespace via::test {
namespace {

constexpr int kWriters = 6;
constexpr int kBatch = 5;

// What a writer was promised, and what it asked for last.
struct Ledger {
  std::int64_t acknowledged = 0;  // highest n whose request was answered with 200
  std::int64_t asked = 0;         // highest n that was sent
};

class Kill : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    api = app_with_database("api");
    ASSERT_EQ(
        caller(api)
            .setup(
                "CREATE TABLE t(w INTEGER, n INTEGER, part INTEGER, PRIMARY KEY(w, n, part)) WITHOUT ROWID;"
                "CREATE INDEX t_n ON t(n)")
            .status,
        200);
  }

  // Writer w: one request after the other, each with its own number, in three kinds.
  void write(int w, Ledger& ledger, std::atomic<std::int64_t>& total) {
    Caller app = caller(api);
    for (;;) {
      const std::int64_t n = ++ledger.asked;
      Response answer;
      switch (n % 3) {
        case 0:
          answer = app.execute("INSERT INTO t VALUES(?, ?, 0)", {w, n});
          break;
        case 1:
          answer =
              app.setup("INSERT INTO t VALUES(" + std::to_string(w) + "," + std::to_string(n) +
                        ",0); INSERT INTO t VALUES(" + std::to_string(w) + "," + std::to_string(n) + ",1)");
          break;
        default: {
          json operations = json::array();
          for (int part = 0; part < kBatch; ++part)
            operations.push_back({{"operation", "execute"},
                                  {"sql", "INSERT INTO t VALUES(?, ?, ?)"},
                                  {"params", {w, n, part}}});
          answer = app.op("batch", {{"operations", operations}});
        }
      }
      if (answer.status != 200) return;
      ledger.acknowledged = n;
      ++total;
    }
  }
  static int parts(std::int64_t n) { return n % 3 == 0 ? 1 : n % 3 == 1 ? 2 : kBatch; }

  std::string integrity() {
    // A copy of the files: the host has them open.
    const auto source = data_file("api-db", "api");
    EXPECT_EQ(host.stop(), 0);
    sqlite3* db = nullptr;
    std::string verdict;
    if (sqlite3_open_v2(source.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK)
      sqlite3_exec(
          db, "PRAGMA integrity_check",
          [](void* out, int, char** v, char**) {
            static_cast<std::string*>(out)->append(v[0]);
            return 0;
          },
          &verdict, nullptr);
    sqlite3_close(db);
    EXPECT_TRUE(host.start()) << host.log();
    return verdict;
  }

  Runtime api;
};

TEST_F(Kill, UnderWriteLoadLosesNoAcknowledgedWrite) {
  auto random = random_source();
  std::array<Ledger, kWriters> ledgers;
  const int kills = rounds(12);
  std::set<std::array<std::int64_t, 3>> unanswered;  // writer, number: present or not, but whole
  for (int round = 0; round < kills; ++round) {
    SCOPED_TRACE(round);
    std::atomic<std::int64_t> total{0};
    std::vector<std::thread> threads;
    for (int w = 0; w < kWriters; ++w)
      threads.emplace_back([&, w] { write(w, ledgers[static_cast<std::size_t>(w)], total); });
    // At a random moment: after so many answers, and some microseconds more.
    const int answers = std::uniform_int_distribution(0, 120)(random);
    const int more_us = std::uniform_int_distribution(0, 5000)(random);
    EXPECT_TRUE(eventually([&] { return total >= answers; }));
    const timespec pause{0, more_us * 1000L};
    ::nanosleep(&pause, nullptr);
    host.kill();
    for (auto& thread : threads) thread.join();

    ASSERT_TRUE(host.start()) << "the next start needs no hand\n" << host.log();
    Caller app = caller(api);
    const json present = rows_of(app.query("SELECT w, n, count(*), max(part) FROM t GROUP BY w, n"));
    ASSERT_TRUE(present.is_array());
    std::array<std::set<std::int64_t>, kWriters> seen;
    for (const json& row : present) {
      const auto w = row[0].get<std::size_t>();
      const auto n = row[1].get<std::int64_t>();
      ASSERT_EQ(row[2].get<int>(), parts(n)) << "writer " << w << ", request " << n << " is there in part";
      ASSERT_LE(n, ledgers[w].asked);
      seen[w].insert(n);
    }
    for (std::size_t w = 0; w < kWriters; ++w) {
      Ledger& ledger = ledgers[w];
      for (std::int64_t n = 1; n <= ledger.acknowledged; ++n) {
        if (unanswered.contains({static_cast<std::int64_t>(w), n, 0})) continue;
        ASSERT_TRUE(seen[w].contains(n)) << "writer " << w << " lost its acknowledged write " << n;
      }
      if (ledger.asked > ledger.acknowledged)
        unanswered.insert({static_cast<std::int64_t>(w), ledger.asked, 0});
    }
    const json status = admin("status");
    for (const json& check : status["checks"]) ASSERT_TRUE(check.value("ok", false)) << check;
    ASSERT_EQ(app.execute("INSERT INTO t VALUES(-1, ?, 0)", {round}).status, 200) << "it writes again";
    ASSERT_EQ(app.execute("DELETE FROM t WHERE w = -1").status, 200);
    if (round % 10 == 9 || round == kills - 1) {
      ASSERT_EQ(integrity(), "ok");
    }
  }
}

TEST_F(Kill, DuringTheRecoveryFromAKillIsRecoveredFrom) {
  auto random = random_source();
  Ledger ledger;
  const int kills = std::max(2, rounds(12) / 4);
  for (int round = 0; round < kills; ++round) {
    std::atomic<std::int64_t> total{0};
    std::thread writer([&] { write(0, ledger, total); });
    EXPECT_TRUE(eventually([&] { return total >= 20; }));
    host.kill();
    writer.join();
    const std::int64_t acknowledged = ledger.acknowledged;
    for (int depth = 0; depth < 3; ++depth) {
      // Killed before, while or after it says that it is ready.
      std::thread killer([&, us = std::uniform_int_distribution(1'000, 120'000)(random)] {
        const timespec pause{0, us * 1000L};
        ::nanosleep(&pause, nullptr);
        host.signal(SIGKILL);
      });
      (void)host.start();
      killer.join();
      host.kill();
    }
    ASSERT_TRUE(host.start()) << host.log();
    const json rows =
        rows_of(caller(api).query("SELECT count(DISTINCT n) FROM t WHERE w = 0 AND n <= ?", {acknowledged}));
    ASSERT_TRUE(rows.is_array());
    // Numbers that were not answered in earlier rounds may be missing, one each.
    ASSERT_GE(rows[0][0].get<std::int64_t>(), acknowledged - round);
  }
  EXPECT_EQ(integrity(), "ok");
}

}  // namespace
}  // namespace via::test
