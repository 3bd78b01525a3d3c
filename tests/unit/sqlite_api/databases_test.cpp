// What database names mean, and that one file is one database however it is named.
#include "tests/unit/sqlite_api/api_fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace via::sqlite::test {
namespace {

namespace fs = std::filesystem;

std::string insert(const std::string& value) {
  return Json{{"transaction", {Json{{"statement", "CREATE TABLE IF NOT EXISTS t(x)"}}, Json{{"statement", "INSERT INTO t VALUES(?)"}, {"values", {value}}}}}}.dump();
}

class Names : public ::testing::Test {
 protected:
  HttpAnswer write(DataApi& a, const std::string& db, const std::string& value, const std::string& more = "&create_db_if_missing=true") {
    return a.call("POST", "/db?db=" + encode(db) + more, insert(value));
  }
  std::string all(DataApi& a, const std::string& db) {
    return a.call("GET", "/query?sql=" + encode("SELECT group_concat(x) AS x FROM t") + (db.empty() ? "" : "&db=" + encode(db))).json()["resultSet"][0].value("x", "");
  }
  DataApi kit{{.kit = true}};
};

TEST_F(Names, OfOneFileAreOneDatabase) {
  EXPECT_EQ(write(kit, "app", "1").status, 200);
  EXPECT_EQ(write(kit, "./app", "2").status, 200);
  EXPECT_EQ(write(kit, "app.db", "3").status, 200);
  EXPECT_EQ(write(kit, "/hoody/databases/app.db", "4").status, 200);
  EXPECT_EQ(write(kit, "/hoody//databases/./app.db", "5").status, 200);
  fs::create_symlink("app.db", kit.path("link.db"));
  fs::create_symlink(kit.path("app.db"), kit.path("absolute.db"));
  EXPECT_EQ(write(kit, "link", "6").status, 200);
  EXPECT_EQ(write(kit, "absolute", "7").status, 200);
  EXPECT_EQ(all(kit, "app"), "1,2,3,4,5,6,7");
  EXPECT_TRUE(fs::is_regular_file(kit.path("app.db")));
  struct stat st {};
  ASSERT_EQ(::stat(kit.path("app.db").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(Names, OfDatabasesThatWereRemovedAreFree) {
  ASSERT_EQ(write(kit, "app", "1").status, 200);
  ASSERT_TRUE(fs::exists(kit.path("app.db-wal")));
  EXPECT_EQ(kit.call(DataApi::Caller{true, {}}, "DELETE", "/db?db=app").status, 403);
  EXPECT_EQ(kit.call("DELETE", "/db?db=app").json(), Json({{"success", true}, {"deleted", true}}));
  EXPECT_TRUE(fs::is_empty(kit.folder())) << "nor a log, nor a history";
  EXPECT_EQ(kit.call("DELETE", "/db?db=app").error(), "database not found");
  EXPECT_EQ(kit.call("DELETE", "/db").error(), "db is required");
  std::ofstream(kit.path("notes.txt")) << "not a database, and mine";
  EXPECT_EQ(kit.call("DELETE", "/db?db=notes.txt").status, 400);
  EXPECT_TRUE(fs::exists(kit.path("notes.txt")));
  fs::create_directory(kit.path("folder"));
  EXPECT_EQ(kit.call("DELETE", "/db?db=/hoody/databases/folder").status, 400);
  ASSERT_EQ(write(kit, "app", "2").status, 200);
  EXPECT_EQ(all(kit, "app"), "2");
  fs::create_symlink("app.db", kit.path("other.db"));
  EXPECT_EQ(kit.call("DELETE", "/db?db=other").error(), "the database path is a link; remove the database by its own name");
  EXPECT_EQ(all(kit, "app"), "2");
  DataApi addon;
  EXPECT_EQ(addon.call("DELETE", "/db").status, 403) << "its own is the operator's";
}

TEST_F(Names, AreRefusedWithTheExactTexts) {
  const auto error = [&](const std::string& db) {
    const HttpAnswer r = write(kit, db, "x");
    EXPECT_EQ(r.status, 400) << db;
    return r.error();
  };
  EXPECT_EQ(error(":memory:"), "in-memory databases are not supported");
  EXPECT_EQ(error(""), "in-memory databases are not supported");
  EXPECT_EQ(error("/tmp/x.db"), "absolute database paths outside /hoody/databases are disallowed");
  EXPECT_EQ(error("/hoody/databasesx/y.db"), "absolute database paths outside /hoody/databases are disallowed");
  EXPECT_EQ(error("/hoody/databases/../x.db"), "the database path must not contain ..");
  const std::string long_name(300, 'a');
  for (const std::string& db : std::vector<std::string>{"a/b", "../x", "a\\b", "./a/b", "..", ".", "./", ".hidden", "x.db-wal", "x-journal", "/hoody/databases/x.db-shm", "file:x.db?mode=memory",
                               "a\nb", long_name, "/hoody/databases", "/hoody/databases/no/x.db"})
    error(db);
  EXPECT_TRUE(fs::is_empty(kit.folder()));
}

TEST_F(Names, OfLinksThatLeadOutsideAreRefused) {
  DataApi other({.kit = true});
  EXPECT_EQ(write(other, "x", "secret").status, 200);
  fs::create_symlink(other.path("x.db"), kit.path("out.db"));
  fs::create_symlink(other.folder(), kit.path("folder"));
  fs::create_symlink("nothing", kit.path("broken.db"));
  fs::create_symlink("loop.db", kit.path("loop.db"));
  for (const std::string db : {"out", "/hoody/databases/folder/x.db", "/hoody/databases/folder/new.db", "broken", "loop"}) EXPECT_EQ(write(kit, db, "y").status, 400) << db;
  EXPECT_EQ(all(other, "x"), "secret");
  EXPECT_FALSE(fs::exists(other.path("new.db")));
  fs::create_hard_link(other.path("x.db"), kit.path("hard.db"));
  EXPECT_EQ(write(kit, "hard", "y").status, 400);
}

TEST_F(Names, MayBeAnyAbsolutePathWhenTheKitSaysSo) {
  DataApi free({.kit = true, .any_absolute = true});
  DataApi folder({.kit = true});
  EXPECT_EQ(write(free, folder.path("abs.sqlite"), "1").status, 200);
  EXPECT_EQ(all(free, folder.path("abs.sqlite")), "1");
  EXPECT_EQ(write(free, "/hoody/databases/in.db", "2").status, 200);
  EXPECT_TRUE(fs::exists(free.path("in.db")));
  EXPECT_EQ(write(free, folder.path("no/such/folder.db"), "1").error(), "the folder of the database does not exist");
}

TEST_F(Names, OfMissingDatabasesAreNotFound) {
  const HttpAnswer r = write(kit, "none", "x", "");
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(r.error(), "database not found");
  EXPECT_EQ(write(kit, "none", "x", "&auto_create=true&create_db_if_missing=false").error(), "conflicting flags: create_db_if_missing and auto_create must match");
  EXPECT_EQ(write(kit, "none", "x", "&auto_create=false&create_db_if_missing=0").status, 404);
  EXPECT_EQ(write(kit, "none", "x", "&auto_create=true").status, 200);
  EXPECT_EQ(kit.call("POST", "/db", insert("x")).error(), "db is required");
  EXPECT_EQ(kit.call("GET", "/query?sql=SELECT+1&db=other").status, 404);
}

TEST_F(Names, OfOtherFilesAreRefused) {
  std::ofstream(kit.path("text.db")) << "this is certainly no database at all";
  std::ofstream(kit.path("empty.db"));
  fs::create_directory(kit.path("dir.db"));
  ASSERT_EQ(::mkfifo(kit.path("pipe.db").c_str(), 0600), 0);
  EXPECT_EQ(write(kit, "text", "x").error(), "the file is not a database");
  EXPECT_EQ(write(kit, "dir.db", "x").status, 400);
  EXPECT_EQ(write(kit, "pipe", "x").status, 400);
  EXPECT_EQ(write(kit, "empty", "x").status, 200);
}

TEST_F(Names, AreOneDatabaseForAllThatMakeItAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&, i] { EXPECT_EQ(write(kit, "race", std::to_string(i)).status, 200); });
  for (auto& t : threads) t.join();
  EXPECT_EQ(kit.call("GET", "/query?db=race&sql=" + encode("SELECT count(DISTINCT x) AS n FROM t")).json()["resultSet"][0]["n"], 8);
  for (const auto& e : fs::directory_iterator(kit.folder())) EXPECT_FALSE(e.path().filename().string().starts_with(".")) << e.path();
}

TEST_F(Names, CanBeTakenAwayAndMadeAgain) {
  EXPECT_EQ(write(kit, "gone", "old").status, 200);
  kit.host.executor().wait_idle();
  fs::remove(kit.path("gone.db"));
  EXPECT_EQ(kit.call("GET", "/query?db=gone&sql=SELECT+1").status, 404);
  EXPECT_EQ(write(kit, "gone", "new").status, 200);
  EXPECT_EQ(all(kit, "gone"), "new");
}

TEST(AddonDatabases, AreItsOwnFileAndAFolderBesideIt) {
  DataApi a;
  EXPECT_EQ(a.call("POST", "/db", insert("own")).status, 200);
  EXPECT_EQ(a.call("POST", "/db/create?path=other").body, R"({"success":true,"path":"other.db","created":true})");
  EXPECT_EQ(a.call("POST", "/db/create?path=other").body, R"({"success":true,"path":"other.db","created":false})");
  EXPECT_EQ(a.call("POST", "/db?db=other", insert("second")).status, 200);
  EXPECT_TRUE(fs::exists(a.path("data.sqlite")));
  EXPECT_TRUE(fs::exists(a.path("databases/other.db")));
  const auto value = [&](const std::string& db) {
    return a.call("GET", "/query?sql=SELECT+x+FROM+t" + db).json()["resultSet"][0]["x"];
  };
  EXPECT_EQ(value(""), "own");
  EXPECT_EQ(value("&db=other"), "second");
  a.reopen();
  EXPECT_EQ(value(""), "own");
  EXPECT_EQ(value("&db=other"), "second");
}

TEST(AddonDatabases, AreMadeWithTheirKeyValueTable) {
  DataApi a;
  EXPECT_EQ(a.call("POST", "/db/create?path=kv&init_kv=true&kv_table=things").body, R"({"success":true,"path":"kv.db","created":true,"kv_table":"things"})");
  EXPECT_EQ(a.call("GET", "/query?db=kv&sql=SELECT+count(*)+AS+n+FROM+things").json()["resultSet"][0]["n"], 0);
  EXPECT_EQ(a.call("POST", "/db/create", R"({"path":"/hoody/databases/body.db","init_kv":true})").body,
            R"({"success":true,"path":"/hoody/databases/body.db","created":true,"kv_table":"kv_store"})");
  EXPECT_EQ(a.call("POST", "/db/create?path=kv&init_kv=true&kv_table=sqlite_x").error(), "invalid table name");
  EXPECT_EQ(a.call("POST", "/db/create", R"({"path":"kv\u0000.other"})").error(), "the database name holds a control character");
  EXPECT_EQ(a.call("POST", "/db/create", R"({"path":"kv","init_kv":true,"kv_table":"a\u0000b"})").error(), "invalid table name");
  EXPECT_EQ(a.call("POST", "/db/create").error(), "path is required");
  EXPECT_EQ(a.call("POST", "/db/create?path=/etc/x.db").error(), "absolute database paths outside /hoody/databases are disallowed");
}

TEST(AddonDatabases, AreReachedByTheNamesOfTheirFiles) {
  DataApi a;
  const auto create = [&](const std::string& name) { return a.call("POST", "/db/create?path=" + name); };
  EXPECT_EQ(create(std::string(197, 'n')).status, 200);
  EXPECT_EQ(a.call("GET", "/query?sql=SELECT+1&db=/hoody/databases/" + std::string(197, 'n') + ".db").status, 200);
  EXPECT_EQ(create(std::string(198, 'n')).error(), "the database name is too long") << "with its .db";
  EXPECT_EQ(create(std::string(198, 'n') + ".d").status, 200);
  EXPECT_EQ(create(std::string(199, 'n') + ".d").error(), "the database name is too long");
}

TEST(AddonDatabases, ShareOneQuota) {
  DataApi a({.quota = 1 << 20});
  const auto fill = [&](const std::string& db, int bytes) {
    const Json body{{"transaction", {Json{{"statement", "CREATE TABLE IF NOT EXISTS t(x)"}}, Json{{"statement", "INSERT INTO t VALUES(zeroblob(" + std::to_string(bytes) + "))"}}}}};
    return a.call("POST", "/db?create_db_if_missing=true" + db, body.dump());
  };
  EXPECT_EQ(fill("", 300'000).status, 200);
  EXPECT_EQ(fill("&db=two", 400'000).status, 200);
  EXPECT_EQ(fill("&db=two", 500'000).status, 429);
  EXPECT_EQ(fill("", 500'000).status, 429);
  EXPECT_EQ(fill("", 100'000).status, 200);
}

TEST(AddonDatabases, AreAsFewAsACapabilityUrlSays) {
  DataApi a;
  a.call("POST", "/db", insert("own"));
  a.call("POST", "/db?db=shared&create_db_if_missing=1", insert("shared"));
  DataApi::Caller url;
  url.limits = {{"db", "shared"}};
  EXPECT_EQ(a.call(url, "GET", "/query?sql=SELECT+x+FROM+t").json()["resultSet"][0]["x"], "shared");
  EXPECT_EQ(a.call(url, "GET", "/query?sql=SELECT+x+FROM+t&db=/hoody/databases/shared.db").status, 200);
  EXPECT_EQ(a.call(url, "GET", "/query?sql=SELECT+x+FROM+t&db=other").status, 403);
  EXPECT_EQ(a.call(url, "POST", "/db/create?path=other").status, 403);
  DataApi::Caller own;
  own.limits = {{"db", "data.sqlite"}};
  EXPECT_EQ(a.call(own, "GET", "/query?sql=SELECT+x+FROM+t").json()["resultSet"][0]["x"], "own");
  EXPECT_EQ(a.call(own, "GET", "/query?sql=SELECT+x+FROM+t&db=shared").status, 403);
}

TEST(AddonDatabases, AreReachedByReadersOnlyWhenTheyAreThere) {
  DataApi a;
  DataApi::Caller reader;
  reader.read_only = true;
  EXPECT_EQ(a.call(reader, "POST", "/db?db=new&create_db_if_missing=true", R"({"transaction":[]})").status, 404);
  EXPECT_EQ(a.call(reader, "POST", "/db/create?path=new").status, 403);
  EXPECT_FALSE(fs::exists(a.path("databases")));
}

}  // namespace
}  // namespace via::sqlite::test
