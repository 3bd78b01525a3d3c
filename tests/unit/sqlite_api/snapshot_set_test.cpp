// Snapshots of an add-on with several databases: all of them, under their names, brought back together or not at all.
#include "unit/sqlite_api/api_fixture.hpp"

#include "plugins/sqlite/api/snapshot_set.hpp"

#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <set>

namespace via::sqlite::test {
namespace {

namespace fs = std::filesystem;
using via::testing::FakeSnapshots;

struct Sample {
  Sample() {
    put("", "main-1");
    put("app.db", "app-1");
    put("b.sqlite", "b-1");
  }
  static std::string target(const std::string& db, bool create) {
    return "/kv/k?" + (db.empty() ? std::string() : "db=" + db) + (create ? "&create_db_if_missing=true" : "");
  }
  void put(const std::string& db, const std::string& value) {
    ASSERT_EQ(api.call("PUT", target(db, true), value, "text/plain").status, 200) << db;
  }
  // The value in each database; "404" where there is none.
  std::string values() {
    std::string out;
    for (const char* db : {"", "app.db", "b.sqlite", "c.db"}) {
      const auto a = api.call("GET", target(db, false));
      out += (a.status == 200 ? a.body : std::to_string(a.status)) + " ";
    }
    return out;
  }
  std::string folder(const std::string& name) {
    fs::create_directories(api.path("snapshots/" + name));
    return api.path("snapshots/" + name);
  }
  template <class Make>
  std::string run(Make make) {
    FakeCall c;
    make(FakeSnapshots(api.instance().handle()), c);
    return c.status() == VIA_OK ? c.details() : c.message();
  }
  std::string take(const std::string& dir) { return run([&](FakeSnapshots s, FakeCall& c) { s.take(dir, c); }); }
  std::string verify(const std::string& dir) { return run([&](FakeSnapshots s, FakeCall& c) { s.verify(dir, c); }); }
  std::string restore_as_it_is(const std::string& dir) { return run([&](FakeSnapshots s, FakeCall& c) { s.restore(dir, c); }); }
  std::string restore(const std::string& dir) {
    api.close();
    const std::string said = restore_as_it_is(dir);
    api.open();
    return said;
  }
  static std::set<std::string> names(const std::string& dir) {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(dir)) out.insert(entry.path().filename().string());
    return out;
  }
  void change() {
    put("", "main-2");
    put("app.db", "app-2");
    put("c.db", "c-2");
  }
  DataApi api;
};
struct SnapshotSet : ::testing::Test, Sample {};

const std::string kBefore = "main-1 app-1 b-1 404 ", kAfter = "main-2 app-2 b-1 c-2 ";

TEST_F(SnapshotSet, HoldsEveryDatabaseAndBringsThemBackTogether) {
  const std::string dir = folder("one");
  EXPECT_NE(take(dir).find("sqlite/2"), std::string::npos);
  EXPECT_EQ(names(dir), (std::set<std::string>{"data.sqlite", "1.sqlite", "2.sqlite", "databases.json"}));
  EXPECT_EQ(verify(dir), "");
  change();
  ASSERT_EQ(values(), kAfter);
  EXPECT_NE(restore(dir).find("sqlite/2"), std::string::npos);
  EXPECT_EQ(values(), kBefore) << "what was made since is gone";
  // What was replaced is a snapshot now, and undoes the restore.
  EXPECT_EQ(names(dir), (std::set<std::string>{"data.sqlite", "1.sqlite", "2.sqlite", "3.sqlite", "databases.json"}));
  EXPECT_EQ(verify(dir), "");
  restore(dir);
  EXPECT_EQ(values(), kAfter);
  EXPECT_EQ(names(api.folder()).count("restore.json") + names(api.folder()).count("databases.restore"), 0U);
  put("c.db", "written");
  EXPECT_EQ(values(), "main-2 app-2 b-1 written ");
}

TEST_F(SnapshotSet, OneDatabaseAloneIsOneFile) {
  DataApi alone;
  ASSERT_EQ(alone.call("PUT", "/kv/k", "x", "text/plain").status, 200);
  const std::string dir = alone.path("s");
  fs::create_directory(dir);
  FakeCall c;
  FakeSnapshots(alone.instance().handle()).take(dir, c);
  EXPECT_NE(c.details().find("sqlite/1"), std::string::npos);
  EXPECT_EQ(names(dir), std::set<std::string>{"data.sqlite"});
}

TEST_F(SnapshotSet, OfOneDatabaseTakesTheOthersAwayAndGivesThemBack) {
  DataApi alone;
  ASSERT_EQ(alone.call("PUT", "/kv/k", "only", "text/plain").status, 200);
  const std::string dir = folder("single");
  FakeCall c;
  FakeSnapshots(alone.instance().handle()).take(dir, c);
  ASSERT_EQ(c.status(), VIA_OK);
  EXPECT_NE(restore(dir).find("sqlite/2"), std::string::npos) << "what was replaced is a set";
  EXPECT_EQ(values(), "only 404 404 404 ");
  restore(dir);
  EXPECT_EQ(values(), kBefore);
  EXPECT_EQ(names(dir), std::set<std::string>{"data.sqlite"});
}

TEST_F(SnapshotSet, GoesIntoAnEmptyAddOn) {
  const std::string dir = folder("one");
  take(dir);
  api.close();
  fs::remove(api.path("data.sqlite"));
  fs::remove_all(api.path("databases"));
  const std::string said = restore_as_it_is(dir);
  EXPECT_NE(said.find("sqlite/1"), std::string::npos) << said;
  EXPECT_EQ(names(dir), std::set<std::string>{});
  api.open();
  EXPECT_EQ(values(), kBefore);
}

TEST_F(SnapshotSet, WhatIsNoDatabaseIsNotTakenAndStays) {
  std::ofstream(api.path("databases/notes.txt")) << "mine";
  fs::create_symlink("app.db", api.path("databases/link.db"));
  fs::create_directory(api.path("databases/below"));
  put("/hoody/databases/below/deep.db", "deep-1");
  const std::string dir = folder("one");
  take(dir);
  EXPECT_EQ(names(dir).size(), 5U) << "three further databases, data.sqlite and the list";
  put("/hoody/databases/below/deep.db", "deep-2");
  restore(dir);
  EXPECT_EQ(api.call("GET", "/kv/k?db=/hoody/databases/below/deep.db").body, "deep-1");
  std::string text;
  std::ifstream(api.path("databases/notes.txt")) >> text;
  EXPECT_EQ(text, "mine");
  EXPECT_EQ(api.call("GET", "/kv/k?db=link.db").body, "app-1");
}

TEST_F(SnapshotSet, HoldsEveryNameThatARequestCanSay) {
  const std::vector<std::string> names{"sp ace.db", "quote\".db", "/hoody/databases/back\\slash.db", "%2e.db", "\xc3\xa9.db", std::string(197, 'n') + ".db"};
  for (const auto& name : names) ASSERT_EQ(api.call("PUT", "/kv/k?create_db_if_missing=true&db=" + encode(name), "1", "text/plain").status, 200) << name;
  EXPECT_EQ(api.call("PUT", "/kv/k?create_db_if_missing=true&db=a%ff.db", "1").error(), "the database name is not UTF-8");
  // A file that no request can name is the operator's; it is not in the snapshot, and stays.
  fs::copy_file(api.path("databases/b.sqlite"), api.path("databases/a\xff.db"));
  const std::string dir = folder("one");
  EXPECT_NE(take(dir).find("sqlite/2"), std::string::npos);
  EXPECT_EQ(verify(dir), "");
  for (const auto& name : names) ASSERT_EQ(api.call("PUT", "/kv/k?db=" + encode(name), "2", "text/plain").status, 200);
  EXPECT_NE(restore(dir).find("sqlite/2"), std::string::npos);
  for (const auto& name : names) EXPECT_EQ(api.call("GET", "/kv/k?db=" + encode(name)).body, "1") << name;
  EXPECT_TRUE(fs::exists(api.path("databases/a\xff.db")));
}

TEST_F(SnapshotSet, ADamagedOneIsRefusedAndNothingChanges) {
  const auto write = [](const std::string& path, std::string_view text) { std::ofstream(path, std::ios::trunc | std::ios::binary) << text; };
  const std::string good = folder("good");
  take(good);
  const std::vector<std::pair<const char*, std::function<void(const std::string&)>>> damages{
      {"no database of a name", [](const std::string& d) { fs::remove(d + "/2.sqlite"); }},
      {"a database without a name", [](const std::string& d) { fs::copy_file(d + "/1.sqlite", d + "/3.sqlite"); }},
      {"no list", [](const std::string& d) { fs::remove(d + "/data.sqlite"); }},
      {"not JSON", [&](const std::string& d) { write(d + "/databases.json", "["); }},
      {"a name that leads out", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":["../data.sqlite","b.sqlite"]})"); }},
      {"an absolute name", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":["/etc/x","b.sqlite"]})"); }},
      {"a hidden name", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":[".x","b.sqlite"]})"); }},
      {"a log's name", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":["b.sqlite-wal","b.sqlite"]})"); }},
      {"one name twice", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":["b.sqlite","b.sqlite"]})"); }},
      {"a name inside of a file", [&](const std::string& d) { write(d + "/databases.json", R"({"databases":["b","b/c"]})"); }},
      {"no database", [&](const std::string& d) { write(d + "/2.sqlite", "text"); }},
      {"a link", [](const std::string& d) { fs::remove(d + "/2.sqlite"); fs::create_symlink("1.sqlite", d + "/2.sqlite"); }},
  };
  change();
  for (const auto& [what, damage] : damages) {
    SCOPED_TRACE(what);
    const std::string dir = folder("bad");
    fs::remove_all(dir);
    fs::copy(good, dir);
    damage(dir);
    EXPECT_NE(verify(dir), "");
    const std::string said = restore(dir);
    EXPECT_EQ(said.find("format"), std::string::npos) << said;
    EXPECT_EQ(values(), kAfter);
  }
  restore(good);
  EXPECT_EQ(values(), kBefore);
}

