// Whole-host backup against a real host: what is acknowledged is in it, what is not whole is refused, a restored host is a
// new one that does not accept what was given out before.
#include <fstream>

#include <sys/stat.h>

#include "support/world.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

class Backup : public World {
 protected:
  // `via ARGUMENTS` as an operator runs it; the exit code.
  int via(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), VIA_BINARY);
    const Finished done = run_program(arguments);
    output = done.exit_code == 0 ? done.out : done.err;
    return done.exit_code;
  }
  std::string passphrase_file() {
    const fs::path file = folder.path() / "passphrase";
    std::ofstream(file) << "correct horse\n";
    ::chmod(file.c_str(), 0600);
    return file.string();
  }
  TemporaryFolder folder;
  std::string output;
};

TEST_F(Backup, RestoredHostHasTheDataAndRefusesTokensFromBefore) {
  const Runtime api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a); INSERT INTO t VALUES('kept')").status, 200);
  admin("secret.set", {{"app", "api"}, {"key", "TOKEN"}, {"value", "hush-hush"}});
  const fs::path archive = folder.path() / "host.backup";
  const json made = admin("backup.create", {{"file", archive.string()}, {"passphrase", "correct horse"}});
  EXPECT_EQ(made["encrypted"], true);
  ASSERT_EQ(caller(api).execute("INSERT INTO t VALUES('after')").status, 200);
  const json checked = admin("backup.verify", {{"file", archive.string()}, {"passphrase", "correct horse"}});
  EXPECT_EQ(checked["ok"], true) << checked;
  EXPECT_EQ(checked["origin"], "this host");
  EXPECT_EQ(text_of(archive).find("hush-hush"), std::string::npos);

  HostProcess other;
  const fs::path state = other.state_dir();
  ASSERT_EQ(via({"--state-dir", state, "backup", "restore", archive, "--passphrase-file", passphrase_file()}), 0)
      << output;
  ASSERT_TRUE(other.start()) << other.log();
  Caller old(other.port(), api.token);
  EXPECT_EQ(old.query("SELECT 1").status, 401);
  cli::SocketTransport socket(other.admin_socket());
  const auto issued = socket.call("runtime.issue", {{"app", "api"}});
  ASSERT_TRUE(issued) << issued.error().message;
  Caller fresh(other.port(), text_of(fs::path(issued->value("material", "")) / "token"));
  EXPECT_EQ(rows_of(fresh.query("SELECT a FROM t")), json({{"kept"}})) << "as it was when the backup was made";
  const json resolved = json::parse(fresh.resolve({{"keys", {"TOKEN"}}}).body);
  EXPECT_EQ(resolved["values"][0]["value"], "hush-hush") << "the master key was in the archive";
}

// The key "k" of one of an add-on's databases, through the data API.
Response key_of(Caller& app, const std::string& db, const std::string& value = {}) {
  const std::string path = "/v1/runtime/addons/DATABASE/http/api/v1/sqlite/db?create_db_if_missing=true&db=" + db;
  const json read = {{"query", "SELECT group_concat(a) AS a FROM t"}}, write = {{"statement", "INSERT INTO t VALUES(?)"}, {"values", {value}}};
  if (value.empty()) return app.post("/v1/runtime/addons/DATABASE/http/api/v1/sqlite/db?db=" + db, json{{"transaction", {read}}}.dump());
  return app.post(path, json{{"transaction", {{{"statement", "CREATE TABLE IF NOT EXISTS t(a)"}}, write}}}.dump());
}

