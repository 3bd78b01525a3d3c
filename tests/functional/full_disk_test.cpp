// A host whose disk is full: it says so everywhere, begins nothing new, and what stops, revokes, destroys and deletes still works.
// The disk is a small one of the test's own, in a mount namespace that ends with it.
#include "functional/routes.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "core/base/disk_reserve.hpp"
#include "core/base/files.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

class FullStateDisk : public World {
 protected:
  void SetUp() override {
    if (::geteuid() != 0 || ::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("disk", host.state_dir().c_str(), "tmpfs", 0, "size=40m,mode=0700") != 0)
      GTEST_SKIP() << "a disk of its own needs root";
    mounted_ = true;
    host.configure("sandbox = \"off\"\n");  // what is launched here writes beside the full disk
    ASSERT_TRUE(host.start()) << host.log();
  }
  void TearDown() override {
    host.kill();
    if (mounted_) ::umount2(host.state_dir().c_str(), MNT_DETACH);
  }
  fs::path filler() const { return host.state_dir() / "filler"; }
  // To the last byte.
  void fill() {
    const FileHandle file(::open(filler().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    for (const std::size_t piece : {std::size_t{1} << 20, std::size_t{4096}, std::size_t{1}}) {
      const std::string bytes(piece, 'x');
      while (::write(file.get(), bytes.data(), bytes.size()) > 0) {
      }
    }
    struct statvfs disk {};
    ASSERT_EQ(::statvfs(host.state_dir().c_str(), &disk), 0);
    ASSERT_EQ(disk.f_bavail, 0U);
  }
  void free_space() { fs::remove(filler()); }
  bool has_reserve() const { return fs::exists(host.state_dir() / "reserve"); }
  json disk_check() {
    const json status = admin("status");
    for (const json& check : status["checks"])
      if (check["name"] == "disk") return check;
    return {};
  }
  std::set<std::string> audited() {
    std::set<std::string> out;
    const json list = admin("audit.list", {{"limit", 1000}});
    for (const json& entry : list["items"])
      if (entry["outcome"] == "ok") out.insert(entry["action"].get<std::string>());
    return out;
  }

 private:
  bool mounted_ = false;
};

TEST_F(FullStateDisk, RefusesWhatBeginsSomethingAndDoesWhatEndsSomething) {
  EXPECT_TRUE(has_reserve());
  const Runtime api = app_with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t(b) VALUES('kept')").status, 200);
  const Runtime other = app_with_database("other");
  const json snapshot = admin("addon.snapshot", {{"name", "api-db"}});
  const json share = admin("addon.share", {{"name", "api-db"}});
  admin("app.create", {{"name", "loose"}});
  admin("addon.create", {{"type", "sqlite"}, {"name", "loose-db"}, {"app", "loose"}});
  fill();

  // What begins something is told why, and that nothing was begun.
  const std::vector<std::pair<const char*, json>> begin{
      {"app.create", {{"name", "new"}}},
      {"addon.create", {{"type", "sqlite"}, {"name", "new-db"}, {"app", "api"}}},
      {"addon.bind", {{"app", "api"}, {"name", "api-db"}, {"binding", "AGAIN"}}},
      {"addon.snapshot", {{"name", "api-db"}}},
      {"addon.share", {{"name", "api-db"}}},
      {"addon.rotate-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}}},
      {"deploy.create", {{"app", "api"}}},
      {"runtime.issue", {{"app", "api"}}},
      {"config.set", {{"app", "api"}, {"values", {{"A", "1"}}}}},
      {"secret.set", {{"app", "api"}, {"key", "S"}, {"value", "v"}}},
      {"identity.keys.rotate", json::object()},
      {"backup.create", json::object()}};
  const auto operations = admin("op.list")["items"].size();
  for (const auto& [command, arguments] : begin) EXPECT_EQ(admin_error(command, arguments), "disk_full") << command;
  EXPECT_EQ(admin("op.list")["items"].size(), operations) << "nothing was begun";
  const Response refused = Http(host.admin_socket()).call("POST", "/v1/admin/app.create", json{{"name", "new"}}.dump());
  expect_error(refused, 507, "disk_full");
  EXPECT_TRUE(has_reserve()) << "not for this";

  // Reading goes on, and says it too.
  EXPECT_FALSE(disk_check().value("ok", true));
  EXPECT_NE(disk_check().value("detail", "").find("full"), std::string::npos) << disk_check();
  EXPECT_EQ(rows_of(app.query("SELECT b FROM t")), json({{"kept"}}));
  for (const auto& [operation, body] : std::vector<std::pair<std::string, json>>{
           {"execute", {{"sql", "INSERT INTO t(b) VALUES(?)"}, {"params", {std::string(500'000, 'x')}}}}, {"setup", {{"sql", "CREATE TABLE u AS SELECT zeroblob(500000)"}}}}) {
    Response answer;
    for (int i = 0; i < 20 && (answer = app.op(operation, body)).status == 200; ++i) {
    }
    expect_error(answer, 507, "disk_full");
  }

  // What ends something works, each with its entry in the record.
  admin("addon.revoke-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}, {"yes", true}});
  EXPECT_FALSE(has_reserve()) << "it was given up for this";
  admin("runtime.stop", {{"instance", other.instance}});
  expect_error(caller(other).query("SELECT 1"), 403, "instance_unknown");
  admin("addon.unshare", {{"share", share["id"]}});
  admin("addon.snapshot.delete", {{"name", "api-db"}, {"snapshot", snapshot["id"]}});
  const json gone = admin("addon.destroy", {{"name", "loose-db"}, {"no_final_snapshot", true}, {"confirm", "loose-db"}});
  EXPECT_EQ(gone["state"], "destroyed");
  const auto record = audited();
  for (const char* action : {"addon.revoke-credentials", "runtime.stop", "addon.unshare", "addon.snapshot.delete", "addon.destroy"})
    EXPECT_TRUE(record.contains(action)) << action;
  EXPECT_EQ(admin("audit.verify")["ok"], true);
  EXPECT_EQ(admin_error("app.create", {{"name", "new"}}), "disk_full") << "what the reserve gave is not for this";
  EXPECT_NE(host.log().find("disk_full"), std::string::npos);

  // With room all is as before.
  free_space();
  EXPECT_TRUE(eventually([&] { return has_reserve(); })) << "made again";
  admin("app.create", {{"name", "new"}});
  EXPECT_EQ(caller(issue("other")).setup("CREATE TABLE t(a)").status, 200);
}

TEST_F(FullStateDisk, DoesNotKeepAHostFromStartingAndASecondTimeItSaysWhy) {
  const Runtime api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(b); INSERT INTO t VALUES('kept')").status, 200);
  const fs::path launched = host.folder() / "launched";
  admin("app.create", {{"name", "web"}});
  admin("deploy.create", {{"app", "web"}, {"command", {"/bin/sh", "-c", "echo x >> " + launched.string() + "; exec sleep 600"}}});
  ASSERT_TRUE(eventually([&] { return text_of(launched) == "x\n"; }));
  for (const bool orderly : {true, false}) {
    SCOPED_TRACE(orderly);
    free_space();
    ASSERT_TRUE(eventually([&] { return has_reserve(); }));
    if (orderly) {
      ASSERT_EQ(host.stop(), 0);
    }
    fill();
    if (!orderly) host.kill();
    fs::remove(launched);
    ASSERT_TRUE(host.start()) << host.log();
    EXPECT_FALSE(has_reserve());
    EXPECT_TRUE(eventually([&] { return text_of(launched) == "x\n"; })) << "the app runs again";
    EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}));
    EXPECT_EQ(admin_error("app.create", {{"name", "new"}}), "disk_full");
    EXPECT_FALSE(disk_check().value("ok", true));
  }
  ASSERT_EQ(host.stop(), 0);
  fill();  // what the reserve gave as well
  for (const std::vector<std::string>& words : {std::vector<std::string>{"serve", "--listen", "127.0.0.1:0"}, {"status"}, {"app", "list"}}) {
    SCOPED_TRACE(words.front());
    std::vector<std::string> command{"/usr/bin/timeout", "--kill-after=10", "40", VIA_BINARY};
    command.insert(command.end(), words.begin(), words.end());
    command.insert(command.end(), {"--state-dir", host.state_dir().string()});
    const Finished done = run_program(command);
    EXPECT_EQ(done.exit_code, 1) << done.err;
    EXPECT_NE(done.err.find("disk"), std::string::npos) << done.err;
    EXPECT_NE(done.err.find("full"), std::string::npos) << done.err;
    EXPECT_EQ(done.err.find("I/O error"), std::string::npos) << done.err;
    EXPECT_FALSE(fs::exists(host.admin_socket()));
  }
  free_space();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}));
  EXPECT_TRUE(has_reserve());
}

// The quota is the app's matter, the disk the operator's.
TEST_F(FullStateDisk, IsNotTakenForAQuotaNorAQuotaForIt) {
  const Runtime small = app_with_database("small", false, {{"quota_bytes", 200'000}});
  const Runtime large = app_with_database("large");
  const std::string sql = "INSERT INTO t(b) VALUES(?)";
  const json big = {std::string(50'000, 'q')};
  const auto until_refused = [&](const Runtime& who) {
    Caller app = caller(who);
    EXPECT_EQ(app.setup("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)").status, 200);
    Response answer;
    for (int i = 0; i < 2000 && (answer = app.execute(sql, big)).status == 200; ++i) {
    }
    return answer;
  };
  expect_error(until_refused(small), 429, "quota_exceeded");
  expect_error(until_refused(large), 507, "disk_full");
}

}  // namespace
}  // namespace via::test
