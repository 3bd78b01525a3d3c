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
