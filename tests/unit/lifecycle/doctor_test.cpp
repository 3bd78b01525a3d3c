#include <fcntl.h>
#include <sys/stat.h>

#include <fstream>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Doctor : ::testing::Test {
  World w{true};
  void SetUp() override {
    ::chmod(w.folder.path().c_str(), 0700);
    for (const char* part : {"keys", "addons", "runtimes", "logs"}) {
      fs::create_directories(w.folder.path() / part);
      ::chmod((w.folder.path() / part).c_str(), 0700);
    }
    ASSERT_TRUE(write_file_atomic(w.folder.path() / "keys" / "master.key", std::string(43, 'A')));
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    make_private();
  }
  // The fake add-on makes its folders as the umask has it; a host has umask 077.
  void make_private() {
    for (const auto& entry : fs::recursive_directory_iterator(w.folder.path() / "addons"))
      ::chmod(entry.path().c_str(), entry.is_directory() ? 0700 : 0600);
  }
  json check(const std::string& name, bool fix = false) {
    const json out = w.must("doctor", fix ? json{{"fix", true}} : json::object());
    for (const auto& one : out["checks"])
      if (one["name"] == name) return one;
    ADD_FAILURE() << "no check " << name << " in " << out;
    return json::object();
  }
  std::string addon_id() { return w.must("addon.status", {{"name", "db"}})["id"]; }
  void make_old(const fs::path& path) {
    const timespec times[2] = {{1'000'000, 0}, {1'000'000, 0}};
    ::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
  }
};

TEST_F(Doctor, HealthyHostHasNothingToSay) {
  const json out = w.must("doctor");
  for (const auto& one : out["checks"]) {
    if (one["name"] != "disk") {
      EXPECT_EQ(one["ok"], true) << one;
    }
    EXPECT_EQ(one["detail"].get<std::string>().find(w.folder.path().string()), std::string::npos) << one;
  }
}

TEST_F(Doctor, OpenFilesAndFoldersAreFoundAndClosed) {
  ::chmod((w.folder.path() / "keys").c_str(), 0755);
  ::chmod((w.folder.path() / "control-plane.db").c_str(), 0644);
  EXPECT_EQ(check("folders")["ok"], false);
  EXPECT_EQ(check("private_files")["next"], "via doctor --fix");
  EXPECT_NE(check("private_files")["detail"].get<std::string>().find("control-plane.db"), std::string::npos);
  EXPECT_EQ(check("folders", true)["fixed"], true);
  struct stat st {};
  ::stat((w.folder.path() / "keys").c_str(), &st);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
  ::stat((w.folder.path() / "control-plane.db").c_str(), &st);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_EQ(check("private_files")["ok"], true);
  EXPECT_EQ(w.must("audit.list", {{"target", "host"}})["items"][0]["action"], "doctor.fix");
}

TEST_F(Doctor, StorageWithoutARecordIsCountedAndNeverRemoved) {
  const fs::path stray = w.folder.path() / "addons" / "box" / "addon_stray";
  fs::create_directories(stray);
  std::ofstream(stray / "data") << "12345";
  make_private();
  const json found = check("storage", true);
  EXPECT_EQ(found["ok"], false);
  EXPECT_NE(found["detail"].get<std::string>().find("addons/box/addon_stray"), std::string::npos);
  EXPECT_NE(found["detail"].get<std::string>().find("5 bytes"), std::string::npos);
  EXPECT_TRUE(fs::exists(stray / "data"));
}

TEST_F(Doctor, RecordWithoutStorageIsFound) {
  fs::remove_all(w.addons.folder(addon_id()));
  EXPECT_NE(check("storage")["detail"].get<std::string>().find("'db'"), std::string::npos);
}

TEST_F(Doctor, SnapshotFilesAreComparedWithTheirRows) {
  const std::string id = w.must("addon.snapshot", {{"name", "db"}})["id"];
  make_private();
  EXPECT_EQ(check("snapshots")["ok"], true);
  std::ofstream(w.addons.folder(addon_id()) / "snapshots" / (id + ".box")) << "x";
  EXPECT_NE(check("snapshots")["detail"].get<std::string>().find(id), std::string::npos);
}

TEST_F(Doctor, OldLeftoversGoAndFreshOnesStay) {
  const fs::path old_partial = w.folder.path() / "keys" / ".x.partial", fresh = w.folder.path() / "keys" / ".y.partial";
  const fs::path staging = w.addons.folder(addon_id()) / ".restore-op_gone", dead = w.folder.path() / "runtimes" / "ins_dead";
  ASSERT_TRUE(write_file_atomic(fresh, ""));
  ASSERT_TRUE(write_file_atomic(old_partial, ""));
  for (const auto& folder : {staging, dead}) {
    ASSERT_TRUE(make_private_folder(folder));
    make_old(folder);
  }
  make_old(old_partial);
  const std::int64_t hour_ago = w.clock.unix_ms() - 60'000;
  const timespec times[2] = {{hour_ago / 1000, 0}, {hour_ago / 1000, 0}};
  ::utimensat(AT_FDCWD, fresh.c_str(), times, 0);
  EXPECT_EQ(check("leftovers")["ok"], false);
  const json fixed = check("leftovers", true);
  EXPECT_EQ(fixed["fixed"], true) << fixed;
  for (const auto& gone : {old_partial, staging, dead}) EXPECT_FALSE(fs::exists(gone)) << gone;
  EXPECT_TRUE(fs::exists(fresh));
}

TEST_F(Doctor, LeftoverOfAnUnfinishedOperationStays) {
  store::Operation row;
  row.id = "op_open";
  row.kind = "addon.restore";
  row.target = addon_id();
  row.actor = "root";
  row.state = "running";
  ASSERT_TRUE(w.store->journal().add(row));
  const fs::path staging = w.addons.folder(addon_id()) / ".restore-op_open";
  ASSERT_TRUE(make_private_folder(staging));
  make_old(staging);
  EXPECT_EQ(check("leftovers", true)["ok"], true);
  EXPECT_TRUE(fs::exists(staging));
  EXPECT_EQ(check("operations")["ok"], false);
}

TEST_F(Doctor, MissingMasterKeyIsFound) {
  fs::remove(w.folder.path() / "keys" / "master.key");
  EXPECT_EQ(check("master_key")["ok"], false);
}

TEST_F(Doctor, BrokenAuditChainIsFound) {
  ASSERT_TRUE(w.store->db().script("DROP TRIGGER audit_is_append_only_1; UPDATE audit SET actor='x' WHERE sequence=1;"));
  EXPECT_EQ(check("audit")["ok"], false);
}

TEST_F(Doctor, ProcessThatOughtToRunIsNamed) {
  const std::string id =
      w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}})["instances"][0]["id"];
  EXPECT_EQ(check("instances")["ok"], true);
  w.launcher.running.clear();
  EXPECT_NE(check("instances")["detail"].get<std::string>().find(id), std::string::npos);
}

TEST_F(Doctor, StatusTellsWhatIsDrainedAndHowOldTheBackupIs) {
  w.must("addon.drain", {{"name", "db"}});
  const json out = w.must("status");
  std::map<std::string, json> checks;
  for (const auto& one : out["checks"]) checks[one["name"]] = one;
  EXPECT_EQ(checks["drained"]["ok"], false);
  EXPECT_NE(checks["backup"]["detail"].get<std::string>().find("via backup create"), std::string::npos);
  EXPECT_EQ(checks["operations"]["ok"], true);
  EXPECT_TRUE(checks.contains("disk"));
}

}  // namespace
}  // namespace via::test