TEST_F(SnapshotSet, ALogThatACrashLeftStaysWithItsDatabase) {
  const std::string dir = folder("one");
  take(dir);
  put("app.db", "app-2");
  const std::string wal = api.path("databases/app.db-wal");
  ASSERT_TRUE(fs::exists(wal));
  const std::string kept = api.path("kept");
  fs::copy_file(wal, kept);
  api.close();
  fs::copy_file(kept, wal, fs::copy_options::overwrite_existing);
  restore_as_it_is(dir);
  EXPECT_FALSE(fs::exists(wal)) << "it would be played into the restored database";
  api.open();
  EXPECT_EQ(values(), kBefore);
  restore(dir);
  EXPECT_EQ(values(), "main-1 app-2 b-1 404 ");
}

std::uint64_t inode_of(const fs::path& path) {
  struct stat st {};
  EXPECT_EQ(::stat(path.c_str(), &st), 0) << path;
  return st.st_ino;
}

// A restore as it stands after each of its steps that a crash can part: what comes next finishes it.
TEST_F(SnapshotSet, AnInterruptedRestoreIsFinished) {
  for (const bool by_open : {true, false})
    for (int step = 0; step < 5; ++step) {
      SCOPED_TRACE(std::to_string(step) + (by_open ? " open" : " the same restore"));
      if (!by_open && step == 4) continue;  // whoever restores sees by then that it was made
      Sample w;
      const std::string dir = w.folder("one");
      w.take(dir);
      w.change();
      const std::string taken = w.folder("now");
      w.take(taken);
      w.api.close();
      const fs::path storage = w.api.folder(), other = storage / "databases.restore", folder = storage / "databases", kept = storage / "replaced.restore";
      fs::create_directory(other);
      fs::create_hard_link(dir + "/1.sqlite", other / "app.db");
      fs::create_hard_link(dir + "/2.sqlite", other / "b.sqlite");
      fs::copy(taken, kept);
      if (step > 0)
        std::ofstream(storage / "restore.json") << Json{{"dir", dir}, {"main", inode_of(dir + "/data.sqlite")}, {"folder", inode_of(other)}, {"kept", inode_of(kept)}};
      const auto exchange = [&](const fs::path& a, const fs::path& b) {
        fs::rename(a, storage / "third");
        fs::rename(b, a);
        fs::rename(storage / "third", b);
      };
      if (step > 1) exchange(other, folder);
      if (step > 2) {
        fs::remove(storage / "data.sqlite");
        fs::create_hard_link(fs::path(dir) / "data.sqlite", storage / "data.sqlite");
      }
      if (step > 3) exchange(kept, dir);
      if (!by_open) {
        EXPECT_NE(w.restore_as_it_is(dir).find("sqlite/2"), std::string::npos);
      }
      w.api.open();
      EXPECT_EQ(w.values(), by_open && step == 0 ? kAfter : kBefore);
      for (const char* left : {"databases.restore", "replaced.restore", "data.restore", "restore.json"})
        EXPECT_FALSE(fs::exists(storage / left)) << left;
      EXPECT_EQ(w.verify(dir), "");
      w.restore(dir);
      EXPECT_EQ(w.values(), by_open && step == 0 ? kBefore : kAfter);
    }
}

TEST_F(SnapshotSet, AnInterruptedRestoreWhoseCopyIsGoneIsTakenBack) {
  const fs::path storage = api.folder(), other = storage / "databases.restore", kept = storage / "replaced.restore";
  const std::string dir = folder("one");
  take(dir);
  api.close();
  // Both were exchanged, the staging folder is gone.
  fs::rename(storage / "databases", other);
  fs::create_directory(storage / "databases");
  fs::create_directory(kept);
  fs::rename(storage / "data.sqlite", kept / "data.sqlite");
  fs::copy(dir + "/1.sqlite", storage / "data.sqlite");
  std::ofstream(storage / "restore.json") << Json{{"dir", (storage / "gone").string()}, {"main", inode_of(storage / "data.sqlite")},
                                                  {"folder", inode_of(storage / "databases")}, {"kept", inode_of(kept)}};
  EXPECT_FALSE(api::finish_restore(storage.string())) << "what was there is whole again, so the add-on opens";
  EXPECT_FALSE(fs::exists(storage / "restore.json"));
  api.open();
  EXPECT_EQ(values(), kBefore);
}

}  // namespace
}  // namespace via::sqlite::test
