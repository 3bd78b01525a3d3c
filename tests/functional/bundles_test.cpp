// Bundles as an author packs them and an operator uses them: the real command line, a real host, real libraries in
// several versions.
#include "functional/routes.hpp"

#include <fstream>

#include <sys/stat.h>

namespace via::test {
namespace {

namespace fs = std::filesystem;

class Bundles : public World {
 protected:
  Finished via(std::vector<std::string> words) {
    words.insert(words.begin(), VIA_BINARY);
    return run_program(words);
  }
  // `via plugin …` on this host; its answer as JSON.
  json plugin(std::vector<std::string> words, int exit_code = 0) {
    words.insert(words.begin(), "plugin");
    words.insert(words.end(), {"--json", "--state-dir", host.state_dir().string()});
    const Finished done = via(words);
    EXPECT_EQ(done.exit_code, exit_code) << words[1] << ": " << done.err << host.log();
    return json::parse(done.out, nullptr, false);
  }
  std::string packed(const std::string& version, const std::string& key = {}) {
    const fs::path built = folder.path() / ("built-" + version);
    if (!fs::exists(built)) {
      fs::create_directories(built);
      for (const char* name : {"manifest.json", "vault.so"}) fs::copy(fs::path(VIA_TEST_VAULTS) / version / name, built / name);
    }
    const std::string file = (folder.path() / ("vault-" + version + (key.empty() ? "" : "-signed") + ".viaplugin")).string();
    std::vector<std::string> words{"plugin", "pack", built.string(), "-o", file};
    if (!key.empty()) words.insert(words.end(), {"--sign", key});
    const Finished done = via(words);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return file;
  }
  // Version 1.0.0 with an add-on "safe", bound and in use, that holds "gold".
  void with_vault() {
    plugin({"install", packed("1.0.0")});
    admin("addon.create", {{"type", "vault"}, {"name", "safe"}, {"app", "api"}, {"bind", "SAFE"}});
    admin("deploy.create", {{"app", "api"}});
    runtime = issue("api");
    put("gold");
    ASSERT_EQ(get(), held(1, "gold"));
  }
  void put(const std::string& value) { EXPECT_EQ(caller(runtime).op("put", value, "SAFE").status, 200); }
  json get() { return caller(runtime).op("get", json::object(), "SAFE").json(); }
  static json held(int schema, const std::string& value) { return {{"schema", schema}, {"value", value}}; }
  std::string version() { return admin("plugin.show", {{"plugin", "vault"}})["version"]; }

