// Add-on types from a plugin that an operator trusted: credentials that the plugin applies, and an app that moves from one
// type to another by a rebind and a deploy.
#include "functional/routes.hpp"

#include <fstream>
#include <iterator>

namespace via::test {
namespace {

namespace fs = std::filesystem;

class PluginTypes : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    for (const char* name : {"applied", "tells_secrets", "echo"})
      admin("plugin.trust", {{"file", (fs::path(VIA_TEST_PLUGINS) / name).string()}});
  }
  std::string value(const Runtime& runtime, const std::string& key) {
    const json answer = caller(runtime).resolve({{"keys", {key}}}).json();
    return answer["values"].empty() ? "missing" : answer["values"][0]["value"].get<std::string>();
  }
  // What the plugin was given for a generation.
  std::string applied(int generation) {
    for (const auto& entry : fs::recursive_directory_iterator(host.state_dir() / "addons" / "applied"))
      if (entry.path().filename() == "g" + std::to_string(generation)) return text(entry.path());
    return "none";
  }
  static std::string text(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
};

TEST_F(PluginTypes, AnAppGetsTheVeryPasswordThatThePluginApplied) {
  admin("addon.create", {{"type", "applied"}, {"name", "store"}, {"app", "api"}, {"bind", "STORE"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  const std::string first = applied(1);
  EXPECT_EQ(first.size(), 43U);
  EXPECT_EQ(value(runtime, "STORE_URL"), "tiny://g1:" + first + "@here/");

  admin("addon.rotate-credentials", {{"name", "store"}, {"app", "api"}, {"binding", "STORE"}});
  const std::string second = applied(2);
  EXPECT_NE(second, first);
  EXPECT_EQ(applied(1), first) << "the old one lives beside the new one";
  EXPECT_EQ(value(runtime, "STORE_URL"), "tiny://g2:" + second + "@here/");

  admin("addon.revoke-credentials", {{"name", "store"}, {"app", "api"}, {"binding", "STORE"}, {"generation", 1}});
  EXPECT_EQ(applied(1), "none");
  EXPECT_EQ(value(runtime, "STORE_URL"), "tiny://g2:" + second + "@here/");

  ASSERT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_EQ(value(runtime, "STORE_URL"), "tiny://g2:" + second + "@here/") << "also after a restart";
}

TEST_F(PluginTypes, APasswordIsNowhereButWhereThePluginPutIt) {
  admin("addon.create", {{"type", "applied"}, {"name", "store"}, {"app", "api"}, {"bind", "STORE"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  const std::string secret = applied(1);
  ASSERT_NE(value(runtime, "STORE_URL").find(secret), std::string::npos);
  std::string shown;
  for (const char* command : {"addon.list", "app.list", "audit.list", "plugin.list", "op.list"}) {
    const json answer = admin(command);
    shown += answer.dump();
  }
  shown += admin("addon.status", {{"name", "store"}}).dump() + admin("app.show", {{"name", "api"}}).dump() + metrics();
  EXPECT_EQ(shown.find(secret), std::string::npos);
  EXPECT_EQ(host.log().find(secret), std::string::npos);
  for (const auto& entry : fs::recursive_directory_iterator(host.state_dir()))
    if (entry.is_regular_file() && entry.path().filename() != "g1") {
      EXPECT_EQ(text(entry.path()).find(secret), std::string::npos) << entry.path();
    }
}

TEST_F(PluginTypes, ADescriptorThatRefersToASecretIsRefusedAndNothingIsBound) {
  EXPECT_EQ(admin_error("addon.create", {{"type", "tells_secrets"}, {"name", "loose"}, {"app", "api"}, {"bind", "LOOSE"}}), "internal");
  const json left = admin("addon.status", {{"name", "loose"}});
  EXPECT_EQ(left["state"], "failed") << left;
  EXPECT_EQ(left["bindings"], json::array());
}

TEST_F(PluginTypes, AnAppMovesToAnotherTypeByARebindAndADeploy) {
  const Runtime before = app_with_database("api");
  ASSERT_EQ(caller(before).setup("CREATE TABLE t(a)").status, 200);
  admin("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  admin("addon.create", {{"type", "echo"}, {"name", "other"}, {"app", "api"}, {"bind", "DATABASE"}});
  expect_error(caller(before).op("echo", {{"a", 1}}), 404, "not_found");
  EXPECT_EQ(caller(before).query("SELECT count(*) FROM t").status, 200) << "the release that runs keeps what it has";
  admin("deploy.create", {{"app", "api"}});
  const Runtime after = issue("api");
  EXPECT_EQ(caller(after).op("echo", {{"a", 1}}).json(), json({{"a", 1}}));
  const json descriptors = caller(after).resolve({{"keys", {"DATABASE"}}}).json()["descriptors"];
  EXPECT_EQ(descriptors[0]["type"], "echo");
  EXPECT_EQ(caller(before).query("SELECT count(*) FROM t").status, 200);
}

}  // namespace
}  // namespace via::test
