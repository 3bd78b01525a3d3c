#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

TEST(Addons, CreateMakesTheAppWhenItIsMissingAndSaysSo) {
  World w;
  const json made = w.must("addon.create", {{"type", "box"}, {"name", "app-db"}, {"app", "api"}});
  EXPECT_EQ(made["state"], "active");
  EXPECT_EQ(made["app"], "api");
  EXPECT_EQ(made["app_created"], true);
  EXPECT_TRUE(made["operation"].get<std::string>().starts_with("op_"));
  EXPECT_FALSE(made.contains("binding"));
  EXPECT_EQ(w.must("addon.create", {{"type", "box"}, {"name", "second"}, {"app", "api"}})["app_created"], false);
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["addons"].size(), 2U);
}

TEST(Addons, CreateWithBindDoesBothInOneOperation) {
  World w;
  const json made = w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"},
                                            {"read_only", true}});
  EXPECT_EQ(made["binding"]["binding"], "DATABASE");
  EXPECT_EQ(made["binding"]["access"], "read_only");
  EXPECT_EQ(made["binding"]["generation"], 1);
  EXPECT_EQ(made["binding"]["generations"][0]["status"], "live");
  EXPECT_EQ(w.store->journal().list(10)->size(), 2U);  // app.create and addon.create
}

TEST(Addons, NamesAreUniqueOnTheWholeHost) {
  World w;
  w.addon("db", "api");
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "web"}}), "conflict");
  EXPECT_EQ(w.error("app.show", {{"name", "web"}}), "not_found");  // nothing of a refused create stays
}

TEST(Addons, UnknownTypeAndWrongConfigurationAreRefusedBeforeAnythingIsStored) {
  World w;
  EXPECT_EQ(w.error("addon.create", {{"type", "jar"}, {"name", "db"}, {"app", "api"}}), "not_found");
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"config", {{"x", 1}}}}),
            "bad_request");
  EXPECT_EQ(w.must("app.list")["items"].size(), 0U);
}

TEST(Addons, FailedCreateWithoutDataGivesItsNameBackAtTheNextCreate) {
  World w;
  w.addons.failing = {"provision"};
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}), "internal");
  const json failed = w.must("addon.status", {{"name", "db"}});
  EXPECT_EQ(failed["state"], "failed");
  w.addons.failing.clear();
  w.addon("db");
  const std::string id = failed["id"];
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["name"], "db#failed#" + id);
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "active");
}

TEST(Addons, FailedCreateWithDataKeepsItsNameUntilDestroyed) {
  World w;
  w.addons.failing = {"bind", "deprovision"};
  EXPECT_NE(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}}), "");
  w.addons.failing.clear();
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}), "conflict");
  w.must("addon.destroy", {{"name", "db"}});
  w.addon("db");
}

TEST(Addons, FailedBindInACreateLeavesNoActiveAddon) {
  World w;
  w.addons.failing = {"describe"};
  EXPECT_NE(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}}), "");
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "failed");
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["bindings"].size(), 0U);
  EXPECT_FALSE(std::filesystem::exists(w.folder.path() / "addons/box" ) &&
               !std::filesystem::is_empty(w.folder.path() / "addons/box"));
}

TEST(Addons, DestroyKeepsATombstoneAndGivesTheNameBack) {
  World w;
  w.addon("db");
  const std::string id = w.must("addon.status", {{"name", "db"}})["id"];
  const json gone = w.must("addon.destroy", {{"name", "db"}});
  EXPECT_EQ(gone["state"], "destroyed");
  EXPECT_EQ(gone["name"], "db#destroyed#" + id);
  EXPECT_FALSE(std::filesystem::exists(w.addons.folder(id)));
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["state"], "destroyed");
  EXPECT_EQ(w.must("addon.list")["items"].size(), 0U);
  EXPECT_EQ(w.error("addon.destroy", {{"name", id}}), "conflict");
  w.addon("db");
}

TEST(Addons, DestroyOfABoundAddonIsRefusedAndSaysHowToGoOn) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}}), "refused");
  EXPECT_NE(w.error_text("addon.destroy", {{"name", "db"}}).find("via addon unbind api DATABASE"), std::string::npos);
  w.must("deploy.create", {{"app", "api"}});
  w.must("addon.unbind", {{"app", "api"}, {"target", "DATABASE"}});
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}}), "refused");  // the current release still has it
  const std::string instance = w.external();
  w.must("deploy.create", {{"app", "api"}});
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}}), "refused");  // an instance of the old release still runs
  w.must("runtime.stop", {{"instance", instance}});
  w.must("addon.destroy", {{"name", "db"}});
}

