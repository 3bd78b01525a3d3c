#include "core/store/store.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "core/store/schema.hpp"
#include "support/fakes.hpp"

namespace via::store {
namespace {

namespace fs = std::filesystem;

struct StoreTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  Result<std::unique_ptr<Store>> open() { return Store::open(folder.path(), clock, entropy); }
  fs::path file() const { return folder.path() / "control-plane.db"; }
};

TEST_F(StoreTest, FreshFolderGetsADatabaseThatKeepsItsInstallation) {
  std::string installation;
  {
    auto store = open();
    ASSERT_TRUE(store) << store.error().message;
    installation = (*store)->meta().installation;
    EXPECT_EQ(installation.size(), 26U);
    EXPECT_EQ((*store)->meta().epoch, 1);
  }
  auto again = open();
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ((*again)->meta().installation, installation);
}

TEST_F(StoreTest, CrashWhileCreatingLeavesAFolderThatIsStillFresh) {
  std::ofstream(folder.path() / ".control-plane.db.partial") << "half";
  std::ofstream(folder.path() / ".control-plane.db.partial-wal") << "half";
  ASSERT_TRUE(open());
}

TEST_F(StoreTest, EmptyKeysFolderIsStillFresh) {
  fs::create_directory(folder.path() / "keys");
  EXPECT_TRUE(open());
}

TEST_F(StoreTest, MissingDatabaseInAUsedFolderIsAnError) {
  for (const char* used : {"keys/a.pem", "addons/x/y"}) {
    test::TemporaryFolder other;
    fs::create_directories((other.path() / used).parent_path());
    std::ofstream(other.path() / used) << "x";
    const auto store = Store::open(other.path(), clock, entropy);
    ASSERT_FALSE(store) << used;
    EXPECT_NE(store.error().message.find("missing"), std::string::npos);
    EXPECT_FALSE(fs::exists(other.path() / "control-plane.db"));
  }
}

TEST_F(StoreTest, NewerSchemaIsRefused) {
  ASSERT_TRUE(open());
  {
    auto db = Database::open(file(), Database::Mode::must_exist);
    ASSERT_TRUE(db);
    ASSERT_TRUE((*db)->script("PRAGMA user_version = 999"));
  }
  const auto store = open();
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Code::unsupported);
  EXPECT_NE(store.error().message.find("newer Via"), std::string::npos);
}

TEST_F(StoreTest, DatabaseOfAnotherApplicationIsRefused) {
  ASSERT_TRUE(Database::open(file(), Database::Mode::create));
  EXPECT_FALSE(open());
}