  TemporaryFolder folder;
  Runtime runtime;
};

TEST_F(Bundles, AreInstalledAtOnceAndLoadedAfterARestart) {
  const json made = plugin({"install", packed("1.0.0")});
  EXPECT_EQ(made["id"], "test.vault");
  EXPECT_EQ(made["signed_by"], nullptr);
  EXPECT_EQ(plugin({"install", packed("1.0.0")})["already"], true);
  admin("addon.create", {{"type", "vault"}, {"name", "safe"}, {"app", "api"}});
  ASSERT_EQ(host.stop(), 0);
  fs::remove_all(folder.path() / "built-1.0.0");
  ASSERT_TRUE(host.start());
  EXPECT_EQ(admin("addon.status", {{"name", "safe"}})["layers"][2]["ok"], true);
  const json list = admin("plugin.list")["items"];
  for (const auto& one : list)
    if (one["id"] == "test.vault") {
      EXPECT_EQ(one["source"], "installed");
    }
  EXPECT_EQ(host.log().find(HostProcess::kCanary), std::string::npos) << "no path of the state folder";
}

TEST_F(Bundles, AreInstalledWithoutAServerToo) {
  ASSERT_EQ(host.stop(), 0);
  plugin({"install", packed("1.0.0")});
  ASSERT_TRUE(host.start());
  EXPECT_EQ(version(), "1.0.0");
}

TEST_F(Bundles, ThatAreSignedSayByWhomAndOthersAreRefusedWhereThatIsRequired) {
  const std::string key = (folder.path() / "acme.key").string();
  ASSERT_EQ(via({"plugin", "keygen", key}).exit_code, 0);
  plugin({"keys", "add", "acme", key + ".pub"});
  ASSERT_EQ(host.stop(), 0);
  host.configure("require_plugin_signature = true\n");
  ASSERT_TRUE(host.start());
  EXPECT_EQ(plugin({"install", packed("1.0.0")}, 4)["error"]["code"], "refused");
  EXPECT_EQ(plugin({"trust", (folder.path() / "built-1.0.0").string()}, 4)["error"]["code"], "refused") << "trust is no way around it";
  EXPECT_EQ(plugin({"install", packed("1.0.0", key)})["signed_by"], "acme");
}

TEST_F(Bundles, AnUpgradeChangesTheStorageUnderALiveAppAndRollbackGoesBack) {
  with_vault();
  plugin({"upgrade", packed("2.0.0")});
  EXPECT_EQ(get(), held(2, "gold")) << "the same token, the same connection, the new version";
  EXPECT_EQ(version(), "2.0.0");
  put("silver");
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(get(), held(2, "silver"));

  EXPECT_EQ(plugin({"rollback", "test.vault"}, 4)["error"]["code"], "refused") << "it would take silver away";
  plugin({"rollback", "test.vault", "--yes"});
  EXPECT_EQ(get(), held(1, "gold"));
  EXPECT_EQ(version(), "1.0.0");
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(get(), held(1, "gold"));
  plugin({"remove", "test.vault", "--version", "2.0.0", "--yes"});
  EXPECT_FALSE(fs::exists(host.state_dir() / "plugins" / "test.vault" / "2.0.0"));
}

TEST_F(Bundles, AnUpgradeThatFailsLeavesTheOldVersionServingTheOldData) {
  with_vault();
  for (const auto& [bad, why] : {std::pair{"2.1.0", "cannot be brought over"}, std::pair{"2.2.0", "opens nothing"}}) {
    const json refused = plugin({"upgrade", packed(bad)}, 4);
    EXPECT_NE(refused["error"]["message"].get<std::string>().find(why), std::string::npos) << refused;
    EXPECT_EQ(get(), held(1, "gold")) << bad;
    EXPECT_EQ(version(), "1.0.0");
    EXPECT_FALSE(fs::exists(host.state_dir() / "plugins" / "test.vault" / bad));
  }
  put("silver");
  plugin({"upgrade", packed("2.0.0")});
  EXPECT_EQ(get(), held(2, "silver"));
}

TEST_F(Bundles, AnUpgradeThatEndsTheHostIsUndoneByTheNextStart) {
  with_vault();
  const std::string safe = admin("addon.status", {{"name", "safe"}})["id"];
  const Finished died = via({"plugin", "upgrade", packed("2.3.0"), "--state-dir", host.state_dir().string()});
  EXPECT_NE(died.exit_code, 0);
  EXPECT_TRUE(eventually([&] { return !host.running(); }));
  EXPECT_EQ(text_of(host.state_dir() / "addons" / "vault" / safe / "data.vault").front(), '2') << "it was half way";
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(get(), held(1, "gold"));
  EXPECT_EQ(version(), "1.0.0");
  EXPECT_FALSE(fs::exists(host.state_dir() / "plugins" / "test.vault" / "2.3.0"));
  const json operations = admin("op.list", {{"limit", 5}})["items"];
  EXPECT_EQ(operations[0]["kind"], "plugin.upgrade");
  EXPECT_EQ(operations[0]["state"], "undone");
}

TEST_F(Bundles, AnotherBuildIsTrustedUnderALiveApp) {
  with_vault();
  packed("1.1.0");
  plugin({"trust", (folder.path() / "built-1.1.0").string()});
  EXPECT_EQ(version(), "1.1.0");
  EXPECT_EQ(get(), held(1, "gold"));
  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(version(), "1.1.0");
}

TEST_F(Bundles, APluginThatIsUsedIsNotRemoved) {
  with_vault();
  EXPECT_NE(plugin({"remove", "test.vault", "--yes"}, 4)["error"]["message"].get<std::string>().find("safe"), std::string::npos);
  admin("addon.destroy", {{"name", "safe"}, {"force", true}, {"no_final_snapshot", true}});
  plugin({"remove", "test.vault", "--yes"});
  EXPECT_EQ(admin_error("addon.create", {{"type", "vault"}, {"name", "safe"}, {"app", "api"}}), "not_found");
  EXPECT_FALSE(fs::exists(host.state_dir() / "plugins" / "test.vault"));
  plugin({"install", packed("1.0.0")});
  admin("addon.create", {{"type", "vault"}, {"name", "safe"}, {"app", "api"}});
}

TEST_F(Bundles, AreInABackupAndARestoredHostRunsThem) {
  with_vault();
  plugin({"upgrade", packed("2.0.0")});
  const std::string archive = (folder.path() / "host.backup").string();
  admin("backup.create", {{"file", archive}});
  ASSERT_EQ(host.stop(), 0);
  fs::remove_all(folder.path() / "built-2.0.0");
  fs::remove_all(host.state_dir() / "plugins");

  HostProcess other;
  const Finished restored = via({"--state-dir", other.state_dir().string(), "backup", "restore", archive});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  ASSERT_TRUE(other.start()) << other.log();
  cli::SocketTransport socket(other.admin_socket());
  const auto issued = socket.call("runtime.issue", {{"app", "api"}});
  ASSERT_TRUE(issued) << issued.error().message;
  Caller fresh(other.port(), text_of(fs::path(issued->value("material", "")) / "token"));
  EXPECT_EQ(fresh.op("get", json::object(), "SAFE").json(), held(2, "gold"));
  const auto back = socket.call("plugin.rollback", {{"plugin", "test.vault"}, {"yes", true}});
  ASSERT_TRUE(back) << back.error().message << " (the version before is in the archive too)";
  EXPECT_EQ(fresh.op("get", json::object(), "SAFE").json(), held(1, "gold"));
}

}  // namespace
}  // namespace via::test