TEST(Addons, ForcedDestroyTakesTheRightsAwayFirst) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  ASSERT_NE(w.grant(instance)->find("DATABASE"), nullptr);
  bool had_rights = true;
  w.addons.before = [&](const std::string& step) {
    if (step == "before deprovision") had_rights = w.grant(instance)->find("DATABASE") != nullptr;
  };
  w.must("addon.destroy", {{"name", "db"}, {"force", true}});
  EXPECT_FALSE(had_rights);
  EXPECT_EQ(w.must("app.show", {{"name", "api"}})["bindings"].size(), 0U);
}

TEST(Addons, DestroyThatFailsCanBeTriedAgain) {
  World w;
  w.addon("db");
  w.addons.failing = {"deprovision"};
  EXPECT_NE(w.error("addon.destroy", {{"name", "db"}}), "");
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "destroying");
  w.addons.failing.clear();
  EXPECT_EQ(w.must("addon.destroy", {{"name", "db"}})["state"], "destroyed");
}

TEST(Addons, StatusShowsEveryLayer) {
  World w;
  w.addon("db");
  const auto layers = [&] {
    std::map<std::string, bool> out;
    const json status = w.must("addon.status", {{"name", "db"}});
    for (const auto& layer : status["layers"]) out[layer["name"]] = layer["ok"];
    return out;
  };
  using Layers = std::map<std::string, bool>;
  EXPECT_EQ(layers(), (Layers{{"metadata", true}, {"binding", false}, {"storage", true}, {"release", false},
                              {"runtime", false}}));
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}});
  w.must("deploy.create", {{"app", "api"}});
  w.external();
  EXPECT_EQ(layers(), (Layers{{"metadata", true}, {"binding", true}, {"storage", true}, {"release", true},
                              {"runtime", true}}));
}

TEST(Bindings, NameAndDerivedNamesAreTakenOnce) {
  World w;
  w.addon("db");
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}});
  EXPECT_EQ(w.error("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}}), "conflict");
  EXPECT_EQ(w.error("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE_URL"}}), "conflict");
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SECOND"}});
  w.must("config.set", {{"app", "api"}, {"values", {{"THIRD_URL", "x"}}}});
  EXPECT_EQ(w.error("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "THIRD"}}), "conflict");
  EXPECT_EQ(w.error("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "lower"}}), "bad_request");
}

TEST(Bindings, UnbindTakesBindingNameAddonNameOrId) {
  World w;
  w.addon("db");
  const std::string id = w.must("addon.status", {{"name", "db"}})["id"];
  for (const std::string& target : {std::string("A"), std::string("db"), id}) {
    w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}});
    w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "B"}});
    EXPECT_EQ(w.must("addon.unbind", {{"app", "api"}, {"target", target}})["unbound"].size(), target == "A" ? 1U : 2U);
    if (target == "A") w.must("addon.unbind", {{"app", "api"}, {"target", "B"}});
  }
  EXPECT_EQ(w.error("addon.unbind", {{"app", "api"}, {"target", "A"}}), "not_found");
}

TEST(Bindings, DescriptorSaysWhatTheAccessAllows) {
  World w;
  w.addon("db");
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "RW"}});
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "RO"}, {"read_only", true}});
  w.must("deploy.create", {{"app", "api"}});
  const auto* grant = w.grant(w.external());
  ASSERT_NE(grant, nullptr);
  const auto descriptor = [&](const char* name) { return json::parse("{" + grant->find(name)->descriptor + "}"); };
  EXPECT_EQ(descriptor("RW")["operations"], json({"look", "put"}));
  EXPECT_EQ(descriptor("RO")["operations"], json({"look"}));
  EXPECT_EQ(descriptor("RO")["access"], "read_only");
  EXPECT_EQ(descriptor("RO")["endpoint"], "/v1/runtime/addons/RO");
  EXPECT_EQ(grant->find("RO")->scopes, std::vector<std::string>{"read"});
  ASSERT_EQ(grant->find("RO")->derived.size(), 1U);  // what the manifest does not declare is left out
  EXPECT_EQ(grant->find("RO")->derived[0].first, "RO_URL");
}

TEST(Apps, DeleteIsRefusedWhileItOwnsAddons) {
  World w;
  w.addon("db");
  EXPECT_EQ(w.error("app.delete", {{"name", "api"}}), "refused");
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  w.must("addon.destroy", {{"name", "db"}});
  w.must("app.delete", {{"name", "api"}});
  EXPECT_EQ(w.grant(instance), nullptr);
  EXPECT_EQ(w.error("app.show", {{"name", "api"}}), "not_found");
  w.must("app.create", {{"name", "api"}});
  EXPECT_EQ(w.must("release.list", {{"app", "api"}})["items"].size(), 0U);
}

TEST(Addons, OfATypeWithoutRoutesAreNotShared) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}});
  EXPECT_EQ(w.error("addon.share", {{"name", "db"}}), "unsupported");
  EXPECT_EQ(w.must("addon.shares", {{"name", "db"}})["items"], nlohmann::json::array());
}

}  // namespace
}  // namespace via::test
