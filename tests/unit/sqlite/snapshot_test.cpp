// Snapshots through the ABI: consistent under writes, honest about bad copies, all or nothing when they are restored.
#include "unit/sqlite/fixture.hpp"

#include "plugins/sqlite/snapshot.hpp"

#include <gtest/gtest.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>
#include <thread>

namespace via::sqlite::test {
namespace {

namespace fs = std::filesystem;
using via::testing::FakeSnapshots;

Answer take(Addon& a, const std::string& dir) {
  return a.control([&](FakeCall& c) { FakeSnapshots(a.handle()).take(dir, c); });
}
Answer verify(Addon& a, const std::string& dir) {
  return a.control([&](FakeCall& c) { FakeSnapshots(a.handle()).verify(dir, c); });
}
Answer restore(Addon& a, const std::string& dir) {
  return a.control([&](FakeCall& c) { FakeSnapshots(a.handle()).restore(dir, c); });
}
Answer drain(Addon& a) {
  const auto* api = static_cast<const via_drain_api*>(a.table()->get_extension(a.handle(), VIA_EXT_DRAIN));
  return a.control([&](FakeCall& c) { api->drain(a.handle(), c.get()); });
}
std::string number(Addon& a, const std::string& sql) { return a.query(sql).rows()[0][0].dump(); }

void fill(Addon& a, int rows, int bytes = 1000) {
  ASSERT_EQ(a.setup("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)").status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT " + std::to_string(rows) +
                      ") SELECT zeroblob(" + std::to_string(bytes) + ") FROM c").status, VIA_OK);
}

// Another connection of this process that stays in an old snapshot, as a long query does.
struct OldReader {
  explicit OldReader(const std::string& path) {
    EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM t", nullptr, nullptr, nullptr), SQLITE_OK);
  }
  ~OldReader() { sqlite3_close(db); }
  sqlite3* db = nullptr;
};

TEST(Snapshot, HoldsEveryWriteThatWasAnsweredBeforeItAndNoPartOfALaterOne) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, half)").status, VIA_OK);
  std::atomic<int> answered{0};
  std::atomic<bool> end{false};
  std::thread writer([&] {
    for (int i = 0; !end; ++i) {
      // Two rows in one batch: a copy with one of them is torn.
      const Json ops = {{{"op", "execute"}, {"sql", "INSERT INTO t(half) VALUES(1)"}}, {{"op", "execute"}, {"sql", "INSERT INTO t(half) VALUES(2)"}}};
      if (a.batch(ops).status != VIA_OK) break;
      answered = i + 1;
    }
  });
  for (int round = 0; round < 6; ++round) {
    while (answered < (round + 1) * 3) std::this_thread::yield();
    std::unique_ptr<OldReader> old;  // every other copy is made the other way
    if (round % 2 == 1) old = std::make_unique<OldReader>(a.folder.path("data.sqlite"));
    const int seen = answered;
    while (answered < seen + 2) std::this_thread::yield();
    const int before = answered;
    TempFolder copy;
    const Answer taken = take(a, copy.path());
    ASSERT_EQ(taken.status, VIA_OK) << taken.message;
    EXPECT_EQ(Json::parse(taken.details).value("format", ""), "sqlite/1");
    struct stat st {};
    ASSERT_EQ(::stat(copy.path("data.sqlite").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    EXPECT_EQ(std::distance(fs::directory_iterator(copy.path()), fs::directory_iterator()), 1);
    ASSERT_EQ(verify(a, copy.path()).status, VIA_OK);
    Addon b({.open = false});
    ASSERT_EQ(restore(b, copy.path()).status, VIA_OK) << "into an empty folder";
    ASSERT_EQ(b.open().status, VIA_OK);
    const Json row = b.query("SELECT count(*), max(id), sum(half=1), sum(half=2) FROM t").rows()[0];
    EXPECT_EQ(row[0], row[1]) << "a prefix has no gaps";
    EXPECT_EQ(row[2], row[3]) << "no torn batch";
    EXPECT_GE(row[0].get<int>(), before * 2);
  }
  end = true;
  writer.join();
  EXPECT_EQ(number(a, "SELECT count(*) FROM t"), std::to_string(answered * 2));
}

TEST(Snapshot, WritesGoOnAndTheCheckpointComesAfterIt) {
  Addon a;
  fill(a, 3000);
  TempFolder copy;
  FakeCall c;
  Answer during;
  c.on_progress = [&](uint64_t, uint64_t) {
    if (during.status == VIA_OK && during.body.empty()) during = a.execute("INSERT INTO t(v) VALUES('late')");
  };
  FakeSnapshots(a.handle()).take(copy.path(), c);
  ASSERT_EQ(c.status(), VIA_OK) << c.message();
  EXPECT_EQ(during.status, VIA_OK);
  EXPECT_FALSE(during.body.empty());
  Addon b({.open = false});
  ASSERT_EQ(restore(b, copy.path()).status, VIA_OK);
  ASSERT_EQ(b.open().status, VIA_OK);
  EXPECT_EQ(number(b, "SELECT count(*) FROM t"), "3000");
  EXPECT_EQ(number(a, "SELECT count(*) FROM t"), "3001");
}

TEST(Snapshot, CancelledAtAnyPieceLeavesNothingBehind) {
  for (const bool old_reader : {false, true}) {
    Addon a;
    fill(a, 40'000);  // about 40 MB: ten pieces
    std::unique_ptr<OldReader> old;
    if (old_reader) {
      old = std::make_unique<OldReader>(a.folder.path("data.sqlite"));
      fill(a, 1);
    }
    for (const int at : {0, 1, 2}) {
      TempFolder copy;
      FakeCall c;
      int pieces = 0;
      if (at == 0) c.cancel();
      c.on_progress = [&](uint64_t, uint64_t) {
        if (++pieces == at) c.cancel();
      };
      FakeSnapshots(a.handle()).take(copy.path(), c);
      EXPECT_EQ(c.status(), VIA_E_CANCELLED) << at << c.message();
      EXPECT_TRUE(fs::is_empty(copy.path())) << at;
      EXPECT_EQ(a.execute("UPDATE t SET v=1 WHERE id=1").status, VIA_OK);
    }
  }
}

TEST(Snapshot, AFileThatCannotGrowLeavesNothingBehind) {
  Addon a;
  fill(a, 20'000);
  ASSERT_EQ(drain(a).status, VIA_OK);
  TempFolder copy;
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 6u << 20;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Answer full = take(a, copy.path());
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(full.status, VIA_OK);
  EXPECT_TRUE(fs::is_empty(copy.path()));
  EXPECT_EQ(a.execute("INSERT INTO t(v) VALUES(1)").status, VIA_OK);
  EXPECT_EQ(take(a, copy.path()).status, VIA_OK);
}

TEST(Snapshot, ABadCopyIsRefusedAndTheOldDataStays) {
  Addon a;
  fill(a, 2000);
  TempFolder good;
  ASSERT_EQ(take(a, good.path()).status, VIA_OK);
  std::ifstream in(good.path("data.sqlite"), std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::string random(8192, '\0'), torn = bytes, wide = bytes;
  for (size_t i = 0; i < random.size(); ++i) random[i] = static_cast<char>((i * 2654435761u) >> 13);
  for (size_t i = 4096; i < 4096 * 3; ++i) torn[i] = static_cast<char>(i * 31);
  wide[59] = 2;  // UTF-16
  struct Case {
    const char* name;
    std::string bytes;
    bool by_restore;  // else only verify, which reads every page, can tell
  };
  ASSERT_EQ(a.close().status, VIA_OK);
  for (const Case& bad : {Case{"empty", "", true}, {"random", random, true}, {"short", bytes.substr(0, 50), true},
                          {"cut", bytes.substr(0, bytes.size() - 4096), true}, {"cut in a page", bytes.substr(0, 9000), true},
                          {"UTF-16", wide, true}, {"torn", torn, false}}) {
    TempFolder copy;
    std::ofstream(copy.path("data.sqlite"), std::ios::binary) << bad.bytes;
    const Answer seen = verify(a, copy.path());
    EXPECT_EQ(seen.status, VIA_E_INVALID) << bad.name << seen.message;
    EXPECT_EQ(seen.code(), "snapshot_invalid") << bad.name;
    if (!bad.by_restore) continue;
    EXPECT_EQ(restore(a, copy.path()).code(), "snapshot_invalid") << bad.name;
  }
  TempFolder none, link, twice;
  fs::create_symlink(good.path("data.sqlite"), link.path("data.sqlite"));
  fs::copy_file(good.path("data.sqlite"), twice.path("data.sqlite"));
  fs::create_hard_link(twice.path("data.sqlite"), twice.path("other"));
  for (const TempFolder* bad : {&none, &link, &twice}) {
    EXPECT_EQ(verify(a, bad->path()).code(), "snapshot_invalid");
    EXPECT_EQ(restore(a, bad->path()).code(), "snapshot_invalid");
  }
  ASSERT_EQ(a.open().status, VIA_OK);
  EXPECT_EQ(number(a, "SELECT count(*) FROM t"), "2000");
}

TEST(Snapshot, VerifyWorksOnAnInstanceThatWasNeverProvisionedAndCanBeCancelled) {
  Addon a;
  fill(a, 20'000, 100);
  TempFolder copy;
  ASSERT_EQ(take(a, copy.path()).status, VIA_OK);
  Addon fresh({.open = false});
  EXPECT_EQ(verify(fresh, copy.path()).status, VIA_OK);
  EXPECT_TRUE(fs::is_empty(fresh.folder.path()));
  FakeCall c;
  c.cancel();
  FakeSnapshots(fresh.handle()).verify(copy.path(), c);
  EXPECT_EQ(c.status(), VIA_E_CANCELLED);
  EXPECT_EQ(std::distance(fs::directory_iterator(copy.path()), fs::directory_iterator()), 1) << "nothing was left beside it";
}

TEST(Restore, NeedsAClosedInstance) {
  Addon a;
  fill(a, 10);
  TempFolder copy;
  ASSERT_EQ(take(a, copy.path()).status, VIA_OK);
  EXPECT_EQ(restore(a, copy.path()).code(), "not_closed");
  EXPECT_TRUE(fs::exists(copy.path("data.sqlite")));
}

TEST(Restore, AWalThatACrashLeftDoesNotBringOldRowsBack) {
  Addon a;
  fill(a, 5);
  TempFolder copy;
  ASSERT_EQ(take(a, copy.path()).status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t(v) VALUES('old')").status, VIA_OK);
  ASSERT_GT(fs::file_size(a.folder.path("data.sqlite-wal")), 0u);
  Addon b({.open = false});  // the folder as a kill leaves it
  for (const char* name : {"data.sqlite", "data.sqlite-wal"}) fs::copy_file(a.folder.path(name), b.folder.path(name));
  ASSERT_EQ(restore(b, copy.path()).status, VIA_OK);
  EXPECT_FALSE(fs::exists(b.folder.path("data.sqlite-wal")));
  ASSERT_EQ(b.open().status, VIA_OK);
  EXPECT_EQ(number(b, "SELECT count(*) FROM t"), "5");
}

TEST(Restore, AWalWithoutItsDatabaseIsNotPlayedIntoTheSnapshot) {
  Addon a;
  fill(a, 5);
  TempFolder copy;
  ASSERT_EQ(take(a, copy.path()).status, VIA_OK);
  ASSERT_EQ(a.execute("INSERT INTO t(v) VALUES('old')").status, VIA_OK);
  Addon b({.open = false});
  fs::copy_file(a.folder.path("data.sqlite-wal"), b.folder.path("data.sqlite-wal"));
  ASSERT_EQ(restore(b, copy.path()).status, VIA_OK);
  EXPECT_FALSE(fs::exists(b.folder.path("data.sqlite-wal")));
  ASSERT_EQ(b.open().status, VIA_OK);
  EXPECT_EQ(number(b, "SELECT count(*) FROM t"), "5");
}

TEST(Drain, EmptiesTheLogAndTheAddOnGoesOn) {
  Addon a;
  fill(a, 50);
  ASSERT_GT(fs::file_size(a.folder.path("data.sqlite-wal")), 0u);
  ASSERT_EQ(drain(a).status, VIA_OK);
  EXPECT_EQ(fs::file_size(a.folder.path("data.sqlite-wal")), 0u);
  const auto* api = static_cast<const via_drain_api*>(a.table()->get_extension(a.handle(), VIA_EXT_DRAIN));
  EXPECT_EQ(a.control([&](FakeCall& c) { api->resume(a.handle(), c.get()); }).status, VIA_OK);
  EXPECT_EQ(a.execute("INSERT INTO t(v) VALUES(1)").status, VIA_OK);
  ASSERT_EQ(a.close().status, VIA_OK);
  EXPECT_EQ(drain(a).status, VIA_OK) << "a closed one is quiet";
}

TEST(Stats, TellsTheBytesOfDatabaseAndLog) {
  Addon a;
  fill(a, 1000);
  const auto* api = static_cast<const via_stats_api*>(a.table()->get_extension(a.handle(), VIA_EXT_STATS));
  const auto used = [&] {
    return Json::parse(a.control([&](FakeCall& c) { api->stats(a.handle(), c.get()); }).details).at("bytes_used").get<uint64_t>();
  };
  EXPECT_EQ(used(), fs::file_size(a.folder.path("data.sqlite")) + fs::file_size(a.folder.path("data.sqlite-wal")));
  ASSERT_EQ(a.close().status, VIA_OK);
  EXPECT_EQ(used(), fs::file_size(a.folder.path("data.sqlite")));
  fs::create_directory(a.folder.path("snapshots"));
  ASSERT_EQ(a.deprovision().status, VIA_OK);
  EXPECT_TRUE(fs::exists(a.folder.path("snapshots"))) << "the host's";
  EXPECT_EQ(used(), 0u);
}

}  // namespace
}  // namespace via::sqlite::test