TEST_F(Backup, HoldsEveryDatabaseOfAnAddOnAndSoDoSnapshots) {
  const Runtime api = app_with_database("api");
  Caller app = caller(api);
  ASSERT_EQ(app.setup("CREATE TABLE t(a); INSERT INTO t VALUES('own')").status, 200);
  for (const char* db : {"orders", "users.sqlite"}) ASSERT_EQ(key_of(app, db, "kept").status, 200) << db;
  const auto values = [](Caller& from) {
    std::string out = rows_of(from.query("SELECT a FROM t")).dump();
    for (const char* db : {"orders", "users.sqlite", "later"}) {
      const Response r = key_of(from, db);
      out += " " + (r.status == 200 ? json::parse(r.body)["results"][0]["resultSet"][0].value("a", "") : std::to_string(r.status));
    }
    return out;
  };
  const std::string before = R"([["own"]] kept kept 404)", after = R"([["own"],["more"]] kept,more kept more)";
  ASSERT_EQ(values(app), before);
  const json snapshot = admin("addon.snapshot", {{"name", "api-db"}});
  const fs::path archive = folder.path() / "host.backup";
  admin("backup.create", {{"file", archive.string()}, {"passphrase", "correct horse"}});
  ASSERT_EQ(app.execute("INSERT INTO t VALUES('more')").status, 200);
  ASSERT_EQ(key_of(app, "orders", "more").status, 200);
  ASSERT_EQ(key_of(app, "later", "more").status, 200);
  ASSERT_EQ(values(app), after);

  const json restored = admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot["id"]}, {"force_after_timeout", 5}});
  EXPECT_EQ(values(app), before);
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", restored["safety_snapshot"]}, {"force_after_timeout", 5}});
  EXPECT_EQ(values(app), after) << "the safety snapshot has what was replaced";
  EXPECT_EQ(admin_error("addon.export", {{"name", "api-db"}, {"file", (folder.path() / "one.sqlite").string()}}), "unsupported");

  const std::string id = admin("addon.status", {{"name", "api-db"}}).value("id", "");
  admin("addon.destroy", {{"name", "api-db"}, {"force", true}, {"confirm", "api-db"}});
  admin("addon.undelete", {{"id", id}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime again = issue("api");
  Caller anew = caller(again);
  EXPECT_EQ(values(anew), after) << "the final snapshot has all of them";

  EXPECT_EQ(admin("backup.verify", {{"file", archive.string()}, {"passphrase", "correct horse"}})["ok"], true);
  HostProcess other;
  ASSERT_EQ(via({"--state-dir", other.state_dir(), "backup", "restore", archive, "--passphrase-file", passphrase_file()}), 0) << output;
  ASSERT_TRUE(other.start()) << other.log();
  const auto issued = cli::SocketTransport(other.admin_socket()).call("runtime.issue", {{"app", "api"}});
  ASSERT_TRUE(issued) << issued.error().message;
  Caller fresh(other.port(), text_of(fs::path(issued->value("material", "")) / "token"));
  EXPECT_EQ(values(fresh), before);
}

TEST_F(Backup, WithoutAPassphraseHoldsNoKeysAndSaysWhatIsToBeDone) {
  app_with_database("api");
  admin("secret.set", {{"app", "api"}, {"key", "TOKEN"}, {"value", "hush-hush"}});
  const fs::path archive = folder.path() / "host.backup", state = folder.path() / "restored";
  admin("backup.create", {{"file", archive.string()}});
  ASSERT_EQ(via({"--json", "--state-dir", state, "backup", "restore", archive}), 0) << output;
  const json done = json::parse(output);
  EXPECT_EQ(done["keys"], "made anew");
  ASSERT_EQ(done["todo"].size(), 1U) << done;
}

TEST_F(Backup, DamagedArchiveIsRefusedWholeAndTouchesNothing) {
  app_with_database("api");
  const fs::path archive = folder.path() / "host.backup";
  admin("backup.create", {{"file", archive.string()}});
  std::string bytes = text_of(archive);
  const fs::path state = folder.path() / "restored";
  for (const std::size_t at : {bytes.size() / 3, bytes.size() / 2, bytes.size() - 40}) {
    std::string wrong = bytes;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x20);
    std::ofstream(folder.path() / "wrong", std::ios::binary) << wrong;
    EXPECT_NE(via({"--state-dir", state, "backup", "restore", folder.path() / "wrong"}), 0) << at;
    EXPECT_FALSE(fs::exists(state)) << at;
  }
  std::ofstream(folder.path() / "wrong", std::ios::binary) << bytes.substr(0, bytes.size() - 1);
  EXPECT_NE(via({"--state-dir", state, "backup", "restore", folder.path() / "wrong"}), 0);
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_EQ(entry.path().filename().string().find("restoring"), std::string::npos) << entry.path();
}

TEST_F(Backup, RevocationsAfterItStayAndTheOldFolderIsKept) {
  const Runtime api = app_with_database("api");
  const fs::path archive = folder.path() / "host.backup";
  admin("backup.create", {{"file", archive.string()}, {"passphrase", "correct horse"}});
  const json binding = {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}};
  json revoke = binding;
  revoke["generation"] = 1;
  revoke["yes"] = true;
  admin("addon.rotate-credentials", binding);
  admin("addon.revoke-credentials", revoke);
  const std::string state = host.state_dir().string();
  EXPECT_EQ(via({"--state-dir", state, "backup", "restore", archive, "--yes", "--passphrase-file", passphrase_file()}), 4)
      << "a host runs on it: " << output;
  host.stop();
  EXPECT_EQ(via({"--state-dir", state, "backup", "restore", archive, "--passphrase-file", passphrase_file()}), 4) << output;
  ASSERT_EQ(via({"--json", "--state-dir", state, "backup", "restore", archive, "--yes", "--passphrase-file", passphrase_file()}), 0)
      << output;
  const std::string kept = json::parse(output).value("replaced", "");
  EXPECT_TRUE(fs::exists(fs::path(kept) / "control-plane.db"));
  ASSERT_TRUE(host.start()) << host.log();
  const json status = admin("addon.status", {{"name", "api-db"}});
  for (const json& generation : status["bindings"][0]["generations"]) EXPECT_EQ(generation["status"], "revoked") << status;
  const json next = admin("addon.rotate-credentials", binding);
  EXPECT_EQ(next["generation"], 3) << "a number is never used twice";
  fs::remove_all(kept);
}

}  // namespace
}  // namespace via::test