TEST_F(StoreTest, EmptyFileIsNoFreshDatabase) {
  std::ofstream(file()).close();
  fs::permissions(file(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_FALSE(open());
}

TEST_F(StoreTest, TruncatedDatabaseIsRefused) {
  ASSERT_TRUE(open());
  fs::resize_file(file(), fs::file_size(file()) / 2);
  EXPECT_FALSE(open());
}

TEST_F(StoreTest, OverwrittenPagesAreRefused) {
  ASSERT_TRUE(open());
  {
    std::fstream out(file(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string junk(4096, '\xff');
    for (int page : {1, 2, 3, 4, 5}) {
      out.seekp(page * 4096);
      out.write(junk.data(), static_cast<std::streamsize>(junk.size()));
    }
  }
  EXPECT_FALSE(open());
}

TEST_F(StoreTest, JournalKeepsWhatWasNotFinished) {
  auto store = open();
  ASSERT_TRUE(store);
  Journal journal = (*store)->journal();
  for (const char* id : {"op_1", "op_2"}) {
    Operation operation;
    operation.id = id;
    operation.kind = "test";
    operation.target = "target";
    operation.state = "running";
    ASSERT_TRUE(journal.add(operation));
    ASSERT_TRUE(journal.add_step(id, "first", 2));
  }
  ASSERT_TRUE(journal.finish("op_1", {"done", "ok", R"({"a":1})", ""}, 5));
  const auto left = journal.unfinished();
  ASSERT_TRUE(left);
  ASSERT_EQ(left->size(), 1U);
  EXPECT_EQ(left->front().id, "op_2");
  EXPECT_EQ(left->front().log, R"([{"name":"first","at":2}])");
  EXPECT_EQ((*journal.find("op_1"))->finished_at, 5);
  EXPECT_EQ((*journal.find("op_1"))->result, R"({"a":1})");
}

// A database of schema 1, as an earlier version left it: rows of every table that is rebuilt, and references to them.
TEST_F(StoreTest, SchemaOneIsBroughtToTheNewestWithItsRows) {
  {
    auto store = open();
    ASSERT_TRUE(store);
    auto& db = (*store)->db();
    ASSERT_TRUE(db.script(R"sql(
      PRAGMA foreign_keys=OFF;
      DROP TABLE snapshots; DROP TABLE backups;
      ALTER TABLE config_values DROP COLUMN sealed;
      ALTER TABLE addons DROP COLUMN drained; ALTER TABLE addons DROP COLUMN destroyed_at;
      ALTER TABLE addons DROP COLUMN final_snapshot; ALTER TABLE addons DROP COLUMN storage_schema;
      ALTER TABLE trusted_plugins DROP COLUMN version; ALTER TABLE trusted_plugins DROP COLUMN previous;
      ALTER TABLE trusted_plugins DROP COLUMN operation; DROP TABLE plugin_versions; DROP TABLE plugin_keys;
      INSERT INTO trusted_plugins VALUES ('acme.notes', 'aa', '/opt/notes', 1, 1);
      ALTER TABLE deploys DROP COLUMN check_command; ALTER TABLE deploys DROP COLUMN check_result; ALTER TABLE deploys DROP COLUMN sandbox;
      ALTER TABLE releases DROP COLUMN rollback_of;
      DROP INDEX operations_by_key; DROP INDEX operations_by_target;
      ALTER TABLE operations DROP COLUMN log; ALTER TABLE operations DROP COLUMN result;
      ALTER TABLE operations DROP COLUMN error; ALTER TABLE operations DROP COLUMN idempotency_key;
      INSERT INTO apps (id, name, created_at, current_release) VALUES ('app_1', 'api', 1, 'rel_1');
      INSERT INTO deploys VALUES ('dep_1', 'app_1', 'succeeded', 1, '[]', '/', 0, '{}', 'rel_1');
      INSERT INTO releases VALUES ('rel_1', 'app_1', 1, 'dep_1', 'current', 1, 0);
      INSERT INTO instances (id, app_id, deploy_id, release_id, driver, state, wanted, created_at)
        VALUES ('ins_1', 'app_1', 'dep_1', 'rel_1', 'external', 'running', 1, 1);
      INSERT INTO operations (id, kind, target, actor, state, created_at) VALUES ('op_1', 'k', 't', 'root', 'done', 1);
      DROP TABLE shares;
      DROP INDEX apps_by_uid; ALTER TABLE apps DROP COLUMN uid; ALTER TABLE apps DROP COLUMN sandbox;
      ALTER TABLE instances DROP COLUMN reason;
      PRAGMA user_version=1;)sql"));
  }
  auto store = open();
  ASSERT_TRUE(store) << store.error().message;
  auto& db = (*store)->db();
  const auto number = [&](std::string_view sql) {
    return (*db.one([](const Row& r) { return r.integer(0); }, sql)).value_or(-1);
  };
  EXPECT_EQ(number("PRAGMA user_version"), kSchemaVersion);
  EXPECT_EQ(number("SELECT count(*) FROM instances i JOIN releases r ON r.id=i.release_id JOIN deploys d ON d.id=r.deploy_id"), 1);
  EXPECT_EQ((*(*store)->journal().find("op_1"))->log, "[]");
  EXPECT_EQ((*(*store)->pins().find("acme.notes"))->file, "/opt/notes");
  EXPECT_FALSE(db.run("INSERT INTO deploys (id, app_id, status, created_at, command, cwd, replicas, env, release_id) "
                      "VALUES ('dep_2', 'nobody', 'running', 1, '[]', '/', 0, '{}', 'rel_2')"))
      << "references are enforced again";
  EXPECT_TRUE(db.run("UPDATE releases SET status='pending' WHERE id='rel_1'"));
}

TEST_F(StoreTest, PinKeepsOneDecisionForEachPlugin) {
  auto store = open();
  ASSERT_TRUE(store);
  ASSERT_TRUE((*store)->pins().put({"a.b", "11", "/x", true, 1}));
  ASSERT_TRUE((*store)->pins().put({"a.b", "22", "", false, 2}));
  const auto pins = (*store)->load_pins();
  ASSERT_TRUE(pins);
  ASSERT_EQ(pins->size(), 1U);
  EXPECT_EQ(pins->front().sha256, "22");
  EXPECT_FALSE(pins->front().trusted);
}

}  // namespace
}  // namespace via::store
